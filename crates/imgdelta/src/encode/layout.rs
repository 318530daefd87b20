//! Where things lie: the address space of a recipe, and the payloads of its target in order.

use crate::{
    DiffId,
    index::Index,
    plan::Plan,
    sources::{Choice, Content, Place},
};
use imgdelta_format::recipe::StreamName;
use std::{collections::HashMap, ops::Range};

/// The base layers a target layer takes from, one after another.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) sources: Vec<StreamName>,
    /// Where each base layer's stream begins; `None` for those not used.
    starts: Vec<Option<u64>>,
}

impl Layout {
    /// Lays out the layers that `choices` speak of, in the order of the image.
    pub(super) fn of(plan: &Plan<'_>, choices: &[Choice]) -> Self {
        let layers = &plan.base.layers;
        let mut is_used = vec![false; layers.len()];
        for choice in choices {
            let content: &[Place] = match &choice.content {
                Content::Same(place) => std::slice::from_ref(place),
                Content::Built(places, _) => places,
                Content::Empty | Content::Repeat(_) => &[],
            };
            for place in content.iter().chain(&choice.header) {
                is_used[place.layer as usize] = true;
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
        layout
    }

    /// Returns the address of an offset of a layer's stream, which is used.
    pub(super) fn address(&self, layer: u32, offset: u64) -> u64 {
        self.starts[layer as usize].expect("only places that were laid out are asked for") + offset
    }

    /// Returns where the payload of a base entry lies.
    pub(super) fn payload(&self, plan: &Plan<'_>, place: Place) -> Range<u64> {
        let payload = &plan.base.layers[place.layer as usize].entries[place.entry as usize].payload;
        self.address(place.layer, payload.start)..self.address(place.layer, payload.end)
    }
}

/// A stretch of the target's stream that is told apart from its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// The payload of an entry.
    Entry(u32),
    /// Bytes of no entry, too many to be told among the headers.
    Raw(Range<u64>),
}

/// The stretches of a stream in order: what a recipe counts as its payloads.
pub(super) fn stretches(index: &Index) -> Vec<Stretch> {
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
pub(super) fn lead(index: &Index) -> Range<u64> {
    0..index.entries.first().map_or(index.tail_start, |first| first.start)
}

/// Whether bytes of no entry are a payload of their own: a damaged stream's tail may be all of it.
pub(super) fn is_large(range: &Range<u64>) -> bool {
    range.end - range.start > LARGE_BYTES
}

/// Far more than the end marks and the padding that archivers write (10 KiB).
const LARGE_BYTES: u64 = 64 << 10;
