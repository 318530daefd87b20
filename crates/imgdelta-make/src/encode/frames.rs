//! The frames of a layer, encoded as header columns.
//! Never writes a payload.

use super::{
    LayerEncoder,
    layout::{is_large, lead},
};
use crate::options::Preset;
use imgdelta_core::{Result, progress::Checkpoint};
use imgdelta_image::volume::LayerStream;
use imgdelta_layer::headers::{BaseHeader, HeaderWriter};
use std::ops::Range;

/// The header columns of a layer.
pub(super) struct EncodedFrames {
    pub(super) columns: Vec<u8>,
    /// For each entry, true if the columns refer to its base entry. A malformed base header cannot
    /// be referred to.
    pub(super) has_own: Vec<bool>,
}

/// Encodes the frames of a layer.
pub(super) fn write(layer: &LayerEncoder<'_>) -> Result<EncodedFrames> {
    let index = layer.index;
    let mut writer = HeaderWriter::new(level(layer.plan.preset));
    let mut has_own = Vec::with_capacity(layer.payloads.choices.len());
    let (mut header, mut padding, mut base) = (Vec::new(), Vec::new(), Vec::new());
    raw(&mut writer, layer.payloads.target.stream, lead(index), &mut header)?;
    let mut checkpoint = Checkpoint::new(&*layer.plan.context.progress);
    for (ordinal, choice) in layer.payloads.choices.iter().enumerate() {
        checkpoint.step()?;
        let payload = index.entries.payload(ordinal);
        read(layer.payloads.target.stream, index.header_range(ordinal), &mut header)?;
        let behind = index.padding_range(ordinal);
        let is_apart = is_large(&behind);
        let near = if is_apart { behind.start..behind.start } else { behind.clone() };
        read(layer.payloads.target.stream, near, &mut padding)?;
        let mut like = None;
        if let Some(place) = choice.header {
            let other = &layer.plan.base.layers[place.layer as usize];
            let range = other.header_range(place.entry as usize);
            let address = layer.layout.address(place.layer, range.start);
            base.resize(usize::try_from(range.end - range.start).expect("headers are limited"), 0);
            layer.space.read_exact_at(address, &mut base)?;
            let payload = other.entries.payload(place.entry as usize);
            let payload_bytes = payload.end - payload.start;
            like = Some(BaseHeader { address, header: &base, payload_bytes });
        }
        has_own.push(writer.entry(&header, payload.end - payload.start, &padding, like));
        if is_apart {
            writer.raw_payload(behind.end - behind.start);
        }
    }
    raw(&mut writer, layer.payloads.target.stream, index.tail_range(), &mut header)?;
    Ok(EncodedFrames { columns: writer.finish(), has_own })
}

/// Writes bytes outside of entries: with the headers, or as a payload if they are many.
fn raw(
    writer: &mut HeaderWriter,
    stream: &LayerStream,
    range: Range<u64>,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    if is_large(&range) {
        writer.raw_payload(range.end - range.start);
    } else if !range.is_empty() {
        read(stream, range, buffer)?;
        writer.raw(buffer);
    }
    Ok(())
}

fn read(stream: &LayerStream, range: Range<u64>, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.resize(usize::try_from(range.end - range.start).expect("frames are limited"), 0);
    stream.read_exact_at(range.start, buffer)
}

fn level(preset: Preset) -> i32 {
    match preset {
        Preset::Fast => 9,
        Preset::Default => 19,
        Preset::Best => 22,
    }
}
