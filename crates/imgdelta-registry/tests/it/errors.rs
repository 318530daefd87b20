//! Errors keep their kind from a registry through a store, `diff` and `pull`, and name the next step.

use imgdelta::{Error, Reference, Result, Session};
use imgdelta_image::store::{Descriptor, source::ReadAt};
use imgdelta_registry::{
    ClientOptions, Credential, Credentials, PullOptions, PushOptions, Registries, Repository,
    RequestErrorKind, Retry, Secret, advice,
};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, noise,
    registry::{RegistryAuth, RegistryBehaviour, RegistryFault, TestRegistry},
    sha256, tar_of,
};
use serde_json::json;
use std::{io, sync::Arc, time::Duration};
use tempfile::TempDir;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// An image of one layer that was made at a date, and the digest of that layer's blob.
fn image(seed: u64, created: &str) -> (Blobs, String) {
    let image = TestImage::new(vec![tar_of(&[("file", &noise(seed, 50_000))])], Packing::Gzip);
    let mut blobs = Blobs::default();
    let layer = blobs.add(LAYER_TYPE, Packing::Gzip.pack(&image.layers[0]));
    let mut config = image.config();
    config["created"] = json!(created);
    let config = blobs.add_json(CONFIG_TYPE, &config);
    let manifest = blobs.add_manifest(&config, std::slice::from_ref(&layer));
    blobs.tag(manifest, "v1");
    (blobs, layer["digest"].as_str().unwrap().to_owned())
}

/// A local image `old`, and a newer image in a registry.
struct Scene {
    dir: TempDir,
    registry: TestRegistry,
    registries: Registries,
    session: Session,
    layer: String,
}

impl Scene {
    fn new(auth: RegistryAuth, credentials: Credentials) -> Self {
        let registry =
            TestRegistry::start(RegistryBehaviour { auth, ..RegistryBehaviour::default() });
        let dir = tempfile::tempdir().unwrap();
        image(1, "2023-01-01T00:00:00Z").0.write_layout(&dir.path().join("old"));
        let (new, layer) = image(2, "2024-01-01T00:00:00Z");
        registry.put_image("team/app", &new);
        let retry = Retry::default().attempts(2).first(Duration::from_millis(1));
        let options = ClientOptions::default().retry(retry).credentials(credentials);
        let registries = Registries::new(options).unwrap();
        let session = registries.attach(Session::new(dir.path()).unwrap().threads(1).unwrap());
        Self { dir, registry, registries, session, layer }
    }

    fn open_to_all() -> Self {
        Self::new(RegistryAuth::None, Credentials::none())
    }

    fn local(&self, name: &str) -> Reference {
        format!("oci:{}/{name}", self.dir.path().display()).parse().unwrap()
    }

    fn remote(&self) -> Reference {
        format!("docker://{}/team/app:v1", self.registry.host()).parse().unwrap()
    }

    fn pull(&self, base: &Reference, options: &PullOptions) -> Result<()> {
        let (source, output) = (self.remote(), self.local("out:v1"));
        let base = std::slice::from_ref(base);
        self.registries.pull(&self.session, &source, base, &output, options).map(drop)
    }

    /// The errors of a diff and of a pull.
    fn errors(&self) -> [Error; 2] {
        let old = self.local("old");
        let diff = self.session.diff(&old, &self.remote()).unwrap_err();
        let pull = self.pull(&old, &PullOptions::default()).unwrap_err();
        [diff, pull]
    }
}

#[test]
fn a_missing_blob_is_not_found() {
    let scene = Scene::open_to_all();
    scene.registry.remove("team/app", &scene.layer);
    for error in scene.errors() {
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("blob {}", scene.layer)), "{error}");
    }
}

#[test]
fn a_wrong_blob_is_a_mismatch() {
    for fault in [RegistryFault::WrongByte, RegistryFault::Longer(9)] {
        let scene = Scene::open_to_all();
        scene.registry.fault("GET", &scene.layer, 99, fault.clone());
        for error in scene.errors() {
            assert!(matches!(error, Error::Mismatch { .. }), "{fault:?}: {error:?}");
        }
    }
}

#[test]
fn a_manifest_above_the_limit_is_over_limit() {
    let scene = Scene::open_to_all();
    scene.registry.fault("GET", "manifests", 99, RegistryFault::Longer(5 << 20));
    for error in scene.errors() {
        assert!(matches!(error, Error::OverLimit { limit: 4_194_304, .. }), "{error:?}");
    }
}

#[test]
fn a_connection_that_breaks_while_a_layer_is_read_is_an_io_error_of_the_registry() {
    let scene = Scene::open_to_all();
    scene.registry.fault("GET", &scene.layer, 99, RegistryFault::Cut(1000));
    for error in scene.errors() {
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert!(advice(&error).unwrap().contains("network"), "{error}");
        let start = format!("docker://{}/team/app: blob {}", scene.registry.host(), scene.layer);
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

#[test]
fn missing_and_wrong_logins_have_different_advice() {
    let wrong = Credential::Password { user: "me".into(), password: Secret::new("wrong") };
    for (credentials, text, hint) in [
        (Credentials::none(), "login required (status 401)", "log in to the registry first"),
        (Credentials::given(wrong), "wrong user or password", "log in to the registry again"),
    ] {
        let login = ("me".to_owned(), "secret".to_owned());
        for auth in [
            RegistryAuth::Basic { user: login.0.clone(), password: login.1.clone() },
            RegistryAuth::Bearer { user: Some(login.clone()), uses: 9 },
        ] {
            let scene = Scene::new(auth, credentials.clone());
            for error in scene.errors() {
                let Error::Io { source, .. } = &error else { panic!("{error:?}") };
                assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
                assert!(error.to_string().contains(text), "{error}");
                assert!(advice(&error).unwrap().contains(hint), "{error}");
            }
        }
    }
}

#[test]
fn a_login_without_permission_is_forbidden() {
    let right = Credential::Password { user: "me".into(), password: Secret::new("secret") };
    let auth = RegistryAuth::Basic { user: "me".into(), password: "secret".into() };
    let scene = Scene::new(auth, Credentials::given(right));
    scene.session.open(&scene.remote()).unwrap();
    scene.registry.fault("GET", &scene.layer, 99, RegistryFault::Status(403, Vec::new()));
    for error in scene.errors() {
        assert!(error.to_string().contains("access denied (status 403)"), "{error}");
        assert!(advice(&error).unwrap().contains("another account"), "{error}");
    }
}

#[test]
fn a_rollback_to_a_newer_image_is_refused_and_says_how_to_pull_it() {
    let scene = Scene::open_to_all();
    let options = PullOptions::default().rollback(true);
    let error = scene.pull(&scene.local("old"), &options).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::BadInput { .. }), "{text}");
    assert!(text.contains("made 2024-01-01T00:00:00Z, is newer than the base"), "{text}");
    assert!(text.ends_with("drop --rollback to pull it anyway"), "{text}");
    assert!(scene.registry.requests().iter().all(|seen| !seen.path.contains(&scene.layer)));
}

#[test]
fn a_base_in_a_registry_is_refused() {
    let scene = Scene::open_to_all();
    let error = scene.pull(&scene.remote(), &PullOptions::default()).unwrap_err();
    assert!(error.to_string().contains("a base must be on this machine"), "{error}");
}

#[test]
fn a_push_of_a_delta_for_another_digest_is_refused() {
    let scene = Scene::open_to_all();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/small/small.imgdelta");
    let delta = scene.session.open_delta(path).unwrap();
    let text = format!("docker://{}/team/app@{}", scene.registry.host(), sha256(b"another"));
    let target = text.parse().unwrap();
    let error = scene.registries.push(&delta, &target, &PushOptions::default()).unwrap_err();
    assert!(error.to_string().contains("the delta makes another image"), "{error}");
    assert!(scene.registry.requests().is_empty());
}

/// A local file that cannot be read after its first bytes.
#[derive(Debug)]
struct FailingFile;

impl ReadAt for FailingFile {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, "disk is gone"))
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(1000)
    }
}

#[tokio::test]
async fn a_local_file_that_fails_during_an_upload_is_reported_at_once() {
    let scene = Scene::open_to_all();
    let repository = Repository::new(
        scene.registries.client(),
        &scene.registry.host(),
        &"team/app".parse().unwrap(),
    );
    let blob = Descriptor::new(None, sha256(b"anything").parse().unwrap(), 1000);
    let failure = repository.put_blob(&blob, Arc::new(FailingFile), 0, None).await.unwrap_err();
    assert!(
        matches!(&failure.kind, RequestErrorKind::Invalid(Error::Io { source, .. })
            if source.kind() == io::ErrorKind::StaleNetworkFileHandle),
        "{failure:?}"
    );
    let error = Error::from(failure).to_string();
    assert!(error.starts_with("local file for upload of blob"), "{error}");
    assert_eq!(scene.registry.requests().iter().filter(|seen| seen.method == "POST").count(), 1);
}
