//! How a target layer's blob will be made from its stream again.
//!
//! Found by trying, and always proved: a recipe that is returned has remade the very blob. What
//! cannot be remade is told so, and the plan carries the blob.

use crate::{
    Result,
    delta::Envelope,
    image::{Image, Layer},
    store::read_blob,
};
use imgdelta_deflate::{DetectOptions, detect_gzip};

/// Returns how the blob of `layer` is made from its stream; [`Envelope::Unmade`] if it cannot be.
pub(super) fn find(image: &Image, layer: &Layer) -> Result<Envelope> {
    let blob = &layer.descriptor;
    if is_stream(layer) {
        return Ok(Envelope::Stored);
    }
    if blob.size_bytes > LARGEST_BYTES {
        return Ok(Envelope::Unmade);
    }
    let bytes = read_blob(&**image.store(), blob, LARGEST_BYTES, "size of a layer")?;
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(Envelope::Unmade);
    }
    let recipe = detect_gzip(&bytes, DetectOptions::default()).map(|recipe| recipe.to_bytes());
    // A record of another encoder's choices may be as large as what it saves.
    let recipe = recipe.filter(|recipe| (recipe.len() as u64) < blob.size_bytes / 2);
    Ok(recipe.map_or(Envelope::Unmade, Envelope::Deflate))
}

/// Returns how much memory [`find`] takes.
pub(super) fn memory(layer: &Layer) -> u64 {
    let blob_bytes = layer.descriptor.size_bytes;
    if is_stream(layer) || blob_bytes > LARGEST_BYTES { 0 } else { blob_bytes + DETECTION_BYTES }
}

/// Whether the blob is the stream: both have one digest.
fn is_stream(layer: &Layer) -> bool {
    let blob = layer.descriptor.digest;
    blob.algorithm() == layer.diff_id.algorithm() && blob.as_bytes() == layer.diff_id.as_bytes()
}

/// Blobs are held whole while their encoder is sought; larger ones are carried.
const LARGEST_BYTES: u64 = 256 << 20;
/// What the search takes beside the blob.
const DETECTION_BYTES: u64 = 96 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
