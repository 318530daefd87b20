//! The protocol against a registry in this process: downloads, uploads, retries.

use imgdelta_core::{BlobDigest, Difference, Error};
use imgdelta_image::store::{Descriptor, source::ReadAt};
use imgdelta_registry::{
    Client, ClientOptions, Credential, Credentials, Manifest, ManifestReference, Repository,
    RequestError, RequestErrorKind, Retry, Secret, UploadOutcome,
    artifact::{ARTIFACT_TYPE, FORMAT_ANNOTATION},
    fallback_tag,
};
use imgdelta_testkit::{
    noise,
    registry::{RegistryAuth, RegistryBehaviour, RegistryFault, TestRegistry},
    sha256,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const TYPE: &str = "application/vnd.example.thing";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn options() -> ClientOptions {
    let retry = Retry::default().attempts(4).first(Duration::from_millis(1));
    ClientOptions::default().retry(retry).idle(Duration::from_secs(10))
}

fn repository(registry: &TestRegistry, options: ClientOptions) -> Repository {
    Repository::new(&Client::new(options), &registry.host(), &"team/app".parse().unwrap())
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(None, sha256(bytes).parse().unwrap(), bytes.len() as u64)
}

fn fetch(repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>, RequestError> {
    run(repository.blob_bytes(blob, 1 << 30))
}

fn password(text: &str) -> Credential {
    Credential::Password { user: "me".into(), password: Secret::new(text) }
}

#[test]
fn a_cut_blob_is_resumed_where_it_ended() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 300_000);
    registry.put_blob("team/app", &bytes);
    let repository = repository(&registry, options());
    registry.fault("GET", "blobs", 1, RegistryFault::Cut(100_000));
    registry.fault("GET", "blobs", 1, RegistryFault::Cut(50_000));
    assert_eq!(fetch(&repository, &descriptor(&bytes)).unwrap(), bytes);
    let ranges: Vec<_> =
        registry.requests().iter().filter_map(|s| s.headers.get("range").cloned()).collect();
    assert_eq!(ranges, ["bytes=100000-", "bytes=150000-"]);
    assert_eq!(registry.sent_bytes("blobs"), bytes.len(), "nothing came twice");
    assert_eq!(repository.client().traffic().received_bytes, bytes.len() as u64);
}

#[test]
fn a_blob_that_makes_progress_may_be_cut_often() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 11 << 20);
    registry.put_blob("team/app", &bytes);
    registry.fault("GET", "blobs", 9, RegistryFault::Cut((1 << 20) + 100));
    let repository = repository(&registry, options());
    assert_eq!(fetch(&repository, &descriptor(&bytes)).unwrap(), bytes);
    assert_eq!(registry.sent_bytes("blobs"), bytes.len());
}

#[test]
fn a_registry_without_ranges_sends_the_whole_blob_again() {
    let registry = TestRegistry::start(RegistryBehaviour {
        serves_ranges: false,
        ..RegistryBehaviour::default()
    });
    let bytes = noise(1, 200_000);
    registry.put_blob("team/app", &bytes);
    registry.fault("GET", "blobs", 1, RegistryFault::Cut(150_000));
    let repository = repository(&registry, options());
    assert_eq!(fetch(&repository, &descriptor(&bytes)).unwrap(), bytes);
    assert_eq!(registry.sent_bytes("blobs"), 350_000);
}

#[test]
fn faults_that_pass_are_waited_out() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 5_000);
    registry.put_blob("team/app", &bytes);
    let repository = repository(&registry, options());
    let after = vec![("Retry-After", "0".to_owned())];
    for fault in [
        RegistryFault::Status(429, after),
        RegistryFault::Status(500, Vec::new()),
        RegistryFault::Status(503, Vec::new()),
        RegistryFault::Reset,
        RegistryFault::Slow(Duration::from_millis(20)),
        RegistryFault::Cut(0),
    ] {
        let shown = format!("{fault:?}");
        registry.fault("GET", "blobs", 2, fault);
        assert_eq!(fetch(&repository, &descriptor(&bytes)).unwrap(), bytes, "{shown}");
    }
}

#[test]
fn a_manifest_is_sent_again_while_its_blobs_are_not_seen() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let repository = repository(&registry, options());
    let put = || {
        let tag = ManifestReference::Tag("v1".parse().unwrap());
        run(repository.put_manifest(&tag, MANIFEST, br#"{"schemaVersion":2}"#))
    };
    let puts = || registry.requests().iter().filter(|seen| seen.method == "PUT").count();
    registry.fault("PUT", "manifests", 2, RegistryFault::Refused(400, "MANIFEST_BLOB_UNKNOWN"));
    put().unwrap();
    assert_eq!(puts(), 3);
    for (code, times) in [("MANIFEST_BLOB_UNKNOWN", 4), ("MANIFEST_INVALID", 1)] {
        registry.forget();
        registry.fault("PUT", "manifests", times, RegistryFault::Refused(400, code));
        let failure = put().unwrap_err();
        assert!(
            matches!(failure.kind, RequestErrorKind::Refused { status: 400, .. }),
            "{failure:?}"
        );
        assert_eq!(puts(), times, "{code}");
    }
}

#[test]
fn lasting_faults_are_given_up_and_reported() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 5_000);
    registry.put_blob("team/app", &bytes);
    let repository = repository(&registry, options());
    registry.fault("GET", "blobs", 9, RegistryFault::Status(503, Vec::new()));
    let failure = fetch(&repository, &descriptor(&bytes)).unwrap_err();
    assert!(
        matches!(failure.kind, RequestErrorKind::Unavailable { status: 503, .. }),
        "{failure:?}"
    );
    assert_eq!(registry.requests().iter().filter(|seen| seen.status == 503).count(), 4);
    let error = Error::from(failure).to_string();
    let place = format!("docker://{}/team/app: blob {}", registry.host(), sha256(&bytes));
    assert_eq!(
        error,
        format!("{place}: the registry is unavailable (status 503): FAULT (by the test)")
    );

    registry.forget();
    registry.fault(
        "GET",
        "blobs",
        9,
        RegistryFault::Status(429, vec![("Retry-After", "900".into())]),
    );
    let failure = fetch(&repository, &descriptor(&bytes)).unwrap_err();
    assert!(failure.to_string().contains("the registry asks to wait 900 s"), "{failure}");
    assert_eq!(
        registry.requests().iter().filter(|seen| seen.status == 429).count(),
        1,
        "not pressed"
    );

    registry.forget();
    registry.fault("GET", "blobs", 99, RegistryFault::Cut(10));
    let failure = fetch(&repository, &descriptor(&bytes)).unwrap_err();
    assert!(matches!(failure.kind, RequestErrorKind::Network { .. }), "{failure:?}");
    assert_eq!(registry.requests().len(), 4, "an endless drip ends");
}

#[test]
fn wrong_bytes_are_refused_and_longer_ones_at_once() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 50_000);
    registry.put_blob("team/app", &bytes);
    let repository = repository(&registry, options());
    let blob = descriptor(&bytes);
    registry.fault("GET", "blobs", 1, RegistryFault::WrongByte);
    let failure = fetch(&repository, &blob).unwrap_err();
    assert!(
        matches!(
            &failure.kind,
            RequestErrorKind::Invalid(Error::Mismatch {
                difference: Difference::Digest { .. },
                ..
            })
        ),
        "{failure:?}"
    );

    registry.fault("GET", "blobs", 1, RegistryFault::Longer(1));
    let failure = fetch(&repository, &blob).unwrap_err();
    assert!(
        matches!(
            &failure.kind,
            RequestErrorKind::Invalid(Error::Mismatch {
                difference: Difference::Size { .. } | Difference::Longer { .. },
                ..
            })
        ),
        "{failure:?}"
    );

    // The registry's blob is shorter than the descriptor; its 416 has a length that it does not send.
    let short = Descriptor { size_bytes: 60_000, ..blob.clone() };
    let failure = fetch(&repository, &short).unwrap_err();
    assert!(
        failure.is_transient() || matches!(failure.kind, RequestErrorKind::Invalid(_)),
        "{failure:?}"
    );
    let over = run(repository.blob_bytes(&blob, 10)).unwrap_err();
    assert!(matches!(over.kind, RequestErrorKind::Invalid(Error::OverLimit { .. })));
}

#[test]
fn a_wrong_content_length_is_a_cut() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 50_000);
    registry.put_blob("team/app", &bytes);
    let repository = repository(&registry, options());
    registry.fault("GET", "blobs", 1, RegistryFault::WrongLength(20_000));
    assert_eq!(fetch(&repository, &descriptor(&bytes)).unwrap(), bytes);
    registry.fault("GET", "blobs", 1, RegistryFault::WrongLength(1 << 40));
    let failure = fetch(&repository, &descriptor(&bytes)).unwrap_err();
    assert!(
        matches!(
            &failure.kind,
            RequestErrorKind::Invalid(Error::Mismatch {
                difference: Difference::Size { .. } | Difference::Longer { .. },
                ..
            })
        ),
        "{failure:?}"
    );
}

#[test]
fn manifests_are_checked_and_bounded() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let manifest = json!({"schemaVersion": 2, "layers": []}).to_string();
    let digest = registry.put_manifest("team/app", Some("v1"), MANIFEST, manifest.as_bytes());
    let repository = repository(&registry, options());
    let tag = ManifestReference::Tag("v1".parse().unwrap());
    let found = run(repository.manifest(&tag)).unwrap();
    assert_eq!(found.descriptor.digest.to_string(), digest);
    assert_eq!(found.descriptor.media_type(), MANIFEST);
    assert_eq!(run(repository.head(&tag)).unwrap().unwrap(), found.descriptor);
    let by_digest = ManifestReference::Digest(found.descriptor.digest);
    assert_eq!(run(repository.manifest(&by_digest)).unwrap(), found);
    for named in [&tag, &by_digest] {
        registry.fault("GET", "manifests", 1, RegistryFault::WrongByte);
        let failure = run(repository.manifest(named)).unwrap_err();
        assert!(
            matches!(failure.kind, RequestErrorKind::Invalid(Error::Mismatch { .. })),
            "{failure:?}"
        );
    }
    registry.fault("GET", "manifests", 1, RegistryFault::Longer(5 << 20));
    let failure = run(repository.manifest(&tag)).unwrap_err();
    assert!(
        matches!(failure.kind, RequestErrorKind::Invalid(Error::OverLimit { .. })),
        "{failure:?}"
    );
    registry.fault("GET", "manifests", 1, RegistryFault::Cut(5));
    assert_eq!(run(repository.manifest(&tag)).unwrap(), found);

    let none = ManifestReference::Tag("v9".parse().unwrap());
    assert_eq!(run(repository.head(&none)).unwrap(), None);
    let failure = run(repository.manifest(&none)).unwrap_err();
    assert!(failure.is_not_found());
    assert!(matches!(Error::from(failure), Error::NotFound { .. }));
}

#[test]
fn tags_come_over_all_pages() {
    let registry =
        TestRegistry::start(RegistryBehaviour { page_entries: 2, ..RegistryBehaviour::default() });
    for tag in ["a", "b", "c", "d", "e"] {
        registry.put_manifest("team/app", Some(tag), MANIFEST, b"{}");
    }
    let repository = repository(&registry, options());
    assert_eq!(run(repository.tags()).unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(registry.requests().len(), 4, "a look at the scheme and three pages");
}

#[test]
fn blobs_are_sent_once_and_mounted_where_they_can_be() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 100_000);
    let source: Arc<dyn ReadAt> = Arc::new([vec![7; 10], bytes.clone()].concat());
    let blob = descriptor(&bytes);
    let repository = repository(&registry, options().chunk_bytes(30_000));
    let put = |from| run(repository.put_blob(&blob, Arc::clone(&source), 10, from)).unwrap();
    assert_eq!(put(None), UploadOutcome::Sent);
    assert_eq!(registry.get("team/app", &sha256(&bytes)).unwrap(), bytes);
    let methods: Vec<_> = registry.requests().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods[1..], ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PUT"]);
    assert_eq!(put(None), UploadOutcome::Present);

    let other = noise(1, 2_000);
    registry.put_blob("other/app", &other);
    let source: Arc<dyn ReadAt> = Arc::new(other.clone());
    let blob = descriptor(&other);
    let outcome =
        run(repository.put_blob(&blob, source, 0, Some(&"other/app".parse().unwrap()))).unwrap();
    assert_eq!(outcome, UploadOutcome::Mounted);
    assert_eq!(registry.get("team/app", &sha256(&other)).unwrap(), other);
}

#[test]
fn a_blob_that_cannot_be_mounted_is_sent() {
    for refused in [None, Some(400), Some(401), Some(403), Some(404), Some(405)] {
        let registry = TestRegistry::start(RegistryBehaviour {
            mounts_blobs: refused.is_some(),
            ..RegistryBehaviour::default()
        });
        let bytes = noise(1, 2_000);
        registry.put_blob("other/app", &bytes);
        if let Some(status) = refused {
            registry.fault("POST", "uploads", 1, RegistryFault::Status(status, Vec::new()));
        }
        let repository = repository(&registry, options());
        let source: Arc<dyn ReadAt> = Arc::new(bytes.clone());
        let blob = descriptor(&bytes);
        let other = "other/app".parse().unwrap();
        let put = repository.put_blob(&blob, source, 0, Some(&other));
        assert_eq!(run(put).unwrap(), UploadOutcome::Sent, "{refused:?}");
        assert_eq!(registry.get("team/app", &sha256(&bytes)).unwrap(), bytes, "{refused:?}");
    }
}

#[test]
fn a_cut_upload_continues_at_the_registrys_count() {
    for fault in [RegistryFault::Lost, RegistryFault::Reset, RegistryFault::Status(500, Vec::new())]
    {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        let bytes = noise(1, 100_000);
        let source: Arc<dyn ReadAt> = Arc::new(bytes.clone());
        let repository = repository(&registry, options().chunk_bytes(40_000));
        let shown = format!("{fault:?}");
        let is_lost = matches!(fault, RegistryFault::Lost);
        registry.fault("PATCH", "uploads", 1, fault.clone());
        registry.fault("PUT", "uploads", 1, fault);
        let outcome = run(repository.put_blob(&descriptor(&bytes), source, 0, None)).unwrap();
        assert_eq!(outcome, UploadOutcome::Sent, "{shown}");
        assert_eq!(registry.get("team/app", &sha256(&bytes)).unwrap(), bytes, "{shown}");
        if is_lost {
            let received: usize = registry.requests().iter().map(|seen| seen.received_bytes).sum();
            assert_eq!(received, bytes.len(), "nothing was sent twice");
        }
    }
}

#[test]
fn a_lost_session_starts_again() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 9_000);
    let source: Arc<dyn ReadAt> = Arc::new(bytes.clone());
    let repository = repository(&registry, options().chunk_bytes(4_000));
    registry.fault("PATCH", "uploads", 1, RegistryFault::Status(404, Vec::new()));
    registry.fault("GET", "uploads", 1, RegistryFault::Status(404, Vec::new()));
    run(repository.put_blob(&descriptor(&bytes), source, 0, None)).unwrap();
    assert_eq!(registry.get("team/app", &sha256(&bytes)).unwrap(), bytes);
}

#[test]
fn passwords_are_sent_when_asked_for() {
    let auth = RegistryAuth::Basic { user: "me".into(), password: "hunter2".into() };
    let registry = TestRegistry::start(RegistryBehaviour { auth, ..RegistryBehaviour::default() });
    let bytes = noise(1, 10);
    registry.put_blob("team/app", &bytes);
    let knows = options().credentials(Credentials::given(password("hunter2")));
    assert_eq!(fetch(&repository(&registry, knows), &descriptor(&bytes)).unwrap(), bytes);
    for (credentials, is_known) in
        [(Credentials::none(), false), (Credentials::given(password("swordfish")), true)]
    {
        let repository = repository(&registry, options().credentials(credentials));
        let failure = fetch(&repository, &descriptor(&bytes)).unwrap_err();
        let is_right = match failure.kind {
            RequestErrorKind::CredentialsMissing { status: 401, .. } => !is_known,
            RequestErrorKind::CredentialsRejected { status: 401, .. } => is_known,
            _ => false,
        };
        assert!(is_right, "{failure:?}");
        let shown = format!("{failure} {failure:?} {repository:?}");
        assert!(!shown.contains("swordfish") && !shown.contains("c3dvcmRmaXNo"), "{shown}");
        assert!(failure.advice().unwrap().contains("log in"));
    }
}

#[test]
fn tokens_are_requested_cached_and_renewed() {
    let user = Some(("me".to_owned(), "hunter2".to_owned()));
    let auth = RegistryAuth::Bearer { user, uses: 3 };
    let registry = TestRegistry::start(RegistryBehaviour { auth, ..RegistryBehaviour::default() });
    let bytes = noise(1, 10);
    registry.put_blob("team/app", &bytes);
    let knows = options().credentials(Credentials::given(password("hunter2")));
    let repository = repository(&registry, knows);
    for _ in 0..7 {
        assert_eq!(fetch(&repository, &descriptor(&bytes)).unwrap(), bytes);
    }
    let tokens = || registry.requests().iter().filter(|seen| seen.path == "/token").count();
    assert_eq!(tokens(), 3, "each is good for three requests");
    // A write needs another scope, and so another token.
    let source: Arc<dyn ReadAt> = Arc::new(noise(1, 20));
    run(repository.put_blob(&descriptor(&noise(1, 20)), source, 0, None)).unwrap();
    assert_eq!(tokens(), 4);
    let shown = format!("{repository:?}");
    assert!(!shown.contains("sesame") && !shown.contains("hunter2"), "{shown}");

    let anonymous = repository_without(&registry);
    let failure = fetch(&anonymous, &descriptor(&bytes)).unwrap_err();
    assert!(matches!(failure.kind, RequestErrorKind::CredentialsMissing { .. }), "{failure:?}");
    assert!(failure.to_string().starts_with("token for blob"), "{failure}");
}

fn repository_without(registry: &TestRegistry) -> Repository {
    repository(registry, options())
}

#[test]
fn secrets_go_only_to_the_registry() {
    let auth = RegistryAuth::Basic { user: "me".into(), password: "hunter2".into() };
    let registry = TestRegistry::start(RegistryBehaviour { auth, ..RegistryBehaviour::default() });
    let stranger = TestRegistry::start(RegistryBehaviour::default());
    let bytes = noise(1, 10);
    registry.put_blob("team/app", &bytes);
    stranger.put_blob("team/app", &bytes);
    let knows = options().credentials(Credentials::given(password("hunter2")));
    let repository = repository(&registry, knows);
    let there = format!("http://{}/v2/team/app/blobs/{}", stranger.host(), sha256(&bytes));
    fetch(&repository, &descriptor(&bytes)).unwrap();
    registry.fault("GET", "blobs", 1, RegistryFault::Status(307, vec![("Location", there)]));
    assert_eq!(fetch(&repository, &descriptor(&bytes)).unwrap(), bytes);
    let seen = stranger.requests();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].headers.contains_key("authorization"));

    // Never to another machine without TLS, for a redirect or for a token.
    registry.forget();
    let far = vec![("Location", "http://registry.example/x".to_owned())];
    registry.fault("GET", "blobs", 9, RegistryFault::Status(307, far));
    let failure = fetch(&repository, &descriptor(&bytes)).unwrap_err();
    assert!(failure.to_string().contains("without TLS"), "{failure}");
    assert_eq!(registry.requests().len(), 1, "asked once, as it would lead there again");
    registry.forget();
    let realm = r#"Bearer realm="http://tokens.example/t",service="s""#.to_owned();
    registry.fault(
        "GET",
        "blobs",
        9,
        RegistryFault::Status(401, vec![("WWW-Authenticate", realm)]),
    );
    let failure = fetch(&repository, &descriptor(&bytes)).unwrap_err();
    assert!(failure.to_string().contains("without TLS"), "{failure}");
}

fn image(registry: &TestRegistry) -> BlobDigest {
    let bytes = json!({"schemaVersion": 2, "layers": []}).to_string();
    registry.put_manifest("team/app", Some("v1"), MANIFEST, bytes.as_bytes()).parse().unwrap()
}

fn artifact(registry: &TestRegistry, subject: &BlobDigest, kind: &str, note: &str) -> Manifest {
    let config = registry.put_blob("team/app", b"{}");
    let document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": {"mediaType": kind, "digest": config, "size": 2}, "layers": [],
        "subject": {"mediaType": MANIFEST, "digest": subject.to_string(), "size": 1},
        "annotations": {"note": note},
    });
    let bytes = document.to_string().into_bytes();
    let mut descriptor = descriptor(&bytes);
    descriptor.media_type = Some(MANIFEST.into());
    Manifest { descriptor, bytes }
}

fn notes(repository: &Repository, subject: &BlobDigest) -> Vec<String> {
    let found = run(repository.referrers(subject, TYPE)).unwrap();
    let mut notes: Vec<String> = found.iter().map(|r| r.annotations["note"].clone()).collect();
    notes.sort();
    notes
}

#[test]
fn referrers_are_found_on_all_pages_with_or_without_a_list_of_the_registry() {
    let all = RegistryBehaviour::default();
    for behaviour in [
        all.clone(),
        RegistryBehaviour { filters_referrers: false, ..all.clone() },
        RegistryBehaviour { page_entries: 1, ..all.clone() },
        RegistryBehaviour { reports_subject: false, ..all },
        RegistryBehaviour::without_referrers(),
    ] {
        let shown = format!("{behaviour:?}");
        let has_list = behaviour.reports_subject;
        let registry = TestRegistry::start(behaviour);
        let subject = image(&registry);
        let repository = repository(&registry, options());
        assert_eq!(notes(&repository, &subject), [""; 0], "{shown}");
        for (kind, note) in [(TYPE, "a"), ("other/type", "x"), (TYPE, "b")] {
            let manifest = artifact(&registry, &subject, kind, note);
            run(repository.attach(&manifest, &subject)).unwrap();
            run(repository.attach(&manifest, &subject)).unwrap();
        }
        assert_eq!(notes(&repository, &subject), ["a", "b"], "{shown}");
        let list = registry.get("team/app", fallback_tag(&subject).as_str());
        assert_eq!(list.is_none(), has_list, "{shown}: the tag is for registries without a list");
        let gone = artifact(&registry, &subject, TYPE, "a");
        run(repository.detach(&gone.descriptor.digest, &subject)).unwrap();
        assert_eq!(notes(&repository, &subject), ["b"], "{shown}");
        if let Some(list) = registry.get("team/app", fallback_tag(&subject).as_str()) {
            let list: Value = serde_json::from_slice(&list).unwrap();
            assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
        }
    }
}

#[test]
fn a_foreign_list_is_kept_as_it_is_and_added_to() {
    let registry = TestRegistry::start(RegistryBehaviour::without_referrers());
    let subject = image(&registry);
    let foreign =
        json!({"mediaType": MANIFEST, "digest": sha256(b"f"), "size": 1, "own": {"x": 1}});
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [foreign], "extra": 7});
    let tag = fallback_tag(&subject);
    registry.put_manifest("team/app", Some(tag.as_str()), INDEX, list.to_string().as_bytes());
    let repository = repository(&registry, options());
    let mine = artifact(&registry, &subject, TYPE, "a");
    run(repository.attach(&mine, &subject)).unwrap();
    let list: Value =
        serde_json::from_slice(&registry.get("team/app", tag.as_str()).unwrap()).unwrap();
    assert_eq!((&list["extra"], &list["manifests"][0]), (&json!(7), &foreign));
    assert_eq!(list["manifests"][1]["digest"], mine.descriptor.digest.to_string());
    assert_eq!(list["manifests"][1]["artifactType"], TYPE);

    // Anything else under that tag is not replaced.
    registry.put_manifest("team/app", Some(tag.as_str()), INDEX, b"[]");
    let other = artifact(&registry, &subject, TYPE, "b");
    let failure = run(repository.attach(&other, &subject)).unwrap_err();
    assert!(failure.to_string().contains("left alone"), "{failure}");
    assert_eq!(registry.get("team/app", tag.as_str()).unwrap(), b"[]");
}

#[test]
fn an_entry_without_its_type_counts_by_our_annotations_and_gets_the_type_again() {
    let registry = TestRegistry::start(RegistryBehaviour::without_referrers());
    let subject = image(&registry);
    let repository = repository(&registry, options());
    let tag = fallback_tag(&subject);
    let listed = || run(repository.referrers(&subject, ARTIFACT_TYPE)).unwrap();
    let mut document: Value = {
        let other = artifact(&registry, &subject, ARTIFACT_TYPE, "a");
        serde_json::from_slice(&other.bytes).unwrap()
    };
    document["annotations"][FORMAT_ANNOTATION] = json!("1.0");
    let bytes = document.to_string().into_bytes();
    let digest = sha256(&bytes).parse().unwrap();
    let descriptor = Descriptor::new(Some(MANIFEST), digest, bytes.len() as u64);
    let delta = Manifest { descriptor, bytes };
    run(repository.attach(&delta, &subject)).unwrap();

    // As skopeo 1.9.3 copies a list.
    let get = || -> Value {
        serde_json::from_slice(&registry.get("team/app", tag.as_str()).unwrap()).unwrap()
    };
    let mut list = get();
    let entry = list["manifests"][0].as_object_mut().unwrap();
    assert!(entry.remove("artifactType").is_some());
    let foreign = json!({"mediaType": MANIFEST, "digest": sha256(b"f"), "size": 1});
    list["manifests"].as_array_mut().unwrap().push(foreign.clone());
    registry.put_manifest("team/app", Some(tag.as_str()), INDEX, list.to_string().as_bytes());
    let found = listed();
    assert_eq!(found.len(), 1, "the entry of another tool is not a delta");
    assert_eq!(found[0].descriptor.digest, digest);
    assert!(!found[0].states_type());
    assert!(run(repository.referrers(&subject, TYPE)).unwrap().is_empty());
    run(repository.attach(&delta, &subject)).unwrap();
    assert!(listed()[0].states_type());
    assert_eq!(get()["manifests"][1], foreign);

    // Without --all it leaves one of the manifests under the tag.
    registry.put_manifest("team/app", Some(tag.as_str()), MANIFEST, &delta.bytes);
    let found = listed();
    assert_eq!((found.len(), found[0].descriptor.digest), (1, digest));
    let other = artifact(&registry, &subject, TYPE, "b");
    run(repository.attach(&other, &subject)).unwrap();
    let list = get();
    let digests: Vec<&Value> =
        list["manifests"].as_array().unwrap().iter().map(|entry| &entry["digest"]).collect();
    let expected = [&delta, &other].map(|manifest| json!(manifest.descriptor.digest.to_string()));
    assert_eq!(digests, expected.iter().collect::<Vec<_>>());

    // A manifest of another image stays.
    let mut stranger = document;
    stranger["subject"]["digest"] = json!(sha256(b"another image"));
    let stranger = stranger.to_string();
    registry.put_manifest("team/app", Some(tag.as_str()), MANIFEST, stranger.as_bytes());
    assert!(listed().is_empty());
    let failure = run(repository.attach(&other, &subject)).unwrap_err();
    assert!(failure.to_string().contains("left alone"), "{failure}");
    assert_eq!(registry.get("team/app", tag.as_str()).unwrap(), stranger.as_bytes());
}

#[test]
fn a_list_written_over_by_another_is_written_again() {
    let registry = TestRegistry::start(RegistryBehaviour::without_referrers());
    let subject = image(&registry);
    let repository = repository(&registry, options());
    let mine = artifact(&registry, &subject, TYPE, "a");
    let tag = fallback_tag(&subject);
    // The registry accepts it and stores nothing, as if another client had been quicker.
    registry.fault("PUT", &format!("manifests/{tag}"), 1, RegistryFault::Status(201, Vec::new()));
    run(repository.attach(&mine, &subject)).unwrap();
    let list: Value =
        serde_json::from_slice(&registry.get("team/app", tag.as_str()).unwrap()).unwrap();
    assert_eq!(list["manifests"][0]["digest"], mine.descriptor.digest.to_string());
}

#[test]
fn an_unreachable_host_is_an_error_with_advice() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let host = registry.host();
    drop(registry);
    let repository = Repository::new(&Client::new(options()), &host, &"team/app".parse().unwrap());
    let failure = fetch(&repository, &descriptor(b"x")).unwrap_err();
    assert!(matches!(failure.kind, RequestErrorKind::Unreachable { .. }), "{failure:?}");
    assert!(failure.to_string().contains("refused"), "{failure}");
    assert!(failure.advice().unwrap().contains("network"));
}
