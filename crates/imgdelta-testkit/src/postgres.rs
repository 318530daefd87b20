//! A `PostgreSQL` server for one test, on a socket in a scratch directory, removed when dropped.
//!
//! Listens on a port of this machine only on request. Requires a password only from the role
//! [`PASSWORD_ROLE`].

use crate::{Identity, free_port};
use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    settings: String,
}

/// A role that a test may create: on the port it needs TLS and its password.
pub const PASSWORD_ROLE: &str = "stranger";

impl PostgresServer {
    /// Starts a server, or returns `None` if its programs are missing; with `CI=true` it panics.
    pub fn start() -> Option<Self> {
        let mut server = Self::create()?;
        server.settings = "listen_addresses=''".into();
        server.restart();
        Some(server)
    }

    /// Ends the server as a power cut would: connections break, and nothing is written any more.
    pub fn crash(&self) {
        run(self.command("pg_ctl").args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.data()));
    }

    /// Starts the server again after [`PostgresServer::crash`].
    pub fn restart(&self) {
        assert!(self.begin(&self.settings), "PostgreSQL does not start: {}", self.log());
    }

    /// Starts a server that also listens on a port, with TLS if it has a certificate.
    pub fn start_on_port(identity: Option<&Identity>) -> Option<Self> {
        let mut server = Self::create()?;
        let mut settings = String::from("listen_addresses=127.0.0.1");
        if let Some(identity) = identity {
            server.write("server.crt", &identity.certificate);
            server.write("server.key", &identity.key);
            settings.push_str(" -c ssl=on");
        }
        // Another process may take a port between the probe and the server's start.
        for _ in 0..5 {
            server.port = free_port();
            server.settings.clone_from(&settings);
            if server.begin(&settings) {
                return Some(server);
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    /// Starts a server that follows this one, which listens on a port, too. It takes no connection until
    /// it is promoted, or read-only ones if it is `hot`. Returns `None` if a program is missing.
    pub fn start_standby(&self, is_hot: bool) -> Option<Self> {
        if !self.programs.join("pg_basebackup").is_file() {
            eprintln!("skipped: pg_basebackup not found");
            return None;
        }
        let (host, port) = (self.dir.path().display().to_string(), self.port.to_string());
        let mut standby = Self::empty(self.programs.clone());
        let copy =
            ["-U", "imgdelta", "-R", "--no-sync", "-c", "fast", "-h", &host, "-p", &port, "-D"];
        run(standby.command("pg_basebackup").args(copy).arg(standby.data()));
        let hot = if is_hot { "on" } else { "off" };
        standby.settings = format!("listen_addresses=127.0.0.1 -c hot_standby={hot}");
        for _ in 0..5 {
            standby.port = free_port();
            if standby.begin(&standby.settings) {
                return Some(standby);
            }
        }
        panic!("PostgreSQL does not start: {}", standby.log());
    }

    /// Makes a standby the server that takes writes.
    pub fn promote(&self) {
        run(self.command("pg_ctl").args(["promote", "-w", "-s", "-D"]).arg(self.data()));
    }

    /// Returns its address, if it listens on a port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Creates a server's files.
    fn create() -> Option<Self> {
        let Some(programs) = programs() else {
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!is_ci, "CI needs PostgreSQL");
            eprintln!("skipped: initdb not found");
            return None;
        };
        let server = Self::empty(programs);
        run(server
            .command("initdb")
            .args(["-A", "trust", "-U", "imgdelta", "--no-sync", "-D"])
            .arg(server.data()));
        server.write("pg_hba.conf", ACCESS);
        Some(server)
    }

    /// Creates the directory of a server.
    fn empty(programs: PathBuf) -> Self {
        // A socket's path has about a hundred characters at most, so $TMPDIR may be too deep.
        let dir = tempfile::Builder::new().prefix("imgdelta-pg").tempdir_in("/tmp").expect("disk");
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(dir.path()));
        }
        Self { dir, programs, port: DEFAULT_PORT, settings: String::new() }
    }

    /// Starts the server; true if it runs.
    fn begin(&self, settings: &str) -> bool {
        let (dir, port) = (self.dir.path().display(), self.port);
        let mut start = self.command("pg_ctl");
        let start = start.args(["start", "-w", "-s", "-l"]).arg(self.dir.path().join("log"));
        let start = start.arg("-D").arg(self.data());
        let start =
            start.arg("-o").arg(format!("-c {settings} -c fsync=off -c port={port} -k {dir}"));
        start.stdout(Stdio::null()).status().expect("an installed program").success()
    }

    /// Returns the connection options of a database, through the socket.
    pub fn options(&self, database: &str) -> String {
        let (dir, port) = (self.dir.path().display(), self.port);
        format!("host={dir} port={port} user=imgdelta dbname={database}")
    }

    /// Returns the connection options of a database, through the port.
    pub fn options_on_port(&self, database: &str) -> String {
        format!("hostaddr=127.0.0.1 port={} user=imgdelta dbname={database}", self.port)
    }

    /// Returns its port, which is also part of the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and returns its connection options.
    pub fn database(&self, name: &str) -> String {
        let (host, port) = (self.dir.path().display().to_string(), self.port.to_string());
        run(self.command("createdb").args(["-h", &host, "-p", &port, "-U", "imgdelta", name]));
        self.options(name)
    }

    /// Writes a file that only the server can read: it refuses a key that others can read.
    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).expect("disk");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("our own file");
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(&path));
        }
    }

    /// Returns the server's log.
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Returns a command for one of its programs, which refuse to run as root.
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

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        let _ = stop.args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.data()).status();
    }
}

/// Returns the directory of the server's programs: on the path, or Debian's per-version one.
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
    // All programs come from one directory, so from one version; the newest goes first.
    on_path.into_iter().chain(apart.into_iter().rev()).find(|dir| has_all(dir))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn run(command: &mut Command) {
    let output = command.stdout(Stdio::null()).output().expect("an installed program");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

const DEFAULT_PORT: u16 = 5432;
/// The server's `pg_hba.conf`; the first line that matches a client decides.
const ACCESS: &str = "
local    all       all                trust
local    replication  all             trust
hostssl  all  stranger  127.0.0.1/32  scram-sha-256
host     all  stranger  127.0.0.1/32  reject
host     all  all       127.0.0.1/32  trust
";
