//! Where things lie: the address space of a recipe, and the payloads of its target in order.

use crate::{
    inside::{At, BaseArchive},
    plan::Plan,
    sources::{Choice, Content, Place},
};
use imgdelta_core::{DiffId, Result};
use imgdelta_format::recipe::{ArchiveSource, StreamName};
use imgdelta_image::{index::LayerIndex, volume::AddressSpace};
use std::{collections::HashMap, ops::Range};

/// What a target layer takes from: base layers one after another, and parts of their archives.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) sources: Vec<StreamName>,
    /// The archives that are opened, in the order of their parts behind the sources.
    pub(super) opened: Vec<ArchiveSource>,
    /// Where each base layer's stream begins; `None` for those not used.
    starts: Vec<Option<u64>>,
    /// For each archive of the base where its parts begin, and the number of the first; `None`
    /// for those not used.
    archives: Vec<Option<(u64, u32)>>,
}

impl Layout {
    /// Lays out the layers and archives that `choices` speak of, in the order of the image.
    pub(super) fn of<'a>(plan: &Plan, choices: impl Iterator<Item = &'a Choice>) -> Self {
        let layers = &plan.base.layers;
        let archives = &plan.inside.archives;
        let mut is_used = vec![false; layers.len()];
        let mut is_opened = vec![false; archives.len()];
        for choice in choices {
            let content: &[Place] = match &choice.content {
                Content::Same(place) => std::slice::from_ref(place),
                Content::Built(places, _) => places,
                Content::Packed(part) => {
                    is_opened[archive_of(archives, *part)] = true;
                    &[]
                }
                Content::Empty | Content::Repeat(_) | Content::Opened => &[],
            };
            for place in content.iter().chain(&choice.header) {
                match is_used.get_mut(place.layer as usize) {
                    Some(is_used) => *is_used = true,
                    None => is_opened[archive_of(archives, place.entry)] = true,
                }
            }
        }
        // An archive stands behind those it lies in.
        for (archive, of) in archives.iter().enumerate().rev() {
            match of.at {
                At::Layer(layer, _) => is_used[layer as usize] |= is_opened[archive],
                At::Part(part) => is_opened[archive_of(archives, part)] |= is_opened[archive],
            }
        }
        let (mut layout, mut at) = (Self::default(), 0);
        // Two layers of an image may be one stream (two empty ones often are).
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
        let mut number = 0;
        for (archive, is_opened) in archives.iter().zip(is_opened) {
            layout.archives.push(is_opened.then_some((at, number)));
            if !is_opened {
                continue;
            }
            let address = match archive.at {
                At::Layer(layer, offset) => layout.address(layer, offset),
                At::Part(part) => layout.part(plan, part).start,
            };
            let plain_bytes = archive.plain.end - archive.plain.start;
            let (bytes, kind) = (archive.bytes, archive.kind);
            layout.opened.push(ArchiveSource { address, bytes, kind, plain_bytes });
            at += plain_bytes;
            number += archive.parts.end - archive.parts.start;
        }
        layout
    }

    /// Returns the address of an offset of a layer's stream, which is used.
    pub(super) fn address(&self, layer: u32, offset: u64) -> u64 {
        self.starts[layer as usize].expect("only places that were laid out are asked for") + offset
    }

    /// Returns where the payload of a base entry lies.
    pub(super) fn payload(&self, plan: &Plan, place: Place) -> Range<u64> {
        if plan.is_inside(place) {
            return self.part(plan, place.entry);
        }
        let payload = &plan.base_entry(place).payload;
        self.address(place.layer, payload.start)..self.address(place.layer, payload.end)
    }

    /// Returns where a part of an archive lies.
    fn part(&self, plan: &Plan, part: u32) -> Range<u64> {
        let archive = archive_of(&plan.inside.archives, part);
        let (start, _) = self.archives[archive].expect("only parts that were laid out");
        let layer = u32::try_from(self.starts.len()).expect("layers are limited");
        let payload = &plan.base_entry(Place { layer, entry: part }).payload;
        let before = plan.inside.archives[archive].plain.start;
        start + payload.start - before..start + payload.end - before
    }

    /// Returns the number of a part among those that the recipe opens.
    pub(super) fn number(&self, plan: &Plan, part: u32) -> u32 {
        let archive = archive_of(&plan.inside.archives, part);
        let (_, first) = self.archives[archive].expect("only parts that were laid out");
        first + part - plan.inside.archives[archive].parts.start
    }

    /// Puts the bytes of all of it under one address.
    pub(super) fn space(&self, plan: &Plan) -> Result<AddressSpace> {
        let mut space = AddressSpace::new(&plan.volume, &self.sources)?;
        let Some(parts) = &plan.inside.base else { return Ok(space) };
        for (archive, opened) in plan.inside.archives.iter().zip(&self.archives) {
            if opened.is_some() {
                space.append(&parts.space, archive.plain.clone())?;
            }
        }
        Ok(space)
    }
}

/// Which archive a part is of.
fn archive_of(archives: &[BaseArchive], part: u32) -> usize {
    archives.partition_point(|archive| archive.parts.end <= part)
}

/// A stretch of the target's stream that is told apart from its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// The payload of an entry.
    Entry(u32),
    /// Bytes of no entry, too many to be told among the headers.
    Raw(Range<u64>),
    /// A part inside an archive: no stretch of the stream, but told like one.
    Part(u32),
}

/// The stretches of a stream in order: what a recipe counts as its payloads.
pub(super) fn stretches(index: &LayerIndex) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let raw = |range: Range<u64>, stretches: &mut Vec<Stretch>| {
        if is_large(&range) {
            stretches.push(Stretch::Raw(range));
        }
    };
    raw(lead(index), &mut stretches);
    for (ordinal, entry) in index.entries.iter().enumerate() {
        if !entry.payload.is_empty() {
            stretches.push(Stretch::Entry(u32::try_from(ordinal).expect("entries are limited")));
        }
        raw(index.padding_range(ordinal), &mut stretches);
    }
    raw(index.tail_range(), &mut stretches);
    stretches
}

/// What stands before the first entry.
pub(super) fn lead(index: &LayerIndex) -> Range<u64> {
    0..index.entries.first().map_or(index.tail_start, |first| first.start)
}

/// Whether bytes of no entry are a payload of their own: a damaged stream's tail may be all of it.
pub(super) fn is_large(range: &Range<u64>) -> bool {
    range.end - range.start > LARGE_BYTES
}

/// Far more than the end marks and the padding that archivers write (10 KiB).
const LARGE_BYTES: u64 = 64 << 10;
