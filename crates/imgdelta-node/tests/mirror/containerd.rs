//! A real containerd with a real registry: it pulls through the mirror as it is.

use super::*;
use imgdelta_node::ContainerdRuntime;
use imgdelta_testkit::{ContainerdProcess, DockerRegistry, has};
use std::{fs, process::Command};
use tempfile::TempDir;

const NAMESPACE: &str = "k8s.io";

/// A registry with two versions and a delta, a containerd that has the older one, and a mirror.
struct Node {
    containerd: ContainerdProcess,
    registry: DockerRegistry,
    mirror: Option<RunningMirror>,
    dir: TempDir,
}

impl Node {
    /// Starts everything; `None` if tools are missing. `blobs` is the mode of the mirror.
    fn start(blobs: &str) -> Option<Self> {
        if !has(&["containerd", "ctr", "docker-registry", "skopeo"]) {
            return None;
        }
        let registry = DockerRegistry::start(|_, _, _| {});
        let (containerd, dir) =
            (ContainerdProcess::start_for_kubernetes(), tempfile::tempdir().unwrap());
        let mut node = Self { containerd, registry, mirror: None, dir };
        for (version, image) in versions().iter().enumerate() {
            let layout = node.layout(version);
            image.blobs().write_layout(&layout);
            let copied = Command::new("skopeo")
                .args(["copy", "-q", "--dest-tls-verify=false"])
                .arg(format!("oci:{}:v1", layout.display()))
                .arg(format!("docker://{}", node.name(version)))
                .status();
            assert!(copied.unwrap().success());
        }
        for (old, new) in [(0, 1), (1, 0)] {
            let delta = delta(node.dir.path(), &node.layout(old), &node.layout(new));
            push(&delta, &node.name(new), Credentials::none());
        }
        node.containerd.ctr(NAMESPACE, &format!("images pull --plain-http {}", node.name(0)));
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

    fn layout(&self, version: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("v{version}"))
    }

    fn name(&self, version: usize) -> String {
        format!("{}/demo/app:v{version}", self.registry.host())
    }

    /// Pulls through the mirror; returns the registry's paths of an image, deltas aside.
    fn pull(&self, version: usize) -> Vec<String> {
        let before = self.registry.log_lines();
        self.containerd.kubelet_pull(&self.name(version));
        let requests = self.registry.requests(before).into_iter();
        let paths = requests.filter(|request| request.agent.starts_with("containerd"));
        paths.map(|request| request.path.split('?').next().unwrap().to_owned()).collect()
    }

    fn file(&self, version: usize, path: &str) -> Vec<u8> {
        let target = self.dir.path().join("mounted");
        fs::create_dir_all(&target).unwrap();
        let name = self.name(version);
        self.containerd.ctr(NAMESPACE, &format!("images mount {name} {}", target.display()));
        let bytes = fs::read(target.join(path)).unwrap();
        self.containerd.ctr(NAMESPACE, &format!("images unmount --rm {}", target.display()));
        bytes
    }

    fn image(&self, version: usize) -> Image {
        let reference = format!("oci:{}", self.layout(version).display()).parse().unwrap();
        image::open(&reference, &OpenOptions::default()).unwrap()
    }

    fn mirror(&self) -> &RunningMirror {
        self.mirror.as_ref().expect("it runs until the end")
    }
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
    let check = node.containerd.ctr(NAMESPACE, "images check");
    let line = check.lines().find(|line| line.starts_with(&node.name(1))).unwrap();
    assert!(line.contains("complete (3/3)"), "{line}");
}

/// Removes the older image from the node, so that its layers vanish, and pulls it again; returns the
/// number of requests for its layer of its own.
fn way_back(node: &Node) -> usize {
    let old = node.image(0);
    let names = node.containerd.ctr(NAMESPACE, "images list");
    let is_old = |line: &&str| line.contains(&old.digest.to_string());
    for line in names.lines().filter(is_old) {
        let name = line.split_whitespace().next().unwrap();
        node.containerd.ctr(NAMESPACE, &format!("images remove --sync {name}"));
    }
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
