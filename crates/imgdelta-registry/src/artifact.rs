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
pub use media::{
    ARTIFACT_TYPE, BASE_ANNOTATION, BYTES_ANNOTATION, COMPRESSES_ANNOTATION, CREATOR_ANNOTATION,
    FORMAT_ANNOTATION, FRONT_TYPE, PLATFORM_ANNOTATION, RECIPE_TYPE, SOURCES_ANNOTATION,
    TARGET_ANNOTATION, config_blob,
};
pub(crate) use media::{CONFIG, MANIFEST_TYPE};
#[doc(hidden)]
pub use split::{DeltaPart, SplitDelta};
