//! A pull without deltas into a sink that takes uncompressed layers.
//!
//! The length of a layer is known once it is inflated, so a layer waits in a scratch file. Blobs and
//! streams are compared with their digests before the sink shows them.

use super::plan::PullPlan;
use imgdelta_apply::sink::{OutgoingImage, Sink};
use imgdelta_core::{
    Context, DiffId, Result,
    progress::{Progress, Stage},
    verify::BlobCheck,
};
use imgdelta_image::{
    envelope::StreamCheck,
    image::Image,
    store::Descriptor,
    volume::{LayerStream, Volume},
};
use std::collections::HashSet;

/// Writes the layers that the sink lacks, from the first image that has each.
pub(super) fn copy(
    plan: &PullPlan,
    images: &[&Image],
    mut sink: Box<dyn Sink>,
    context: &Context,
) -> Result<()> {
    let image = &plan.source.image;
    let diff_ids: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let there = sink.has_layers(&diff_ids)?;
    let absent = diff_ids.iter().zip(there).filter(|(_, is_there)| !is_there);
    let wanted: Vec<DiffId> = absent.map(|(diff_id, _)| *diff_id).collect();
    // The streams are hashed when they are written.
    let volume = Volume::extract_as(StreamCheck::Assume, images, &wanted, context)?;
    let layer = |diff_id| {
        // The length of a layer that the sink has does not matter.
        let bytes = volume.stream(diff_id).map_or(0, |stream| stream.bytes());
        Descriptor::of_stream(diff_id, bytes)
    };
    let layers: Vec<Descriptor> = diff_ids.iter().map(layer).collect();
    sink.begin(OutgoingImage::uncompressed(image, layers.clone()))?;
    let mut done = HashSet::new();
    context.progress.begin(Stage::Writing, layers.iter().map(|layer| layer.size_bytes).sum());
    for (diff_id, layer) in diff_ids.iter().zip(&layers) {
        // A sink counts the layers that it was asked about, also those that it had before.
        if !done.insert(diff_id) || sink.has(layer, &*context.progress)? {
            continue;
        }
        if let Some(stream) = volume.stream(diff_id) {
            write(stream, layer, &*sink, &*context.progress)?;
        }
    }
    sink.finish()
}

/// Writes one layer, and compares its digest.
fn write(
    stream: &LayerStream,
    layer: &Descriptor,
    sink: &dyn Sink,
    progress: &dyn Progress,
) -> Result<()> {
    let mut check = BlobCheck::new(layer.digest, layer.size_bytes);
    let mut writer = sink.blob(layer)?;
    let mut at = 0;
    while at < stream.bytes() {
        progress.check()?;
        let piece = stream.slice(at, (stream.bytes() - at).min(PIECE_BYTES))?;
        check.update(&piece)?;
        writer.write(&piece)?;
        at += piece.len() as u64;
        progress.advance(piece.len() as u64);
    }
    writer.finish(check.finish()?)
}

const PIECE_BYTES: u64 = 256 << 10;
