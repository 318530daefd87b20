//! One command in a directory of its own, with one system call that fails or kills.
//!
//! The shim next to this file counts the calls and makes one of them fail.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The compiled shim, and the directory that holds it.
pub struct Shim(TempDir);

impl Shim {
    /// Compiles the shim; `None` without a compiler.
    pub fn compiled() -> Option<Self> {
        if !imgdelta_testkit::has(&["gcc"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let compiled = Command::new("gcc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-U_FORTIFY_SOURCE", "-o"])
            .args([&dir.path().join("shim.so"), &source])
            .status();
        assert!(compiled.unwrap().success(), "{} compiles", source.display());
        Some(Self(dir))
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("shim.so")
    }
}

/// A command and the files that it makes.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub name: &'static str,
    /// `DIR` stands for the directory of the scene.
    args: &'static [&'static str],
    /// An output that exists before, as a path in the directory and its source in the tree.
    existing: Option<(&'static str, &'static str)>,
}

pub const WORKS: [Work; 7] = [
    Work { name: "create", args: &["create", OLD, NEW, "-o", "DIR/up.imgdelta"], existing: None },
    Work {
        name: "create --rollback over earlier deltas",
        args: &["create", OLD, NEW, "-o", "DIR/up.imgdelta", "--rollback", "DIR/down.imgdelta"],
        existing: Some(("up.imgdelta", "LICENSE-MIT")),
    },
    Work {
        name: "apply to a new layout",
        args: &["apply", DELTA, "--base", OLD, "-o", "oci:DIR/deep/layout:new"],
        existing: None,
    },
    Work {
        name: "apply to a layout with an image",
        args: &["apply", DELTA, "--base", OLD, "-o", "oci:DIR/layout:new"],
        existing: Some(("layout", "testdata/small/old")),
    },
    Work {
        name: "apply to an OCI archive",
        args: &["apply", DELTA, "--base", OLD, "-o", "oci-archive:DIR/a.tar:new"],
        existing: None,
    },
    Work {
        name: "apply to an OCI archive over a file",
        args: &["apply", DELTA, "--base", OLD, "-o", "oci-archive:DIR/a.tar:new"],
        existing: Some(("a.tar", "LICENSE-MIT")),
    },
    Work {
        name: "apply to a docker archive",
        args: &["apply", DELTA, "--base", OLD, "-o", "docker-archive:DIR/d.tar:me/x:1"],
        existing: None,
    },
];

/// The end of a run: its status and its text on standard error.
#[derive(Debug)]
pub struct RunOutcome {
    pub status: ExitStatus,
    pub said: String,
}

impl RunOutcome {
    pub fn is_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

/// A directory with scratch space, outputs, and a log of system calls.
pub struct Scene {
    dir: TempDir,
    work: Work,
}

impl Scene {
    pub fn new(work: Work) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        fs::create_dir(dir.path().join("scratch")).unwrap();
        if let Some((name, source)) = work.existing {
            copy(&top().join(source), &dir.path().join("out").join(name));
        }
        Self { dir, work }
    }

    /// Runs the command with a fault, or without one.
    pub fn run(&self, shim: &Shim, point: Option<&str>) -> RunOutcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
        let out = self.out().display().to_string();
        command.args(self.work.args.iter().map(|arg| arg.replace("DIR", &out)));
        // One worker: the calls of every run have the same order.
        command.args(["--quiet", "--jobs", "1", "--scratch"]).arg(self.dir.path().join("scratch"));
        command.current_dir(top()).env("LD_PRELOAD", shim.library());
        command.env("FAULT_LOG", self.dir.path().join("log"));
        if let Some(point) = point {
            command.env("FAULT_POINT", point);
        }
        let errors = self.dir.path().join("errors");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                None => {
                    child.kill().unwrap();
                    panic!("{}, {point:?}: no end after a minute", self.work.name);
                }
            }
        };
        RunOutcome { status, said: fs::read_to_string(errors).unwrap() }
    }

    /// Returns the calls so far, each as its kind and path.
    pub fn calls(&self) -> Vec<(String, String)> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        let call = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
        log.lines().filter_map(call).collect()
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Returns the names and contents of all complete outputs.
    pub fn visible(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files();
        files.retain(|name, _| !is_unfinished(name));
        files
    }

    /// Returns the names of unfinished files.
    pub fn unfinished(&self) -> Vec<String> {
        self.files().into_keys().filter(|name| is_unfinished(name)).collect()
    }

    /// Returns the number of files in the scratch directory.
    pub fn scratch_files(&self) -> usize {
        fs::read_dir(self.dir.path().join("scratch")).unwrap().count()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.out(), "", &mut files);
        files
    }
}

fn is_unfinished(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with(".imgdelta-"))
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for item in fs::read_dir(directory).unwrap() {
        let item = item.unwrap();
        let name = format!("{prefix}{}", item.file_name().to_str().unwrap());
        if item.path().is_dir() {
            collect(&item.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(item.path()).unwrap());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir(to).unwrap();
        for item in fs::read_dir(from).unwrap() {
            let item = item.unwrap();
            copy(&item.path(), &to.join(item.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

const OLD: &str = "oci:testdata/small/old";
const NEW: &str = "oci:testdata/small/new";
const DELTA: &str = "testdata/small/small.imgdelta";
