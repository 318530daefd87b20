//! Manifests for images that have none: docker keeps configs and layers only.
//!
//! Equal images get equal bytes, and a digest that no registry knows. Never reads a layer.

use super::Descriptor;
use imgdelta_core::{Algorithm, BlobDigest, verify::Hasher};
use serde::Serialize;

/// A manifest that was generated for a config and its layers.
#[derive(Clone, Debug)]
pub struct GeneratedManifest {
    /// Describes its bytes.
    pub descriptor: Descriptor,
    /// Describes the config.
    pub config: Descriptor,
    /// The manifest.
    pub bytes: Vec<u8>,
}

impl GeneratedManifest {
    /// Generates the manifest of a config, byte for byte, and its layers, the lowest first.
    pub fn new(config: &[u8], layers: &[Descriptor]) -> Self {
        let config = Descriptor::new(Some(CONFIG_TYPE), hash(config), config.len() as u64);
        let document = ManifestFields {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config: ManifestEntryFields::of(&config),
            layers: layers.iter().map(ManifestEntryFields::of).collect(),
        };
        let bytes = serde_json::to_vec(&document).expect("a manifest of our own");
        let descriptor = Descriptor::new(Some(MANIFEST_TYPE), hash(&bytes), bytes.len() as u64);
        Self { descriptor, config, bytes }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestFields<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: ManifestEntryFields<'a>,
    layers: Vec<ManifestEntryFields<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestEntryFields<'a> {
    media_type: &'a str,
    #[serde(serialize_with = "as_text")]
    digest: BlobDigest,
    size: u64,
}

impl<'a> ManifestEntryFields<'a> {
    fn of(blob: &'a Descriptor) -> Self {
        Self { media_type: blob.media_type(), digest: blob.digest, size: blob.size_bytes }
    }
}

fn as_text<S: serde::Serializer>(digest: &BlobDigest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

fn hash(bytes: &[u8]) -> BlobDigest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish_blob()
}

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
