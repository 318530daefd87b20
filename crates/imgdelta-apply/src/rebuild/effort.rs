//! An estimate of the time that rebuilding a layer takes.
//! Never decodes anything: it uses measured speeds of encoders.
//!
//! A pull that can have both a recipe and the whole blob chooses by it.

use super::{bill, plan::OutputEncoding};
use crate::delta::{Envelope, LayerBody, LayerOutline};
use imgdelta_deflate::{DividedRecipe, RecipeLimits, RecipeMember};
use std::time::Duration;

/// Estimates the time for one core to rebuild a layer's stream and to compress it. The delta states
/// the time for its archives and its aligned codes.
///
/// An invalid or unknown compression counts as 0, since applying it fails at once.
pub fn effort(layer: &LayerOutline) -> Duration {
    let compression = match &layer.envelope {
        Envelope::Deflate(recipe) => deflate(recipe),
        Envelope::Zstd(_) | Envelope::Chunked(_) => u128::from(layer.stream_bytes) * ZSTD,
        Envelope::Stored | Envelope::Base | Envelope::Unmade => 0,
    };
    let archives = u128::from(layer.archive_milliseconds) * 1_000_000;
    let all = compression + archives + u128::from(layer.stream_bytes) * STREAM;
    Duration::from_nanos(u64::try_from(all).unwrap_or(u64::MAX))
}

/// Estimates the time for one core to rebuild those of the layers that recipes make; other layers are
/// copied.
pub fn rebuild_time(layers: impl IntoIterator<Item = LayerOutline>) -> Duration {
    let rebuilt = layers.into_iter().filter(|layer| matches!(layer.body, LayerBody::Recipe(_)));
    rebuilt.map(|layer| effort(&layer)).fold(Duration::ZERO, Duration::saturating_add)
}

/// Returns the nanoseconds that a reader's work limit counts for making a blob from its stream;
/// `None` if the envelope makes no blob or is not valid.
pub fn compression_nanoseconds(envelope: &Envelope, stream_bytes: u64) -> Option<u64> {
    bill::nanoseconds(&OutputEncoding::of(envelope)?, stream_bytes).ok()
}

fn deflate(recipe: &[u8]) -> u128 {
    let divided = DividedRecipe::from_bytes(recipe, RecipeLimits::default());
    let time = |member: &RecipeMember| {
        u128::from(member.plain_bytes) * u128::from(member.model.nanoseconds_per_byte())
    };
    divided.map_or(0, |divided| divided.recipe().members.iter().map(time).sum())
}

/// Nanoseconds per byte to inflate the base, rebuild files, and hash.
const STREAM: u128 = 6;
/// Nanoseconds per byte for zstd's usual levels, whose speeds differ less than gzip's.
const ZSTD: u128 = 12;
