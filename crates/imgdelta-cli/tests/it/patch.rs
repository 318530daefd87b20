//! `diff` with the changes inside files, its pages, and its checks for CI steps.

use imgdelta_testkit::{
    Blobs, Packing, TestImage,
    registry::{RegistryBehaviour, TestRegistry},
    tar_of,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn imgdelta(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
    command.args(args).current_dir(top()).env_remove("IMGDELTA_CACHE").env_remove("NO_COLOR");
    command.output().unwrap()
}

fn prints(args: &[&str]) -> String {
    let output = imgdelta(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&prints(args)).unwrap()
}

/// Runs a command that ends with a code, and returns what it says on standard error.
fn says(args: &[&str], code: i32) -> String {
    let output = imgdelta(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

const OLD: &str = "testdata/small/old";
const NEW: &str = "testdata/small/new";

#[test]
fn the_patch_of_the_small_pair_is_golden() {
    let shown = prints(&["diff", OLD, NEW, "--patch"]);
    let path = top().join("testdata/small/diff.patch");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &shown).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(shown == golden, "diff.patch differs; UPDATE_GOLDEN=1 renews it\n{shown}");
}

#[test]
fn globs_and_paths_choose_files() {
    let one = prints(&["diff", OLD, NEW, "--file", "/app/main.py"]);
    assert!(one.starts_with("diff --git a/app/main.py b/app/main.py\n"), "{one}");
    assert_eq!(one.matches("diff --git").count(), 1);
    assert_eq!(prints(&["diff", OLD, NEW, "--patch", "app/*.py"]), one);
    assert_eq!(prints(&["diff", OLD, NEW, "--patch", "--filter", "/app/*.py"]), one);
    assert_eq!(prints(&["diff", OLD, NEW, "--file", "etc/os-release"]).len(), 0, "equal in both");
    let said = says(&["diff", OLD, NEW, "--file", "/no/such"], 3);
    assert!(said.contains("/no/such: neither image has this file"), "{said}");
    assert!(prints(&["diff", OLD, NEW, "--patch", "/nowhere/**"]).is_empty());
    assert!(prints(&["diff", OLD, NEW, "--stat"]).contains(" 11 files changed, "));
    let coloured = prints(&["diff", OLD, NEW, "--patch", "--color", "always"]);
    assert!(coloured.contains("\x1b[32m+") && !coloured.contains("\x1b[31mname"));
}

#[test]
fn a_patch_with_the_cost_is_the_same_patch() {
    let patch = prints(&["diff", OLD, NEW, "--patch"]);
    let both = prints(&["diff", OLD, NEW, "--patch", "--cost", "-q"]);
    assert!(both.starts_with(&patch) && both.len() > patch.len());
}

#[test]
fn no_layer_is_downloaded_twice_and_a_cached_one_only_for_a_file_that_is_shown() {
    let noise = imgdelta_testkit::noise(1, 100_000);
    let image = |text: &[u8]| {
        let layers = vec![tar_of(&[("big", &noise)]), tar_of(&[("etc/x", text), ("etc/y", text)])];
        TestImage::new(layers, Packing::Gzip).blobs()
    };
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let tagged = |blobs: &Blobs, tag: &str| {
        let mut blobs = blobs.clone();
        let root = blobs.roots.remove(0);
        blobs.tag(root, tag);
        registry.put_image("app", &blobs);
        format!("docker://{}/app:{tag}", registry.host())
    };
    let (old, new) = (tagged(&image(b"1\n"), "old"), tagged(&image(b"2\n"), "new"));
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_str().unwrap();
    let run = |glob: &str| {
        registry.forget();
        let patch = prints(&["diff", &old, &new, "--patch", glob, "--cache", cache]);
        let requests = registry.requests();
        let blobs = requests.iter().filter(|request| request.path.contains("/blobs/"));
        // Two of them are configs.
        (patch, blobs.count() - 2)
    };
    let (cold, downloads) = run("etc/x");
    assert!(cold.contains("-1\n+2\n"), "{cold}");
    assert_eq!(downloads, 3, "each layer once");
    assert_eq!(run("etc/x"), (cold, 2), "the layers with the file");
    assert_eq!(run("nowhere"), (String::new(), 0), "no layer");
}

#[test]
fn documents_are_as_long_as_the_options_say() {
    let fields = |args: &[&str]| -> Vec<String> {
        let document = json(&[&["diff", OLD, NEW, "--json"], args].concat());
        document.as_object().unwrap().keys().cloned().collect()
    };
    let has = |fields: &[String], name: &str| fields.iter().any(|field| field == name);
    let all = fields(&["--files"]);
    assert!(has(&all, "files") && has(&all, "packages") && has(&all, "config"));
    let none = fields(&["--no-files"]);
    assert!(!has(&none, "files") && has(&none, "packages"));
    let layers = fields(&["--layers"]);
    assert!(has(&layers, "layers") && has(&layers, "summary"));
    assert!(!has(&layers, "files") && !has(&layers, "packages") && !has(&layers, "config"));
    let lines = prints(&["diff", OLD, NEW, "--ndjson"]);
    let count = json(&["diff", OLD, NEW, "--json"])["files"].as_array().unwrap().len();
    assert_eq!(lines.lines().count(), count);
    assert!(!prints(&["diff", OLD, NEW, "--no-files"]).contains("Largest changes"));
    says(&["diff", OLD, NEW, "--files", "--no-files"], 2);
    says(&["diff", OLD, NEW, "--patch", "--layers"], 2);
}

#[test]
fn checks_fail_with_one_and_say_why() {
    let said = says(&["diff", OLD, NEW, "--cost", "--max-delta", "1kB"], 1);
    assert!(said.contains("--max-delta: the delta has 2,8"), "{said}");
    says(&["diff", OLD, NEW, "--cost", "--max-delta", "1MB"], 0);
    says(&["diff", OLD, NEW, "--max-delta", "1MB"], 2);
    let said = says(&["diff", OLD, NEW, "--fail-on", "removed,waste"], 1);
    assert!(said.contains("--fail-on removed: /opt/debugger"), "{said}");
    assert!(said.contains("--fail-on waste: 8 unchanged files"), "{said}");
    says(&["diff", OLD, NEW, "--fail-on", "downgrades,set-id,world-writable"], 0);
    let said = says(&["diff", NEW, OLD, "--fail-on", "downgrades"], 1);
    assert!(said.contains("downgrades: dpkg tool 2.1-1+deb1 -> 2.1-1, downgraded"), "{said}");
    let said = says(&["diff", OLD, NEW, "--fail-on", "size"], 2);
    assert!(said.contains("choose from files,removed"), "{said}");
    assert!(says(&["diff", OLD, OLD, "--fail-on", "files,config,packages,waste"], 0).is_empty());
}

#[test]
fn a_page_is_a_file_of_its_own_and_the_same_in_every_run() {
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("page.html");
    let args = ["diff", OLD, NEW, "--patch", "--cost", "--rollback", "-q", "--html"];
    let shown = prints(&[&args[..], &[page.to_str().unwrap()]].concat());
    assert!(shown.starts_with("old  testdata/small/old"), "the summary: {shown}");
    let written = fs::read_to_string(&page).unwrap();
    assert_eq!(prints(&[&args[..], &["-"]].concat()), written);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "no other file");
    assert!(written.contains("Way back") && written.contains("class=\"patch\""));
    // No address in the page: only names of namespaces and the policy's keywords.
    let addresses = written.matches("://").count();
    assert_eq!(addresses, written.matches("http://www.w3.org/2000/svg").count());
    says(&["diff", OLD, NEW, "--html", "/nowhere/page.html"], 6);
}

#[test]
fn markdown_has_the_ways_and_folded_patches() {
    let shown = prints(&["diff", OLD, NEW, "--markdown", "--patch", "--cost", "-q"]);
    assert!(shown.contains("| **delta** | 2.80 kB |"), "{shown}");
    assert!(shown.contains("<details><summary><code>/app/main.py</code></summary>\n\n```diff\n"));
}
