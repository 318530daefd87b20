//! Connections: used again, replaced when a server closes them, through proxies and over TLS.

use imgdelta_image::store::Descriptor;
use imgdelta_registry::{
    Client, ClientOptions, Credential, Credentials, EventListener, ManifestReference, Proxies,
    Repository, RequestErrorKind, Retry, Secret, Trust,
};
use imgdelta_testkit::{
    Authority, Identity, noise,
    registry::{RegistryAuth, RegistryBehaviour, RegistryFault, TestRegistry},
    sha256,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

fn options() -> ClientOptions {
    ClientOptions::default().retry(Retry::default().attempts(2).first(Duration::from_millis(1)))
}

fn repository(options: ClientOptions, host: &str) -> Repository {
    Repository::new(&Client::new(options), host, &"team/app".parse().unwrap())
}

fn registry() -> (TestRegistry, Vec<u8>, Descriptor) {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 100_000);
    registry.put_blob("team/app", &bytes);
    let blob = Descriptor::new(None, sha256(&bytes).parse().unwrap(), bytes.len() as u64);
    (registry, bytes, blob)
}

/// A server that passes each connection on, and counts them.
struct Relay {
    host: String,
    accepted: Arc<AtomicUsize>,
    /// First lines and headers that were not passed on.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// Passes connections on to `target`, after TLS with them if an identity is given.
    async fn start(target: String, identity: Option<Identity>) -> Self {
        let tls = identity.map(|identity| {
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            let provider = Arc::new(ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.unwrap()], key)
                .unwrap();
            TlsAcceptor::from(Arc::new(config))
        });
        Self::serve(move |stream, _| {
            let (target, tls) = (target.clone(), tls.clone());
            async move {
                match tls {
                    Some(tls) => pass_on(tls.accept(stream).await.unwrap(), &target).await,
                    None => pass_on(stream, &target).await,
                }
            }
        })
        .await
    }

    /// Starts a proxy that tunnels to `target`, or refuses with a status.
    async fn tunnel(target: String, status: &'static str) -> Self {
        Self::serve(move |stream, heads| {
            let target = target.clone();
            async move {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    assert!(stream.read_line(&mut head).await.unwrap() > 0, "{head}");
                }
                heads.lock().unwrap().push(head);
                let answer = format!("HTTP/1.1 {status}\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                if status.starts_with("200") {
                    pass_on(stream, &target).await;
                }
            }
        })
        .await
    }

    async fn serve<Served: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> Served + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (accepted, heads) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let (count, seen) = (Arc::clone(&accepted), Arc::clone(&heads));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&seen)));
            }
        });
        Self { host, accepted, heads }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

async fn pass_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: &str) {
    let mut target = TcpStream::connect(target).await.unwrap();
    drop(copy_bidirectional(&mut stream, &mut target).await);
}

fn variables(pairs: &[(&str, String)]) -> Proxies {
    let of =
        |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    Proxies::of_user(of)
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let (registry, bytes, blob) = registry();
    let relay = Relay::start(registry.host(), None).await;
    let repository = repository(options(), &relay.host);
    for _ in 0..5 {
        assert_eq!(repository.blob_bytes(&blob, 1 << 20).await.unwrap(), bytes);
        assert!(repository.has_blob(&blob).await.unwrap());
    }
    assert_eq!(relay.accepted(), 1);
    // Two transfers at the same time need two.
    let (one, two) = tokio::join!(repository.blob(&blob), repository.blob(&blob));
    drop((one.unwrap(), two.unwrap()));
    assert_eq!(relay.accepted(), 2);
}

#[tokio::test]
async fn a_connection_with_an_unread_response_is_not_used_again() {
    let (registry, _, _) = registry();
    let bytes = noise(2, 20 << 20);
    registry.put_blob("team/app", &bytes);
    let blob = Descriptor::new(None, sha256(&bytes).parse().unwrap(), bytes.len() as u64);
    let relay = Relay::start(registry.host(), None).await;
    let repository = repository(options(), &relay.host);
    let mut stream = repository.blob(&blob).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    drop(stream);
    assert_eq!(repository.blob_bytes(&blob, 32 << 20).await.unwrap(), bytes);
    assert_eq!(relay.accepted(), 2);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_without_a_retry() {
    let (registry, bytes, blob) = registry();
    // Connections end without notice in a header.
    let (target, end) = (registry.host(), Arc::new(Notify::new()));
    let ended = Arc::clone(&end);
    let relay = Relay::serve(move |stream, _| {
        let (target, ended) = (target.clone(), Arc::clone(&ended));
        async move {
            tokio::select! {
                () = pass_on(stream, &target) => {}
                () = ended.notified() => {}
            }
        }
    })
    .await;
    let once = options().retry(Retry::default().attempts(1));
    let repository = repository(once, &relay.host);
    for _ in 0..3 {
        assert_eq!(repository.blob_bytes(&blob, 1 << 20).await.unwrap(), bytes);
        end.notify_waiters();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(relay.accepted(), 3);
}

#[tokio::test]
async fn https_goes_through_a_tunnel_that_shows_the_proxy_no_request() {
    let behaviour = RegistryBehaviour {
        auth: RegistryAuth::Basic { user: "me".into(), password: "hunter2".into() },
        ..RegistryBehaviour::default()
    };
    let registry = TestRegistry::start(behaviour);
    let bytes = noise(1, 1000);
    registry.put_blob("team/app", &bytes);
    let blob = Descriptor::new(None, sha256(&bytes).parse().unwrap(), 1000);
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.certificate()).unwrap();
    let server =
        Relay::start(registry.host(), Some(authority.certify(&["registry.example"]))).await;
    let proxy = Relay::tunnel(server.host.clone(), "200 Connected").await;
    let trust = Trust { authorities: vec![ca], ..Trust::default() };
    let login = Credential::Password { user: "me".into(), password: Secret::new("hunter2") };
    let value = format!("http://user:pass@{}", proxy.host);
    let options = options()
        .trust(trust)
        .credentials(Credentials::given(login))
        .proxies(variables(&[("HTTPS_PROXY", value)]));
    let repository = repository(options, "registry.example");
    for _ in 0..2 {
        assert_eq!(repository.blob_bytes(&blob, 1000).await.unwrap(), bytes);
    }
    let heads = proxy.heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "one tunnel serves all requests");
    let head = heads[0].to_ascii_lowercase();
    assert!(head.starts_with("connect registry.example:443 http/1.1\r\n"), "{head}");
    // `user:pass`, and nothing for the registry.
    assert!(heads[0].contains("Basic dXNlcjpwYXNz"), "{head}");
    assert!(!head.contains("team/app") && head.matches("authorization").count() == 1, "{head}");
    let seen = registry.requests();
    assert!(!seen.is_empty());
    for request in seen {
        assert_eq!(request.headers["host"], "registry.example");
        assert!(!request.headers.contains_key("proxy-authorization"));
        assert!(!request.headers.contains_key("accept-encoding") || request.path.contains("blobs"));
    }
}

#[tokio::test]
async fn a_proxy_without_tls_gets_the_whole_address_and_its_login() {
    let (registry, bytes, blob) = registry();
    let proxy = Relay::start(registry.host(), None).await;
    let value = format!("http://user:pass@{}", proxy.host);
    let all = options().plain_http(true).proxies(variables(&[("HTTP_PROXY", value.clone())]));
    let proxied = repository(all, "registry.example:5000");
    assert_eq!(proxied.blob_bytes(&blob, 1 << 20).await.unwrap(), bytes);
    let seen = registry.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].headers["host"], "registry.example:5000");
    assert_eq!(seen[0].headers["proxy-authorization"], "Basic dXNlcjpwYXNz");
    // An exception is reached without it.
    let pairs = [("HTTP_PROXY", value), ("NO_PROXY", "127.0.0.0/8".to_owned())];
    let direct = repository(options().proxies(variables(&pairs)), &registry.host());
    assert_eq!(direct.blob_bytes(&blob, 1 << 20).await.unwrap(), bytes);
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_none_is_named() {
    let ask = async |value: String| {
        let proxies = variables(&[("HTTPS_PROXY", value)]);
        let repository = repository(options().proxies(proxies), "registry.example");
        repository.tags().await.unwrap_err()
    };
    let proxy = Relay::tunnel(String::new(), "407 Login").await;
    let error = ask(proxy.host.clone()).await;
    assert!(matches!(error.kind, RequestErrorKind::Unreachable { .. }), "{error}");
    let expected = format!("the proxy {} to registry.example:443: login required", proxy.host);
    assert!(error.to_string().contains(&expected), "{error}");
    let error = ask(Relay::tunnel(String::new(), "403 No").await.host).await;
    assert!(error.to_string().contains("connection refused (status 403)"), "{error}");
    let error = ask("socks5://me:secret@127.0.0.1:1".into()).await;
    assert!(error.to_string().contains("variable HTTPS_PROXY: not an HTTP proxy"), "{error}");
    assert!(!error.to_string().contains("secret") && !error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_or_of_a_stranger_is_refused_once() {
    let (registry, _, blob) = registry();
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.certificate()).unwrap();
    for (name, authorities) in [("other.example", vec![ca]), ("registry.example", Vec::new())] {
        let server = Relay::start(registry.host(), Some(authority.certify(&[name]))).await;
        let proxy = Relay::tunnel(server.host.clone(), "200 Connected").await;
        let options = options()
            .trust(Trust { authorities, ..Trust::default() })
            .proxies(variables(&[("HTTPS_PROXY", proxy.host.clone())]));
        let error = repository(options, "registry.example").has_blob(&blob).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{name}: {error}");
        assert!(error.advice().unwrap().contains("--ca FILE"), "{name}: {error}");
        assert_eq!(proxy.accepted(), 1, "{name}: a certificate stays wrong");
    }
    assert_eq!(registry.requests().len(), 0);
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_if_the_user_names_it() {
    let (registry, bytes, blob) = registry();
    let identity = Identity::self_signed(&["registry.example"]);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &identity.certificate).unwrap();
    let server = Relay::start(registry.host(), Some(identity)).await;
    let ask = |host: &'static str, trust: Trust| {
        let server = server.host.clone();
        async move {
            let proxy = Relay::tunnel(server, "200 Connected").await;
            let options =
                options().trust(trust).proxies(variables(&[("HTTPS_PROXY", proxy.host.clone())]));
            repository(options, host).blob_bytes(&blob_of_app(), 1 << 20).await
        }
    };
    let named = || Trust { authorities: vec![ca.clone()], ..Trust::default() };
    assert_eq!(ask("registry.example", named()).await.unwrap(), bytes);
    assert_eq!(ask("other.example", Trust::default().accept_any(true)).await.unwrap(), bytes);
    for (host, trust) in [("other.example", named()), ("registry.example", Trust::default())] {
        let error = ask(host, trust).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{host}: {error}");
    }
    assert_eq!(blob, blob_of_app());
}

/// The blob that [`registry`] has.
fn blob_of_app() -> Descriptor {
    let bytes = noise(1, 100_000);
    Descriptor::new(None, sha256(&bytes).parse().unwrap(), bytes.len() as u64)
}

/// Returns options whose events are collected as text.
fn listening(options: ClientOptions) -> (ClientOptions, Arc<Mutex<Vec<String>>>) {
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&events);
    let listener = EventListener::new(move |event| kept.lock().unwrap().push(event.to_string()));
    (options.events(listener), events)
}

#[tokio::test]
async fn a_silent_registry_is_reported_before_the_client_gives_up() {
    let (registry, bytes, blob) = registry();
    registry.fault("GET", "/blobs/", 1, RegistryFault::Slow(Duration::from_millis(300)));
    let (options, events) = listening(options().quiet(Duration::from_millis(20)));
    let repository = repository(options, &registry.host());
    assert_eq!(repository.blob_bytes(&blob, 1 << 20).await.unwrap(), bytes);
    let events = events.lock().unwrap();
    let said = |part: &str| events.iter().any(|event| event.contains(part));
    assert!(said(&format!("blob {}: no answer for", blob.digest)), "{events:?}");
    assert!(said("GET docker://") && said("status 200"), "{events:?}");
}

#[tokio::test]
async fn a_request_without_an_answer_is_sent_three_times_and_given_up() {
    let (registry, _, blob) = registry();
    registry.fault("*", "", 99, RegistryFault::Slow(Duration::from_secs(5)));
    let (options, events) = listening(
        ClientOptions::default()
            .retry(Retry::default().first(Duration::from_millis(1)))
            .answer(Duration::from_millis(20))
            .idle(Duration::from_millis(100))
            // The registry is on this machine: without this, it is asked for its scheme first.
            .plain_http(true),
    );
    let repository = repository(options, &registry.host());
    let retries = || {
        let mut events = events.lock().unwrap();
        let retries: Vec<String> =
            events.drain(..).filter(|event| event.contains("retrying")).collect();
        retries
    };
    let error = repository.has_blob(&blob).await.unwrap_err();
    // Each attempt waits longer.
    let longest = Duration::from_millis(60);
    assert!(matches!(error.kind, RequestErrorKind::Silent { waited } if waited == longest));
    assert!(error.advice().unwrap().contains("does not answer"), "{error}");
    assert_eq!(repository.client().traffic().requests, 3);
    let said = retries();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("no answer for 20 ms; retrying in 0 ms (attempt 2 of 3)"), "{said:?}");
    assert!(said[1].contains("(attempt 3 of 3)"), "{said:?}");
    // A request that writes waits as long as a transfer.
    let reference = ManifestReference::Tag("v1".parse().unwrap());
    let error = repository.put_manifest(&reference, "application/x", b"{}").await.unwrap_err();
    let longest = Duration::from_millis(100);
    assert!(matches!(error.kind, RequestErrorKind::Silent { waited } if waited == longest));
    assert_eq!((retries().len(), repository.client().traffic().requests), (2, 6));
}

#[tokio::test]
async fn a_registry_that_answered_before_is_tried_longer_than_an_unknown_one() {
    let (registry, bytes, blob) = registry();
    let (options, events) =
        listening(options().retry(Retry::default().first(Duration::from_millis(1))));
    let repository = repository(options, &registry.host());
    let retries = || events.lock().unwrap().iter().filter(|one| one.contains("retrying")).count();
    assert_eq!(repository.blob_bytes(&blob, 1 << 20).await.unwrap(), bytes);
    assert_eq!(retries(), 0);
    // The open connection is reset, and the server accepts no new one.
    registry.fault("HEAD", "", 1, RegistryFault::Reset);
    drop(registry);
    repository.has_blob(&blob).await.unwrap_err();
    assert_eq!(retries(), 6);
    let unknown = Repository::new(repository.client(), "127.0.0.1:1", &"team/app".parse().unwrap());
    unknown.has_blob(&blob).await.unwrap_err();
    assert_eq!(retries(), 8);
}

#[tokio::test]
async fn redirects_end_after_five() {
    let (registry, _, blob) = registry();
    let there = vec![("Location", format!("http://{}/v2/team/app/blobs/x", registry.host()))];
    registry.fault("GET", "/blobs/", 99, RegistryFault::Status(307, there));
    let repository = repository(options(), &registry.host());
    let error = repository.blob_bytes(&blob, 1 << 20).await.unwrap_err();
    assert!(error.to_string().contains("more than 5 redirects"), "{error}");
    let blobs = registry.requests().iter().filter(|seen| seen.path.contains("/blobs/")).count();
    assert_eq!(blobs, 6, "and not tried again");
}

#[tokio::test]
async fn an_upload_is_sent_again_to_the_place_that_a_307_names() {
    let (registry, _, _) = registry();
    let bytes = noise(3, 700_000);
    let blob = Descriptor::new(None, sha256(&bytes).parse().unwrap(), bytes.len() as u64);
    let storage = TestRegistry::start(RegistryBehaviour::default());
    let there = vec![("Location", format!("http://{}/v2/team/app/blobs/x", storage.host()))];
    registry.fault("PUT", "/uploads/", 1, RegistryFault::Status(307, there));
    storage.fault("PUT", "", 1, RegistryFault::Status(201, Vec::new()));
    let repository = repository(options(), &registry.host());
    repository.put_blob(&blob, Arc::new(bytes.clone()), 0, None).await.unwrap();
    let seen = storage.requests();
    assert_eq!((seen.len(), seen[0].received_bytes), (1, bytes.len()));
    assert!(!seen[0].headers.contains_key("authorization"));
}
