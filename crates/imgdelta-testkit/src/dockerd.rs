//! A docker daemon with its files and socket in a scratch directory, and its command line.
//!
//! Knows the daemon's options; asserts nothing about its answers. The daemon has no network.

use crate::ContainerdProcess;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A docker daemon that runs until it is dropped. Needs root.
#[derive(Debug)]
pub struct DockerProcess {
    child: Child,
    dir: TempDir,
    _containerd: ContainerdProcess,
}

impl DockerProcess {
    /// Starts a daemon with the driver overlay2. Its mounts are in a namespace of their own.
    pub fn start() -> Self {
        let (containerd, dir) = (ContainerdProcess::start(), tempfile::tempdir().expect("disk"));
        let path = |name: &str| dir.path().join(name);
        let log = || File::options().create(true).append(true).open(path("log")).expect("disk");
        // The machine's own configuration does not count.
        std::fs::write(path("daemon.json"), "{}").expect("disk");
        let mut child = Command::new("unshare")
            .args(["--mount", "dockerd", "--storage-driver=overlay2", "--bridge=none"])
            .args(["--iptables=false", "--ip-forward=false", "--ip-masq=false"])
            .arg(format!("--config-file={}", path("daemon.json").display()))
            .arg(format!("--containerd={}", containerd.socket().display()))
            .arg(format!("--data-root={}", path(ROOT).display()))
            .arg(format!("--exec-root={}", path("run").display()))
            .arg(format!("--pidfile={}", path("pid").display()))
            .arg(format!("--host=unix://{}", path(SOCKET).display()))
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("util-linux is installed");
        let deadline = Instant::now() + START_LIMIT;
        while !answers(&path(SOCKET)) {
            let ended = child.try_wait().expect("a process of our own");
            let log = || std::fs::read_to_string(path("log")).unwrap_or_default();
            assert!(ended.is_none(), "dockerd ended: {}", log());
            assert!(Instant::now() < deadline, "dockerd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, dir, _containerd: containerd }
    }

    /// Returns the directory of its data.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join(ROOT)
    }

    /// Returns its address.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join(SOCKET).display())
    }

    /// Runs `docker` with words that are separated by spaces; returns its output.
    pub fn docker(&self, line: &str) -> String {
        let output = Command::new("docker")
            .args(["--host", &self.host()])
            .args(line.split_whitespace())
            .output()
            .expect("docker is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {line}: {errors}");
        String::from_utf8(output.stdout).expect("docker prints text")
    }
}

impl Drop for DockerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(socket: &Path) -> bool {
    let host = format!("unix://{}", socket.display());
    let mut version = Command::new("docker");
    version.args(["--host", &host, "version"]).stdout(Stdio::null()).stderr(Stdio::null());
    socket.exists() && version.status().is_ok_and(|status| status.success())
}

const ROOT: &str = "data";
const SOCKET: &str = "d.sock";
/// It starts in half a second; a busy machine needs longer.
const START_LIMIT: Duration = Duration::from_secs(90);
