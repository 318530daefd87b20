//! Every document that the program prints is valid by its schema in docs/schema.

use crate::program;
use imgdelta_testkit::{
    Packing, TestImage, ZipStyle, assert_valid, gzip,
    registry::{RegistryBehaviour, TestRegistry},
    sha256, small_image, tar_of, zip_of,
};
use program::{DELTA, NEW, OLD, json, prints};
use serde_json::Value;
use std::{fs, path::Path};

/// Checks the document that a command prints.
fn check(args: &[&str], schema: &str) -> Value {
    let document = json(args, Path::new("/nonexistent"));
    assert_valid(&document, schema);
    document
}

#[test]
fn documents_of_diff_fit_their_schema() {
    check(&["diff", OLD, NEW, "--json"], "diff");
    check(&["diff", OLD, OLD, "--json"], "diff");
    check(&["diff", OLD, NEW, "--json", "--layers"], "diff");
    check(&["diff", OLD, NEW, "--json", "--patch", "--cost", "--rollback", "-q"], "diff");
    for line in
        prints(&["diff", OLD, NEW, "--ndjson", "--patch"], Path::new("/nonexistent")).lines()
    {
        assert_valid(&serde_json::from_str(line).unwrap(), "diff-file");
    }
    // Archives, too.
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str, text: &[u8]| {
        let jar = zip_of(&[("a", text, true), ("b", b"same", true)], ZipStyle::Ahead);
        let layer = tar_of(&[("x.jar", &jar), ("y.gz", &gzip(text)), ("z", text)]);
        let place = scratch.path().join(name);
        TestImage::new(vec![layer], Packing::Gzip).blobs().write_layout(&place);
        place.to_str().unwrap().to_owned()
    };
    let (old, new) = (place("old", b"1\n"), place("new", b"2"));
    let document = check(&["diff", &old, &new, "--json", "--patch"], "diff");
    let kinds: Vec<&str> = document["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["patch"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["zip", "gzip", "text"]);
    assert_eq!(
        document["files"][2]["patch"]["hunks"][0]["without_newline"],
        serde_json::json!([1])
    );
}

#[test]
fn documents_of_deltas_fit_their_schemas() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (up, down) = (file("up"), file("down"));
    let both = ["create", OLD, NEW, "-o", &up, "--rollback", &down, "--json", "-q"];
    let made = check(&both, "create");
    let deltas = made["deltas"].as_array().unwrap();
    assert_eq!(deltas.len(), 2);
    for (delta, path) in deltas.iter().zip([&up, &down]) {
        let bytes = fs::read(path).unwrap();
        assert_eq!(delta["file"], *path);
        assert_eq!(delta["bytes"], bytes.len());
        assert_eq!(delta["digest"], sha256(&bytes));
        assert_eq!(delta["proved"], true);
        assert_eq!(delta["cost"]["delta_bytes"], bytes.len());
        assert_valid(&delta["cost"], "cost");
        let inspected = check(&["inspect", path, "--json"], "inspect");
        assert_eq!(delta["old"]["digest"], inspected["base"]);
        assert_eq!(delta["new"]["digest"], inspected["target"]);
        assert_eq!(delta["platform"], inspected["platform"]);
    }
    assert_eq!(
        (&deltas[0]["direction"], &deltas[1]["direction"]),
        (&"upgrade".into(), &"rollback".into())
    );
    assert_eq!(deltas[0]["old"], deltas[1]["new"]);
    let one = check(&["create", OLD, NEW, "-o", &up, "--json", "--no-prove"], "create");
    assert_eq!(
        (one["deltas"].as_array().unwrap().len(), &one["deltas"][0]["proved"]),
        (1, &false.into())
    );
    let dry = check(&["create", OLD, NEW, "--dry-run", "--json", "-q"], "create");
    assert_eq!(
        (&dry["deltas"][0]["file"], &dry["deltas"][0]["digest"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(dry["deltas"][0]["bytes"], deltas[0]["bytes"]);
    check(&["inspect", &up, "--json"], "inspect");
    check(&["verify", &up, "--base", OLD, "--json", "-q"], "apply");
    check(
        &["apply", &up, "--base", OLD, "-o", &format!("oci:{}", file("out")), "--json", "-q"],
        "apply",
    );
    let archive = format!("docker-archive:{}", file("out.tar"));
    check(&["apply", &up, "--base", OLD, "-o", &archive, "--json", "-q"], "apply");
}

#[test]
fn documents_of_registries_fit_their_schemas() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    for name in ["old", "new"] {
        let mut blobs = small_image(name);
        let root = blobs.roots[0].clone();
        blobs.tag(root, &format!("{name}-2"));
        registry.put_image("x/app", &blobs);
    }
    let repository = format!("docker://{}/x/app", registry.host());
    check(&["log", &repository, "--json"], "log");
    let image = format!("{repository}:new");
    check(&["push", DELTA, &image, "--json"], "push");
    check(&["push", DELTA, &image, "--json"], "push");
    let scratch = tempfile::tempdir().unwrap();
    let out = format!("oci:{}", scratch.path().join("out").display());
    let pull = ["pull", &image, "--base", OLD, "-o", &out, "--no-time-limit", "--json", "-q"];
    check(&[&pull[..], &["--dry-run"]].concat(), "pull");
    check(&pull, "pull");

    // The history has the delta, under the first tag of its base.
    let history = check(&["log", &repository, "--json"], "log");
    let versions = history["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2, "two images with four tags");
    let newest = &versions[0];
    assert_eq!((&newest["tag"], newest["tags"].as_array().unwrap().len()), (&"new-2".into(), 2));
    assert_eq!(newest["deltas"][0]["from"], "old-2");
    let delta = &newest["deltas"][0]["bytes"];
    let ways = history["ways"].as_array().unwrap();
    let up = ways.iter().find(|way| way["from"] == "old-2").unwrap();
    assert_eq!((&up["delta_bytes"], &up["pull_bytes"]), (delta, &7213.into()));
    let down = ways.iter().find(|way| way["from"] == "new-2").unwrap();
    assert_eq!(down["delta_bytes"], Value::Null);
    assert_eq!(newest["change"]["pull_bytes"], 7213);
    let text = prints(&["log", &repository], Path::new("/nonexistent"));
    assert!(text.contains("since old-2: 7.21 kB in 3 of 4 layers"), "{text}");
    assert!(text.contains("delta from old-2: "), "{text}");
    let page = prints(&["log", &repository, "--html", "-"], Path::new("/nonexistent"));
    assert!(page.contains("<td class=\"delta s") && page.contains("new-2"), "{page}");
    let one = check(&["log", &repository, "--last", "1", "--json"], "log");
    assert_eq!((&one["omitted_tags"], one["versions"].as_array().unwrap().len()), (&3.into(), 1));
}
