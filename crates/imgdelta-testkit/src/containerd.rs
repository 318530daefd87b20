//! A containerd process with its files and socket in a scratch directory, and its command line `ctr`.
//!
//! Knows containerd's configuration; asserts nothing about its answers.

use crate::cri;
use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A containerd that runs until it is dropped.
#[derive(Debug)]
pub struct ContainerdProcess {
    child: Child,
    dir: TempDir,
}

impl ContainerdProcess {
    /// Starts a containerd, which needs root. Its Kubernetes plugin is off.
    pub fn start() -> Self {
        Self::start_as(&["io.containerd.grpc.v1.cri"])
    }

    /// Starts a containerd as nodes of Kubernetes have it.
    pub fn start_for_kubernetes() -> Self {
        Self::start_as(&[])
    }

    fn start_as(disabled_plugins: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("disk");
        let config = config(dir.path(), disabled_plugins);
        fs::write(dir.path().join("config.toml"), config).expect("disk");
        let child = Self::spawn(dir.path());
        Self { child, dir }
    }

    /// Ends the process as a power cut would, and starts it again.
    pub fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = Self::spawn(self.dir.path());
    }

    fn spawn(dir: &Path) -> Child {
        let log = File::options().create(true).append(true).open(dir.join("log")).expect("disk");
        let mut child = Command::new("containerd")
            .arg("--config")
            .arg(dir.join("config.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("containerd is installed");
        let deadline = Instant::now() + START_LIMIT;
        while !is_ready(dir) {
            let ended = child.try_wait().expect("a process of our own");
            let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "containerd ended: {}", log());
            assert!(Instant::now() < deadline, "containerd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(25));
        }
        child
    }

    /// Returns its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// Returns the directory in which a folder for each registry names its mirrors.
    pub fn registries(&self) -> PathBuf {
        self.dir.path().join(REGISTRIES)
    }

    /// Returns the directory of its content store.
    pub fn content(&self) -> PathBuf {
        self.dir.path().join("root/io.containerd.content.v1.content")
    }

    /// Returns the number of blobs in its content store, those of all namespaces.
    pub fn blob_count(&self) -> usize {
        fs::read_dir(self.content().join("blobs/sha256")).map_or(0, Iterator::count)
    }

    /// Returns the number of unfinished blobs in its content store.
    pub fn ingest_count(&self) -> usize {
        fs::read_dir(self.content().join("ingest")).map_or(0, Iterator::count)
    }

    /// Returns the number of directories that its overlay snapshotter keeps.
    pub fn snapshot_count(&self) -> usize {
        fs::read_dir(self.snapshots()).map_or(0, Iterator::count)
    }

    /// Returns the file of this name at the top of the only snapshot that has one.
    pub fn snapshot_file(&self, name: &str) -> PathBuf {
        let items = fs::read_dir(self.snapshots()).expect("snapshots").flatten();
        let files = items.map(|item| item.path().join("fs").join(name));
        let mut files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
        assert_eq!(files.len(), 1, "{name}: {files:?}");
        files.remove(0)
    }

    fn snapshots(&self) -> PathBuf {
        self.dir.path().join("root/io.containerd.snapshotter.v1.overlayfs/snapshots")
    }

    /// Pulls an image as the kubelet does.
    pub fn kubelet_pull(&self, name: &str) {
        cri::pull(&self.socket(), name);
    }

    /// Runs `ctr` in a namespace, with words that are separated by spaces; returns its output.
    pub fn ctr(&self, namespace: &str, line: &str) -> String {
        let output = self.try_ctr(namespace, line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ctr {line}: {errors}");
        String::from_utf8(output.stdout).expect("ctr prints text")
    }

    /// Runs `ctr` as [`ContainerdProcess::ctr`] does; a failure is for the caller.
    pub fn try_ctr(&self, namespace: &str, line: &str) -> Output {
        Command::new("ctr")
            .arg("--address")
            .arg(self.socket())
            .args(["--namespace", namespace])
            .args(line.split_whitespace())
            .output()
            .expect("ctr is installed")
    }
}

impl Drop for ContainerdProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(dir: &Path, disabled_plugins: &[&str]) -> String {
    let top = dir.display();
    format!(
        "version = 2\nroot = '{top}/root'\nstate = '{top}/state'\n\
         disabled_plugins = {disabled_plugins:?}\n\
         [grpc]\naddress = '{top}/{SOCKET}'\n\
         [plugins.'io.containerd.internal.v1.opt']\npath = '{top}/opt'\n\
         [plugins.'io.containerd.grpc.v1.cri']\n\
         disable_apparmor = true\nrestrict_oom_score_adj = true\n\
         [plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '{top}/{REGISTRIES}'\n\
         [plugins.'io.containerd.grpc.v1.cri'.cni]\nconf_dir = '{top}/cni'\n"
    )
}

/// True if containerd accepts connections; its services are registered before.
fn is_ready(dir: &Path) -> bool {
    UnixStream::connect(dir.join(SOCKET)).is_ok()
}

const SOCKET: &str = "c.sock";
const REGISTRIES: &str = "certs.d";
/// It starts in a third of a second; a busy machine needs longer.
const START_LIMIT: Duration = Duration::from_secs(60);
