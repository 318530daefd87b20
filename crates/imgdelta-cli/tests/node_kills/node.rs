//! A containerd, a registry with two versions of an image, and mirrors that can be killed.
//! Kills nothing by itself except at the end.

use imgdelta_runtimes::containerd::ChainId;
use imgdelta_testkit::{
    ContainerdProcess, Packing, TestImage, free_port, noise,
    registry::{RegistryBehaviour, TestRegistry},
    sha256, tar_of, wait_until,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) const LAYERS: usize = 6;

fn program(ordinal: usize, number: u8) -> Vec<u8> {
    let mut program = noise(ordinal as u64 + 1, 1_000_000);
    program[400_000] ^= number;
    program
}

/// Layers of a version: in each, a program that differs a little, and small files that differ.
fn version(number: u8) -> TestImage {
    let layer = |ordinal: usize| {
        let program = program(ordinal, number);
        let names: Vec<String> = (0..100).map(|file| format!("share/{ordinal}/{file}")).collect();
        let path = format!("bin/program-{ordinal}");
        let mut files: Vec<(&str, &[u8])> = vec![(&path, &program)];
        let small = [number; 100];
        files.extend(names.iter().map(|name| (name.as_str(), &small[..])));
        tar_of(&files)
    };
    TestImage::new((0..LAYERS).map(layer).collect(), Packing::Gzip)
}

/// A containerd that has the older version, and a registry with a delta.
pub(crate) struct Node {
    pub containerd: ContainerdProcess,
    pub registry: TestRegistry,
    pub base: String,
    /// The newer version's digest, and those of its layers.
    pub target: String,
    layers: BTreeSet<String>,
    /// Snapshots of both versions.
    pub chains: BTreeSet<String>,
    programs: Vec<Vec<u8>>,
    dir: TempDir,
}

/// The outcome of a pull.
pub(crate) struct Round {
    pub time: Duration,
    pub was_held: bool,
    /// Layers that the runtime fetched from the registry.
    pub whole_layers: usize,
}

impl Node {
    pub fn start() -> Self {
        let containerd = ContainerdProcess::start_for_kubernetes();
        fs::create_dir_all(containerd.registries()).unwrap();
        let registry = TestRegistry::start(RegistryBehaviour::default());
        let dir = tempfile::tempdir().unwrap();
        let images = [1, 2].map(version);
        for (number, image) in images.iter().enumerate() {
            let mut blobs = image.blobs();
            blobs.write_layout(&dir.path().join(number.to_string()));
            let tag = format!("v{number}").into();
            blobs.roots[0]["annotations"]["org.opencontainers.image.ref.name"] = tag;
            registry.put_image("team/app", &blobs);
        }
        let layers = images[1].layers.iter().map(|layer| sha256(&Packing::Gzip.pack(layer)));
        let node = Self {
            base: images[0].blobs().roots[0]["digest"].as_str().unwrap().to_owned(),
            target: images[1].blobs().roots[0]["digest"].as_str().unwrap().to_owned(),
            layers: layers.collect(),
            chains: images.iter().flat_map(chains).collect(),
            programs: (0..LAYERS).map(|ordinal| program(ordinal, 2)).collect(),
            containerd,
            registry,
            dir,
        };
        node.imgdelta("create oci:0 oci:1 -o up");
        node.imgdelta(&format!("push up docker://{}", node.name(1)));
        node.containerd.kubelet_pull(&node.name(0));
        node
    }

    pub fn name(&self, version: usize) -> String {
        format!("{}/team/app:v{version}", self.registry.host())
    }

    fn imgdelta(&self, line: &str) {
        let output = Command::new(env!("CARGO_BIN_EXE_imgdelta"))
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
    }

    pub fn config(&self, port: u16) -> PathBuf {
        let path = self.dir.path().join("node.toml");
        let text = format!(
            "[mirror]\nlisten = '127.0.0.1:{port}'\n[hosts]\ndirectory = '{}'\n\
             [containerd]\nsocket = '{}'\nlease = '60s'\n[rebuild]\ndirectory = '{}'\n\
             per-minute = 1000\n[link]\nrate = '1Mbit'\n[[registry]]\nhost = '{}'\n",
            self.containerd.registries().display(),
            self.containerd.socket().display(),
            self.dir.path().join("work").display(),
            self.registry.host()
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts a mirror, pulls the newer version, kills the mirror at a moment of the pull, compares
    /// the image, and removes it.
    pub fn round(&self, kill: Option<Duration>) -> Round {
        let mirror = MirrorProcess::start(&self.config(free_port()));
        let before = self.registry.requests().len();
        let started = Instant::now();
        let (time, was_held) = std::thread::scope(|scope| {
            let pull = scope.spawn(|| {
                self.containerd.kubelet_pull(&self.name(1));
                started.elapsed()
            });
            let mut was_held = false;
            if let Some(moment) = kill {
                std::thread::sleep(moment);
                was_held = mirror.is_holding();
                mirror.kill();
            }
            (pull.join().unwrap(), was_held)
        });
        let requests = self.registry.requests().into_iter().skip(before);
        let whole: BTreeSet<String> = requests
            .filter(|one| one.method == "GET" && one.status == 200)
            .filter(|one| {
                one.headers.get("user-agent").is_some_and(|a| a.starts_with("containerd"))
            })
            .map(|one| one.path)
            .filter(|path| path.rsplit('/').next().is_some_and(|name| self.layers.contains(name)))
            .collect();
        self.is_right();
        self.remove(&self.target);
        Round { time, was_held, whole_layers: whole.len() }
    }

    /// Compares the newer image's files, and the names of all snapshots.
    pub fn is_right(&self) {
        let target = self.dir.path().join("mounted");
        fs::create_dir_all(&target).unwrap();
        self.ctr(&format!("images mount {} {}", self.name(1), target.display()));
        for ordinal in 0..LAYERS {
            let program = fs::read(target.join(format!("bin/program-{ordinal}"))).unwrap();
            assert!(program == self.programs[ordinal], "program {ordinal}");
            for file in 0..100 {
                let bytes = fs::read(target.join(format!("share/{ordinal}/{file}"))).unwrap();
                assert_eq!(bytes, [2; 100]);
            }
        }
        self.ctr(&format!("images unmount --rm {}", target.display()));
        let found = self.snapshots();
        assert!(!found.is_empty() && found.is_subset(&self.chains), "{found:?}");
    }

    /// Names of committed snapshots.
    pub fn snapshots(&self) -> BTreeSet<String> {
        let list = self.ctr("snapshots ls");
        let lines = list.lines().filter(|line| line.trim_end().ends_with("Committed"));
        lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    }

    /// Removes all names of an image.
    pub fn remove(&self, digest: &str) {
        for line in self.ctr("images ls").lines().filter(|line| line.contains(digest)) {
            let name = line.split_whitespace().next().unwrap();
            self.ctr(&format!("images remove --sync {name}"));
        }
    }

    pub fn leases(&self) -> Vec<String> {
        self.ctr("leases ls -q").lines().map(str::to_owned).collect()
    }

    /// Waits for the end of leases that end in two minutes. One that a kill left in the middle of
    /// staging may last for an hour.
    pub fn await_leases(&self) {
        let (soon, late) = (time_in("2 minutes"), time_in("62 minutes"));
        let ends = || -> Vec<String> {
            let list = self.ctr("leases ls");
            let lines = list.lines().skip(1).map(|line| {
                let end = line.split("containerd.io/gc.expire=").nth(1);
                let end = end.unwrap_or_else(|| panic!("a lease without an end: {line}"));
                end.split([',', ' ']).next().unwrap().to_owned()
            });
            lines.collect()
        };
        println!("leases end at {:?}", ends());
        assert!(ends().iter().all(|end| *end < late), "after {late}");
        wait_until("the leases have ended", Duration::from_secs(180), || {
            self.collect();
            ends().iter().all(|end| *end > soon)
        });
    }

    pub fn end_leases(&self) {
        for lease in self.leases() {
            assert!(lease.starts_with("imgdelta"), "a lease of others: {lease}");
            self.ctr(&format!("leases delete --sync {lease}"));
        }
        self.collect();
    }

    /// Ends the leases of containerd's own pulls, too, which outlive it.
    pub fn end_all_leases(&self) {
        for lease in self.leases() {
            // The mirror may end it at this moment, too.
            self.containerd.try_ctr("k8s.io", &format!("leases delete --sync {lease}"));
        }
        self.collect();
    }

    pub fn collect(&self) {
        self.ctr("leases create --id collection");
        self.ctr("leases delete --sync collection");
    }

    /// Numbers of snapshots, blobs, and unfinished blobs.
    pub fn counts(&self) -> [usize; 3] {
        let containerd = &self.containerd;
        [containerd.snapshot_count(), containerd.blob_count(), containerd.ingests().len()]
    }

    /// Removes what killed mirrors kept in their own directories.
    pub fn is_clean_after_clean(&self) {
        let config = self.config(free_port());
        self.imgdelta(&format!("-q node clean --config {}", config.display()));
        let mut files = Vec::new();
        files_below(&self.dir.path().join("work"), &mut files);
        files.retain(|file| file.file_name().is_some_and(|name| name != "lock"));
        files_below(&self.containerd.registries(), &mut files);
        assert!(files.is_empty(), "{files:?}");
    }

    fn ctr(&self, line: &str) -> String {
        self.containerd.ctr("k8s.io", line)
    }
}

/// Returns a time from now on, as leases have theirs; later ones are greater.
fn time_in(span: &str) -> String {
    let output = Command::new("date").args(["-u", "-d", &format!("+{span}"), "+%FT%TZ"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn chains(image: &TestImage) -> Vec<String> {
    let diff_ids = image.layers.iter().map(|layer| sha256(layer).parse().unwrap());
    let diff_ids: Vec<_> = diff_ids.collect();
    ChainId::of_layers(&diff_ids).iter().map(ToString::to_string).collect()
}

/// A running `imgdelta node serve`.
pub(crate) struct MirrorProcess {
    child: Child,
    address: String,
}

impl MirrorProcess {
    pub fn start(config: &Path) -> Self {
        let text = fs::read_to_string(config).unwrap();
        let address = text.split('\'').nth(1).unwrap().to_owned();
        let log = fs::File::create(config.with_extension("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_imgdelta"))
            .args(["node", "serve", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mirror = Self { child, address };
        wait_until("the mirror answers", Duration::from_secs(60), || {
            mirror.get("/readyz").is_some()
        });
        mirror
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut connection = TcpStream::connect(&self.address).ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n");
        connection.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub fn is_holding(&self) -> bool {
        let answer = self.get("/status").unwrap_or_default();
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        status["held"].as_u64() > Some(0)
    }

    /// Kills it without any warning.
    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for MirrorProcess {
    fn drop(&mut self) {
        self.end();
    }
}
