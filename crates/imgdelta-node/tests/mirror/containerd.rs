//! A real containerd with a real registry: it pulls through the mirror as it is.

use super::*;
use imgdelta_node::ContainerdRuntime;
use imgdelta_testkit::{
    ContainerdProcess, ContainerdSettings, DockerRegistry, has, sha256, wait_until,
};
use std::{fs, process::Command};
use tempfile::TempDir;

pub(crate) const NAMESPACE: &str = "k8s.io";
/// A busy machine needs seconds for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A registry with two versions and a delta, a containerd that has the older one, and a mirror.
pub(crate) struct Node {
    pub(crate) containerd: ContainerdProcess,
    pub(crate) registry: DockerRegistry,
    mirror: Option<RunningMirror>,
    pub(crate) dir: TempDir,
}

impl Node {
    /// Starts everything; `None` if tools are missing. `blobs` is the mode of the mirror.
    fn start(blobs: &str) -> Option<Self> {
        Self::start_with(blobs, ContainerdProcess::start_for_kubernetes)
    }

    /// Starts everything, with a containerd that has the older version.
    fn start_with(blobs: &str, containerd: fn() -> ContainerdProcess) -> Option<Self> {
        let node = Self::start_empty(blobs, containerd)?;
        node.containerd.ctr(NAMESPACE, &format!("images pull --plain-http {}", node.name(0)));
        Some(node)
    }

    /// Starts everything, with a containerd that has no image.
    pub(crate) fn start_empty(blobs: &str, containerd: fn() -> ContainerdProcess) -> Option<Self> {
        if !has(&["containerd", "ctr", "docker-registry", "skopeo"]) {
            return None;
        }
        let registry = DockerRegistry::start(|_, _, _| {});
        let (containerd, dir) = (containerd(), tempfile::tempdir().unwrap());
        let mut node = Self { containerd, registry, mirror: None, dir };
        for (version, image) in versions().iter().enumerate() {
            node.publish(version, image);
        }
        for (old, new) in [(0, 1), (1, 0)] {
            node.publish_delta(old, new);
        }
        fs::create_dir_all(node.containerd.registries()).unwrap();
        let config = format!(
            "[mirror]\nlisten = '127.0.0.1:0'\n[hosts]\ndirectory = '{}'\n[containerd]\nsocket = '{}'\n\
             [rebuild]\nblobs = '{blobs}'\ndirectory = '{}'\n[link]\nrate = '1Mbit'\n\
             [[registry]]\nhost = '{}'\n",
            node.containerd.registries().display(),
            node.containerd.socket().display(),
            node.dir.path().join("work").display(),
            node.registry.host()
        );
        let parsed = Config::parse(&config, "node.toml").unwrap();
        let runtime = Arc::new(ContainerdRuntime::connect(&parsed).unwrap());
        let mirror = RunningMirror::start(&config, runtime);
        node.mirror = Some(mirror);
        Some(node)
    }

    /// Puts a version into a layout and into the registry.
    fn publish(&self, version: usize, image: &TestImage) {
        let layout = self.layout(version);
        image.blobs().write_layout(&layout);
        let copied = Command::new("skopeo")
            .args(["copy", "-q", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:v1", layout.display()))
            .arg(format!("docker://{}", self.name(version)))
            .status();
        assert!(copied.unwrap().success());
    }

    /// Makes a delta and pushes it next to its target.
    fn publish_delta(&self, old: usize, new: usize) {
        let delta = delta(self.dir.path(), Some(&self.layout(old)), &self.layout(new));
        push(&delta, &self.name(new), Credentials::none());
    }

    fn layout(&self, version: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("v{version}"))
    }

    pub(crate) fn name(&self, version: usize) -> String {
        format!("{}/demo/app:v{version}", self.registry.host())
    }

    /// Pulls through the mirror; returns the registry's paths of an image, deltas aside.
    pub(crate) fn pull(&self, version: usize) -> Vec<String> {
        let before = self.registry.log_lines();
        self.containerd.kubelet_pull(&self.name(version));
        let requests = self.registry.requests(before).into_iter();
        let paths = requests.filter(|request| request.agent.starts_with("containerd"));
        paths.map(|request| request.path.split('?').next().unwrap().to_owned()).collect()
    }

    pub(crate) fn file(&self, version: usize, path: &str) -> Vec<u8> {
        let target = self.dir.path().join("mounted");
        fs::create_dir_all(&target).unwrap();
        let name = self.name(version);
        self.containerd.ctr(NAMESPACE, &format!("images mount {name} {}", target.display()));
        let bytes = fs::read(target.join(path)).unwrap();
        self.containerd.ctr(NAMESPACE, &format!("images unmount --rm {}", target.display()));
        bytes
    }

    pub(crate) fn image(&self, version: usize) -> Image {
        let reference = format!("oci:{}", self.layout(version).display()).parse().unwrap();
        image::open(&reference, &OpenOptions::default()).unwrap()
    }

    /// The line of `ctr images check` for a version.
    fn check(&self, version: usize) -> String {
        let check = self.containerd.ctr(NAMESPACE, "images check");
        let line = check.lines().find(|line| line.starts_with(&self.name(version)));
        line.unwrap_or_else(|| panic!("{check}")).to_owned()
    }

    /// Removes all names of a version, and with them everything that only it uses.
    fn remove(&self, version: usize) {
        let digest = self.image(version).digest.to_string();
        let names = self.containerd.ctr(NAMESPACE, "images list");
        for line in names.lines().filter(|line| line.contains(&digest)) {
            let name = line.split_whitespace().next().unwrap();
            self.containerd.ctr(NAMESPACE, &format!("images remove --sync {name}"));
        }
    }

    /// Waits for a garbage collection, as deleting a lease does.
    fn collect(&self) {
        self.containerd.ctr(NAMESPACE, "leases create --id tests");
        self.containerd.ctr(NAMESPACE, "leases delete --sync tests");
    }

    fn leases(&self) -> String {
        self.containerd.ctr(NAMESPACE, "leases ls -q")
    }

    pub(crate) fn mirror(&self) -> &RunningMirror {
        self.mirror.as_ref().expect("it runs until the end")
    }
}

/// Starts a containerd that removes the blobs of layers once they are unpacked.
pub(crate) fn discarding_containerd() -> ContainerdProcess {
    let settings = ContainerdSettings { discards_layers: true, ..Default::default() };
    ContainerdProcess::start_with(&settings)
}

#[test]
fn an_upgrade_fetches_manifest_and_config_and_the_delta() {
    let Some(node) = Node::start("none") else { return };
    let paths = node.pull(1);
    let image = node.image(1);
    let expected = [
        "/v2/demo/app/manifests/v1".to_owned(),
        format!("/v2/demo/app/manifests/{}", image.digest),
        format!("/v2/demo/app/blobs/{}", image.config_digest),
    ];
    let status = node.mirror().status();
    assert_eq!(paths, expected, "{status:?}");
    assert_eq!(node.file(1, "etc/version"), b"1");
    assert_eq!((status.rebuilt, status.failed, status.held, status.running), (1, 0, 0, 0));
    assert!(status.fetched_bytes < status.plain_bytes / 4, "{status:?}");
    // The image keeps its layers, and their lease has ended long before its time.
    wait_until("the lease has ended", PATIENCE, || node.leases().is_empty());
    node.collect();
    assert_eq!(node.file(1, "etc/version"), b"1");
    assert!(node.check(1).contains("incomplete (2/3)"), "{}", node.check(1));
}

#[test]
fn an_upgrade_over_a_version_between_fetches_two_deltas() {
    let Some(node) = Node::start("none") else { return };
    let mut layers = versions()[1].layers.clone();
    let mut program = noise(2, 400_000);
    program[30_000] ^= b'2';
    layers[1] = tar_of(&[("bin/program", &program), ("etc/version", b"2")]);
    node.publish(2, &TestImage::new(layers, Packing::Gzip));
    node.publish_delta(1, 2);
    let paths = node.pull(2);
    let status = node.mirror().status();
    let layer = |path: &&String| {
        path.contains("/blobs/") && !path.contains(&node.image(2).config_digest.to_string())
    };
    assert_eq!(paths.iter().find(layer), None, "{status:?}");
    assert_eq!(node.file(2, "etc/version"), b"2");
    assert_eq!((status.rebuilt, status.failed), (1, 0), "{status:?}");
    assert!(status.fetched_bytes < status.plain_bytes / 4, "{status:?}");
}

#[test]
fn after_the_pull_the_exact_blobs_are_added_and_stay_with_the_image() {
    let Some(node) = Node::start("keep") else { return };
    let before = node.registry.log_lines();
    let paths = node.pull(1);
    assert_eq!(paths.len(), 3, "manifest and config only: {paths:?}");
    wait_until("the blobs are there", PATIENCE, || node.mirror().status().completing == 0);
    let status = node.mirror().status();
    assert_eq!((status.rebuilt, status.completed, status.failed), (1, 1, 0), "{status:?}");
    assert!(node.check(1).contains(" complete (3/3)"), "{}", node.check(1));
    // Nothing was fetched for it: documents and deltas are those of the rebuild.
    let image = node.image(1);
    let layer = &image.layers[1].descriptor;
    let requests = node.registry.requests(before);
    let of = |part: &str| requests.iter().filter(|r| r.path.contains(part)).count();
    assert_eq!((of(&layer.digest.to_string()), of("/referrers/")), (0, 1), "{requests:?}");
    let metrics = node.mirror().get("/metrics").text();
    let expected = format!("imgdelta_node_completed_bytes_total {}\n", layer.size_bytes);
    assert!(metrics.contains(&expected), "{metrics}");
    // Without the older image, without leases, and after a collection, they are still there.
    wait_until("all leases have ended", PATIENCE, || node.leases().is_empty());
    node.remove(0);
    node.collect();
    assert!(node.check(1).contains(" complete (3/3)"), "{}", node.check(1));
    let info = node.containerd.ctr(NAMESPACE, "content ls");
    let line = info.lines().find(|line| line.starts_with(&layer.digest.to_string())).unwrap();
    let stream = format!("containerd.io/uncompressed={}", image.layers[1].diff_id);
    // As containerd does, by the host without its port.
    let origin = "containerd.io/distribution.source.127.0.0.1=demo/app";
    assert!(line.contains(&stream) && line.contains(origin), "{line}");
    let archive = node.dir.path().join("exported.tar");
    let (name, file) = (node.name(1), archive.display());
    node.containerd.ctr(NAMESPACE, &format!("images export {file} {name}"));
    let exported =
        image::open(&format!("oci-archive:{file}").parse().unwrap(), &OpenOptions::default());
    let exported = exported.unwrap();
    assert_eq!(exported.digest, image.digest);
    for layer in &exported.layers {
        let mut bytes = Vec::new();
        exported.store().open(&layer.descriptor).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(sha256(&bytes), layer.descriptor.digest.to_string());
    }
    let copy = format!("{}/demo/copy:v1", node.registry.host());
    node.containerd.ctr(NAMESPACE, &format!("images tag {name} {copy}"));
    node.containerd.ctr(NAMESPACE, &format!("images push --plain-http {copy}"));
    node.containerd.ctr(NAMESPACE, &format!("images remove {copy}"));
    // Another pull finds the blobs, and makes none.
    node.containerd.ctr(NAMESPACE, &format!("images remove --sync {name}"));
    node.pull(1);
    wait_until("the second completion has ended", PATIENCE, || {
        node.mirror().status().completing == 0
    });
    assert!(node.check(1).contains(" complete (3/3)"), "{}", node.check(1));
}

#[test]
fn a_containerd_that_discards_blobs_gets_none() {
    let Some(node) = Node::start_with("keep", discarding_containerd) else { return };
    node.pull(1);
    wait_until("the completion has ended", PATIENCE, || node.mirror().status().completing == 0);
    let metrics = node.mirror().get("/metrics").text();
    assert!(metrics.contains("completions_total{outcome=\"discarded\"} 1\n"), "{metrics}");
    assert_eq!(node.file(1, "etc/version"), b"1");
}

#[test]
fn without_a_pull_no_blob_is_made_and_a_stop_ends_the_wait() {
    let Some(mut node) = Node::start("keep") else { return };
    let before = node.containerd.blob_count();
    let answer = node.mirror().get("/v2/demo/app/manifests/v1");
    assert_eq!(answer.status, 200);
    let status = node.mirror().status();
    assert_eq!((status.rebuilt, status.completing, status.completed), (1, 1, 0), "{status:?}");
    assert_eq!(node.containerd.blob_count(), before);
    // Only the lease of the staged layers keeps them, for the ten minutes of the default.
    let leases = node.leases();
    assert_eq!(leases.lines().count(), 1, "{leases}");
    let list = node.containerd.ctr(NAMESPACE, "leases ls");
    assert!(list.contains("containerd.io/gc.expire"), "{list}");
    drop(node.mirror.take());
    node.containerd.ctr(NAMESPACE, &format!("leases delete --sync {}", leases.trim()));
    assert_eq!((node.leases(), node.containerd.blob_count()), (String::new(), before));
}

#[test]
fn exact_blobs_are_served_to_a_runtime_and_the_image_is_complete() {
    let Some(node) = Node::start("exact") else { return };
    let paths = node.pull(1);
    let layer = node.image(1).layers[1].descriptor.digest;
    // The registry is asked if the blob may be read, and sends nothing of it.
    assert_eq!(paths.iter().filter(|path| path.contains(&layer.to_string())).count(), 1);
    let requests = node.registry.requests(0);
    let of_layer = requests.iter().filter(|request| request.path.contains(&layer.to_string()));
    let sent: Vec<_> = of_layer.filter(|request| request.method == "GET").collect();
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(node.file(1, "etc/version"), b"1");
    let line = node.check(1);
    assert!(line.contains("complete (3/3)"), "{line}");
}

/// Removes the older image from the node, so that its layers vanish, and pulls it again; returns the
/// number of requests for its layer of its own.
fn way_back(node: &Node) -> usize {
    let old = node.image(0);
    node.remove(0);
    let before = node.registry.log_lines();
    node.pull(0);
    let layer = old.layers[1].descriptor.digest.to_string();
    let requests = node.registry.requests(before).into_iter();
    requests.filter(|request| request.path.contains(&layer)).count()
}

#[test]
fn a_staged_image_is_the_base_of_the_way_back() {
    let Some(node) = Node::start("none") else { return };
    node.pull(1);
    assert_eq!(way_back(&node), 0, "the layer is made from the unpacked files");
    let status = node.mirror().status();
    assert_eq!((status.rebuilt, status.failed, status.whole), (2, 0, 0), "{status:?}");
    assert_eq!(node.file(0, "etc/version"), b"0");
}

#[test]
fn without_frames_a_staged_image_is_not_a_base_and_the_way_back_fetches_each_blob_once() {
    let Some(node) = Node::start("none") else { return };
    node.pull(1);
    fs::remove_dir_all(node.dir.path().join("work/frames")).unwrap();
    assert_eq!(way_back(&node), 1);
    let status = node.mirror().status();
    assert_eq!((status.rebuilt, status.failed, status.whole), (1, 0, 1), "{status:?}");
    assert_eq!(node.file(0, "etc/version"), b"0");
}
