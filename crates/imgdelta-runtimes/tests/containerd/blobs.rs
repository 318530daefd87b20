//! Compressed blobs that are added to an image which containerd has without them.

use super::*;
use imgdelta_runtimes::containerd::ContainerdBlobSink;
use std::time::Duration;

/// The parts of an image that a sink of blobs takes.
fn blobs_of(image: &Image) -> OutgoingImage {
    let layers = image.layers.iter().map(|layer| layer.descriptor.clone()).collect();
    OutgoingImage::uncompressed(image, layers)
}

/// The blob of a layer, by its place in the image.
fn blob_of(image: &Image, layer: usize) -> Vec<u8> {
    read(image.store().open(&image.layers[layer].descriptor).unwrap())
}

#[test]
fn only_blobs_with_their_digest_are_added_to_an_image_and_only_to_one_that_is_there() {
    let Some(node) = Node::start() else { return };
    let [_, new] = versions();
    let name = node.push(&new, "new");
    let image = node.open_layout("new");
    let sink =
        || ContainerdBlobSink::new(node.connect()).origin("r.test:5000", &"app".parse().unwrap());

    // Without the image there is nothing that keeps the blobs.
    assert!(sink().begin(blobs_of(&image)).is_err());
    assert_eq!(node.leases(), 0);

    node.pull(&name);
    let digest = image.layers[2].descriptor.digest;
    node.containerd.ctr(NAMESPACE, &format!("content rm {digest}"));
    // Until its next collection containerd has the file, and would take it for that of a new write.
    node.collect();
    let check = || node.containerd.ctr(NAMESPACE, "images check");
    assert!(check().contains("incomplete"), "{}", check());
    let mut blobs = sink();
    let there = |blobs: &ContainerdBlobSink, at: usize| {
        blobs.has(&image.layers[at].descriptor, &Silent).unwrap()
    };
    assert!(there(&blobs, 0) && !there(&blobs, 2));
    blobs.begin(blobs_of(&image)).unwrap();
    let blob = blob_of(&image, 2);
    let mut wrong = blob.clone();
    wrong[20] ^= 1;
    assert!(write(&blobs, &blob, &wrong).is_err());
    assert!(!there(&blobs, 2));
    // The blob is missing, so the image is not finished; the lease ends.
    assert!(Box::new(blobs).finish().is_err());
    assert_eq!(node.leases(), 0);
    // containerd ends a write that was left a moment later.
    let patience = Duration::from_secs(60);
    wait_until("the write has ended", patience, || node.containerd.ingest_count() == 0);

    let mut blobs = sink();
    blobs.begin(blobs_of(&image)).unwrap();
    write(&blobs, &blob, &blob).unwrap();
    Box::new(blobs).finish().unwrap();
    assert_eq!(node.leases(), 0);
    node.collect();
    assert!(!check().contains("incomplete"), "{}", check());
    let labels = node.containerd.ctr(NAMESPACE, "content ls");
    let line = labels.lines().find(|line| line.starts_with(&digest.to_string())).unwrap();
    let stream = format!("containerd.io/uncompressed={}", image.layers[2].diff_id);
    assert!(line.contains(&stream) && line.contains("distribution.source.r.test=app"), "{line}");
}

#[test]
fn a_lease_that_is_shorter_than_staging_begins_at_its_end() {
    let Some(node) = Node::start_with(ContainerdProcess::start_for_kubernetes) else { return };
    let [old, new] = versions();
    let names = [node.push(&old, "old"), node.push(&new, "new")];
    node.pull(&names[0]);
    let delta = node.delta("old", "new");
    let base = Image::open(Arc::new(node.store()), Some(&tag(&names[0])), &OpenOptions::default());
    let options = StagingOptions::default().lease_duration(Duration::from_secs(600));
    let sink = ContainerdSink::new(node.connect(), options);
    let status = sink.status();
    node.apply(&delta, base.unwrap(), sink).unwrap();
    let report = status.report();
    assert!(status.is_final());
    // One lease is left, and it keeps all layers.
    let lease = report.lease.unwrap();
    assert_eq!(node.containerd.ctr(NAMESPACE, "leases ls -q").trim(), lease);
    node.collect();
    for chain in chains(&new) {
        assert!(node.connect().has_snapshot(&chain).unwrap());
    }
    let (config, chain) = (report.config.unwrap(), report.chain.unwrap());
    assert!(!node.connect().uses_snapshot(&config, &chain).unwrap());
    node.kubelet_pull(&names[1]);
    assert!(node.connect().uses_snapshot(&config, &chain).unwrap());
    // The pull makes the manifest refer to its blobs, although it did not fetch them.
    let image = node.open_layout("new");
    let blobs: Vec<_> = image.layers.iter().map(|layer| layer.descriptor.digest).collect();
    assert!(node.connect().keeps_blobs(&image.digest, &blobs).unwrap());
    let other = stream_descriptor(b"another blob").digest;
    assert!(!node.connect().keeps_blobs(&image.digest, &[other]).unwrap());
    node.connect().end_lease(&lease).unwrap();
    node.collect();
    assert!(node.connect().has_snapshot(&chain).unwrap());
}
