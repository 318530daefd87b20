//! Encoder only: the copies of a file in a view with fields, found window by window.
//! Never holds a labelled reading of a whole long file; the labels come from all of it.
//!
//! A window of the target is matched against a range of the base. That range is the whole base if it
//! is short enough. Of a longer one it is the part around the place where the last round's copies
//! lie, or at first where the window lies in proportion to its segment: linkers keep the order of
//! most object files.

use crate::{
    normalise::{self, Labels},
    script::BaseCopy,
};
use imgdelta_fields::{
    elf::{MemoryImage, Segment},
    field_index::FieldIndex,
    host::{self, Host, NoHost},
};
use imgdelta_wire::{
    matcher::{self, GapSearcher, Reading, SearchDepth},
    seeds::SeedIndex,
};
use std::{borrow::Cow, ops::Range};

/// Both files with labels in place of their fields.
#[derive(Debug)]
pub(crate) struct LabelledSides {
    pub(crate) base: Vec<u8>,
    pub(crate) target: Vec<u8>,
}

impl LabelledSides {
    /// Reads both files whole; `None` if they are too long to be held.
    pub(crate) fn read(
        (base, base_labels): (&FieldIndex<'_>, &Labels),
        (target, target_labels): (&FieldIndex<'_>, &Labels),
        host: &dyn Host,
    ) -> Option<Self> {
        let read = |side: &FieldIndex<'_>, labels: &Labels| {
            normalise::read(side, 0..side.file.len(), labels, host)
        };
        let is_short = base.file.len() + target.file.len() <= BASE_BYTES;
        is_short
            .then(|| Self { base: read(base, base_labels), target: read(target, target_labels) })
    }
}

/// The two sides of a search, each with the labels for its fields.
pub(crate) struct SceneSearch<'a> {
    pub(crate) base: (&'a FieldIndex<'a>, Labels),
    pub(crate) target: (&'a FieldIndex<'a>, Labels),
    /// The same read already, if both sides are short.
    pub(crate) labelled: Option<&'a LabelledSides>,
    /// Copies of the last round.
    pub(crate) known: &'a [BaseCopy],
    pub(crate) depth: SearchDepth,
    pub(crate) host: &'a dyn Host,
}

impl SceneSearch<'_> {
    /// Returns copies in target order, not overlapping in the target.
    pub(crate) fn copies(&self, seeds: &mut SeedIndex) -> Vec<BaseCopy> {
        let mut copies = Vec::new();
        for (target, base) in self.ranges() {
            let read: Cow<'_, [u8]> = match self.labelled {
                Some(labelled) => labelled.base[base.clone()].into(),
                None => normalise::read(self.base.0, base.clone(), &self.base.1, self.host).into(),
            };
            seeds.build(&read, self.depth.seed, self.depth.step);
            let old = Reading { raw: &self.base.0.file[base.clone()], read: &read };
            let windows: Vec<_> = windows(target).collect();
            let index: &SeedIndex = seeds;
            let found = host::map(self.host, windows.len(), |number| {
                let found = self.search_window(index, (old, base.start), windows[number].clone());
                self.host.release();
                found
            });
            for (window, found) in windows.iter().zip(found) {
                copies.extend(found.into_iter().map(|copy| BaseCopy {
                    target: copy.target + window.start,
                    base: copy.base + base.start,
                    ..copy
                }));
            }
            seeds.free_if_large();
        }
        matcher::join(copies, 0)
    }

    fn search_window(
        &self,
        seeds: &SeedIndex,
        (old, base_start): (Reading<'_>, usize),
        window: Range<usize>,
    ) -> Vec<BaseCopy> {
        let origin = window.start.saturating_sub(base_start);
        let read: Cow<'_, [u8]> = match self.labelled {
            Some(labelled) => labelled.target[window.clone()].into(),
            None => normalise::read(self.target.0, window.clone(), &self.target.1, &NoHost).into(),
        };
        let new = Reading { raw: &self.target.0.file[window], read: &read };
        GapSearcher::default().copies(seeds, old, (new, origin), self.depth)
    }

    /// Returns ranges of the target, each with the range of the base to match it against.
    fn ranges(&self) -> Vec<(Range<usize>, Range<usize>)> {
        let (base_len, target_len) = (self.base.0.file.len(), self.target.0.file.len());
        if base_len <= BASE_BYTES {
            return vec![(0..target_len, 0..base_len)];
        }
        let starts = (0..target_len).step_by(TARGET_BYTES);
        let range = |start: usize| {
            let end = target_len.min(start + TARGET_BYTES);
            let middle = self.copied_middle(start..end).unwrap_or_else(|| {
                let (base, target) = (&self.base.0.image, &self.target.0.image);
                in_proportion(usize::midpoint(start, end), (target, target_len), (base, base_len))
            });
            let from = middle.saturating_sub(BASE_BYTES / 2).min(base_len - BASE_BYTES);
            (start..end, from..from + BASE_BYTES)
        };
        starts.map(range).collect()
    }

    /// Returns the offset in the base that halves the bytes which a range has from there.
    fn copied_middle(&self, target: Range<usize>) -> Option<usize> {
        let first = self.known.partition_point(|copy| copy.target_end() <= target.start);
        let inside = self.known[first..].iter().take_while(|copy| copy.target < target.end);
        let mut inside: Vec<(usize, usize)> = inside.map(|copy| (copy.base, copy.len)).collect();
        inside.sort_unstable();
        let all: usize = inside.iter().map(|copy| copy.1).sum();
        let mut seen = 0;
        // With less than an eighth the copies may be of other places.
        inside.into_iter().filter(|_| all >= target.len() / 8).find_map(|(base, len)| {
            seen += len;
            (seen * 2 >= all).then_some(base)
        })
    }
}

/// Divides a range of the target into windows of about equal length.
fn windows(target: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let count = target.len().div_ceil(WINDOW_BYTES).max(1);
    let step = target.len().div_ceil(count).max(1);
    let end = target.end;
    target.step_by(step).map(move |start| start..end.min(start + step))
}

/// Returns the offset in the base that lies in its segment as `offset` lies in the target's.
fn in_proportion(
    offset: usize,
    (target, target_len): (&MemoryImage, usize),
    (base, base_len): (&MemoryImage, usize),
) -> usize {
    let number = target.segments.iter().position(|segment| segment.offset_end() > offset);
    let ranges = |image: &MemoryImage, len: usize, number: Option<usize>| match number {
        Some(number) => image.segments.get(number).map(|s| s.offset..s.offset_end()),
        None => Some(image.segments.last().map_or(0, Segment::offset_end)..len),
    };
    let same = target.segments.len() == base.segments.len();
    let pair = ranges(target, target_len, number).zip(ranges(base, base_len, number));
    let (from, to) = pair
        .filter(|(from, to)| same && !from.is_empty() && from.start <= offset && !to.is_empty())
        .unwrap_or((0..target_len, 0..base_len));
    let within = (offset - from.start) as u128 * to.len() as u128 / from.len() as u128;
    to.start + usize::try_from(within).unwrap_or(0)
}

/// Most bytes of a base that are labelled and indexed together.
pub(crate) const BASE_BYTES: usize = 96 << 20;
/// Bytes of the target that are matched against such a part of a longer base.
const TARGET_BYTES: usize = 48 << 20;
/// Most bytes of the target that are labelled together.
pub(crate) const WINDOW_BYTES: usize = 8 << 20;
