//! The address space of a recipe, and the order of its target's payloads.
//! Never encodes anything.

use crate::{
    archives::{ArchivePlace, BaseArchive},
    plan::Plan,
    sources::{Choice, EntryPlace, PayloadSource},
};
use imgdelta_core::{DiffId, Result};
use imgdelta_format::recipe::{ArchiveSource, StreamName};
use imgdelta_image::{index::LayerIndex, volume::AddressSpace};
use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

/// The base of a target layer: base layers and earlier target layers, followed by parts of archives of
/// the base. Behind them lie the rebuilt bytes of the layer itself.
#[derive(Debug, Default)]
pub(super) struct RecipeLayout {
    pub(super) sources: Vec<StreamName>,
    /// Opened archives, in the order of their parts.
    pub(super) opened: Vec<ArchiveSource>,
    /// Address of each base layer; `None` for unused ones.
    starts: Vec<Option<u64>>,
    /// Addresses of the target layers that are read.
    earlier: HashMap<u32, u64>,
    /// End of the address space, where the rebuilt bytes begin.
    pub(super) end: u64,
    /// For each base archive, the address and number of its first part; `None` for unused ones.
    archives: Vec<Option<(u64, u32)>>,
}

impl RecipeLayout {
    /// Lays out the layers and archives that `choices` use, in the order of the image, and the target
    /// layers in `earlier`.
    pub(super) fn of<'a>(
        plan: &Plan,
        choices: impl Iterator<Item = &'a Choice>,
        earlier: &BTreeSet<u32>,
    ) -> Self {
        let layers = &plan.base.layers;
        let archives = &plan.opened.archives;
        let mut is_used = vec![false; layers.len()];
        let mut is_opened = vec![false; archives.len()];
        for choice in choices {
            let content: &[EntryPlace] = match &choice.content {
                PayloadSource::Same(place) => std::slice::from_ref(place),
                PayloadSource::Built(places, _) => places,
                PayloadSource::Packed(part) => {
                    is_opened[archive_of(archives, *part)] = true;
                    &[]
                }
                PayloadSource::Empty
                | PayloadSource::Repeat(_)
                | PayloadSource::Earlier(_)
                | PayloadSource::Opened => &[],
            };
            for place in content.iter().chain(&choice.header) {
                match is_used.get_mut(place.layer as usize) {
                    Some(is_used) => *is_used = true,
                    None => is_opened[archive_of(archives, place.entry)] = true,
                }
            }
        }
        // An archive follows the archives that contain it.
        for (archive, of) in archives.iter().enumerate().rev() {
            match of.at {
                ArchivePlace::Layer(layer, _) => is_used[layer as usize] |= is_opened[archive],
                ArchivePlace::Part(part) => {
                    is_opened[archive_of(archives, part)] |= is_opened[archive];
                }
            }
        }
        let (mut layout, mut at) = (Self::default(), 0);
        // Two layers may have the same stream; empty layers often do.
        let mut laid: HashMap<DiffId, u64> = HashMap::new();
        for (index, is_used) in layers.iter().zip(is_used) {
            let start = is_used.then(|| {
                *laid.entry(index.diff_id).or_insert_with(|| {
                    let start = at;
                    at += index.stream_bytes;
                    layout
                        .sources
                        .push(StreamName { diff_id: index.diff_id, bytes: index.stream_bytes });
                    start
                })
            });
            layout.starts.push(start);
        }
        for &layer in earlier {
            let index = &plan.target.layers[layer as usize];
            let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
            layout.sources.push(name);
            layout.earlier.insert(layer, at);
            at += name.bytes;
        }
        let mut number = 0;
        for (archive, is_opened) in archives.iter().zip(is_opened) {
            layout.archives.push(is_opened.then_some((at, number)));
            if !is_opened {
                continue;
            }
            let address = match archive.at {
                ArchivePlace::Layer(layer, offset) => layout.address(layer, offset),
                ArchivePlace::Part(part) => layout.part(plan, part).start,
            };
            let plain_bytes = archive.plain.end - archive.plain.start;
            let (bytes, kind) = (archive.bytes, archive.kind);
            layout.opened.push(ArchiveSource { address, bytes, kind, plain_bytes });
            at += plain_bytes;
            number += archive.parts.end - archive.parts.start;
        }
        layout.end = at;
        layout
    }

    /// Returns the address of an offset in a used layer.
    pub(super) fn address(&self, layer: u32, offset: u64) -> u64 {
        self.starts[layer as usize].expect("the layer was laid out") + offset
    }

    /// Returns the address of an offset in an earlier target layer.
    pub(super) fn earlier(&self, layer: u32, offset: u64) -> u64 {
        self.earlier[&layer] + offset
    }

    /// Returns the addresses of the payload of a base entry.
    pub(super) fn payload(&self, plan: &Plan, place: EntryPlace) -> Range<u64> {
        if plan.is_part(place) {
            return self.part(plan, place.entry);
        }
        let payload = &plan.base_entry(place).payload;
        self.address(place.layer, payload.start)..self.address(place.layer, payload.end)
    }

    /// Returns the addresses of a part of an archive.
    fn part(&self, plan: &Plan, part: u32) -> Range<u64> {
        let archive = archive_of(&plan.opened.archives, part);
        let (start, _) = self.archives[archive].expect("the archive was laid out");
        let layer = u32::try_from(self.starts.len()).expect("layers are limited");
        let payload = &plan.base_entry(EntryPlace { layer, entry: part }).payload;
        let before = plan.opened.archives[archive].plain.start;
        start + payload.start - before..start + payload.end - before
    }

    /// Returns the number of a part in the recipe.
    pub(super) fn number(&self, plan: &Plan, part: u32) -> u32 {
        let archive = archive_of(&plan.opened.archives, part);
        let (_, first) = self.archives[archive].expect("the archive was laid out");
        first + part - plan.opened.archives[archive].parts.start
    }

    /// Returns the address space, without rebuilt bytes.
    pub(super) fn space(&self, plan: &Plan) -> Result<AddressSpace> {
        let mut space = AddressSpace::new(&plan.volume, &self.sources)?;
        let Some(parts) = &plan.opened.base else { return Ok(space) };
        for (archive, opened) in plan.opened.archives.iter().zip(&self.archives) {
            if opened.is_some() {
                space.append(&parts.space, archive.plain.clone())?;
            }
        }
        Ok(space)
    }
}

/// Returns the archive of a part.
fn archive_of(archives: &[BaseArchive], part: u32) -> usize {
    archives.partition_point(|archive| archive.parts.end <= part)
}

/// A payload of the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PayloadSpan {
    /// The payload of an entry.
    Entry(u32),
    /// Bytes outside of entries, too many to be stored with the headers.
    Raw(Range<u64>),
    /// A part inside an archive.
    Part(u32),
}

/// Returns the payloads of a stream, in order.
pub(super) fn spans(index: &LayerIndex) -> Vec<PayloadSpan> {
    let mut spans = Vec::new();
    let raw = |range: Range<u64>, spans: &mut Vec<PayloadSpan>| {
        if is_large(&range) {
            spans.push(PayloadSpan::Raw(range));
        }
    };
    raw(lead(index), &mut spans);
    for (ordinal, entry) in index.entries.iter().enumerate() {
        if !entry.payload.is_empty() {
            spans.push(PayloadSpan::Entry(u32::try_from(ordinal).expect("entries are limited")));
        }
        raw(index.padding_range(ordinal), &mut spans);
    }
    raw(index.tail_range(), &mut spans);
    spans
}

/// Returns the range before the first entry.
pub(super) fn lead(index: &LayerIndex) -> Range<u64> {
    0..index.entries.first().map_or(index.tail_start, |first| first.start)
}

/// True if bytes outside of entries are a payload. A damaged stream may be all tail.
pub(super) fn is_large(range: &Range<u64>) -> bool {
    range.end - range.start > LARGE_BYTES
}

/// Far more than the end marks and padding that archivers write, which are at most 10 KiB.
const LARGE_BYTES: u64 = 64 << 10;
