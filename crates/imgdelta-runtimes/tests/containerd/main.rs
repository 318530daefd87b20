//! A real containerd, docker-registry and skopeo: images of the node serve as bases, and staged
//! layers are found by an unmodified pull.
//!
//! `ctr` fetches every blob that the content store lacks, so that pulls after staging go through the
//! interface of the kubelet. On a machine without the tools the tests print that and pass; with `CI` set they must run.

mod blobs;

use imgdelta::{Session, create::CreateOptions};
use imgdelta_apply::{
    rebuild::{self, ApplyReport, LayerForm},
    sink::{OutgoingImage, Sink},
};
use imgdelta_core::{
    Error, Limits,
    progress::Silent,
    verify::{BlobCheck, VerifiedBlob},
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::{Descriptor, Store},
};
use imgdelta_runtimes::{
    containerd::{
        ChainId, Containerd, ContainerdOptions, ContainerdSink, ContainerdStore, StagingOptions,
    },
    frames::{FrameLimits, FrameStore},
};
use imgdelta_testkit::{
    ContainerdProcess, DockerRegistry, Packing, TestImage, has, noise, tar_of, wait_until,
};
use std::{
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tempfile::TempDir;

const NAMESPACE: &str = "k8s.io";

/// A containerd, a registry, and images that both sides exchange.
struct Node {
    containerd: ContainerdProcess,
    registry: DockerRegistry,
    dir: TempDir,
}

impl Node {
    /// Starts both servers; `None` if tools are missing.
    fn start() -> Option<Self> {
        Self::start_with(ContainerdProcess::start)
    }

    fn start_with(containerd: fn() -> ContainerdProcess) -> Option<Self> {
        if !has(&["containerd", "ctr", "docker-registry", "skopeo"]) {
            return None;
        }
        let registry = DockerRegistry::start(|_, _, _| {});
        let (containerd, dir) = (containerd(), tempfile::tempdir().unwrap());
        Some(Self { containerd, registry, dir })
    }

    /// Writes an image as a layout and pushes it; returns its name in the registry.
    fn push(&self, image: &TestImage, tag: &str) -> String {
        let layout = self.layout(tag);
        image.blobs().write_layout(&layout);
        let name = format!("{}/app:{tag}", self.registry.host());
        let copied = Command::new("skopeo")
            .args(["copy", "-q", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:v1", layout.display()))
            .arg(format!("docker://{name}"))
            .status();
        assert!(copied.unwrap().success());
        name
    }

    fn layout(&self, tag: &str) -> PathBuf {
        self.dir.path().join(tag)
    }

    /// Pulls with containerd's own tool.
    fn pull(&self, name: &str) {
        self.containerd.ctr(NAMESPACE, &format!("images pull --plain-http {name}"));
    }

    /// Pulls as the kubelet does; returns the paths that the registry was asked for.
    fn kubelet_pull(&self, name: &str) -> Vec<String> {
        let before = self.registry.log_lines();
        self.containerd.kubelet_pull(name);
        let paths = self.registry.requests(before).into_iter().map(|request| request.path);
        paths.map(|path| path.split('?').next().unwrap().to_owned()).collect()
    }

    fn connect(&self) -> Containerd {
        let options = ContainerdOptions::default();
        let options = options.socket(self.containerd.socket()).namespace(NAMESPACE);
        Containerd::connect(options).unwrap()
    }

    fn store(&self) -> ContainerdStore {
        ContainerdStore::new(self.connect())
    }

    fn sink(&self) -> ContainerdSink {
        ContainerdSink::new(self.connect(), StagingOptions::default())
    }

    fn frames(&self) -> FrameStore {
        FrameStore::open(&self.dir.path().join("frames"), FrameLimits::default()).unwrap()
    }

    /// Makes a delta between two layouts; returns its file.
    fn delta(&self, base: &str, target: &str) -> PathBuf {
        let session = Session::new(self.dir.path()).unwrap();
        let layout = |tag: &str| format!("oci:{}", self.layout(tag).display()).parse().unwrap();
        let pair = session.open_pair(&layout(base), &layout(target)).unwrap();
        let pair = session.read_pair(pair, &imgdelta::diff::DiffOptions::default()).unwrap();
        let draft = pair.plan(&CreateOptions::default()).unwrap().encode().unwrap();
        let path = self.dir.path().join(format!("{base}-{target}"));
        draft.prove().unwrap().save(&path).unwrap();
        path
    }

    fn apply(
        &self,
        delta: &Path,
        base: Image,
        sink: ContainerdSink,
    ) -> imgdelta_core::Result<ApplyReport> {
        let session = Session::new(self.dir.path()).unwrap();
        let delta = session.open_delta(delta).unwrap();
        let form = LayerForm::Uncompressed;
        rebuild::apply(&delta, &[base], Box::new(sink), form, session.context())
    }

    fn open_layout(&self, tag: &str) -> Image {
        let reference = format!("oci:{}", self.layout(tag).display()).parse().unwrap();
        imgdelta_image::image::open(&reference, &OpenOptions::default()).unwrap()
    }

    /// Reads files of an image as a container would see them; `None` for one that is not there.
    fn files(&self, name: &str, paths: &[&str]) -> Vec<Option<Vec<u8>>> {
        let target = self.dir.path().join("mounted");
        std::fs::create_dir_all(&target).unwrap();
        self.containerd.ctr(NAMESPACE, &format!("images mount {name} {}", target.display()));
        let files = paths.iter().map(|path| std::fs::read(target.join(path)).ok()).collect();
        self.containerd.ctr(NAMESPACE, &format!("images unmount --rm {}", target.display()));
        files
    }

    fn leases(&self) -> usize {
        self.containerd.ctr(NAMESPACE, "leases ls -q").lines().count()
    }

    /// Waits for a garbage collection, as deleting a lease does.
    fn collect(&self) {
        self.containerd.ctr(NAMESPACE, "leases create --id tests");
        self.containerd.ctr(NAMESPACE, "leases delete --sync tests");
    }
}

/// Two versions: the second changes a file, removes another one, and repeats a layer.
fn versions() -> [TestImage; 2] {
    let lower = tar_of(&[("lib/data", &noise(1, 300_000)), ("gone", b"x")]);
    let old = tar_of(&[("app", &noise(2, 2_500_000)), ("version", b"1")]);
    let new = tar_of(&[("app", &noise(2, 2_500_000)), ("version", b"2"), (".wh.gone", b"")]);
    let twice = tar_of(&[("etc/twice", b"same")]);
    [
        TestImage::new(vec![lower.clone(), old], Packing::Gzip),
        TestImage::new(vec![lower, twice.clone(), new, twice], Packing::Gzip),
    ]
}

fn stream_descriptor(stream: &[u8]) -> Descriptor {
    let digest = imgdelta_testkit::sha256(stream).parse().unwrap();
    Descriptor::new(None, digest, stream.len() as u64)
}

fn outgoing(image: &TestImage) -> OutgoingImage {
    let config = image.config().to_string().into_bytes();
    let descriptor = stream_descriptor(&config);
    OutgoingImage {
        manifest: stream_descriptor(b"manifest"),
        manifest_bytes: b"manifest".to_vec(),
        config: descriptor,
        config_bytes: config,
        layers: image.layers.iter().map(|layer| stream_descriptor(layer)).collect(),
    }
}

fn proof(stream: &[u8]) -> VerifiedBlob {
    let Descriptor { digest, size_bytes, .. } = stream_descriptor(stream);
    let mut check = BlobCheck::new(digest, size_bytes);
    check.update(stream).unwrap();
    check.finish().unwrap()
}

fn write(sink: &dyn Sink, promised: &[u8], bytes: &[u8]) -> imgdelta_core::Result<()> {
    let mut writer = sink.blob(&stream_descriptor(promised))?;
    for piece in bytes.chunks(700_000) {
        writer.write(piece)?;
    }
    writer.finish(proof(promised))
}

fn chains(image: &TestImage) -> Vec<ChainId> {
    let diff_ids = image.layers.iter().map(|layer| stream_descriptor(layer).digest.to_string());
    let diff_ids: Vec<_> = diff_ids.map(|digest| digest.parse().unwrap()).collect();
    ChainId::of_layers(&diff_ids)
}

fn tag(name: &str) -> ImageName {
    ImageName::Tag(name.to_owned())
}

fn read(mut reader: Box<dyn Read + Send>) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn an_image_that_containerd_pulled_is_a_store_with_the_same_blobs() {
    let Some(node) = Node::start() else { return };
    let [old, new] = versions();
    let (name, other) = (node.push(&old, "old"), node.push(&new, "new"));
    node.pull(&name);
    let expected = node.open_layout("old");
    for in_place in [true, false] {
        let store = Arc::new(node.store().reads_in_place(in_place));
        assert_eq!(store.names().unwrap(), [name.as_str()]);
        let digest = ImageName::Digest(expected.digest);
        let digested = tag(&format!("{}/app@{}", node.registry.host(), expected.digest));
        for known in [None, Some(tag(&name)), Some(digest), Some(digested)] {
            let store = Arc::clone(&store) as Arc<dyn Store>;
            let image = Image::open(store, known.as_ref(), &OpenOptions::default()).unwrap();
            assert_eq!(image.manifest, expected.manifest);
            assert_eq!(image.config_bytes, expected.config_bytes);
            for (layer, stream) in image.layers.iter().zip(&old.layers) {
                let blob = read(image.store().open(&layer.descriptor).unwrap());
                assert_eq!(blob, Packing::Gzip.pack(stream));
            }
        }
        assert_eq!(store.opened_in_place() > 0, in_place);
        let missing = store.find(Some(&tag(&other))).unwrap_err();
        assert!(missing.to_string().contains(&name), "{missing}");
        let absent = stream_descriptor(b"absent");
        assert!(matches!(store.open(&absent), Err(Error::NotFound { .. })));
    }
    // Another namespace has none of it, although the files are the same.
    let options = ContainerdOptions::default().socket(node.containerd.socket()).namespace("other");
    let store = ContainerdStore::new(Containerd::connect(options).unwrap());
    assert_eq!(store.names().unwrap(), [""; 0]);
    let layer = &expected.layers[0].descriptor;
    assert!(matches!(store.open(layer), Err(Error::NotFound { .. })));
}

#[test]
fn after_a_delta_was_staged_the_pull_asks_for_manifest_and_config_only() {
    let Some(node) = Node::start_with(ContainerdProcess::start_for_kubernetes) else { return };
    let [old, new] = versions();
    let (old_name, new_name) = (node.push(&old, "old"), node.push(&new, "new"));
    node.kubelet_pull(&old_name);

    let delta = node.delta("old", "new");
    let store = Arc::new(node.store());
    let base = Image::open(store, Some(&tag(&old_name)), &OpenOptions::default()).unwrap();
    let sink = node.sink();
    let status = sink.status();
    node.apply(&delta, base, sink).unwrap();
    let report = status.report();
    assert_eq!((report.staged_layers, report.present_layers), (3, 1));
    let written = new.layers[1].len() + new.layers[2].len();
    assert_eq!(report.written_bytes, written as u64);
    assert_eq!(report.chain, chains(&new).last().copied());
    let target = node.open_layout("new");
    // The streams were released, and no image has a name.
    assert_eq!(node.containerd.blob_count(), 2 + 2);
    assert_eq!(node.containerd.ingest_count(), 0);
    assert!(
        node.connect().images().unwrap().iter().all(|image| image.target.digest != target.digest)
    );

    let paths = node.kubelet_pull(&new_name);
    let expected = [
        "/v2/app/manifests/new".to_owned(),
        format!("/v2/app/manifests/{}", target.digest),
        format!("/v2/app/blobs/{}", target.config_digest),
    ];
    assert_eq!(paths, expected);
    let files = node.files(&new_name, &["version", "app", "gone", "etc/twice", "lib/data"]);
    let expected: [Option<Vec<u8>>; 5] = [
        Some(b"2".to_vec()),
        Some(noise(2, 2_500_000)),
        None,
        Some(b"same".to_vec()),
        Some(noise(1, 300_000)),
    ];
    assert!(files == expected);

    // The image refers to its layers: without the lease, a collection keeps them.
    let lease = report.lease.unwrap();
    node.containerd.ctr(NAMESPACE, &format!("leases delete --sync {lease}"));
    node.collect();
    for chain in chains(&new) {
        assert!(node.connect().has_snapshot(&chain).unwrap());
    }
    assert_eq!(node.files(&new_name, &["version"]), [Some(b"2".to_vec())]);
}

#[test]
fn an_image_without_blobs_is_a_base_by_its_frames_and_the_files_of_its_snapshots() {
    let node = Node::start_with(ContainerdProcess::start_for_kubernetes);
    let Some(node) = node else { return };
    let [old, new] = versions();
    let (old_name, new_name) = (node.push(&old, "old"), node.push(&new, "new"));
    let up = node.delta("old", "new");
    let down = node.delta("new", "old");
    let frames = node.frames();
    // The old image came by staging, so that no layer of it has a blob.
    let mut sink = node.sink().frames(frames.clone());
    sink.begin(outgoing(&old)).unwrap();
    let status = sink.status();
    old.layers.iter().for_each(|layer| write(&sink, layer, layer).unwrap());
    Box::new(sink).finish().unwrap();
    assert_eq!((status.report().staged_layers, status.report().kept_frames), (2, 2));
    node.kubelet_pull(&old_name);
    assert_eq!(node.containerd.blob_count(), 2);
    assert!(frames.totals().unwrap().1 < 2000);

    let open = |name: &str| {
        let store = Arc::new(node.store().frames(frames.clone()));
        Image::open(store, Some(&tag(name)), &OpenOptions::default()).unwrap()
    };
    let base = open(&old_name);
    assert!(base.layers.iter().all(|layer| !layer.has_blob()));
    for (layer, stream) in base.layers.iter().zip(&old.layers) {
        assert!(read(base.store().open(layer.stored()).unwrap()) == *stream);
    }
    // Two upgrades in a row, without a blob on the node.
    for (delta, base, name, target) in
        [(&up, &old_name, &new_name, &new), (&down, &new_name, &old_name, &old)]
    {
        let sink = node.sink().frames(frames.clone());
        node.apply(delta, open(base), sink).unwrap();
        node.kubelet_pull(name);
        assert!(node.connect().has_snapshot(chains(target).last().unwrap()).unwrap());
    }
    assert_eq!(node.containerd.blob_count(), 4);
    assert_eq!(node.files(&new_name, &["version", "gone"]), [Some(b"2".to_vec()), None]);
    // No view and no lease of a view is left.
    let leases = node.containerd.ctr(NAMESPACE, "leases ls -q");
    assert!(!leases.contains("imgdelta-view"), "{leases}");
    let snapshots = node.containerd.ctr(NAMESPACE, "snapshots ls");
    assert!(!snapshots.contains("imgdelta-view"), "{snapshots}");

    // Frames of layers that are gone are removed.
    let (kept, _) = frames.totals().unwrap();
    assert_eq!(node.store().frames(frames.clone()).sweep_frames().unwrap(), 0);
    let options = ContainerdOptions::default().socket(node.containerd.socket()).namespace("other");
    let other = ContainerdStore::new(Containerd::connect(options).unwrap());
    assert_eq!(other.frames(frames.clone()).sweep_frames().unwrap(), kept);
    // Without frames the store has neither blobs nor streams of the image.
    let store = Arc::new(node.store().frames(frames));
    let image = Image::open(store, Some(&tag(&old_name)), &OpenOptions::default()).unwrap();
    assert!(image.layers.iter().all(imgdelta_image::image::Layer::has_blob));
    assert!(matches!(image.store().open(&image.layers[0].descriptor), Err(Error::NotFound { .. })));
}

#[test]
fn a_changed_file_of_a_snapshot_is_found_and_nothing_is_staged() {
    let node = Node::start_with(ContainerdProcess::start_for_kubernetes);
    let Some(node) = node else { return };
    let [old, new] = versions();
    for (tag, image) in [("old", &old), ("new", &new)] {
        image.blobs().write_layout(&node.layout(tag));
    }
    let frames = node.frames();
    let mut sink = node.sink().frames(frames.clone());
    sink.begin(outgoing(&old)).unwrap();
    old.layers.iter().for_each(|layer| write(&sink, layer, layer).unwrap());
    Box::new(sink).finish().unwrap();
    let name = node.push(&old, "old");
    node.kubelet_pull(&name);
    let delta = node.delta("old", "new");
    let file = node.containerd.snapshot_file("app");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let store = Arc::new(node.store().frames(frames.clone()));
    let base = Image::open(store, Some(&tag(&name)), &OpenOptions::default()).unwrap();
    assert!(!base.layers[1].has_blob());
    let read = base.read_layer(&base.layers[1], &mut Vec::new(), &Silent, &mut |_| Ok(()));
    assert!(matches!(read, Err(Error::Mismatch { .. })), "{read:?}");
    let error = node.apply(&delta, base, node.sink()).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(!node.connect().has_snapshot(&chains(&new)[2]).unwrap());
}

#[test]
fn staged_layers_without_a_pull_vanish_with_their_lease() {
    let Some(node) = Node::start() else { return };
    let [_, new] = versions();
    let mut sink = node.sink();
    sink.begin(outgoing(&new)).unwrap();
    for layer in &new.layers[..3] {
        assert!(!sink.has(&stream_descriptor(layer), &Silent).unwrap());
        write(&sink, layer, layer).unwrap();
    }
    let status = sink.status();
    Box::new(sink).finish().unwrap();
    assert_eq!(status.report().staged_layers, 4);
    node.collect();
    assert!(node.connect().has_snapshot(&chains(&new)[3]).unwrap());

    // A second sink finds all of it.
    let mut sink = node.sink();
    sink.begin(outgoing(&new)).unwrap();
    assert!(new.layers.iter().all(|layer| sink.has(&stream_descriptor(layer), &Silent).unwrap()));
    let again = sink.status();
    Box::new(sink).finish().unwrap();
    assert_eq!((again.report().staged_layers, again.report().present_layers), (0, 4));

    assert_eq!(node.leases(), 2);
    for report in [status.report(), again.report()] {
        assert!(node.connect().has_snapshot(&chains(&new)[0]).unwrap());
        let lease = report.lease.unwrap();
        node.containerd.ctr(NAMESPACE, &format!("leases delete --sync {lease}"));
    }
    assert_eq!((node.containerd.snapshot_count(), node.containerd.blob_count()), (0, 0));
}

#[test]
fn layers_are_staged_in_whatever_order_their_streams_arrive() {
    let Some(node) = Node::start() else { return };
    let [_, new] = versions();
    let mut sink = node.sink();
    sink.begin(outgoing(&new)).unwrap();
    let status = sink.status();
    write(&sink, &new.layers[2], &new.layers[2]).unwrap();
    write(&sink, &new.layers[1], &new.layers[1]).unwrap();
    assert_eq!(status.report().staged_layers, 0);
    write(&sink, &new.layers[0], &new.layers[0]).unwrap();
    assert_eq!(status.report().staged_layers, 4);
    Box::new(sink).finish().unwrap();
    assert!(node.connect().has_snapshot(&chains(&new)[3]).unwrap());
}

#[test]
fn a_stream_with_another_digest_leaves_no_snapshot() {
    let Some(node) = Node::start() else { return };
    let [old, _] = versions();
    let mut wrong = old.layers[0].clone();
    wrong[600] ^= 1;
    let mut sink = node.sink();
    sink.begin(outgoing(&old)).unwrap();
    for bytes in [&wrong[..], &wrong[..wrong.len() - 512], &[]] {
        let error = write(&sink, &old.layers[0], bytes).unwrap_err().to_string();
        assert!(error.contains("Content/Write"), "{error}");
    }
    assert_eq!((node.containerd.blob_count(), node.containerd.ingest_count()), (0, 0));
    // The right bytes are still taken.
    write(&sink, &old.layers[0], &old.layers[0]).unwrap();
    assert!(node.connect().has_snapshot(&chains(&old)[0]).unwrap());
    // Without its other layer the image is not complete, and all of it is removed.
    let error = Box::new(sink).finish().unwrap_err().to_string();
    assert!(error.contains("layer 2 was not written"), "{error}");
    assert!(!node.connect().has_snapshot(&chains(&old)[0]).unwrap());
    assert_eq!((node.containerd.snapshot_count(), node.leases()), (0, 0));
}

#[test]
fn a_stream_that_is_not_a_tar_archive_is_refused_and_nothing_is_left() {
    let Some(node) = Node::start() else { return };
    let image = TestImage::new(vec![noise(7, 3000)], Packing::Plain);
    let mut sink = node.sink();
    sink.begin(outgoing(&image)).unwrap();
    let error = write(&sink, &image.layers[0], &image.layers[0]).unwrap_err().to_string();
    assert!(error.contains("Diff/Apply"), "{error}");
    drop(sink);
    assert_eq!((node.containerd.snapshot_count(), node.leases()), (0, 0));
    assert_eq!((node.containerd.blob_count(), node.containerd.ingest_count()), (0, 0));
}

#[test]
fn a_sink_that_is_dropped_or_killed_leaves_nothing() {
    let Some(mut node) = Node::start() else { return };
    let [_, new] = versions();
    for is_killed in [false, true] {
        let mut sink = node.sink();
        sink.begin(outgoing(&new)).unwrap();
        write(&sink, &new.layers[0], &new.layers[0]).unwrap();
        let half = stream_descriptor(&new.layers[2]);
        let mut writer = sink.blob(&half).unwrap();
        writer.write(&new.layers[2][..1_500_000]).unwrap();
        assert_eq!(node.containerd.ingest_count(), 1);
        assert!(node.connect().has_snapshot(&chains(&new)[0]).unwrap());
        let lease = sink.status().report().lease.unwrap();
        if is_killed {
            // As after a kill: nothing of the sink runs any more, and containerd's power was cut.
            std::mem::forget(writer);
            std::mem::forget(sink);
            node.containerd.restart();
            assert!(node.connect().has_snapshot(&chains(&new)[0]).unwrap());
            node.containerd.ctr(NAMESPACE, &format!("leases delete --sync {lease}"));
        } else {
            // containerd ends the write when its stream ends, without an answer.
            drop(writer);
            let patience = std::time::Duration::from_secs(60);
            wait_until("the write has ended", patience, || node.containerd.ingest_count() == 0);
            drop(sink);
        }
        assert!(!node.connect().has_snapshot(&chains(&new)[0]).unwrap());
        assert_eq!((node.containerd.snapshot_count(), node.leases()), (0, 0));
        assert_eq!((node.containerd.blob_count(), node.containerd.ingest_count()), (0, 0));
    }
}

#[test]
fn several_sinks_at_once_stage_the_same_image() {
    let Some(node) = Node::start() else { return };
    let [_, new] = versions();
    let staged: usize = std::thread::scope(|scope| {
        let sinks: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut sink = node.sink();
                    sink.begin(outgoing(&new)).unwrap();
                    for layer in &new.layers[..3] {
                        write(&sink, layer, layer).unwrap();
                    }
                    let status = sink.status();
                    Box::new(sink).finish().unwrap();
                    assert_eq!(status.report().staged_layers + status.report().present_layers, 4);
                    status.report().staged_layers
                })
            })
            .collect();
        sinks.into_iter().map(|sink| sink.join().unwrap()).sum()
    });
    assert_eq!(staged, 4);
    assert!(node.connect().has_snapshot(&chains(&new)[3]).unwrap());
    assert_eq!((node.containerd.blob_count(), node.containerd.snapshot_count()), (0, 4));
}

#[test]
fn a_blob_that_an_image_uses_is_not_removed_by_staging() {
    let Some(node) = Node::start() else { return };
    let [old, _] = versions();
    // Its layers are stored uncompressed, so that streams and blobs are the same bytes.
    let plain = TestImage::new(old.layers.clone(), Packing::Plain);
    let archive = node.dir.path().join("plain.tar");
    std::fs::write(&archive, plain.blobs().archive()).unwrap();
    let line = format!("images import --no-unpack --base-name plain {}", archive.display());
    node.containerd.ctr(NAMESPACE, &line);
    let mut sink = node.sink();
    sink.begin(outgoing(&old)).unwrap();
    for layer in &old.layers {
        assert!(!sink.has(&stream_descriptor(layer), &Silent).unwrap());
        write(&sink, layer, layer).unwrap();
    }
    let status = sink.status();
    Box::new(sink).finish().unwrap();
    assert_eq!((status.report().staged_layers, status.report().written_bytes), (2, 0));
    node.collect();
    assert_eq!(node.containerd.blob_count(), 2 + 2);
    let image = Image::open(Arc::new(node.store()), None, &OpenOptions::default()).unwrap();
    for layer in &image.layers {
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut |_| Ok(())).unwrap();
    }
}

#[test]
fn a_connection_survives_a_restart_of_containerd() {
    let Some(mut node) = Node::start() else { return };
    let containerd = node.connect();
    assert!(containerd.version().unwrap().contains('.'));
    node.containerd.restart();
    // The call that meets the closed connection may fail; the next one opens it again.
    let answered = (0..3).any(|_| containerd.images().is_ok_and(|images| images.is_empty()));
    assert!(answered);
}

#[test]
fn a_directory_that_is_not_containerds_is_not_read() {
    let Some(node) = Node::start() else { return };
    let [old, _] = versions();
    let name = node.push(&old, "old");
    node.pull(&name);
    let image = Image::open(Arc::new(node.store()), Some(&tag(&name)), &OpenOptions::default());
    let layer = image.unwrap().layers[0].descriptor.clone();
    // A file of another length under the blob's name, as on another machine with this path.
    let path = node.containerd.content().join("blobs/sha256").join(layer.digest.hex());
    let moved = path.with_extension("moved");
    std::fs::rename(&path, &moved).unwrap();
    std::fs::write(&path, b"other").unwrap();
    let store = node.store();
    let _ = store.open(&layer);
    assert_eq!(store.opened_in_place(), 0);
    std::fs::rename(&moved, &path).unwrap();
    assert_eq!(read(store.open(&layer).unwrap()), Packing::Gzip.pack(&old.layers[0]));
    assert_eq!(store.opened_in_place(), 1);
}

#[test]
fn blocking_calls_work_inside_an_async_task() {
    let Some(node) = Node::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert!(node.connect().images().unwrap().is_empty());
    });
}

#[test]
fn limits_of_images_hold_for_containerd_too() {
    let Some(node) = Node::start() else { return };
    let [old, _] = versions();
    let name = node.push(&old, "old");
    node.pull(&name);
    let mut limits = Limits::default();
    limits.manifest_bytes = 10;
    let options = OpenOptions::default().limits(limits);
    let error = Image::open(Arc::new(node.store()), Some(&tag(&name)), &options).unwrap_err();
    assert!(matches!(error, Error::OverLimit { .. }), "{error}");
}
