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

/// Settings of a containerd. By default it is as nodes of Kubernetes have it.
#[derive(Clone, Debug, Default)]
pub struct ContainerdSettings {
    /// True to turn its Kubernetes plugin off.
    pub without_kubernetes: bool,
    /// True to remove the compressed layers after they are unpacked.
    pub discards_layers: bool,
    /// Directory of its content and snapshots, such as a small disk; by default a scratch directory.
    pub root: Option<PathBuf>,
}

/// A containerd that runs until it is dropped.
#[derive(Debug)]
pub struct ContainerdProcess {
    child: Child,
    root: PathBuf,
    dir: TempDir,
}

impl ContainerdProcess {
    /// Starts a containerd, which needs root. Its Kubernetes plugin is off.
    pub fn start() -> Self {
        Self::start_with(&ContainerdSettings { without_kubernetes: true, ..Default::default() })
    }

    /// Starts a containerd as nodes of Kubernetes have it.
    pub fn start_for_kubernetes() -> Self {
        Self::start_with(&ContainerdSettings::default())
    }

    /// Starts a containerd with settings. The first `containerd` of the path is used, of any version.
    pub fn start_with(settings: &ContainerdSettings) -> Self {
        let dir = tempfile::tempdir().expect("disk");
        let root = settings.root.clone().unwrap_or_else(|| dir.path().join("root"));
        let config = config(dir.path(), &root, settings);
        fs::write(dir.path().join("config.toml"), config).expect("disk");
        let child = Self::spawn(dir.path());
        Self { child, root, dir }
    }

    /// Returns the version of the first `containerd` of the path.
    pub fn version() -> String {
        let output = Command::new("containerd").arg("--version").output();
        let text = String::from_utf8(output.expect("containerd is installed").stdout);
        // `containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1`
        let text = text.expect("containerd prints text");
        text.split_whitespace().nth(2).expect("a version").to_owned()
    }

    /// Kills the process, which may be at work for another thread.
    pub fn kill(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-KILL", &id]).status().expect("kill is there");
        assert!(status.success());
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
        self.root.join("io.containerd.content.v1.content")
    }

    /// Returns the number of blobs in its content store, those of all namespaces.
    pub fn blob_count(&self) -> usize {
        fs::read_dir(self.content().join("blobs/sha256")).map_or(0, Iterator::count)
    }

    /// Returns the number of unfinished blobs in its content store.
    pub fn ingest_count(&self) -> usize {
        self.ingest_directories().len()
    }

    /// Returns the names of unfinished blobs in its content store. A kill of containerd can leave a
    /// directory that has no name yet; containerd itself neither lists nor removes it.
    pub fn ingests(&self) -> Vec<String> {
        let directories = self.ingest_directories();
        directories.iter().filter_map(|path| fs::read_to_string(path.join("ref")).ok()).collect()
    }

    fn ingest_directories(&self) -> Vec<PathBuf> {
        let items = fs::read_dir(self.content().join("ingest")).into_iter().flatten().flatten();
        items.map(|item| item.path()).collect()
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
        self.root.join("io.containerd.snapshotter.v1.overlayfs/snapshots")
    }

    /// Pulls an image as the kubelet does.
    pub fn kubelet_pull(&self, name: &str) {
        self.try_kubelet_pull(name, None).expect("the pull succeeds");
    }

    /// Pulls an image as the kubelet does, with a user and password if they are given; a refusal is
    /// for the caller.
    pub fn try_kubelet_pull(&self, name: &str, login: Option<(&str, &str)>) -> Result<(), String> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match cri::pull(&self.socket(), name, login) {
                // Its Kubernetes plugin is the last one to start.
                Err(error) if error.contains(NOT_READY) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(25));
                }
                outcome => return outcome,
            }
        }
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

fn config(dir: &Path, root: &Path, settings: &ContainerdSettings) -> String {
    let (top, root) = (dir.display(), root.display());
    let disabled: &[&str] =
        if settings.without_kubernetes { &["io.containerd.grpc.v1.cri"] } else { &[] };
    let discards = settings.discards_layers;
    let plugin = |name: &str, lines: &str| format!("[plugins.'io.containerd.{name}']\n{lines}\n");
    // Version 3 has the parts of the Kubernetes plugin apart, and reads some of version 2 only.
    let is_new = !ContainerdProcess::version().starts_with("1.");
    let version = if is_new { 3 } else { 2 };
    let (images, pods, unpacking) = if is_new {
        ("cri.v1.images", "cri.v1.runtime", "cri.v1.images")
    } else {
        ("grpc.v1.cri", "grpc.v1.cri", "grpc.v1.cri'.'containerd")
    };
    let mut text = format!(
        "version = {version}\nroot = '{root}'\nstate = '{top}/state'\n\
         disabled_plugins = {disabled:?}\n[grpc]\naddress = '{top}/{SOCKET}'\n"
    );
    text += &plugin("internal.v1.opt", &format!("path = '{top}/opt'"));
    text += &plugin(pods, "disable_apparmor = true\nrestrict_oom_score_adj = true");
    text += &plugin(unpacking, &format!("discard_unpacked_layers = {discards}"));
    text +=
        &plugin(&format!("{images}'.'registry"), &format!("config_path = '{top}/{REGISTRIES}'"));
    text += &plugin(&format!("{pods}'.'cni"), &format!("conf_dir = '{top}/cni'"));
    text
}

/// True if containerd accepts connections; its services are registered before.
fn is_ready(dir: &Path) -> bool {
    UnixStream::connect(dir.join(SOCKET)).is_ok()
}

const SOCKET: &str = "c.sock";
const REGISTRIES: &str = "certs.d";
const NOT_READY: &str = "server is not initialized yet";
/// It starts in a third of a second; a busy machine needs longer.
const START_LIMIT: Duration = Duration::from_secs(60);
