//! A hostile network: servers that lead elsewhere, send slowly, or list strange names.

use imgdelta_image::store::Descriptor;
use imgdelta_registry::{
    Client, ClientOptions, Credential, Credentials, ManifestReference, Repository, RequestError,
    RequestErrorKind, Retry, Secret,
};
use imgdelta_testkit::{
    noise,
    registry::{RegistryBehaviour, RegistryFault, TestRegistry},
    sha256,
};
use std::{fmt::Debug, time::Duration};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn options() -> ClientOptions {
    ClientOptions::default().retry(Retry::default().attempts(4).first(Duration::from_millis(1)))
}

fn repository(registry: &TestRegistry, options: ClientOptions) -> Repository {
    Repository::new(&Client::new(options), &registry.host(), &"team/app".parse().unwrap())
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(None, sha256(bytes).parse().unwrap(), bytes.len() as u64)
}

fn too_slow<T: Debug>(outcome: Result<T, RequestError>) -> u64 {
    let error = outcome.unwrap_err();
    let RequestErrorKind::TooSlow { server, bytes, .. } = &error.kind else { panic!("{error:?}") };
    assert_eq!(server, "127.0.0.1");
    assert!(error.to_string().contains("127.0.0.1 is too slow: "), "{error}");
    assert!(error.to_string().contains("bytes a second are required"), "{error}");
    assert!(!error.is_transient() && error.advice().unwrap().contains("too slow"));
    *bytes
}

#[test]
fn a_document_that_drips_is_given_up() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[],"x":"{}"}}"#, "y".repeat(100_000));
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let digest = registry.put_manifest("team/app", Some("v1"), kind, manifest.as_bytes());
    let config = registry.put_blob("team/app", &noise(1, 100_000));
    let drip = |path: &str| {
        registry.forget();
        registry.fault("GET", path, 99, RegistryFault::Drip(Duration::from_millis(2)));
        repository(&registry, options().document_wait(Duration::from_millis(100)))
    };
    let tag = ManifestReference::Tag("v1".parse().unwrap());
    for path in ["/manifests/", "/referrers/", "/tags/", "/_catalog", "/blobs/"] {
        let repository = drip(path);
        let bytes = match path {
            "/manifests/" => too_slow(run(repository.manifest(&tag))),
            "/referrers/" => {
                let digest = digest.parse().unwrap();
                // Entries make the list long.
                for number in 0..300 {
                    let text = format!(
                        r#"{{"schemaVersion":2,"layers":[],"n":{number},"artifactType":"a/b",
                        "subject":{{"digest":"{digest}"}}}}"#
                    );
                    registry.put_manifest("team/app", None, kind, text.as_bytes());
                }
                too_slow(run(repository.referrers(&digest, "a/b")))
            }
            "/tags/" => {
                for number in 0..5000 {
                    let tag = format!("tag-{number}");
                    registry.put_manifest("team/app", Some(&tag), kind, b"{}");
                }
                too_slow(run(repository.tags()))
            }
            "/_catalog" => {
                for number in 0..5000 {
                    registry.put_manifest(&format!("team/{number}"), None, kind, b"{}");
                }
                too_slow(run(repository.client().repositories(&registry.host())))
            }
            _ => {
                let blob = Descriptor::new(None, config.parse().unwrap(), 100_000);
                too_slow(run(repository.blob_bytes(&blob, 1 << 20)))
            }
        };
        assert!(bytes < 50_000, "{path}: {bytes}");
        let seen = registry.requests();
        let count = seen.iter().filter(|seen| seen.path.contains(path)).count();
        assert_eq!(count, 1, "{path}: another attempt would be as slow");
    }
}

#[test]
fn a_blob_that_drips_is_given_up() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 100_000);
    registry.put_blob("team/app", &bytes);
    registry.fault("GET", "/blobs/", 99, RegistryFault::Drip(Duration::from_millis(3)));
    let repository = repository(&registry, options().blob_window(Duration::from_millis(60)));
    let outcome = run(async {
        let mut stream = repository.blob(&descriptor(&bytes)).await?;
        while stream.next().await?.is_some() {}
        Ok(())
    });
    assert!(too_slow(outcome) < 1000);
    let seen = registry.requests();
    assert_eq!(seen.iter().filter(|seen| seen.path.contains("/blobs/")).count(), 1);
}

#[test]
fn a_token_request_follows_no_redirect() {
    let [registry, tokens, thief] =
        [(); 3].map(|()| TestRegistry::start(RegistryBehaviour::default()));
    let bytes = noise(1, 10);
    registry.put_blob("team/app", &bytes);
    let realm = format!(r#"Bearer realm="http://{}/token",service="s""#, tokens.host());
    let challenge = vec![("WWW-Authenticate", realm)];
    registry.fault("*", "/blobs/", 99, RegistryFault::Status(401, challenge));
    let password = Credential::Password { user: "me".into(), password: Secret::new("hunter2") };
    for credential in [password, Credential::Identity(Secret::new("hunter2"))] {
        for status in [301, 302, 303, 307, 308] {
            tokens.forget();
            let there = vec![("Location", format!("http://{}/token", thief.host()))];
            tokens.fault("*", "/token", 99, RegistryFault::Status(status, there));
            let knows = options().credentials(Credentials::given(credential.clone()));
            let repository = repository(&registry, knows);
            let error = run(repository.blob_bytes(&descriptor(&bytes), 100)).unwrap_err();
            let text = error.to_string();
            let expected = format!("the token server http://{} redirects", tokens.host());
            assert!(text.contains(&expected), "{status}: {text}");
            assert!(!error.is_transient() && !text.contains("hunter2"), "{text}");
            assert_eq!((tokens.requests().len(), thief.requests().len()), (1, 0), "{status}");
        }
    }
}

#[test]
fn a_redirect_to_an_address_that_the_registry_is_not_at_makes_no_request() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 10);
    registry.put_blob("team/app", &bytes);
    // The registry is on this machine, and may lead to it; never without TLS to another machine.
    for (place, reason) in [
        ("http://registry.example/x", "without TLS"),
        ("http://10.0.0.1/x", "without TLS"),
        ("ftp://x/", "without TLS"),
        // Not followed by any HTTP client.
        ("file:///etc/passwd", "status 307"),
    ] {
        registry.forget();
        let there = vec![("Location", place.to_owned())];
        registry.fault("GET", "/blobs/", 99, RegistryFault::Status(307, there));
        let repository = repository(&registry, options());
        let error = run(repository.blob_bytes(&descriptor(&bytes), 100)).unwrap_err();
        assert!(error.to_string().contains(reason), "{place}: {error}");
        let blobs = registry.requests().iter().filter(|r| r.path.contains("/blobs/")).count();
        assert_eq!(blobs, 1, "{place}: asked once, as it would lead there again");
    }
}

#[test]
fn an_upload_address_without_tls_on_another_machine_gets_nothing() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let there = vec![("Location", "http://10.0.0.1/v1/kv?x=1".to_owned())];
    registry.fault("POST", "/uploads/", 99, RegistryFault::Status(202, there));
    let bytes = noise(1, 10);
    let source = std::sync::Arc::new(bytes.clone());
    let put = repository(&registry, options());
    let error = run(put.put_blob(&descriptor(&bytes), source, 0, None)).unwrap_err();
    assert!(
        error.to_string().contains("leads to http://10.0.0.1, an address without TLS"),
        "{error}"
    );
    assert!(registry.requests().iter().all(|seen| seen.method != "PUT"));
}

#[test]
fn entries_of_a_catalog_that_are_not_names_are_ignored() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    for name in [
        "team/app",
        "web/../../admin?x=",
        "Team/app",
        "//127.0.0.1:1/x",
        "http://127.0.0.1/x",
        "a#b",
        "a%2eb",
        "a\u{7}b",
        "",
        "other",
    ] {
        registry.put_manifest(name, Some("v1"), kind, b"{}");
    }
    registry.put_manifest("team/app", Some("not a tag"), kind, b"{}");
    let repository = repository(&registry, options());
    let list = run(repository.client().repositories(&registry.host())).unwrap();
    assert_eq!(list.names, ["other", "team/app"]);
    assert_eq!(list.ignored_entries, 8);
    assert_eq!(run(repository.tags()).unwrap(), ["v1"]);
}

#[test]
fn a_host_that_is_none_makes_no_request() {
    let name = "team/app".parse().unwrap();
    for host in ["user@127.0.0.1:1", "127.0.0.1:1/x?", "r#", "http://127.0.0.1:1", ""] {
        let client = Client::new(options());
        let repository = Repository::new(&client, host, &name);
        let error = run(repository.tags()).unwrap_err();
        assert!(error.to_string().contains("not a host"), "{host}: {error}");
        assert_eq!(client.traffic().requests, 0);
    }
}
