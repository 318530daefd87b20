//! Parts of a delta in a registry: what is damaged or something else is refused and never panics.

use imgdelta_apply::delta::Delta;
use imgdelta_core::{BlobDigest, Error, Limits};
use imgdelta_image::store::{Descriptor, source::ReadAt};
use imgdelta_registry::{
    Manifest,
    artifact::{
        Artifact, CREATOR_ANNOTATION, Front, LayerSet, RECIPE_TYPE, SplitDelta, TARGET_ANNOTATION,
    },
    fallback_tag, is_digest_tag,
};
use serde_json::json;
use std::{path::Path, sync::Arc};

fn split() -> (Delta, SplitDelta) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/small/small.imgdelta");
    let source: Arc<dyn ReadAt> = Arc::new(std::fs::read(path).unwrap());
    let delta = Delta::open(source, "small", &Limits::default()).unwrap();
    let split = SplitDelta::of(&delta).unwrap();
    (delta, split)
}

#[test]
fn a_damaged_front_is_refused_or_read_and_never_panics() {
    let (_, split) = split();
    for end in 0..split.front.len() {
        let cut = Front::parse(split.front[..end].to_vec(), "cut");
        // Only the trailer may be missing.
        assert!(cut.is_err() || end + 60 > split.front.len(), "{end}");
    }
    for at in 0..split.front.len() {
        for bit in [0, 3, 7] {
            let mut front = split.front.clone();
            front[at] ^= 1 << bit;
            let _ = Front::parse(front, "damaged");
        }
    }
    assert!(Front::parse(b"something else".to_vec(), "x").is_err());
}

#[test]
fn manifests_of_other_things_are_refused() {
    let (delta, split) = split();
    let subject = Descriptor::new(None, delta.digest(), 1);
    let manifest = split.manifest(&delta, &subject, Some("imgdelta 1.0"));
    let artifact = Artifact::parse(&manifest, "x").unwrap();
    assert_eq!((artifact.recipes.len(), artifact.creator.as_deref()), (2, Some("imgdelta 1.0")));
    let good: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let parse = |document: &serde_json::Value| {
        let bytes = document.to_string().into_bytes();
        Artifact::parse(&Manifest { descriptor: manifest.descriptor.clone(), bytes }, "x")
    };
    for (path, value) in [
        ("/config/mediaType", json!("application/x")),
        ("/layers/0/mediaType", json!(RECIPE_TYPE)),
        ("/layers/0/digest", json!("sha256:00")),
        ("/layers/1/size", json!(-1)),
        ("/layers", json!([])),
        ("/layers", json!(null)),
    ] {
        let mut document = good.clone();
        *document.pointer_mut(path).unwrap() = value;
        assert!(parse(&document).is_err(), "{path}");
    }
    let mut document = good.clone();
    document["layers"][1]["annotations"] = json!({TARGET_ANNOTATION: "no digest"});
    assert_eq!(parse(&document).unwrap().recipes[0].target, None);
    for (creator, expected) in [("", None), ("other", Some("other")), (&"x".repeat(101), None)] {
        document["annotations"][CREATOR_ANNOTATION] = json!(creator);
        assert_eq!(parse(&document).unwrap().creator.as_deref(), expected);
    }
    document["annotations"] = json!({});
    assert_eq!(parse(&document).unwrap().creator, None);
    let many = vec![good["layers"][0].clone(); 5000];
    document["layers"] = json!(many);
    assert!(matches!(parse(&document), Err(Error::OverLimit { .. })));
}

#[test]
fn tags_of_digests_differ_from_versions() {
    let digest: BlobDigest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    let tag = fallback_tag(&digest);
    assert_eq!(tag, *format!("sha256-{}", "ab".repeat(32)));
    assert!(is_digest_tag(tag.as_str()) && is_digest_tag(&format!("{tag}.sig")));
    assert!(!is_digest_tag("v1") && !is_digest_tag("sha256-new"));
    let long: BlobDigest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
    assert!(
        fallback_tag(&long).as_str().len() <= 128 && is_digest_tag(fallback_tag(&long).as_str())
    );
}

#[test]
fn a_set_is_its_ranges() {
    for (layers, text) in [
        (&[true][..], "0"),
        (&[false, true, true, false, true], "1-2 4"),
        (&[true, true, true], "0-2"),
    ] {
        let set = LayerSet::of(layers.iter().copied());
        assert_eq!(set.to_string(), text);
        assert_eq!(LayerSet::parse(text).as_ref(), Some(&set));
        for (ordinal, expected) in layers.iter().enumerate() {
            assert_eq!(set.contains(ordinal), *expected, "{text} {ordinal}");
        }
        assert!(!set.contains(layers.len()) && !set.is_empty());
    }
    assert!(LayerSet::of([false, false].into_iter()).is_empty());
}

#[test]
fn other_spellings_are_no_set_and_cost_nothing() {
    for text in [
        "",
        " ",
        "a",
        "-",
        "1-",
        "2-1",
        "1-1",
        "0 1",
        "1 0",
        "0-1 1-2",
        "+1",
        "01",
        "4096",
        "0-18446744073709551615",
        "0-99999999999999999999",
        "0  2",
        "0 2 ",
    ] {
        assert_eq!(LayerSet::parse(text), None, "{text:?}");
    }
}
