//! A real containerd that discards blobs, and pulled its first image as it does without a mirror.
//! The frames of that image come from the registry.

use super::*;
use crate::containerd::{NAMESPACE, Node, discarding_containerd};
use imgdelta_core::progress::Silent;
use imgdelta_frames::frames_of;
use imgdelta_registry::{Client, FramesBlob, Repository};
use imgdelta_testkit::wait_until;

/// Frames of a layer, with their description.
type Frames = (FramesBlob, Vec<u8>);

/// Returns the frames that the registry has for an image.
type FramesSource = dyn Fn(&Image) -> Vec<Frames>;

/// Returns the frames of all layers of an image.
fn all_frames(image: &Image) -> Vec<Frames> {
    let frames =
        image.layers.iter().map(|layer| frames_of(image, layer, &Silent).unwrap().unwrap());
    frames
        .map(|frames| {
            let blob = FramesBlob::of(frames.diff_id, frames.stream_bytes, &frames.bytes);
            (blob, frames.bytes)
        })
        .collect()
}

/// Starts a node that has pulled the older version, and whose blobs are discarded. The registry has
/// these frames of it.
fn node_with(frames: impl Fn(&Image) -> Vec<Frames>) -> Option<Node> {
    let node = Node::start_empty("none", discarding_containerd)?;
    let client = Client::new(ClientOptions::default());
    let repository = Repository::new(&client, &node.registry.host(), &"demo/app".parse().unwrap());
    let old = node.image(0);
    let frames = frames(&old);
    if !frames.is_empty() {
        let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        threads.block_on(repository.push_frames(&old.digest, frames)).unwrap();
    }
    node.pull(0);
    let layer = old.layers[1].descriptor.digest.to_string();
    let content = || node.containerd.ctr(NAMESPACE, "content ls -q");
    wait_until("the layer is discarded", Duration::from_secs(60), || !content().contains(&layer));
    Some(node)
}

/// Returns the blobs that anybody fetched from the registry since a line of its log.
fn fetched(node: &Node, before: usize) -> Vec<String> {
    let requests = node.registry.requests(before).into_iter();
    let blobs = requests.filter(|request| request.method == "GET");
    blobs.filter_map(|request| Some(request.path.split_once("/blobs/")?.1.to_owned())).collect()
}

fn kept_frames(node: &Node) -> usize {
    std::fs::read_dir(node.dir.path().join("work/frames")).unwrap().count()
}

#[test]
fn a_node_that_discards_blobs_upgrades_by_delta_from_its_first_image() {
    let Some(node) = node_with(all_frames) else { return };
    let (old, new) = (node.image(0), node.image(1));
    let frames = all_frames(&old);
    assert_eq!(kept_frames(&node), 0);
    let before = node.registry.log_lines();
    let paths = node.pull(1);
    let status = node.mirror().status();
    assert_eq!((status.rebuilt, status.failed), (1, 0), "{status:?}");
    assert_eq!(paths.len(), 3, "manifest by tag and digest, and config: {paths:?}");
    let blobs = fetched(&node, before);
    let frames_blob = |at: usize| frames[at].0.blob.digest.to_string();
    // The layer that both versions have needs no frames.
    assert!(blobs.contains(&frames_blob(1)) && !blobs.contains(&frames_blob(0)), "{blobs:?}");
    for layer in old.layers.iter().chain(&new.layers) {
        assert!(!blobs.contains(&layer.descriptor.digest.to_string()), "{blobs:?}");
    }
    assert!(status.fetched_bytes < status.plain_bytes / 4, "{status:?}");
    assert_eq!(node.file(1, "etc/version"), b"1");
    // Fetched frames of the base, and those of the staged layer.
    assert_eq!(kept_frames(&node), 2);
}

#[test]
fn frames_that_are_wrong_or_missing_cost_their_bytes_and_the_pull_is_plain() {
    let damaged = |image: &Image| {
        let mut frames = all_frames(image);
        let (blob, bytes) = &mut frames[1];
        bytes[100] ^= 1;
        *blob = FramesBlob::of(blob.diff_id, blob.stream_bytes, bytes);
        frames
    };
    let of_another_layer = |image: &Image| {
        let mut frames = all_frames(image);
        let other = frames[0].1.clone();
        frames[1].0 = FramesBlob::of(frames[1].0.diff_id, frames[0].0.stream_bytes, &other);
        frames[1].1 = other;
        frames
    };
    let cases: [(&str, &FramesSource); 3] = [
        ("damaged", &damaged),
        ("of another layer", &of_another_layer),
        ("none", &|_: &Image| Vec::new()),
    ];
    for (case, frames) in cases {
        let Some(node) = node_with(frames) else { return };
        let before = node.registry.log_lines();
        node.pull(1);
        let layer = node.image(1).layers[1].descriptor.digest.to_string();
        let blobs = fetched(&node, before);
        assert_eq!(blobs.iter().filter(|blob| **blob == layer).count(), 1, "{case}: {blobs:?}");
        // Wrong frames are fetched, and nothing else that a delta needs.
        let wrong = frames(&node.image(0)).get(1).map(|(blob, _)| blob.blob.digest.to_string());
        assert!(wrong.is_none_or(|wrong| blobs.contains(&wrong)), "{case}: {blobs:?}");
        let status = node.mirror().status();
        assert_eq!((status.rebuilt, status.failed, status.whole), (0, 0, 2), "{case}: {status:?}");
        assert_eq!(kept_frames(&node), 0, "{case}");
        assert_eq!(node.file(1, "etc/version"), b"1", "{case}");
    }
}
