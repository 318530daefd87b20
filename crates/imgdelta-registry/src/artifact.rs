//! A delta as an artifact in a registry: its parts, and its manifest.
//!
//! Each recipe is a blob of its own. It names only the stream that it makes and the streams that it
//! needs, so that images that share a layer share its recipe. Carried blobs are the target's own
//! layers, which the repository has anyway. The rest of the delta file is the front.
//! docs/registry.md shows a manifest. Sends nothing. Annotations only help to choose; nothing relies
//! on them.

mod front;
mod layer_set;
mod manifest;
mod media;
mod split;

#[doc(hidden)]
pub use front::Front;
pub(crate) use front::MAX_FRONT_BYTES;
pub use layer_set::LayerSet;
pub use manifest::{Artifact, RecipeBlob};
pub(crate) use media::CONFIG;
pub use media::{
    ARTIFACT_TYPE, BASE_ANNOTATION, BYTES_ANNOTATION, COMPRESSES_ANNOTATION, FORMAT_ANNOTATION,
    FRONT_TYPE, PLATFORM_ANNOTATION, RECIPE_TYPE, SOURCES_ANNOTATION, TARGET_ANNOTATION,
    config_blob,
};
#[doc(hidden)]
pub use split::{DeltaPart, SplitDelta};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Manifest;
    use imgdelta_apply::delta::Delta;
    use imgdelta_core::{Error, Limits};
    use imgdelta_image::store::{Descriptor, source::ReadAt};
    use serde_json::json;
    use std::{path::Path, sync::Arc};

    fn split() -> (Delta, SplitDelta) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/small/small.imgdelta");
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
        let manifest = split.manifest(&delta, &subject);
        assert_eq!(Artifact::parse(&manifest, "x").unwrap().recipes.len(), 2);
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
        let many = vec![good["layers"][0].clone(); 5000];
        document["layers"] = json!(many);
        assert!(matches!(parse(&document), Err(Error::OverLimit { .. })));
    }
}
