//! Debian's docker-registry, skopeo and imgdelta agree: a pull gives what skopeo pushed, byte for
//! byte, forward and back. The registry's own log shows no more downloads than a delta needs.
//!
//! On a machine without the tools the tests print that and pass; with `CI` set they must run.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use imgdelta::{
    Reference, Session,
    create::{CreateOptions, Preset},
    delta::Delta,
    image::Image,
    store::{Descriptor, source::ReadAt},
};
use imgdelta_registry::{
    Client, ClientOptions, Credential, Credentials, ManifestReference, PushOptions, PushReport,
    Registries, Repository, RequestErrorKind, Secret, Trust, UploadOutcome,
    artifact::{ARTIFACT_TYPE, SplitDelta},
    fallback_tag,
    pull::{PullOptions, PullReport},
};
use imgdelta_testkit::{Authority, DockerRegistry, Packing, TestImage, has, noise, tar_of};
use imgdelta_tests::{layout_blobs, run};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Access to a registry: scheme and login.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// TLS with an authority of our own, and a password.
    Tls,
    /// Tokens from a server that knows the password.
    Token,
}

/// A docker-registry of one kind.
struct Registry {
    server: DockerRegistry,
    kind: Kind,
    /// Scopes that the token server was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

const USER: &str = "me";
const PASSWORD: &str = "secret";
/// That password as bcrypt has it.
const HTPASSWD: &str = "me:$2b$04$4wPLxE45WggTI57ZgjlBbeuLgXYxh/kzXfBRBfGjrSQuzApFhNNty\n";

impl Registry {
    fn start(kind: Kind) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = DockerRegistry::start(|dir, _, config| configure(dir, kind, &asked, config));
        Self { server, kind, asked }
    }

    fn host(&self) -> String {
        self.server.host()
    }

    /// Options for skopeo with this registry as source or destination.
    fn skopeo(&self, side: &str) -> String {
        let creds = format!("--{side}-creds {USER}:{PASSWORD}");
        match self.kind {
            Kind::Plain => format!("--{side}-tls-verify=false"),
            Kind::Token => format!("--{side}-tls-verify=false {creds}"),
            Kind::Tls => format!("--{side}-cert-dir {}/certs {creds}", self.server.dir().display()),
        }
    }

    fn options(&self) -> ClientOptions {
        let password = Secret::new(PASSWORD);
        let known = Credential::Password { user: USER.into(), password };
        let options = ClientOptions::default();
        match self.kind {
            Kind::Plain => options,
            Kind::Token => options.credentials(Credentials::given(known)),
            Kind::Tls => options.credentials(Credentials::given(known)).trust(Trust {
                authorities: vec![self.server.dir().join("certs/ca.crt")],
                ..Trust::default()
            }),
        }
    }

    /// Bytes of bodies that the registry sent to imgdelta after `skipped_lines` of its log.
    fn sent_bytes(&self, skipped_lines: usize) -> u64 {
        let requests = self.server.requests(skipped_lines);
        let gets = requests.iter().filter(|one| one.agent.starts_with("imgdelta/"));
        gets.filter(|one| one.method == "GET").map(|one| one.sent_bytes).sum()
    }
}

/// Writes the files that a kind of registry needs and completes its configuration.
fn configure(dir: &Path, kind: Kind, asked: &Arc<Mutex<Vec<String>>>, config: &mut Value) {
    match kind {
        Kind::Plain => {}
        Kind::Tls => {
            certificates(dir);
            fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
            config["http"]["tls"] =
                json!({"certificate": dir.join("server.crt"), "key": dir.join("server.key")});
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": dir.join("htpasswd")}});
        }
        Kind::Token => {
            let realm = token_server(dir, Arc::clone(asked));
            config["auth"] = json!({"token": {
                "realm": realm, "service": "test", "issuer": "test",
                "rootcertbundle": dir.join("token.crt"),
            }});
        }
    }
}

/// An authority of our own, and a server's certificate by it.
fn certificates(dir: &Path) {
    let authority = Authority::new();
    fs::create_dir_all(dir.join("certs")).unwrap();
    fs::write(dir.join("certs/ca.crt"), authority.certificate()).unwrap();
    let server = authority.certify(&["127.0.0.1", "localhost"]);
    fs::write(dir.join("server.crt"), server.certificate).unwrap();
    fs::write(dir.join("server.key"), server.key).unwrap();
}

/// Starts a server that gives signed tokens for the password, and returns its address.
fn token_server(dir: &Path, asked: Arc<Mutex<Vec<String>>>) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["tokens".into()]).unwrap().self_signed(&key).unwrap();
    fs::write(dir.join("token.crt"), certificate.pem()).unwrap();
    let chain = STANDARD.encode(certificate.der());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    // It lives as long as the test's process; nothing waits for it.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(connection) = connection else { continue };
            let _ = give_token(&connection, &key, &chain, &asked);
        }
    });
    realm
}

fn give_token(
    mut connection: &TcpStream,
    key: &KeyPair,
    chain: &str,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut is_known = false;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let expected = format!("basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            is_known = value.trim().eq_ignore_ascii_case(&expected);
        }
    }
    let query = first.split([' ', '?']).nth(2).unwrap_or_default().to_owned();
    let scopes: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .map(|scope| scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
        .collect();
    asked.lock().unwrap().extend(scopes.iter().cloned());
    let access: Vec<Value> = scopes
        .iter()
        .filter_map(|scope| {
            let mut parts = scope.split(':');
            let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
            let actions: Vec<&str> = actions.split(',').collect();
            // Anonymous clients may pull.
            let actions: Vec<&str> =
                actions.into_iter().filter(|action| is_known || *action == "pull").collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [chain]});
    let claims = json!({"iss": "test", "aud": "test", "sub": "me", "nbf": now - 60, "iat": now,
        "exp": now + 300, "jti": "1", "access": access});
    let signed = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let random = ring::rand::SystemRandom::new();
    let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, &key.serialize_der(), &random)
        .unwrap();
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(&random, signed.as_bytes()).unwrap());
    let body = json!({"token": format!("{signed}.{signature}"), "expires_in": 300}).to_string();
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// Two versions as skopeo has them, in a layout under v1 and v2.
fn images(dir: &Path) {
    for version in [1_u8, 2] {
        let mut program = noise(2, 200_000);
        program[100_000] ^= version;
        let layers = vec![
            tar_of(&[("shared", &noise(1, 300_000))]),
            tar_of(&[("bin/program", &program), ("etc/version", &[version])]),
            tar_of(&[("etc/other", &[&noise(3, 50_000)[..], &[version]].concat())]),
        ];
        let made = dir.join(format!("made-{version}"));
        TestImage::new(layers, Packing::Gzip).blobs().write_layout(&made);
        let copy = format!("skopeo copy -q --insecure-policy oci:made-{version}:v1");
        run(dir, &format!("{copy} oci:images:v{version}"));
    }
}

struct Scene {
    registry: Registry,
    dir: TempDir,
    runtime: Runtime,
    registries: Registries,
    session: Session,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let registry = Registry::start(kind);
        let dir = tempfile::tempdir().unwrap();
        images(dir.path());
        for tag in ["v1", "v2"] {
            let target = format!("docker://{}/demo/app:{tag}", registry.host());
            let options = registry.skopeo("dest");
            run(
                dir.path(),
                &format!("skopeo copy -q --insecure-policy {options} oci:images:{tag} {target}"),
            );
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let registries = Registries::new(registry.options()).unwrap();
        let session = registries.attach(Session::new(dir.path()).unwrap().threads(2).unwrap());
        Self { registry, dir, runtime: runtime.unwrap(), registries, session }
    }

    fn local_reference(&self, name: &str) -> Reference {
        format!("oci:{}/{name}", self.dir.path().display()).parse().unwrap()
    }

    fn local(&self, name: &str) -> Image {
        self.session.open(&self.local_reference(name)).unwrap()
    }

    fn make(&self, old: &str, new: &str) -> Delta {
        let (old, new) = (self.local_reference(old), self.local_reference(new));
        let options = CreateOptions::default().preset(Preset::Fast);
        let draft = self.session.plan(&old, &new, &options).unwrap().encode().unwrap();
        draft.prove().unwrap().delta().clone()
    }

    fn repository(&self) -> Repository {
        self.other_repository("demo/app")
    }

    fn other_repository(&self, name: &str) -> Repository {
        Repository::new(self.registries.client(), &self.registry.host(), &name.parse().unwrap())
    }

    fn push(&self, delta: &Delta, options: &PushOptions) -> PushReport {
        self.runtime.block_on(self.repository().push(delta, options)).unwrap()
    }

    fn push_to(&self, delta: &Delta, tag: &str) -> PushReport {
        self.push(delta, &PushOptions::default().tag(Some(tag.parse().unwrap())))
    }

    fn pull(&self, tag: &str, base: &str, output: &str) -> PullReport {
        let source = format!("docker://{}/demo/app:{tag}", self.registry.host());
        let base = self.local_reference(base);
        let output = self.local_reference(&format!("{output}:{tag}"));
        let (source, options) = (source.parse().unwrap(), PullOptions::default().time_limit(false));
        self.registries.pull(&self.session, &source, &[base], &output, &options).unwrap()
    }

    fn skopeo_pulls(&self, tag: &str, layout: &str) {
        let (options, host) = (self.registry.skopeo("src"), self.registry.host());
        let source = format!("docker://{host}/demo/app:{tag}");
        run(
            self.dir.path(),
            &format!("skopeo copy -q --insecure-policy {options} {source} oci:{layout}:{tag}"),
        );
    }
}

/// Forward and back, each with its delta, the layouts are those that skopeo makes.
fn goes_forward_and_back(kind: Kind) {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let scene = Scene::new(kind);
    scene.skopeo_pulls("v1", "node");
    for (old, new) in [("v1", "v2"), ("v2", "v1")] {
        let delta = scene.make(&format!("images:{old}"), &format!("images:{new}"));
        scene.push_to(&delta, new);
        let since = scene.registry.server.log_lines();
        let place = format!("node-{new}");
        let base = if new == "v2" { "node:v1".to_owned() } else { format!("node-{old}:{old}") };
        let pulled = scene.pull(new, &base, &place);
        assert!(pulled.notes.is_empty(), "{:?}", pulled.notes);

        let by_skopeo = format!("skopeo-{new}");
        scene.skopeo_pulls(new, &by_skopeo);
        let blobs = |layout: &str| layout_blobs(&scene.dir.path().join(layout));
        assert_eq!(blobs(&place), blobs(&by_skopeo), "{new}");
        let sent = scene.registry.sent_bytes(since);
        let image = scene.local(&format!("images:{new}"));
        let documents = (image.manifest.len() + image.config_bytes.len()) as u64;
        // The delta, the image's documents, the list of referrers, the artifact's manifest.
        let most = delta.size_bytes() + documents + 6_000;
        assert!(sent <= most, "{new}: {sent} of at most {most}");
        assert!(sent * 10 < pulled.plain_bytes, "{new}: {sent} against {}", pulled.plain_bytes);
        // Files of the same length, for lines whose answer is written when it is sent.
        assert!(pulled.received_bytes <= most, "{new}: {} received", pulled.received_bytes);
    }
}

#[test]
fn plainly_forward_and_back() {
    goes_forward_and_back(Kind::Plain);
}

#[test]
fn over_tls_with_a_password_forward_and_back() {
    goes_forward_and_back(Kind::Tls);
}

#[test]
fn with_tokens_forward_and_back() {
    goes_forward_and_back(Kind::Token);
}

#[test]
fn wrong_logins_and_unknown_authorities_are_refused() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let scene = Scene::new(Kind::Tls);
    let ask = |options: ClientOptions| {
        let repository = Repository::new(
            &Client::new(options),
            &scene.registry.host(),
            &"demo/app".parse().unwrap(),
        );
        scene
            .runtime
            .block_on(repository.manifest(&ManifestReference::Tag("v1".parse().unwrap())))
            .unwrap_err()
    };
    let failure = ask(scene.registry.options().credentials(Credentials::none()));
    assert!(
        matches!(failure.kind, RequestErrorKind::CredentialsMissing { status: 401, .. }),
        "{failure:?}"
    );
    let wrong = Credential::Password { user: USER.into(), password: Secret::new("wrong") };
    let failure = ask(scene.registry.options().credentials(Credentials::given(wrong)));
    assert!(
        matches!(failure.kind, RequestErrorKind::CredentialsRejected { status: 401, .. }),
        "{failure:?}"
    );
    let failure = ask(scene.registry.options().trust(Trust::default()));
    assert!(matches!(failure.kind, RequestErrorKind::Unreachable { .. }), "{failure:?}");
    assert!(failure.advice().unwrap().contains("--ca"), "{failure}");

    // Directories per host, as docker has them.
    let certs = scene.dir.path().join("certs.d");
    fs::create_dir_all(certs.join(scene.registry.host())).unwrap();
    let ca = scene.registry.server.dir().join("certs/ca.crt");
    fs::copy(ca, certs.join(scene.registry.host()).join("ca.crt")).unwrap();
    let trust = Trust { per_host: vec![certs], ..Trust::default() };
    let client = Client::new(scene.registry.options().trust(trust));
    let repository = Repository::new(&client, &scene.registry.host(), &"demo/app".parse().unwrap());
    let found = scene
        .runtime
        .block_on(repository.manifest(&ManifestReference::Tag("v1".parse().unwrap())))
        .unwrap();
    assert_eq!(found.descriptor.digest, scene.local("images:v1").digest);
}

#[test]
fn tokens_are_requested_for_the_actions_of_a_request() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let scene = Scene::new(Kind::Token);
    scene.registry.asked.lock().unwrap().clear();
    scene.runtime.block_on(scene.repository().tags()).unwrap();
    scene
        .runtime
        .block_on(scene.repository().manifest(&ManifestReference::Tag("v1".parse().unwrap())))
        .unwrap();
    let asked = scene.registry.asked.lock().unwrap().clone();
    assert_eq!(asked, ["repository:demo/app:pull"], "once for both");
    let delta = scene.make("images:v1", "images:v2");
    scene.push_to(&delta, "v2");
    assert!(scene.registry.asked.lock().unwrap().contains(&"repository:demo/app:pull,push".into()));
    // An anonymous client may pull here, and not push.
    let client = Client::new(ClientOptions::default());
    let repository = Repository::new(&client, &scene.registry.host(), &"demo/app".parse().unwrap());
    scene
        .runtime
        .block_on(repository.manifest(&ManifestReference::Tag("v1".parse().unwrap())))
        .unwrap();
    let bytes: Arc<dyn ReadAt> = Arc::new(b"new".to_vec());
    let digest = imgdelta_testkit::sha256(b"new").parse().unwrap();
    let blob = Descriptor::new(None, digest, 3);
    let failure = scene.runtime.block_on(repository.put_blob(&blob, bytes, 0, None)).unwrap_err();
    assert!(matches!(failure.kind, RequestErrorKind::CredentialsMissing { .. }), "{failure:?}");
}

#[test]
fn large_blobs_are_sent_in_pieces_mounted_and_fetched_in_ranges() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let scene = Scene::new(Kind::Plain);
    let bytes = noise(9, 700_000);
    let digest = imgdelta_testkit::sha256(&bytes).parse().unwrap();
    let blob = Descriptor::new(None, digest, bytes.len() as u64);
    let source: Arc<dyn ReadAt> = Arc::new(bytes.clone());
    let client = Client::new(ClientOptions::default().chunk_bytes(200_000));
    let repository =
        |name: &str| Repository::new(&client, &scene.registry.host(), &name.parse().unwrap());
    let put = |name, from| {
        scene.runtime.block_on(repository(name).put_blob(&blob, Arc::clone(&source), 0, from))
    };
    assert_eq!(put("one", None).unwrap(), UploadOutcome::Sent);
    assert_eq!(put("one", None).unwrap(), UploadOutcome::Present);
    assert_eq!(put("two", Some(&"one".parse().unwrap())).unwrap(), UploadOutcome::Mounted);
    let fetched = scene.runtime.block_on(repository("two").blob_bytes(&blob, 1 << 20));
    assert_eq!(fetched.unwrap(), bytes);
}

#[test]
fn a_recipe_is_mounted_from_where_it_lies() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    for kind in [Kind::Plain, Kind::Token] {
        let scene = Scene::new(kind);
        let delta = scene.make("images:v1", "images:v2");
        let split = SplitDelta::of(&delta).unwrap();
        let recipe = split.parts.iter().find(|part| part.recipe.is_some()).unwrap();
        let other = scene.other_repository("demo/other");
        let put = other.put_blob(&recipe.blob, delta.source(), recipe.offset, None);
        assert_eq!(scene.runtime.block_on(put).unwrap(), UploadOutcome::Sent);
        let elsewhere =
            split.parts.iter().map(|part| (part.blob.digest, "demo/other".parse().unwrap()));
        let options = PushOptions::default().elsewhere(elsewhere.collect());
        for part in scene.push(&delta, &options).parts {
            let is_recipe = part.blob.digest == recipe.blob.digest;
            assert_eq!(part.outcome == UploadOutcome::Mounted, is_recipe, "{part:?}");
        }
    }
}

#[test]
fn the_fallback_list_keeps_what_others_wrote_there() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let scene = Scene::new(Kind::Plain);
    let target = scene.local("images:v2").digest;
    let v1 = scene.local("images:v1");
    let foreign = json!({"mediaType": v1.media_type, "digest": v1.digest.to_string(),
        "size": v1.manifest.len(), "artifactType": "application/vnd.example.signature"});
    let list = json!({"schemaVersion": 2, "manifests": [foreign],
        "mediaType": "application/vnd.oci.image.index.v1+json"});
    let tag = ManifestReference::Tag(fallback_tag(&target));
    let kind = "application/vnd.oci.image.index.v1+json";
    let put = scene.repository();
    let bytes = list.to_string();
    scene.runtime.block_on(put.put_manifest(&tag, kind, bytes.as_bytes())).unwrap();
    let delta = scene.make("images:v1", "images:v2");
    scene.push_to(&delta, "v2");
    scene.push_to(&delta, "v2");
    let list = scene.runtime.block_on(put.manifest(&tag)).unwrap();
    let list: Value = serde_json::from_slice(&list.bytes).unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(list["manifests"][0], foreign);
    let found = scene.runtime.block_on(put.referrers(&target, ARTIFACT_TYPE)).unwrap();
    assert_eq!(found.len(), 1);
    scene.runtime.block_on(put.detach(&found[0].descriptor.digest, &target)).unwrap();
    assert!(scene.runtime.block_on(put.referrers(&target, ARTIFACT_TYPE)).unwrap().is_empty());
}
