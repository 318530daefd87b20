//! Two images made in code, compared: what is told of layers, files and platforms is what was done.

use imgdelta_core::{
    Error, Limits, Result,
    parallel::Workers,
    progress::{Progress, Silent},
};
use imgdelta_diff::{Diff, FileChangeKind, Ignore, LayerRelation};
use imgdelta_image::{
    image::{self, Image, OpenOptions},
    store::layout::OciLayout,
    survey::{self, Survey, SurveyOptions},
};
use imgdelta_testkit::{Blobs, Packing, TestImage, tar_of};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

fn open(blobs: &Blobs) -> Image {
    let layout =
        OciLayout::open_archive(Arc::new(blobs.archive()), "a.tar".into(), &Limits::default());
    Image::open(Arc::new(layout.unwrap()), None, &OpenOptions::default()).unwrap()
}

fn take(image: Image) -> Result<Survey> {
    let workers = Workers::new(2).unwrap();
    Ok(survey::all(vec![image], &SurveyOptions::default(), &workers, &Silent)?.remove(0))
}

fn between(base: &TestImage, target: &TestImage) -> Diff {
    let [base, target] = [base, target].map(|image| take(open(&image.blobs())).unwrap());
    Diff::between(&base, &target, &Ignore::default())
}

fn layer(name: &str) -> Vec<u8> {
    let content = format!("content of {name} ").repeat(50);
    tar_of(&[(name, content.as_bytes())])
}

/// Per line: relation, moved, base place, target place.
fn told(diff: &Diff) -> Vec<(LayerRelation, bool, Option<usize>, Option<usize>)> {
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
        told(&between(&base, &target)),
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
fn a_layer_that_stands_twice_is_paired_twice() {
    let base = TestImage::new(vec![layer("a"), layer("b"), layer("a")], Packing::Gzip);
    assert!(
        told(&between(&base, &base)).iter().all(|line| line.0 == LayerRelation::Same && !line.1)
    );
    let target = TestImage::new(vec![layer("a")], Packing::Gzip);
    assert_eq!(
        told(&between(&base, &target)),
        [
            (LayerRelation::Same, false, Some(0), Some(0)),
            (LayerRelation::Dropped, false, Some(1), None),
            (LayerRelation::Dropped, false, Some(2), None),
        ]
    );
}

#[test]
fn the_same_content_compressed_otherwise_is_no_change_of_files() {
    let layers = vec![layer("a"), layer("b")];
    for packing in Packing::ALL {
        let diff = between(
            &TestImage::new(layers.clone(), Packing::Plain),
            &TestImage::new(layers.clone(), packing),
        );
        let expected = if packing == Packing::Plain {
            LayerRelation::Same
        } else {
            LayerRelation::Recompressed
        };
        assert!(told(&diff).iter().all(|line| line.0 == expected), "{packing:?}");
        assert_eq!(diff.files, [], "{packing:?}");
        assert_eq!(diff.differs(), packing != Packing::Plain, "another manifest is a difference");
    }
}

#[test]
fn a_replaced_layer_tells_what_is_found_again_and_what_is_shipped_again() {
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
fn docker_media_types_are_read_like_the_specifications() {
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
    let base = take(open(&plain.blobs())).unwrap();
    let diff = Diff::between(&base, &take(open(&blobs)).unwrap(), &Ignore::default());
    assert_eq!((diff.files.len(), diff.layers[0].relation), (0, LayerRelation::Same));
}

/// An image whose first layer is of a type that may be absent, and is.
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
    let survey = take(open(&with_absent_layer(foreign))).unwrap();
    assert_eq!(survey.rootfs.nodes().iter().filter(|node| node.entry.is_some()).count(), 1);
    let notes: Vec<String> = survey.notes.iter().map(ToString::to_string).collect();
    assert!(notes.iter().any(|note| note.contains("may not be distributed")), "{notes:?}");

    let ordinary = "application/vnd.oci.image.layer.v1.tar+gzip";
    let error = take(open(&with_absent_layer(ordinary))).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

fn for_platform(mut descriptor: Value, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
    descriptor
}

/// A layout of one image or, with several architectures, of one index.
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
fn a_stream_that_is_no_tar_names_layer_and_offset() {
    let broken = TestImage::new(vec![layer("a"), vec![7; 2048]], Packing::Gzip);
    let error = take(open(&broken.blobs())).unwrap_err().to_string();
    assert!(error.starts_with("layer 2 (sha256:") && error.contains("offset 0"), "{error}");
}

#[test]
fn work_stops_when_asked_and_leaves_no_result() {
    struct Impatient;
    impl Progress for Impatient {
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let image = open(&TestImage::new(vec![layer("a")], Packing::Gzip).blobs());
    let workers = Workers::new(1).unwrap();
    let outcome = survey::all(vec![image], &SurveyOptions::default(), &workers, &Impatient);
    assert!(matches!(outcome, Err(Error::Cancelled)));
}
