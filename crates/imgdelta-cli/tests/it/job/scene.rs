//! docker-registry with images, and the program.
//!
//! Knows the registry's files and protocol; asserts nothing of the job.

pub use imgdelta_testkit::has;
use imgdelta_testkit::{
    Blobs, DockerRegistry, Packing, TestImage, free_port, noise, tar_of, wait_until,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::Duration,
};

/// A docker-registry that notifies a job of pushes.
pub struct Registry {
    pub server: DockerRegistry,
    /// The port that it sends notifications to.
    pub notify: u16,
}

impl Registry {
    pub fn start() -> Self {
        let notify = free_port();
        let server = DockerRegistry::start(|_, _, config| {
            config["notifications"] = json!({"endpoints": [{
                "name": "job", "url": format!("http://127.0.0.1:{notify}/notify"),
                "headers": {"Authorization": ["Bearer hunter2"]},
                "timeout": "5s", "threshold": 3, "backoff": "1s",
                "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull"]},
            }]});
        });
        Self { server, notify }
    }

    /// Returns the directory that holds its files and those of the test.
    pub fn dir(&self) -> &Path {
        self.server.dir()
    }

    /// Pushes a version as users do, and leaves its layout here as `v1`, `v2`…
    pub fn push(&self, number: u8, repository: &str) {
        version(number).blobs().write_layout(&self.dir().join(format!("v{number}")));
        let there = format!("docker://{}/{repository}:v{number}", self.server.host());
        self.skopeo(&["--dest-tls-verify=false", &format!("oci:v{number}:v1"), &there]);
    }

    pub fn skopeo(&self, args: &[&str]) {
        let output = Command::new("skopeo")
            .args(["copy", "-q", "--insecure-policy"])
            .args(args)
            .current_dir(self.dir())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    }

    /// Pushes an image over one connection, which takes milliseconds.
    pub fn put(&self, repository: &str, tag: &str, image: &Blobs) {
        let mut line = Line::open(self.server.port());
        let root = image.roots[0]["digest"].as_str().unwrap();
        for (digest, bytes) in image.by_digest.iter().filter(|(digest, _)| *digest != root) {
            let begun = line.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], &[]);
            let location = begun.expect(202, "location");
            let (_, path) = location.split_once("/v2/").unwrap();
            let path = format!("/v2/{path}&digest={digest}");
            line.ask("PUT", &path, &[("Content-Type", "application/octet-stream")], bytes)
                .expect(201, "location");
        }
        let kind = image.roots[0]["mediaType"].as_str().unwrap();
        let path = format!("/v2/{repository}/manifests/{tag}");
        line.ask("PUT", &path, &[("Content-Type", kind)], &image.by_digest[root])
            .expect(201, "docker-content-digest");
    }

    pub fn delete(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        assert_eq!(Line::open(self.server.port()).ask("DELETE", &path, &[], &[]).status, 202);
    }

    /// Writes a configuration of a job and returns its path. It settles for a second, as
    /// docker-registry notifies of a manifest before its tag can be read.
    pub fn config(&self, repository: &str, name: &str, queue: &str, rule: &str) -> String {
        let dir = self.dir().display();
        fs::write(self.dir().join("secret"), "hunter2\n").unwrap();
        let text = format!(
            "[registry]\nhost = \"{}\"\n[queue]\n{queue}\ntries = 100\npause = \"0s\"\n\
             [budget]\nscratch = \"{dir}\"\nthreads = 1\nparallel = 2\n[serve]\nlisten = \"127.0.0.1:{}\"\n\
             secret-file = \"{dir}/secret\"\npoll = \"30d\"\nsettle = \"1s\"\n\
             [retention]\nremove = true\n[log]\nformat = \"json\"\n\
             [[rule]]\nrepositories = [\"{repository}\"]\nrollback = true\n{rule}\n",
            self.server.host(),
            self.notify
        );
        let path = self.dir().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn sqlite(&self, repository: &str, name: &str) -> String {
        let dir = self.dir().display();
        let queue = format!("sqlite = \"{dir}/{name}.db\"\nlease = \"2s\"");
        self.config(repository, name, &queue, "keep = 3")
    }

    /// Makes a command without the logins of this machine's user.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
        command.args(args).current_dir(self.dir()).env("HOME", self.dir());
        for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"] {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
    }

    pub fn prints(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn documents(&self, args: &[&str]) -> Vec<Value> {
        documents(&self.prints(args))
    }

    /// Returns the manifests of all deltas in a repository, listed or not.
    pub fn deltas(&self, repository: &str) -> BTreeSet<String> {
        let revisions = self.storage(repository).join("_manifests/revisions/sha256");
        let is_delta = |hex: &String| {
            // What is deleted leaves an empty directory.
            if !revisions.join(hex).join("link").exists() {
                return false;
            }
            let document: Value = serde_json::from_slice(&self.blob(hex)).unwrap();
            document["artifactType"] == "application/vnd.imgdelta.delta.v1"
        };
        names(&revisions).into_iter().filter(is_delta).collect()
    }

    /// The deltas in all lists of referrers, each as often as it is listed.
    pub fn listed(&self, repository: &str) -> Vec<String> {
        let mut listed = Vec::new();
        for tag in names(&self.storage(repository).join("_manifests/tags")) {
            if !tag.starts_with("sha256-") {
                continue;
            }
            let link = self.storage(repository).join(format!("_manifests/tags/{tag}/current/link"));
            // A tag that is being written has none yet.
            let Ok(link) = fs::read_to_string(link) else { continue };
            let Some(hex) = link.trim().strip_prefix("sha256:") else { continue };
            let list: Value = serde_json::from_slice(&self.blob(hex)).unwrap();
            for entry in list["manifests"].as_array().unwrap() {
                if entry["artifactType"] != "application/vnd.imgdelta.delta.v1" {
                    continue;
                }
                let digest = entry["digest"].as_str().unwrap();
                listed.push(digest.strip_prefix("sha256:").unwrap().to_owned());
            }
        }
        listed.sort();
        listed
    }

    /// The bytes of a blob that the registry keeps.
    pub fn blob(&self, hex: &str) -> Vec<u8> {
        let blobs = self.dir().join("storage/docker/registry/v2/blobs/sha256");
        fs::read(blobs.join(&hex[..2]).join(hex).join("data")).unwrap()
    }

    /// Returns the registry's directory of a repository.
    pub fn storage(&self, repository: &str) -> PathBuf {
        self.dir().join("storage/docker/registry/v2/repositories").join(repository)
    }
}

/// A process that does not outlive its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection that asks one question after another.
struct Line(TcpStream);

struct Answer {
    status: u16,
    head: String,
}

impl Line {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
        Self(stream)
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let headers: String =
            headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: registry\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head };
        let length: u64 = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        std::io::copy(&mut Read::by_ref(&mut self.0).take(length), &mut std::io::sink()).unwrap();
        answer
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    /// The value of a header that comes with this status.
    fn expect(&self, status: u16, header: &str) -> String {
        assert_eq!(self.status, status, "{}", self.head);
        self.header(header).unwrap_or_else(|| panic!("no {header}: {}", self.head))
    }
}

/// The lines of a text as documents.
pub fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names in a directory, none if it is not there.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(items) = fs::read_dir(dir) else { return Vec::new() };
    items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect()
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn wait_for_listener(port: u16) {
    wait_until("a listener on the port", WAIT_LIMIT, || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}

/// Far more than a busy machine needs for what the tests wait for.
pub const WAIT_LIMIT: Duration = Duration::from_secs(180);

/// A version: a shared layer, and one with a program that differs by a byte.
pub fn version(number: u8) -> TestImage {
    sized(number, 100_000)
}

/// The same, but small: there may be many.
pub fn small_version(number: u8) -> TestImage {
    sized(number, 10_000)
}

fn sized(number: u8, bytes: usize) -> TestImage {
    let mut program = noise(2, bytes * 2);
    program[bytes] ^= number;
    let layers = vec![
        tar_of(&[("shared", &noise(1, bytes))]),
        tar_of(&[("bin/program", &program), ("etc/version", &[number])]),
    ];
    TestImage::new(layers, Packing::Gzip)
}
