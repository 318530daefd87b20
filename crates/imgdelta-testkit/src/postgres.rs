//! A `PostgreSQL` server of a test's own: on a socket in a directory, gone with the value.
//!
//! Listens on no port, keeps nothing, and asks nobody for a password.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    programs: PathBuf,
}

impl Server {
    /// Starts one, if its programs are here; with `CI=true` they must be.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!is_ci, "CI needs PostgreSQL");
            eprintln!("skipped: initdb not found");
            return None;
        };
        // The path of a socket has some hundred characters at most: not below $TMPDIR.
        let dir = tempfile::Builder::new().prefix("imgdelta-pg").tempdir_in("/tmp").expect("disk");
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(dir.path()));
        }
        let server = Self { dir, programs };
        let (data, log) = (server.data(), server.dir.path().join("log"));
        run(server
            .command("initdb")
            .args(["-A", "trust", "-U", "imgdelta", "--no-sync", "-D"])
            .arg(&data));
        let options = format!("-c listen_addresses='' -k {}", server.dir.path().display());
        run(server
            .command("pg_ctl")
            .args(["start", "-w", "-s", "-l"])
            .arg(log)
            .args(["-o", &options, "-D"])
            .arg(data));
        Some(server)
    }

    /// Returns how clients are told of a database.
    pub fn options(&self, database: &str) -> String {
        format!("host={} user=imgdelta dbname={database}", self.dir.path().display())
    }

    /// Makes an empty database, and returns how clients are told of it.
    pub fn database(&self, name: &str) -> String {
        let host = self.dir.path().display().to_string();
        run(self.command("createdb").args(["-h", &host, "-U", "imgdelta", name]));
        self.options(name)
    }

    /// A program of the server's, which does not run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.dir.path()).env("LC_ALL", "C").env("HOME", self.dir.path());
        command
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        let _ = stop.args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.data()).status();
    }
}

/// The directory of the server's programs: on the path, or where Debian keeps them out of the way.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let apart = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut apart: Vec<PathBuf> =
        apart.filter_map(|item| Some(item.ok()?.path().join("bin"))).collect();
    apart.sort();
    let has_all = |dir: &Path| {
        ["initdb", "pg_ctl", "createdb"].iter().all(|program| dir.join(program).is_file())
    };
    // All of one version, the newest of those apart.
    on_path.into_iter().chain(apart.into_iter().rev()).find(|dir| has_all(dir))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn run(command: &mut Command) {
    let output = command.stdout(Stdio::null()).output().expect("a program that is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
