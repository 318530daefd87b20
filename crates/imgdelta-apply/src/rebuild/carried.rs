//! Layers whose blobs the delta carries.
//! Never compresses: a carried blob is copied, and its stream is inflated.

use crate::delta::{Delta, LayerBody, TargetLayer};
use imgdelta_core::{
    Context, Error, Limits, Result, progress::Progress, verify::BlobCheck, work::WorkMeter,
};
use imgdelta_image::{
    envelope::{StreamCheck, read_layer},
    volume::Volume,
};
use std::io::Write as _;

use super::bill;

/// Passes the stream of a carried blob, of which it has the ordinal and the layer, to `each`. Verifies
/// the digests of blob and stream.
pub(super) fn read(
    delta: &Delta,
    (ordinal, layer): (u32, &TargetLayer),
    limits: &Limits,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let check = BlobCheck::new(layer.blob, layer.blob_bytes);
    let place = check.place();
    let blob = delta.carried(ordinal)?;
    let digest = StreamCheck::Compare(layer.stream.diff_id);
    let progress = CancelOnly(progress);
    let expected = layer.stream.bytes;
    let wrong = |found: &str| {
        let what = format!("its stream has {found} bytes, should be {expected}");
        Error::bad_input(place.clone(), what)
    };
    let mut seen_bytes = 0_u64;
    let read = read_layer(blob, check, digest, limits, &progress, &mut |piece| {
        // A few bytes can inflate to a gigabyte; the allowance of work covers what was stated.
        seen_bytes += piece.len() as u64;
        if seen_bytes > expected {
            return Err(wrong(&format!("{seen_bytes} or more")));
        }
        each(piece)
    })?;
    if read.stream_bytes != expected {
        return Err(wrong(&read.stream_bytes.to_string()));
    }
    Ok(())
}

/// Adds the stream of a carried blob to a volume, for the recipes that read it.
pub(super) fn add_to(
    volume: &mut Volume,
    delta: &Delta,
    ordinal: u32,
    meter: &WorkMeter,
    context: &Context,
) -> Result<()> {
    let is_it = |layer: &&TargetLayer| layer.body == LayerBody::Carried(ordinal);
    let layer = delta.layers().iter().find(is_it);
    let layer = layer.expect("a layer has the stream that a recipe reads");
    bill::charge_inner(layer.stream.bytes, meter)?;
    context.scratch.raise(layer.stream.bytes);
    let mut file = context.scratch.file()?;
    let progress = &*context.progress;
    read(delta, (ordinal, layer), &context.limits, progress, &mut |piece| {
        file.write_all(piece).map_err(Error::io(context.scratch.place()))
    })?;
    volume.insert(layer.stream, file)
}

/// Progress that passes cancellation on and counts nothing.
pub(super) struct CancelOnly<'a>(pub &'a dyn Progress);

impl Progress for CancelOnly<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
