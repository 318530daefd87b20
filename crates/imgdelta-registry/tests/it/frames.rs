//! Frames of an image as an artifact: pushed once, found within limits, refused if they are something else.

use imgdelta_core::BlobDigest;
use imgdelta_registry::{
    Client, ClientOptions, FRAMES_TYPE, FramesBlob, Repository, RequestErrorKind, fallback_tag,
};
use imgdelta_testkit::{
    Blobs, Packing, TestImage, noise,
    registry::{RegistryBehaviour, TestRegistry},
    sha256, tar_of,
};
use serde_json::json;

/// A registry with an image; returns the image's digest.
fn scene(behaviour: RegistryBehaviour) -> (TestRegistry, Repository, BlobDigest) {
    let registry = TestRegistry::start(behaviour);
    let image = TestImage::new(vec![tar_of(&[("a", &noise(1, 9000))])], Packing::Gzip);
    let mut blobs = Blobs::default();
    let root = image.store(&mut blobs);
    blobs.tag(root.clone(), "v1");
    registry.put_image("app", &blobs);
    let client = Client::new(ClientOptions::default());
    let repository = Repository::new(&client, &registry.host(), &"app".parse().unwrap());
    (registry, repository, root["digest"].as_str().unwrap().parse().unwrap())
}

fn frames(number: u8) -> (FramesBlob, Vec<u8>) {
    let diff_id = sha256(&[number]).parse().unwrap();
    let bytes = vec![number; 300];
    (FramesBlob::of(diff_id, 9000, &bytes), bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_an_image_are_pushed_once_and_found() {
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let (registry, repository, image) = scene(behaviour);
        assert_eq!(repository.find_frames(&image, 1 << 20).await.unwrap(), []);
        let both = vec![frames(1), frames(2)];
        let first = repository.push_frames(&image, both.clone()).await.unwrap();
        assert_eq!(first.sent_bytes, 600);
        let again = repository.push_frames(&image, both.clone()).await.unwrap();
        assert_eq!((again.artifact, again.sent_bytes), (first.artifact, 0));
        assert_eq!(repository.frames_artifacts(&image).await.unwrap(), [first.artifact]);
        let mut found = repository.find_frames(&image, 1 << 20).await.unwrap();
        found.sort_by_key(|frames| frames.blob.digest != both[0].0.blob.digest);
        assert_eq!(found, [both[0].0.clone(), both[1].0.clone()]);
        assert_eq!(repository.blob_bytes(&found[0].blob, 300).await.unwrap(), both[0].1);
        // A list or manifest above the limit is not downloaded.
        let few = repository.find_frames(&image, 100).await;
        assert!(few.is_err() || few.unwrap().is_empty());
        let missing = sha256(b"missing").parse().unwrap();
        let error = repository.push_frames(&missing, both).await.unwrap_err();
        assert!(matches!(error.kind, RequestErrorKind::NotFound { .. }), "{error}");
        drop(registry);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_that_are_no_frames_are_skipped() {
    let (registry, repository, image) = scene(RegistryBehaviour::without_referrers());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let config = json!({"mediaType": FRAMES_TYPE, "digest": sha256(b"{}"), "size": 2});
    let layer = json!({"mediaType": "application/vnd.imgdelta.frames.v1.layer",
        "digest": sha256(b"x"), "size": 1});
    let mut entries = Vec::new();
    for document in [
        json!({"config": {"mediaType": "a/b", "digest": sha256(b"{}"), "size": 2}, "layers": []}),
        json!({"config": config, "layers": vec![layer.clone(); 5000]}),
        json!({"layers": 5}),
        // Frames without annotations name no layer.
        json!({"config": config, "layers": [layer]}),
    ] {
        let bytes = document.to_string().into_bytes();
        let digest = registry.put_manifest("app", None, kind, &bytes);
        entries.push(json!({"mediaType": kind, "digest": digest, "size": bytes.len(),
            "artifactType": FRAMES_TYPE}));
    }
    let list = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let index = "application/vnd.oci.image.index.v1+json";
    registry.put_manifest("app", Some(fallback_tag(&image).as_str()), index, list.as_bytes());
    assert_eq!(repository.find_frames(&image, 1 << 22).await.unwrap(), []);
    let first: BlobDigest = entries[0]["digest"].as_str().unwrap().parse().unwrap();
    assert!(repository.frames_in(&first).await.is_err());
}
