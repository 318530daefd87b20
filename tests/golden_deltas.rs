//! The deltas of `testdata/deltas` decode, with the program and with the second decoder.
//!
//! The second decoder is Python; without it that test says so and passes. With `CI=true` it fails.

use imgdelta_testkit::has;
use imgdelta_tests::{run, top};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A row of the list.
struct Golden {
    delta: String,
    base: String,
    layers: usize,
    target: String,
}

fn folder() -> PathBuf {
    top().join("testdata/deltas")
}

fn listed() -> Vec<Golden> {
    let page = fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = page.lines().filter(|line| line.contains(".imgdelta |"));
    let golden = rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, delta, base, _, layers, target, _] = cells[..] else { panic!("a row: {line}") };
        Golden {
            delta: delta.to_owned(),
            base: base.to_owned(),
            layers: layers.parse().unwrap(),
            target: target.trim_matches('`').to_owned(),
        }
    });
    golden.collect()
}

/// Builds the program as this test was built, and returns its path.
fn program() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "imgdelta-cli", "--bin", "imgdelta"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.current_dir(top()).status().unwrap().success(), "the program builds");
    // Cargo puts tests into `deps`, next to the program.
    let deps = std::env::current_exe().unwrap();
    deps.parent().and_then(Path::parent).unwrap().join("imgdelta")
}

/// Runs the program with `--json` and returns its document.
fn document(program: &Path, line: &str) -> Value {
    let line = format!("{} {line} --platform linux/amd64 --json --quiet", program.display());
    serde_json::from_str(&run(&folder(), &line)).unwrap()
}

fn diff_ids(document: &Value) -> Vec<String> {
    let layers = document["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["diff_id"].as_str().unwrap().to_owned()).collect()
}

/// A Python that has the module the second decoder needs.
fn python() -> Option<&'static str> {
    let reads_zstd = |python: &&str| {
        let output = Command::new(python).args(["-c", "import zstandard"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(reads_zstd);
    if found.is_none() && !has(&["python3 with zstandard (Debian: python3-zstandard)"]) {
        return None;
    }
    found
}

#[test]
fn the_list_names_every_delta_and_every_base() {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name());
    let present: BTreeSet<String> = files
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.ends_with(".imgdelta") || name.ends_with(".base.tar"))
        .collect();
    let named = listed().into_iter().flat_map(|golden| [golden.delta, golden.base]);
    assert_eq!(named.collect::<BTreeSet<_>>(), present);
    assert!(!present.is_empty());
}

#[test]
fn the_program_decodes_every_delta() {
    let program = program();
    for Golden { delta, base, layers, target } in listed() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().display();
        let base = format!("--base oci-archive:{base} --scratch {scratch}");
        let verified = document(&program, &format!("verify {delta} {base}"));
        assert_eq!(verified["target"], target.as_str(), "{delta}");
        assert_eq!(verified["layers"].as_array().unwrap().len(), layers, "{delta}");
        // Where no envelope is known, only streams can be written.
        let is_exact = verified["exact"].as_bool().unwrap();
        let form = if is_exact { "exact" } else { "uncompressed" };
        let output = format!("-o oci:{scratch}/image:image --layers {form}");
        let applied = document(&program, &format!("apply {delta} {base} {output}"));
        assert_eq!(applied["target"], target.as_str(), "{delta}");
        assert_eq!(applied["exact"], is_exact, "{delta}");
        assert_eq!(applied["manifest"] == target.as_str(), is_exact, "{delta}");
        assert_eq!(diff_ids(&applied), diff_ids(&verified), "{delta}");
    }
}

#[test]
fn the_second_decoder_makes_the_same_streams() {
    let Some(python) = python() else { return };
    let program = program();
    for Golden { delta, base, layers, target } in listed() {
        let dir = tempfile::tempdir().unwrap();
        let decoder = top().join("tests/decoder/decode.py");
        let (decoder, output) = (decoder.display(), dir.path().display());
        let said = run(&folder(), &format!("{python} -B {decoder} {delta} {base} -o {output}"));
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some(format!("target {target}").as_str()), "{delta}");
        let found: Vec<String> =
            lines.map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect();
        assert_eq!(found.len(), layers, "{delta}");
        let verified = format!("verify {delta} --base oci-archive:{base} --scratch {output}");
        assert_eq!(found, diff_ids(&document(&program, &verified)), "{delta}");
        for diff_id in &found {
            let stream = dir.path().join(diff_id.split_once(':').unwrap().1);
            assert!(stream.exists(), "{delta}: {diff_id} is written");
        }
    }
}
