//! Media types and annotations of a delta's manifest.
//!
//! Part of the format: they never change their meaning.

use crate::repository::digest_of;
use imgdelta_core::Algorithm;
use imgdelta_image::store::Descriptor;

/// Type of the artifact and of its config, since some registries report only the latter.
pub const ARTIFACT_TYPE: &str = "application/vnd.imgdelta.delta.v1";
/// Media type of a front.
pub const FRONT_TYPE: &str = "application/vnd.imgdelta.delta.v1.front";
/// Media type of a recipe.
pub const RECIPE_TYPE: &str = "application/vnd.imgdelta.delta.v1.recipe";
/// Annotation with the digest of the base's manifest.
pub const BASE_ANNOTATION: &str = "org.imgdelta.base";
/// Annotation with the length of the delta file.
pub const BYTES_ANNOTATION: &str = "org.imgdelta.bytes";
/// Annotation with the target's platform.
pub const PLATFORM_ANNOTATION: &str = "org.imgdelta.platform";
/// Annotation with the version of the delta's format.
pub const FORMAT_ANNOTATION: &str = "org.imgdelta.format";
/// Annotation with the layers that the delta compresses from their streams: ordinals from 0, as
/// ranges separated by spaces.
pub const COMPRESSES_ANNOTATION: &str = "org.imgdelta.compresses";
/// Annotation with the program that pushed the delta, and its version.
pub const CREATOR_ANNOTATION: &str = "org.imgdelta.creator";
/// Annotation of a recipe with the diff id of the stream that it makes.
pub const TARGET_ANNOTATION: &str = "org.imgdelta.target";
/// Annotation of a recipe with the diff ids that it needs, separated by spaces.
pub const SOURCES_ANNOTATION: &str = "org.imgdelta.sources";

/// Returns the config of every delta. It is empty, so that a registry stores it once.
pub fn config_blob() -> Descriptor {
    let digest = digest_of(Algorithm::Sha256, CONFIG);
    Descriptor::new(Some(ARTIFACT_TYPE), digest, CONFIG.len() as u64)
}

/// The empty document of the image specification.
pub(crate) const CONFIG: &[u8] = b"{}";
/// Media type of the artifact's manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of a carried layer whose own type is unknown.
pub(super) const BYTES_TYPE: &str = "application/octet-stream";
/// Parts of an artifact: at most one for each layer.
pub(super) const MAX_PARTS: u64 = 4096;
