//! A docker-registry process on a free port of this machine, with its files in a scratch directory.
//!
//! Knows the registry's configuration and its access log; asserts nothing about their content.

use crate::wait::free_port;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A docker-registry that runs until it is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    dir: TempDir,
    port: u16,
}

/// One answered request, as the registry's access log records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Method of the request.
    pub method: String,
    /// Path with its query.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of the answer's body.
    pub sent_bytes: u64,
    /// The client's user agent.
    pub agent: String,
}

impl DockerRegistry {
    /// Starts a registry that keeps its files in a directory and can delete them.
    ///
    /// `adapt` changes the configuration before the start: it receives the registry's directory,
    /// its port, and the configuration. It runs once for each port tried.
    pub fn start(mut adapt: impl FnMut(&Path, u16, &mut Value)) -> Self {
        let dir = tempfile::tempdir().expect("disk");
        // Another process may take a port between the probe and the registry's start.
        for _ in 0..PORT_TRIES {
            let port = free_port();
            let mut config = plain_config(dir.path(), port);
            adapt(dir.path(), port, &mut config);
            fs::write(dir.path().join("config.json"), config.to_string()).expect("disk");
            let mut child = Command::new("docker-registry")
                .args(["serve", "config.json"])
                .current_dir(dir.path())
                .stdout(File::create(dir.path().join(ACCESS_LOG)).expect("disk"))
                .stderr(Stdio::null())
                .spawn()
                .expect("docker-registry is installed");
            if listens(&mut child, port) {
                return Self { child, dir, port };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start");
    }

    /// Returns its directory, which holds its configuration, log and storage.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its name in references: host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the number of lines in the access log.
    pub fn log_lines(&self) -> usize {
        self.log().lines().count()
    }

    /// Returns the requests logged after the first `skipped_lines` lines.
    pub fn requests(&self, skipped_lines: usize) -> Vec<LoggedRequest> {
        self.log().lines().skip(skipped_lines).filter_map(LoggedRequest::parse).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join(ACCESS_LOG)).expect("a log of our own")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl LoggedRequest {
    /// Reads a line in Apache's combined format:
    /// `host - - [time] "GET /path HTTP/1.1" 200 12 "" "agent/1"`.
    fn parse(line: &str) -> Option<Self> {
        let parts: Vec<&str> = line.split('"').collect();
        let &[_, request, result, _, _, agent, _] = &parts[..] else { return None };
        let (mut request, mut result) = (request.split(' '), result.split_whitespace());
        Some(Self {
            method: request.next()?.to_owned(),
            path: request.next()?.to_owned(),
            status: result.next()?.parse().ok()?,
            sent_bytes: result.next()?.parse().ok()?,
            agent: agent.to_owned(),
        })
    }
}

fn plain_config(dir: &Path, port: u16) -> Value {
    json!({
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": false}},
        "storage": {
            "filesystem": {"rootdirectory": dir.join("storage")},
            "delete": {"enabled": true},
        },
        "http": {"addr": format!("127.0.0.1:{port}")},
    })
}

/// Returns true once the port answers and the registry still runs; false if it ends before.
fn listens(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline && child.try_wait().is_ok_and(|ended| ended.is_none()) {
        std::thread::sleep(Duration::from_millis(25));
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            // The port may be another process's, and the registry about to give up.
            return child.try_wait().is_ok_and(|ended| ended.is_none());
        }
    }
    false
}

const ACCESS_LOG: &str = "access.log";
const PORT_TRIES: usize = 5;
/// The registry starts in a tenth of a second; a busy machine needs longer.
const START_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_access_log_is_read() {
        let line = r#"127.0.0.1 - - [29/Nov/2026:08:00:00 +0000] "GET /v2/a/blobs/x?n=1 HTTP/1.1" 206 1234 "" "imgdelta/0.1.0""#;
        let expected = LoggedRequest {
            method: "GET".into(),
            path: "/v2/a/blobs/x?n=1".into(),
            status: 206,
            sent_bytes: 1234,
            agent: "imgdelta/0.1.0".into(),
        };
        assert_eq!(LoggedRequest::parse(line), Some(expected));
        assert_eq!(LoggedRequest::parse(r#"127.0.0.1 - - [time] "GET /v2/ HT"#), None);
    }
}
