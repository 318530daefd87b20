//! Compares two images made in code: layers, files, packages and platforms are reported as made.

use imgdelta_core::{
    Context, Error, Limits, Result,
    parallel::Workers,
    progress::{Progress, Silent},
    scratch::Scratch,
};
use imgdelta_diff::{Diff, FileChangeKind, Ignore, LayerRelation, TextOptions};
use imgdelta_image::{
    image::{self, Image, OpenOptions},
    store::layout::OciLayout,
    survey::{self, Survey, SurveyOptions},
};
use imgdelta_testkit::{Blobs, Packing, TestImage, tar_of, tar_stream::Tar};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

fn open(blobs: &Blobs) -> Image {
    let layout =
        OciLayout::open_archive(Arc::new(blobs.archive()), "a.tar".into(), &Limits::default());
    Image::open(Arc::new(layout.unwrap()), None, &OpenOptions::default()).unwrap()
}

fn context(threads: usize) -> Context {
    let scratch = Scratch::new(std::env::temp_dir());
    Context::new(scratch).unwrap().workers(Arc::new(Workers::new(threads).unwrap()))
}

fn surveyed(image: Image) -> Result<Survey> {
    let options = SurveyOptions::default().file_reader(imgdelta_packages::database_reader);
    Ok(survey::all(vec![image], &options, &context(2))?.remove(0))
}

fn between(base: &TestImage, target: &TestImage) -> Diff {
    let [base, target] = [base, target].map(|image| surveyed(open(&image.blobs())).unwrap());
    Diff::between(&base, &target, &Ignore::default(), &Silent).unwrap()
}

fn layer(name: &str) -> Vec<u8> {
    let content = format!("content of {name} ").repeat(50);
    tar_of(&[(name, content.as_bytes())])
}

/// Returns relation, moved, base place and target place of each layer.
fn layers(diff: &Diff) -> Vec<(LayerRelation, bool, Option<usize>, Option<usize>)> {
    diff.layers
        .iter()
        .map(|change| {
            let place =
                |facts: &Option<imgdelta_diff::LayerFacts>| facts.as_ref().map(|f| f.ordinal);
            (change.relation, change.is_moved, place(&change.base), place(&change.target))
        })
        .collect()
}

#[test]
fn layers_are_aligned_by_content_not_by_place() {
    let base = TestImage::new(vec![layer("a"), layer("b"), layer("c"), layer("d")], Packing::Gzip);
    let target =
        TestImage::new(vec![layer("b"), layer("c"), layer("new"), layer("a")], Packing::Gzip);
    assert_eq!(
        layers(&between(&base, &target)),
        [
            (LayerRelation::Same, false, Some(1), Some(0)),
            (LayerRelation::Same, false, Some(2), Some(1)),
            (LayerRelation::Added, false, None, Some(2)),
            (LayerRelation::Same, true, Some(0), Some(3)),
            (LayerRelation::Dropped, false, Some(3), None),
        ]
    );
}

#[test]
fn a_repeated_layer_is_paired_twice() {
    let base = TestImage::new(vec![layer("a"), layer("b"), layer("a")], Packing::Gzip);
    assert!(
        layers(&between(&base, &base)).iter().all(|line| line.0 == LayerRelation::Same && !line.1)
    );
    let target = TestImage::new(vec![layer("a")], Packing::Gzip);
    assert_eq!(
        layers(&between(&base, &target)),
        [
            (LayerRelation::Same, false, Some(0), Some(0)),
            (LayerRelation::Dropped, false, Some(1), None),
            (LayerRelation::Dropped, false, Some(2), None),
        ]
    );
}

#[test]
fn another_compression_changes_no_files() {
    let streams = vec![layer("a"), layer("b")];
    for packing in Packing::ALL {
        let diff = between(
            &TestImage::new(streams.clone(), Packing::Plain),
            &TestImage::new(streams.clone(), packing),
        );
        let expected = if packing == Packing::Plain {
            LayerRelation::Same
        } else {
            LayerRelation::Recompressed
        };
        assert!(layers(&diff).iter().all(|line| line.0 == expected), "{packing:?}");
        assert_eq!(diff.files, [], "{packing:?}");
        assert_eq!(diff.differs(), packing != Packing::Plain, "another manifest is a difference");
    }
}

#[test]
fn a_replaced_layer_reports_content_of_the_base_and_unchanged_files() {
    let (same, moved, edited) = ([1; 1000], [2; 3000], [3; 500]);
    let base = tar_of(&[("same", &same), ("from", &moved), ("edit", &edited), ("gone", b"x")]);
    let target = tar_of(&[("same", &same), ("to", &moved), ("edit", &[4; 700]), ("fresh", b"y")]);
    let diff = between(
        &TestImage::new(vec![base], Packing::Gzip),
        &TestImage::new(vec![target], Packing::Gzip),
    );
    let change = &diff.layers[0];
    assert_eq!(change.relation, LayerRelation::Replaced);
    assert_eq!(change.found_again_bytes, 4000);
    assert_eq!((change.reshipped.files, change.reshipped.bytes), (1, 1000));
    let files: Vec<(String, FileChangeKind)> =
        diff.files.iter().map(|change| (change.path.to_string(), change.kind.clone())).collect();
    let from = imgdelta_core::path::LayerPath::parse(b"from");
    assert_eq!(
        files,
        [
            ("/edit".to_owned(), FileChangeKind::Modified),
            ("/fresh".to_owned(), FileChangeKind::Added),
            ("/gone".to_owned(), FileChangeKind::Removed),
            ("/to".to_owned(), FileChangeKind::Moved { from }),
        ]
    );
    let totals = diff.totals;
    assert_eq!((totals.modified_base_bytes, totals.modified.bytes), (500, 700));
    assert_eq!((totals.added.bytes, totals.removed.bytes, totals.moved.bytes), (1, 1, 3000));
}

#[test]
fn the_summary_has_the_right_number_of_nouns() {
    let files = [("same", &[1; 1000][..]), ("a", b"x")];
    let base = TestImage::new(vec![tar_of(&files)], Packing::Gzip);
    let target = TestImage::new(vec![tar_of(&files[..1])], Packing::Gzip);
    let text = between(&base, &target).to_string();
    for line in [
        " in 1 of 1 layer with the old image; ",
        "waste     1 unchanged file, 1,000 bytes uncompressed, is pulled again\n",
        "whole layer; 100.0 % of its content is in the old image; 1 file unchanged\n",
        "; 2 files, ",
        "; 1 file, ",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let same = between(&base, &base).to_string();
    assert!(same.contains("\nThe images are identical.\n"), "{same}");
}

#[test]
fn missing_and_unread_package_databases_are_reported() {
    let status = |version: &str| {
        let stanza = format!("Package: a\nStatus: install ok installed\nVersion: {version}\n\n");
        TestImage::new(vec![tar_of(&[("var/lib/dpkg/status", stanza.as_bytes())])], Packing::Gzip)
    };
    let plain = |name| TestImage::new(vec![layer(name)], Packing::Gzip);
    let packages = |diff: &Diff| {
        let text = diff.to_string();
        let line = text.lines().find_map(|line| line.strip_prefix("packages  "));
        line.unwrap().to_owned()
    };
    assert_eq!(packages(&between(&plain("a"), &plain("b"))), "no package database found");
    assert_eq!(packages(&between(&status("1"), &status("2"))), "1 upgraded");
    assert_eq!(packages(&between(&plain("a"), &status("2"))), "1 added");
    let berkeley = TestImage::new(vec![tar_of(&[("var/lib/rpm/Packages", b"x")])], Packing::Gzip);
    assert_eq!(packages(&between(&berkeley, &plain("a"))), "no packages found");
    let two_layers =
        TestImage::new(vec![status("1").layers[0].clone(), layer("other")], Packing::Gzip);
    assert_eq!(packages(&between(&status("1"), &two_layers)), "no changes");
    let unread = |image: &TestImage| {
        let options = SurveyOptions::default();
        survey::all(vec![open(&image.blobs())], &options, &context(1)).unwrap().remove(0)
    };
    let (base, target) = (unread(&status("1")), unread(&status("2")));
    assert_eq!(
        packages(&Diff::between(&base, &target, &Ignore::default(), &Silent).unwrap()),
        "not read"
    );
}

#[test]
fn a_file_with_several_names_is_listed_once() {
    let layer = |content: &[u8]| {
        Tar::new()
            .file("bin/perl", content)
            .hard_link("bin/perl5", "bin/perl")
            .hard_link("bin/perl5.36", "bin/perl")
            .file("bin/other", content)
            .zeros(2)
            .0
    };
    let [base, target] =
        [b"old", b"new"].map(|content| TestImage::new(vec![layer(content)], Packing::Gzip));
    let diff = between(&base, &target);
    let text = diff.to_string();
    assert!(text.contains("/bin/perl  (and 2 hard links)"), "{text}");
    assert!(!text.contains("/bin/perl5") && text.contains("/bin/other\n"), "{text}");
    let mut options = TextOptions::default();
    options.all_files = true;
    assert!(diff.text(options).to_string().contains("/bin/perl5.36"));
    let files = diff.json()["files"].take();
    let linked = |path: &str| {
        let mut files = files.as_array().unwrap().iter();
        files.find(|file| file["path"] == path).unwrap()["new"]["hard_link_to"].clone()
    };
    assert_eq!(linked("/bin/perl5"), "/bin/perl");
    assert_eq!(linked("/bin/perl"), Value::Null);
}

#[test]
fn a_name_that_needs_escapes_is_escaped_once() {
    let name = "odd \x1b[31mname";
    let layer = |first: &str, second: &str| {
        Tar::new().file(first, b"same").hard_link(second, first).zeros(2).0
    };
    let base = TestImage::new(vec![layer(name, "z")], Packing::Gzip);
    let target = TestImage::new(
        vec![Tar::new().file(name, b"same").file("z", b"same").zeros(2).0],
        Packing::Gzip,
    );
    let mut options = TextOptions::default();
    options.all_files = true;
    let text = between(&base, &target).text(options).to_string();
    assert!(text.contains("hard link to: /odd \\x1b[31mname -> none"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains("\\\\x1b"), "{text}");
}

#[test]
fn docker_media_types_are_read_like_those_of_oci() {
    let plain = TestImage::new(vec![layer("a")], Packing::Gzip);
    let mut blobs = Blobs::default();
    let config = blobs.add_json("application/vnd.docker.container.image.v1+json", &plain.config());
    let packed = Packing::Gzip.pack(&plain.layers[0]);
    let stored = blobs.add("application/vnd.docker.image.rootfs.diff.tar.gzip", packed);
    let manifest_type = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [stored]});
    let mut manifest = blobs.add_json(manifest_type, &manifest);
    manifest["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let list_type = "application/vnd.docker.distribution.manifest.list.v2+json";
    let list = json!({"schemaVersion": 2, "mediaType": list_type, "manifests": [manifest]});
    let list = blobs.add_json(list_type, &list);
    blobs.tag(list, "v1");
    let base = surveyed(open(&plain.blobs())).unwrap();
    let diff = Diff::between(&base, &surveyed(open(&blobs)).unwrap(), &Ignore::default(), &Silent)
        .unwrap();
    assert_eq!((diff.files.len(), diff.layers[0].relation), (0, LayerRelation::Same));
}

/// Returns an image whose first layer has a media type and is absent.
fn with_absent_layer(media_type: &str) -> Blobs {
    let image = TestImage::new(vec![layer("absent"), layer("a")], Packing::Gzip);
    let mut blobs = Blobs::default();
    let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &image.config());
    let mut elsewhere = Blobs::default();
    let absent = elsewhere.add(media_type, Packing::Gzip.pack(&image.layers[0]));
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let present = blobs.add(gzip, Packing::Gzip.pack(&image.layers[1]));
    let manifest = blobs.add_manifest(&config, &[absent, present]);
    blobs.tag(manifest, "v1");
    blobs
}

#[test]
fn a_layer_that_may_not_be_distributed_is_reported_and_not_fatal() {
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let survey = surveyed(open(&with_absent_layer(foreign))).unwrap();
    assert_eq!(survey.rootfs.nodes().filter(|node| node.entry.is_some()).count(), 1);
    let notes: Vec<String> = survey.notes.iter().map(ToString::to_string).collect();
    assert!(notes.iter().any(|note| note.contains("may not be distributed")), "{notes:?}");

    let ordinary = "application/vnd.oci.image.layer.v1.tar+gzip";
    let error = surveyed(open(&with_absent_layer(ordinary))).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

fn for_platform(mut descriptor: Value, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
    descriptor
}

/// Writes a layout with one image or, for several architectures, one index.
fn write(dir: &Path, architectures: &[&str]) -> imgdelta_image::Reference {
    let mut blobs = Blobs::default();
    let mut manifests: Vec<Value> = architectures
        .iter()
        .map(|architecture| {
            let image = TestImage::new(vec![layer(architecture)], Packing::Gzip);
            for_platform(image.platform("linux", architecture).store(&mut blobs), architecture)
        })
        .collect();
    let root = if manifests.len() == 1 { manifests.remove(0) } else { blobs.add_index(&manifests) };
    blobs.tag(root, "v1");
    blobs.write_layout(dir);
    format!("oci:{}", dir.display()).parse().unwrap()
}

#[test]
fn a_pair_is_opened_for_a_platform_that_both_have() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(&dir.path().join("one"), &["s390x"]);
    let many = write(&dir.path().join("many"), &["amd64", "arm64", "s390x"]);
    let other = write(&dir.path().join("other"), &["riscv64"]);
    let options = OpenOptions::default();
    for (base, target) in [(&one, &many), (&many, &one)] {
        let pair = image::open_pair(base, target, &options).unwrap();
        assert!(pair.iter().all(|image| image.platform.to_string() == "linux/s390x"));
    }
    let error = image::open_pair(&one, &other, &options).unwrap_err().to_string();
    assert!(error.contains("linux/s390x") && error.contains("linux/riscv64"), "{error}");
    let arm = OpenOptions::default().platform(Some("linux/arm64".parse().unwrap()));
    let error = image::open_pair(&one, &many, &arm).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn a_stream_that_is_not_a_tar_is_an_error_with_layer_and_offset() {
    let broken = TestImage::new(vec![layer("a"), vec![7; 2048]], Packing::Gzip);
    let error = surveyed(open(&broken.blobs())).unwrap_err().to_string();
    assert!(error.starts_with("layer 2 (sha256:") && error.contains("offset 0"), "{error}");
}

#[test]
fn cancelled_work_has_no_result() {
    struct Impatient;
    impl Progress for Impatient {
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let image = open(&TestImage::new(vec![layer("a")], Packing::Gzip).blobs());
    let context = context(1).progress(Arc::new(Impatient));
    let outcome = survey::all(vec![image], &SurveyOptions::default(), &context);
    assert!(matches!(outcome, Err(Error::Cancelled)));
}
