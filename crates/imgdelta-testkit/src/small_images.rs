//! The two images of testdata/small, as blobs and in a registry.
//!
//! Changes nothing in the tree.

use crate::{
    Blobs,
    registry::{RegistryBehaviour, TestRegistry},
};
use serde_json::Value;
use std::{fs, path::Path};

/// Returns the image of this name, `old` or `new`, under a tag of the same name.
///
/// # Panics
///
/// Panics if testdata/small is not there.
pub fn small_image(name: &str) -> Blobs {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/small").join(name);
    let mut blobs = Blobs::default();
    for item in fs::read_dir(directory.join("blobs/sha256")).unwrap() {
        let item = item.unwrap();
        let digest = format!("sha256:{}", item.file_name().to_string_lossy());
        blobs.by_digest.insert(digest, fs::read(item.path()).unwrap());
    }
    let index = fs::read(directory.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    blobs.tag(index["manifests"][0].clone(), name);
    blobs
}

/// Starts a registry with both images in the repository `x/app`, under the tags `old` and `new`.
pub fn small_registry(behaviour: RegistryBehaviour) -> TestRegistry {
    let registry = TestRegistry::start(behaviour);
    for name in ["old", "new"] {
        registry.put_image("x/app", &small_image(name));
    }
    registry
}
