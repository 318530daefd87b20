//! Every mistake with its message, its hint and its exit code, as one table for people to read.
//!
//! `UPDATE_GOLDEN=1` writes the table again.

use imgdelta_testkit::{assert_valid, registry::RegistryBehaviour, small_registry};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A directory with good and bad files under short names.
fn scene() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let small = top().join("testdata/small");
    for name in ["old", "new"] {
        symlink(small.join(name), dir.path().join(name)).unwrap();
    }
    fs::copy(small.join("small.imgdelta"), dir.path().join("up.imgdelta")).unwrap();
    let delta = fs::read(small.join("small.imgdelta")).unwrap();
    fs::write(dir.path().join("cut.imgdelta"), &delta[..delta.len() / 2]).unwrap();
    let mut flipped = delta.clone();
    flipped[delta.len() / 2] ^= 1;
    fs::write(dir.path().join("flipped.imgdelta"), flipped).unwrap();
    fs::write(dir.path().join("text"), "not an image\n").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for (name, damage) in [("damaged", true), ("incomplete", false)] {
        let copy = dir.path().join(name);
        copy_layout(&small.join("old"), &copy);
        let layer = largest(&copy.join("blobs/sha256"));
        if damage {
            let mut bytes = fs::read(&layer).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&layer, bytes).unwrap();
        } else {
            fs::remove_file(layer).unwrap();
        }
    }
    let apply = ["apply", "up.imgdelta", "--base", "old", "-o", "docker-archive:docker.tar:x:1"];
    assert!(imgdelta(dir.path(), &apply).status.success());
    dir
}

fn copy_layout(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("blobs/sha256")).unwrap();
    for name in ["oci-layout", "index.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    for blob in fs::read_dir(from.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        fs::copy(blob.path(), to.join("blobs/sha256").join(blob.file_name())).unwrap();
    }
}

fn largest(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn imgdelta(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
    command.args(args).current_dir(dir).env("HOME", dir);
    for name in ["IMGDELTA_CACHE", "IMGDELTA_SCRATCH", "COLUMNS", "REGISTRY_AUTH_FILE"] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

const MISTAKES: &[&[&str]] = &[
    // The command line.
    &["dif", "old", "new"],
    &["diff", "old"],
    &["diff", "old", "new", "--file"],
    &["diff", "old", "new", "--ignore", "times"],
    &["diff", "old", "new", "--filter", "[a"],
    &["diff", "old", "new", "--limit", "layer=1"],
    &["create", "old", "new"],
    &["create", "old", "new", "-o", "x", "--rollback", "x"],
    &["create", "old", "new", "-o", "x", "--memory", "1.5GB"],
    &["create", "old", "new", "-o", "-", "--json"],
    &["apply", "up.imgdelta", "--base", "old"],
    &["apply", "up.imgdelta", "-o", "oci:out"],
    &["apply", "up.imgdelta", "--base", "old", "-o", "new.tar"],
    &["apply", "up.imgdelta", "--base", "old", "-o", "containerd:x"],
    &["push", "up.imgdelta", "host/app"],
    &["pull", "host/app:1", "-o", "oci:out"],
    &["pull", "docker://HOST/app:1", "-o", "oci:out", "--link", "20MB"],
    &["deltas", "list", "host/app:1"],
    // Images.
    &["diff", "nowhere", "new"],
    &["diff", "oci:nowhere", "new"],
    &["diff", "docker-archive:nowhere.tar", "new"],
    &["diff", "oci:old:v9", "new"],
    &["diff", "oci:old:old:/etc/os-release", "new"],
    &["diff", "debian:12", "new"],
    &["diff", "docker:debian:12", "new"],
    &["diff", "dir:nowhere", "new"],
    &["diff", "dir:empty", "new"],
    &["diff", "empty", "new"],
    &["diff", "text", "new"],
    &["diff", "oci:docker.tar", "new"],
    &["diff", "oci-archive:docker.tar", "new"],
    &["diff", "docker-archive:old", "new"],
    &["diff", "up.imgdelta", "new"],
    &["diff", "damaged", "new"],
    &["diff", "incomplete", "new"],
    &["diff", "old", "new", "--platform", "linux/s390x"],
    &["diff", "old", "new", "--limit", "layer-bytes=1kB"],
    &["diff", "old", "docker://HOST/app:1", "--ca", "nowhere.pem"],
    &["create", "old", "new", "-o", "x", "--scratch", "nowhere"],
    // Deltas.
    &["inspect", "nowhere"],
    &["inspect", "text"],
    &["inspect", "old"],
    &["inspect", "oci:old"],
    &["inspect", "cut.imgdelta"],
    &["inspect", "flipped.imgdelta"],
    &["apply", "up.imgdelta", "--base", "new", "-o", "oci:out"],
    &["apply", "up.imgdelta", "up.imgdelta", "--base", "new", "-o", "oci:out"],
    &["apply", "-", "-", "--base", "old", "-o", "oci:out"],
    &["apply", "up.imgdelta", "--base", "incomplete", "-o", "oci:out"],
    &["verify", "up.imgdelta", "--base", "damaged"],
    // Destinations.
    &["create", "old", "new", "-o", "nowhere/up.imgdelta"],
    &["diff", "old", "new", "--html", "nowhere/page.html"],
    &["create", "old", "new", "-o", "empty"],
    &["apply", "up.imgdelta", "--base", "old", "-o", "oci:text"],
    &["apply", "up.imgdelta", "--base", "old", "-o", "oci-archive:nowhere/x.tar"],
    // Registries.
    &["diff", "docker://127.0.0.1:1/app:1", "new"],
    &["diff", "docker://HOST/nothing:1", "new"],
    &["push", "up.imgdelta", "docker://HOST/app:1"],
    &["push", "up.imgdelta", "docker://HOST/x/app:old"],
    &["deltas", "list", "docker://HOST/app:1"],
    &["deltas", "delete", "docker://HOST/x/app:new", "abc"],
    &["log", "docker://HOST"],
    &["log", "docker://HOST/nothing"],
    // As documents.
    &["diff", "old", "--json"],
    &["diff", "oci:old:v9", "new", "--json"],
    &["verify", "up.imgdelta", "--base", "new", "--json"],
];

#[test]
fn every_mistake_has_a_message_a_hint_and_a_code() {
    let dir = scene();
    let registry = small_registry(RegistryBehaviour::default());
    let mut table = String::new();
    for mistake in MISTAKES {
        let args: Vec<String> =
            mistake.iter().map(|arg| arg.replace("HOST", &registry.host())).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = imgdelta(dir.path(), &args);
        let code = output.status.code().unwrap();
        assert!(code >= 2, "{mistake:?} is not a mistake");
        assert!(output.stdout.is_empty(), "{mistake:?}: an error prints no result");
        let said = String::from_utf8(output.stderr).unwrap();
        if mistake.contains(&"--json") {
            assert_valid(&serde_json::from_str(&said).unwrap(), "error");
        }
        let said = said.replace(&registry.host(), "HOST");
        let said = said.replace(&dir.path().canonicalize().unwrap().display().to_string(), "DIR");
        let said = said.replace(&top().display().to_string(), "TOP");
        let _ = write!(table, "$ imgdelta {}\n{said}= {code}\n\n", mistake.join(" "));
    }
    // The waits between attempts are random.
    let table: String = table
        .lines()
        .map(|line| match (line.find("retrying in "), line.find(" s (attempt")) {
            (Some(from), Some(to)) => format!("{}N{}\n", &line[..from + 12], &line[to..]),
            _ => format!("{line}\n"),
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(table == golden, "if that is meant, run with UPDATE_GOLDEN=1\n{table}");
}
