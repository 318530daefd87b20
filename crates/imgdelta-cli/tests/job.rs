//! `imgdelta job` as an operator meets it, beside Debian's docker-registry: deltas made and pulled,
//! notifications, kills at any moment, two workers with one queue.
//!
//! On a machine without the tools the tests say so and pass; with `CI=true` they are compulsory.

use imgdelta_testkit::{Packing, TestImage, tar_of};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Whether the tools are there; in CI they must be.
fn has(tools: &[&str]) -> bool {
    let missing: Vec<&&str> =
        tools.iter().filter(|tool| Command::new(tool).arg("--version").output().is_err()).collect();
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(missing.is_empty() || !is_ci, "CI needs {missing:?}");
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
    }
    missing.is_empty()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A docker-registry that tells a job of pushes, and runs until it is dropped.
struct Registry {
    child: Child,
    dir: TempDir,
    port: u16,
    notify: u16,
}

impl Registry {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, notify) = (free_port(), free_port());
        let config = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": dir.path().join("storage")},
                "delete": {"enabled": true},
            },
            "http": {"addr": format!("127.0.0.1:{port}")},
            "notifications": {"endpoints": [{
                "name": "job", "url": format!("http://127.0.0.1:{notify}/notify"),
                "headers": {"Authorization": ["Bearer hunter2"]},
                "timeout": "5s", "threshold": 3, "backoff": "1s",
                "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull"]},
            }]},
        });
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", "config.json"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(port);
        let registry = Self { child, dir, port, notify };
        for number in 1..=4 {
            version(number).blobs().write_layout(&registry.dir.path().join(format!("v{number}")));
        }
        registry
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn push(&self, number: u8, repository: &str) {
        let there = format!("docker://{}/{repository}:v{number}", self.host());
        let output = Command::new("skopeo")
            .args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"])
            .args([&format!("oci:v{number}:v1"), &there])
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn config(&self, repository: &str, name: &str, queue: &str) -> String {
        let dir = self.dir.path().display();
        fs::write(self.dir.path().join("secret"), "hunter2\n").unwrap();
        let text = format!(
            "[registry]\nhost = \"{}\"\n[queue]\n{queue}\nlease = \"2s\"\ntries = 100\npause = \"0s\"\n\
             [budget]\nscratch = \"{dir}\"\nthreads = 1\n[serve]\nlisten = \"127.0.0.1:{}\"\n\
             secret-file = \"{dir}/secret\"\npoll = \"30d\"\nsettle = \"10ms\"\n\
             [retention]\nremove = true\n[log]\nformat = \"json\"\n\
             [[rule]]\nrepositories = [\"{repository}\"]\nkeep = 3\nrollback = true\n",
            self.host(),
            self.notify
        );
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn sqlite(&self, repository: &str, name: &str) -> String {
        let queue = format!("sqlite = \"{}/{name}.db\"", self.dir.path().display());
        self.config(repository, name, &queue)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
        command.args(args).current_dir(self.dir.path()).env("HOME", self.dir.path());
        for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"] {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
    }

    fn prints(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn documents(&self, args: &[&str]) -> Vec<Value> {
        let text = self.prints(args);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The manifests of deltas that lie in a repository, listed anywhere or not.
    fn deltas(&self, repository: &str) -> BTreeSet<String> {
        let revisions = self.storage(repository).join("_manifests/revisions/sha256");
        let is_delta = |hex: &String| {
            // What is deleted leaves an empty directory.
            if !revisions.join(hex).join("link").exists() {
                return false;
            }
            let blob = self.dir.path().join("storage/docker/registry/v2/blobs/sha256");
            let bytes = fs::read(blob.join(&hex[..2]).join(hex).join("data")).unwrap();
            let document: Value = serde_json::from_slice(&bytes).unwrap();
            document["artifactType"] == "application/vnd.imgdelta.delta.v1"
        };
        names(&revisions).into_iter().filter(is_delta).collect()
    }

    /// The manifests in all lists of referrers, each as often as it is listed.
    fn listed(&self, repository: &str) -> Vec<String> {
        let mut listed = Vec::new();
        for tag in names(&self.storage(repository).join("_manifests/tags")) {
            if !tag.starts_with("sha256-") {
                continue;
            }
            let link = self.storage(repository).join(format!("_manifests/tags/{tag}/current/link"));
            // A tag that is being written has none yet.
            let Ok(link) = fs::read_to_string(link) else { continue };
            let hex = link.trim().strip_prefix("sha256:").unwrap();
            let blob = format!("storage/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
            let bytes = fs::read(self.dir.path().join(blob)).unwrap();
            let list: Value = serde_json::from_slice(&bytes).unwrap();
            for entry in list["manifests"].as_array().unwrap() {
                let digest = entry["digest"].as_str().unwrap();
                listed.push(digest.strip_prefix("sha256:").unwrap().to_owned());
            }
        }
        listed.sort();
        listed
    }

    fn storage(&self, repository: &str) -> std::path::PathBuf {
        self.dir.path().join("storage/docker/registry/v2/repositories").join(repository)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service that does not outlive its test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(items) = fs::read_dir(dir) else { return Vec::new() };
    items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for something that will come; the test's own time limit ends a wait in vain.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(25));
    }
}

fn wait_for(port: u16) {
    until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
}

fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(step).take(count).collect()
}

fn version(number: u8) -> TestImage {
    let mut program = noise(2, 200_000);
    program[100_000] ^= number;
    let layers = vec![
        tar_of(&[("shared", &noise(1, 100_000))]),
        tar_of(&[("bin/program", &program), ("etc/version", &[number])]),
    ];
    TestImage::new(layers, Packing::Gzip)
}

#[test]
fn deltas_are_prepared_and_pulled() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=3).for_each(|number| registry.push(number, "demo/app"));
    let config = registry.sqlite("demo/*", "job");
    let run = ["job", "run", "--config", &config];
    let wanted = registry.prints(&[&run[..], &["--dry-run"]].concat());
    assert_eq!(wanted.lines().count(), 4, "{wanted}");
    assert!(wanted.contains("wanted  demo/app: v2 to v3 for linux/amd64"), "{wanted}");
    assert_eq!(registry.deltas("demo/app").len(), 0);
    let made = registry.documents(&[&run[..], &["--json"]].concat());
    assert_eq!(made.len(), 4);
    for document in &made {
        assert_eq!(document["outcome"], "published", "{document}");
        let (delta, pull) = (&document["delta_bytes"], &document["pull_bytes"]);
        assert!(delta.as_u64().unwrap() * 10 < pull.as_u64().unwrap(), "{document}");
    }
    assert_eq!(registry.deltas("demo/app").len(), 4);
    assert_eq!(registry.prints(&run), "");

    for (tag, base) in [("v3", "v1"), ("v3", "v2"), ("v1", "v3")] {
        let place = format!("oci:out-{tag}-{base}:{tag}");
        let image = format!("docker://{}/demo/app:{tag}", registry.host());
        let args = ["pull", &image, "--base", &format!("oci:{base}"), "-o", &place, "--json"];
        let pulled: Value = serde_json::from_str(&registry.prints(&args)).unwrap();
        let (received, plain) = (&pulled["received_bytes"], &pulled["plain_bytes"]);
        assert!(received.as_u64().unwrap() * 5 < plain.as_u64().unwrap(), "{tag}: {pulled}");
    }

    // An image that is deleted takes its deltas with it.
    let digest = made[0]["base"].as_str().unwrap().to_owned();
    let mut connection = TcpStream::connect(("127.0.0.1", registry.port)).unwrap();
    let (host, path) = (registry.host(), format!("/v2/demo/app/manifests/{digest}"));
    write!(connection, "DELETE {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let after = registry.documents(&[&run[..], &["--json"]].concat());
    let removed = after.iter().filter(|document| document["event"] == "removed").count();
    assert_eq!(removed, 2, "there and back: {after:?}");
    let listed: BTreeSet<String> = registry.listed("demo/app").into_iter().collect();
    assert_eq!(registry.deltas("demo/app"), listed);
}

#[test]
fn a_push_makes_a_delta_and_sigterm_ends_in_good_order() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    (1..=2).for_each(|number| registry.push(number, "demo/app"));
    let config = registry.sqlite("demo/app", "job");
    let log = fs::File::create(registry.dir.path().join("log")).unwrap();
    let serving = registry.command(&["job", "serve", "--config", &config]).stderr(log).spawn();
    let mut serving = Serving(serving.unwrap());
    wait_for(registry.notify);
    until(|| registry.listed("demo/app").len() == 2);
    registry.push(3, "demo/app");
    until(|| registry.listed("demo/app").len() == 6);
    // docker-registry told of the job's own pushes too; they wake nobody.
    let id = serving.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
    let log = fs::read_to_string(registry.dir.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!((count("done"), count("stopped")), (6, 1), "{log}");
    assert!(!log.contains("hunter2"));
    assert_eq!(registry.prints(&["job", "run", "--config", &config]), "", "nothing is left");
}

#[test]
fn kills_at_any_moment_lose_and_double_nothing() {
    if !has(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    for repository in ["demo/calm", "demo/killed"] {
        (1..=4).for_each(|number| registry.push(number, repository));
    }
    let calm = registry.sqlite("demo/calm", "calm");
    assert_eq!(registry.prints(&["job", "run", "--config", &calm]).lines().count(), 6);
    let killed = registry.sqlite("demo/killed", "killed");
    for round in 0..8_u64 {
        let mut run = registry
            .command(&["job", "run", "--config", &killed])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Where it is by then differs from machine to machine; that is the point.
        std::thread::sleep(Duration::from_millis(30 + 70 * round));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    registry.prints(&["job", "run", "--config", &killed]);
    // The same images make the same deltas, however they came about.
    let expected = registry.deltas("demo/calm");
    assert_eq!(expected.len(), 6);
    assert_eq!(registry.deltas("demo/killed"), expected, "none lost, none besides");
    let expected: Vec<String> = expected.into_iter().collect();
    assert_eq!(registry.listed("demo/killed"), expected, "each listed, and once");
}

#[test]
fn mistakes_have_their_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
        let output = command.args(args).current_dir(home.path()).env("HOME", home.path()).output();
        let output = output.unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    assert_eq!(run(&["job"]).0, 2);
    assert_eq!(run(&["job", "run"]).0, 2);
    assert_eq!(run(&["job", "run", "--config", "none.toml"]).0, 6);
    let config = home.path().join("job.toml");
    fs::write(&config, "[registry]\nhost = \"127.0.0.1:1\"\n[[rule]]\nrepositories = 5\n").unwrap();
    let (code, text) = run(&["job", "run", "--config", "job.toml"]);
    assert!(code == 3 && text.contains("job.toml:4:16: "), "{code}: {text}");
}
