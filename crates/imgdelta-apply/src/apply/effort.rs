//! About how long making a layer takes.
//!
//! For choosing between a recipe and the whole blob where both are to be had; nothing depends on it
//! otherwise. From what encoders were measured to take, not from the bytes at hand. Never decodes.

use crate::delta::{Envelope, LayerOutline};
use imgdelta_deflate::{DividedRecipe, RecipeLimits, RecipeMember};
use std::time::Duration;

/// Returns about how long one core takes to rebuild a layer's stream and to make its blob of it.
/// What cannot be made takes no time: whoever tries finds out at once.
pub fn effort(layer: &LayerOutline) -> Duration {
    let compression = match &layer.envelope {
        Envelope::Deflate(recipe) => deflate(recipe),
        Envelope::Zstd(_) | Envelope::Chunked(_) => u128::from(layer.stream_bytes) * ZSTD,
        Envelope::Stored | Envelope::Base | Envelope::Unmade => 0,
    };
    let all = compression + u128::from(layer.stream_bytes) * STREAM;
    Duration::from_nanos(u64::try_from(all).unwrap_or(u64::MAX))
}

fn deflate(recipe: &[u8]) -> u128 {
    let divided = DividedRecipe::from_bytes(recipe, RecipeLimits::default());
    let time = |member: &RecipeMember| {
        u128::from(member.plain_bytes) * u128::from(member.model.nanoseconds_per_byte())
    };
    divided.map_or(0, |divided| divided.recipe().members.iter().map(time).sum())
}

/// Nanoseconds a byte to inflate the base, rebuild files, and hash.
const STREAM: u128 = 6;
/// Nanoseconds a byte for zstd's usual levels, which lie closer together than gzip's.
const ZSTD: u128 = 12;
