//! The commands around a delta as a user meets them: results, places, exit codes.
//!
//! The delta in testdata/small makes `new` from `old`; a test of `imgdelta-make` writes it again when
//! the format changes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
    command.args(args).current_dir(top()).env_remove("IMGDELTA_SCRATCH").env_remove("NO_COLOR");
    command
}

fn imgdelta(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Asserts success and returns the result.
fn prints(args: &[&str]) -> String {
    let output = imgdelta(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts the exit code and returns the text on standard error.
fn fails(args: &[&str], code: i32) -> String {
    let output = imgdelta(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}: an error prints no result");
    said
}

fn json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&prints(args)).unwrap()
}

const OLD: &str = "testdata/small/old";
const NEW: &str = "testdata/small/new";
const DELTA: &str = "testdata/small/small.imgdelta";

/// Returns true if `diff` says that two images are the same.
fn is_same(a: &str, b: &str) -> bool {
    json(&["diff", a, b, "--json"])["same_image"] == true
}

/// Asserts that an image differs from the new one only in the compression of its layers.
fn is_recompressed(place: &str) {
    let diff = json(&["diff", place, NEW, "--json"]);
    assert_eq!(diff["old"]["config_digest"], diff["new"]["config_digest"]);
    assert_eq!(diff["files"].as_array().unwrap().len(), 0);
    for layer in diff["layers"].as_array().unwrap() {
        assert_eq!(layer["relation"], "recompressed", "{place}");
    }
}

#[test]
fn apply_makes_the_new_image_in_every_place() {
    let dir = tempfile::tempdir().unwrap();
    for place in ["oci:DIR/layout:v1", "oci-archive:DIR/a.tar:v1"] {
        let place = place.replace("DIR", &dir.path().display().to_string());
        let shown = prints(&["apply", DELTA, "--base", OLD, "-o", &place]);
        assert!(shown.contains(": 2 from the base, 2 rebuilt"), "{shown}");
        assert!(is_same(&place, NEW), "{place}");
    }
    let place = format!("docker-archive:{}/d.tar:me/x", dir.path().display());
    prints(&["apply", DELTA, "--base", OLD, "-o", &place]);
    is_recompressed(&place);

    let place = format!("oci:{}/plain", dir.path().display());
    let result =
        json(&["apply", DELTA, "--base", OLD, "-o", &place, "--layers", "uncompressed", "--json"]);
    assert_eq!(result["schema"], "imgdelta.apply/1");
    assert_eq!(result["exact"], false);
    assert_ne!(result["manifest"], result["target"]);
    is_recompressed(&place);
}

#[test]
fn several_deltas_are_applied_in_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let down = dir.path().join("down.imgdelta").display().to_string();
    prints(&["create", NEW, OLD, "-o", &down, "--quiet"]);
    let place = format!("oci:{}/layout:v1", dir.path().display());
    prints(&["apply", DELTA, &down, "--base", OLD, "-o", &place]);
    assert!(is_same(&place, OLD), "there and back");
    let shown = prints(&["verify", DELTA, &down, DELTA, "--base", OLD]);
    assert!(shown.contains("all digests match; nothing was written"), "{shown}");
    // The middle image has no place.
    assert!(!is_same(&place, NEW));
    let said = fails(&["apply", &down, DELTA, "--base", OLD, "-o", &place], 4);
    assert!(said.contains("the base lacks") || said.contains("layer"), "{said}");
}

#[test]
fn verify_keeps_nothing_and_quiet_says_nothing() {
    let shown = prints(&["verify", DELTA, "--base", OLD]);
    assert!(shown.contains("all digests match; nothing was written"), "{shown}");
    assert_eq!(prints(&["verify", DELTA, "--base", OLD, "--quiet"]), "");
    let result = json(&["verify", DELTA, "--base", NEW, "--base", OLD, "--json", "--jobs", "1"]);
    assert_eq!(result["place"], serde_json::Value::Null);
    assert_eq!(result["layers"][0]["came"], "kept");
}

#[test]
fn a_delta_can_come_through_a_pipe() {
    let mut child = command(&["verify", "-", "--base", OLD, "--memory", "1MiB"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(top().join(DELTA)).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("all digests match"));
}

#[test]
fn inspect_shows_target_and_base() {
    let document = json(&["inspect", DELTA, "--json"]);
    assert_eq!(document["schema"], "imgdelta.inspect/1");
    assert_eq!(document["bytes"], fs::metadata(top().join(DELTA)).unwrap().len());
    let pair = json(&["diff", OLD, NEW, "--json"]);
    assert_eq!(document["target"], pair["new"]["digest"]);
    assert_eq!(document["base"], pair["old"]["digest"]);
    assert_eq!(document["layers"].as_array().unwrap().len(), 4);
    let shown = prints(&["inspect", DELTA]);
    assert!(shown.starts_with("delta   "), "{shown}");
    assert!(shown.contains(document["target"].as_str().unwrap()), "{shown}");
}

#[test]
fn inspect_and_cost_name_the_same_coders() {
    let dir = tempfile::tempdir().unwrap();
    let delta = dir.path().join("delta");
    let delta = delta.to_str().unwrap();
    let created = json(&["create", OLD, NEW, "-o", delta, "--json"]);
    let inspected = json(&["inspect", delta, "--json"]);
    let coders = inspected["coders"].as_array().unwrap();
    assert!(!coders.is_empty());
    assert_eq!(created["deltas"][0]["cost"]["coders"], inspected["coders"], "{created}");
    let shown = prints(&["inspect", delta]);
    assert!(shown.contains("    delta  coder\n"), "{shown}");
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let out = format!("oci:{}/x", dir.path().display());
    let apply = |delta: &str, base: &str, out: &str, code| {
        fails(&["apply", delta, "--base", base, "-o", out], code)
    };
    // Usage.
    fails(&["apply", DELTA, "--base", OLD], 2);
    fails(&["verify", DELTA, "--base", OLD, "--memory", "lots"], 2);
    // Another base, without the layers that the delta needs.
    let empty = dir.path().join("other");
    fs::create_dir(&empty).unwrap();
    imgdelta_testkit::TestImage::new(Vec::new(), imgdelta_testkit::Packing::Plain)
        .blobs()
        .write_layout(&empty);
    let said = apply(DELTA, empty.to_str().unwrap(), &out, 4);
    assert!(said.contains("the base lacks stream sha256:") && said.contains("for layer"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    // No base at all.
    let said = fails(&["apply", DELTA, "-o", &out], 4);
    assert!(said.contains("hint: the delta needs an old image: name it with --base"), "{said}");
    // A delta that is cut or changed, and a file that is not a delta.
    let bytes = fs::read(top().join(DELTA)).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for (name, damaged) in
        [("cut", &bytes[..bytes.len() - 9]), ("flipped", &flipped), ("none", b"x")]
    {
        let path = dir.path().join(name);
        fs::write(&path, damaged).unwrap();
        apply(path.to_str().unwrap(), OLD, &out, 3);
        fails(&["inspect", path.to_str().unwrap()], 3);
    }
    // A base whose layers do not have their digests.
    let base = dir.path().join("base");
    let mut blobs = Vec::new();
    for item in fs::read_dir(top().join(OLD).join("blobs/sha256")).unwrap() {
        blobs.push(item.unwrap().path());
    }
    fs::create_dir_all(base.join("blobs/sha256")).unwrap();
    for name in ["oci-layout", "index.json"] {
        fs::copy(top().join(OLD).join(name), base.join(name)).unwrap();
    }
    for blob in blobs {
        let mut bytes = fs::read(&blob).unwrap();
        // Documents stay as they are; layers are gzip.
        if bytes.starts_with(b"\x1f\x8b") {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        fs::write(base.join("blobs/sha256").join(blob.file_name().unwrap()), bytes).unwrap();
    }
    apply(DELTA, base.to_str().unwrap(), &out, 5);
    assert!(!dir.path().join("x/index.json").exists());
    // A destination that cannot be written.
    apply(DELTA, OLD, "oci-archive:/no/such/place/a.tar", 6);
    apply(DELTA, OLD, "x", 2);
    fails(&["verify", DELTA, "--base", OLD, "--scratch", "/no/such/place"], 6);
    fails(&["verify", "no-such-file", "--base", OLD], 6);
}

#[test]
fn created_deltas_lead_there_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).display().to_string();
    let (up, down) = (place("up.imgdelta"), place("down.imgdelta"));
    let shown = prints(&["create", OLD, NEW, "-o", &up, "--rollback", &down, "--quiet"]);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.starts_with(&format!("{up}: ")), "{shown}");
    let there = format!("oci:{}:new", place("there"));
    prints(&["apply", &up, "--base", OLD, "-o", &there]);
    assert!(is_same(&there, NEW));
    let back = format!("oci:{}:old", place("back"));
    prints(&["apply", &down, "--base", &there, "-o", &back]);
    assert!(is_same(&back, OLD));
    // No other file is left.
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["back", "down.imgdelta", "there", "up.imgdelta"]);
}

#[test]
fn a_delta_without_a_base_makes_the_image_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).display().to_string();
    let first = place("first.imgdelta");
    let created = json(&["create", "--no-base", NEW, "-o", &first, "--json"]);
    assert_eq!(created["deltas"][0]["old"]["name"], "no image");
    let document = json(&["inspect", &first, "--json"]);
    assert_eq!(document["base"], serde_json::Value::Null);
    assert_eq!(document["needs"], serde_json::json!([]));
    let shown = prints(&["inspect", &first]);
    assert!(shown.contains("from    no image"), "{shown}");
    let out = format!("oci:{}:new", place("out"));
    prints(&["apply", &first, "-o", &out]);
    assert!(is_same(&out, NEW));
    prints(&["verify", &first, "--base", OLD]);
    // Only one image, and no way back to none.
    fails(&["create", "--no-base", OLD, NEW, "-o", &first], 2);
    fails(&["create", "--no-base", NEW, "-o", &first, "--rollback", "x"], 2);
    fails(&["create", NEW, "-o", &first], 2);
}

/// Writes the old image as `docker save` does: with uncompressed layers.
fn uncompressed_old(dir: &Path) -> String {
    let place = |name: &str| format!("{}/{name}", dir.display());
    let (up, down) = (place("unused.imgdelta"), place("down.imgdelta"));
    prints(&["create", OLD, NEW, "-o", &up, "--rollback", &down, "--preset", "fast"]);
    let archive = format!("docker-archive:{}", place("old.tar"));
    prints(&["apply", &down, "--base", NEW, "-o", &archive]);
    archive
}

#[test]
fn a_base_without_compressed_layers_gives_the_exact_image() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| format!("{}/{name}", dir.path().display());
    let old = uncompressed_old(dir.path());
    let delta = place("up.imgdelta");
    prints(&["create", OLD, NEW, "-o", &delta]);
    let made = format!("oci:{}:new", place("made"));
    prints(&["apply", &delta, "--base", &old, "-o", &made]);
    assert!(is_same(&made, NEW));
    let shown = prints(&["inspect", &delta]);
    assert!(shown.contains("uncompressed layers are enough"), "{shown}");
    let document = json(&["inspect", &delta, "--json"]);
    assert_eq!(document["needs_blobs"], serde_json::json!([]));
    assert_eq!(document["layers"][0]["base_needs"], "stream");
    assert_eq!(document["layers"][1]["base_needs"], serde_json::Value::Null);

    // Without the compression of kept layers, only the blobs will do.
    for option in [&["--kept-envelopes", "no"][..], &["--preset", "fast"]] {
        let delta = place("short.imgdelta");
        prints(&[&["create", OLD, NEW, "-o", &delta][..], option].concat());
        let said = fails(&["apply", &delta, "--base", &old, "-o", &made], 4);
        let document = json(&["inspect", &delta, "--json"]);
        let blob = document["layers"][0]["digest"].as_str().unwrap();
        assert!(said.contains(&format!("the base lacks blob {blob} (for layer 1)")), "{said}");
        assert_eq!(document["needs_blobs"], serde_json::json!([blob]));
        assert_eq!(document["layers"][0]["base_needs"], "blob");
        let shown = prints(&["inspect", &delta]);
        let expected = "and the compressed blobs of layers 1 of the new image";
        assert!(shown.contains(expected) && shown.contains("base's blob"), "{shown}");
        prints(&["apply", &delta, "--base", OLD, "-o", &format!("oci:{}", place("whole"))]);
    }
}

#[test]
fn recipes_and_compressions_of_an_earlier_delta_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| format!("{}/{name}", dir.path().display());
    let [first, again] = ["first", "again"].map(&place);
    prints(&["create", OLD, NEW, "-o", &first]);
    let made = json(&["create", OLD, NEW, "-o", &again, "--reuse", &first, "--json"]);
    let ways: Vec<_> =
        made["deltas"][0]["cost"]["layers"].as_array().unwrap().iter().map(|l| &l["way"]).collect();
    assert_eq!(ways, ["kept", "reused", "recompressed", "reused"]);
    let envelopes = |delta: &str| {
        let document = json(&["inspect", delta, "--json"]);
        let layers = document["layers"].as_array().unwrap().clone();
        layers.into_iter().map(|layer| layer["envelope"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(envelopes(&first), envelopes(&again));
    let said = fails(&["create", OLD, NEW, "-o", &again, "--reuse", &place("none")], 6);
    assert!(said.contains("none"), "{said}");
    fails(&["create", OLD, NEW, "-o", &again, "--reuse", &first, "--no-prove"], 2);
}

#[test]
fn a_delta_goes_through_pipes() {
    let made = imgdelta(&["create", OLD, NEW, "-o", "-", "--quiet"]);
    assert!(made.status.success());
    let dir = tempfile::tempdir().unwrap();
    let out = format!("oci:{}:new", dir.path().display());
    let mut apply = command(&["apply", "-", "--base", OLD, "-o", &out, "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    apply.stdin.take().unwrap().write_all(&made.stdout).unwrap();
    assert!(apply.wait().unwrap().success());
    assert!(is_same(&out, NEW));
}

#[test]
fn standard_output_has_the_delta_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let down = dir.path().join("down").display().to_string();
    let made = imgdelta(&["create", OLD, NEW, "-o", "-", "--rollback", &down]);
    assert_eq!(made.stdout, fs::read(top().join(DELTA)).unwrap());
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(said.contains("standard output: ") && said.contains(&format!("{down}: ")), "{said}");
}

#[test]
fn a_dry_run_and_a_costed_diff_report_the_size_of_the_delta() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.imgdelta");
    let path = file.display().to_string();
    let made = json(&["create", OLD, NEW, "-o", &path, "--json"])["deltas"][0]["cost"].take();
    let written = fs::metadata(&file).unwrap().len();
    assert_eq!(made["schema"], "imgdelta.cost/1");
    assert_eq!(made["delta_bytes"], written);
    assert_eq!(made["pull_bytes"], 7213);
    let ways: Vec<_> = made["layers"].as_array().unwrap().iter().map(|l| &l["way"]).collect();
    assert_eq!(ways, ["kept", "rebuilt", "recompressed", "rebuilt"]);
    assert_eq!(json(&["create", OLD, NEW, "--dry-run", "--json"])["deltas"][0]["cost"], made);
    assert_eq!(json(&["diff", OLD, NEW, "--cost", "--json"])["cost"], made);
    let text = prints(&["diff", OLD, NEW, "--cost"]);
    let plain = prints(&["diff", OLD, NEW]);
    let plain = plain.replace("delta     add --cost for the bytes that a delta needs\n", "");
    let cost = text.strip_prefix(&plain).expect("the cost follows the diff");
    assert!(cost.contains(&format!("delta         {} bytes", thousands(written))), "{cost}");
    assert_eq!(cost.trim_start(), prints(&["create", OLD, NEW, "--dry-run"]));
}

fn thousands(n: u64) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", n / 1000, n % 1000) }
}

#[test]
fn what_create_cannot_do_has_its_code_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such");
    let [missing, inside] = [&missing, &missing.join("x")].map(|path| path.display().to_string());
    assert!(fails(&["create", OLD, NEW, "-o", &inside], 6).contains(&missing));
    let file = dir.path().join("x").display().to_string();
    let scratch = dir.path().join("nowhere").display().to_string();
    let said = fails(&["create", OLD, NEW, "-o", &file, "--scratch", &scratch], 6);
    assert!(said.contains(&scratch), "{said}");
    assert!(fails(&["create", OLD, "oci:no/such:x", "-o", &file], 3).contains("no such directory"));
    fails(&["create", OLD, NEW], 2);
    fails(&["create", OLD, NEW, "-o", &file, "--memory", "much"], 2);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Asserts a usage error before any work: the images do not even exist.
fn is_refused(args: &[&str], reason: &str) {
    let args = [&["create", "oci:nowhere", "oci:nowhere"], args].concat();
    let message = fails(&args, 2);
    assert!(message.contains(reason) && message.contains("Usage: imgdelta create"), "{message}");
}

#[test]
fn two_deltas_in_one_file_are_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let [file, other_name] = ["x", "./x"].map(|name| format!("{}/{name}", dir.path().display()));
    is_refused(&["-o", &file, "--rollback", &file], "name the same file");
    is_refused(&["-o", &file, "--rollback", &other_name], "name the same file");
    is_refused(&["-o", "-", "--rollback", "-"], "name the same file");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_destination_is_checked_before_the_images() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/x").display().to_string();
    let (directory, file) = (dir.path().display().to_string(), dir.path().join("x"));
    let file = file.display().to_string();
    let images = ["create", "oci:nowhere", "oci:nowhere"];
    for (args, code) in [
        (&["-o", &missing][..], 6),
        (&["-o", &directory], 3),
        (&["-o", &file, "--rollback", &missing], 6),
        (&["-o", "-", "--rollback", &directory], 3),
    ] {
        let message = fails(&[&images[..], args].concat(), code);
        assert!(message.contains(&directory) && !message.contains("nowhere"), "{message}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// `script` gives the program a terminal; a machine without it skips the test.
#[test]
fn a_delta_is_never_written_to_a_terminal() {
    if !imgdelta_testkit::has(&["script"]) {
        return;
    }
    let program = env!("CARGO_BIN_EXE_imgdelta");
    let line = format!("'{program}' create {OLD} {NEW} -o -");
    let output =
        Command::new("script").args(["-qec", &line, "/dev/null"]).current_dir(top()).output();
    let output = output.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("redirect standard output"), "{shown}");
}

#[test]
fn a_base_with_another_compression_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    // A docker archive has the layers of the base, and no compressed blob.
    let archive = format!("docker-archive:{}/old.tar", dir.path().display());
    let back = dir.path().join("back.imgdelta").display().to_string();
    prints(&["create", NEW, OLD, "-o", &back]);
    prints(&["apply", &back, "--base", NEW, "-o", &archive]);
    let out = format!("oci:{}/out", dir.path().display());
    // The delta has no compression for the layers that both images have.
    let delta = dir.path().join("up.imgdelta").display().to_string();
    prints(&["create", OLD, NEW, "-o", &delta, "--kept-envelopes", "no"]);
    let apply = ["apply", &delta, "--base", &archive, "-o", &out];
    let message = fails(&apply, 4);
    assert!(message.contains("hint: the base has these layers with another"), "{message}");
    // Both ways that the hint names.
    prints(&[&apply[..], &["--layers", "uncompressed"]].concat());
    let other = format!("docker-archive:{}/new.tar", dir.path().display());
    prints(&["apply", &delta, "--base", &archive, "-o", &other]);
    // Another base, without the layers.
    let message = fails(&["verify", &back, "--base", OLD], 4);
    assert!(message.contains("is the image that this delta makes"), "{message}");
}
