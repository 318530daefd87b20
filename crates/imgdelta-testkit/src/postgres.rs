//! A `PostgreSQL` server of a test's own: on a socket in a directory, gone with the value.
//!
//! Keeps nothing. Listens on a port of this machine only if told to, and asks nobody for a
//! password but [`STRANGER`].

use crate::Identity;
use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
}

/// A role that a test may make: on the port it is let in with TLS and its password only.
pub const STRANGER: &str = "stranger";

impl Server {
    /// Starts one, if its programs are here; with `CI=true` they must be.
    pub fn start() -> Option<Self> {
        let server = Self::create()?;
        let is_up = server.begin("listen_addresses=''");
        assert!(is_up, "PostgreSQL does not start: {}", server.log());
        Some(server)
    }

    /// Starts one that listens on a port too, and speaks TLS there if it has what to show.
    pub fn start_on_port(identity: Option<&Identity>) -> Option<Self> {
        let mut server = Self::create()?;
        let mut settings = String::from("listen_addresses=127.0.0.1");
        if let Some(identity) = identity {
            server.write("server.crt", &identity.certificate);
            server.write("server.key", &identity.key);
            settings.push_str(" -c ssl=on");
        }
        // Free when it was asked for; another may take it before the server does.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
            server.port = free.expect("a socket").port();
            if server.begin(&settings) {
                return Some(server);
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    /// Makes the files of one.
    fn create() -> Option<Self> {
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
        let server = Self { dir, programs, port: DEFAULT_PORT };
        run(server
            .command("initdb")
            .args(["-A", "trust", "-U", "imgdelta", "--no-sync", "-D"])
            .arg(server.data()));
        server.write("pg_hba.conf", ACCESS);
        Some(server)
    }

    /// Starts its programs, and returns whether they run.
    fn begin(&self, settings: &str) -> bool {
        let (dir, port) = (self.dir.path().display(), self.port);
        let mut start = self.command("pg_ctl");
        let start = start.args(["start", "-w", "-s", "-l"]).arg(self.dir.path().join("log"));
        let start = start.arg("-D").arg(self.data());
        let start = start.arg("-o").arg(format!("-c {settings} -c port={port} -k {dir}"));
        start.stdout(Stdio::null()).status().expect("a program that is there").success()
    }

    /// Returns how clients are told of a database.
    pub fn options(&self, database: &str) -> String {
        let (dir, port) = (self.dir.path().display(), self.port);
        format!("host={dir} port={port} user=imgdelta dbname={database}")
    }

    /// Returns how clients are told of a database behind the port.
    pub fn options_on_port(&self, database: &str) -> String {
        format!("hostaddr=127.0.0.1 port={} user=imgdelta dbname={database}", self.port)
    }

    /// Returns its port; without one, what the socket is called by.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database, and returns how clients are told of it.
    pub fn database(&self, name: &str) -> String {
        let (host, port) = (self.dir.path().display().to_string(), self.port.to_string());
        run(self.command("createdb").args(["-h", &host, "-p", &port, "-U", "imgdelta", name]));
        self.options(name)
    }

    /// Writes a file among the server's, which it alone can read: it refuses other keys.
    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).expect("disk");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("our own file");
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(&path));
        }
    }

    /// What the server said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
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

const DEFAULT_PORT: u16 = 5432;
/// Who is let in how; the first line that fits counts.
const ACCESS: &str = "
local    all       all                trust
hostssl  all  stranger  127.0.0.1/32  scram-sha-256
host     all  stranger  127.0.0.1/32  reject
host     all  all       127.0.0.1/32  trust
";
