//! The payloads of a layer that groups rebuild, in the order in which they are packed.
//! Never divides one.
//!
//! Similar payloads are neighbours, since neighbours are packed together. The order depends on the
//! images alone.

use super::{
    layout::{PayloadSpan, spans},
    target::TargetBytes,
};
use crate::{
    plan::Plan,
    sources::{Choice, EntryPlace, PayloadSource},
};
use imgdelta_core::{Error, Result, progress::Checkpoint, sort::SharedSort};
use imgdelta_format::recipe::StreamName;
use imgdelta_image::{
    index::LayerIndex,
    volume::{AddressSpace, LayerStream},
};
use std::{cmp::Ordering, ops::Range};

/// The payloads of a layer, and those that groups rebuild.
#[derive(Debug)]
pub(super) struct LayerPayloads<'a> {
    pub(super) ordinal: u32,
    index: &'a LayerIndex,
    pub(super) choices: &'a [Choice],
    /// All payloads of the recipe.
    pub(super) spans: Vec<PayloadSpan>,
    /// The rebuilt ones, in their order.
    pub(super) rebuilt: Vec<RebuiltPayload<'a>>,
    /// For each payload, the rebuilt bytes before it.
    pub(super) rebuilt_before: Vec<u64>,
    pub(super) target: TargetBytes<'a>,
}

/// A payload that groups rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RebuiltPayload<'a> {
    /// Its ordinal in the recipe.
    pub(super) payload: u32,
    /// True if it is a part inside an archive.
    pub(super) is_part: bool,
    /// Its range in the target's stream, or among the parts.
    pub(super) target: Range<u64>,
    /// The base entries from which it is rebuilt.
    pub(super) places: &'a [EntryPlace],
    /// True if its only base entry is that of its header.
    pub(super) is_own: bool,
    pub(super) class: PieceClass,
    path: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PieceClass {
    Program,
    Changed,
    New,
    /// A program without a base.
    NewProgram,
}

impl RebuiltPayload<'_> {
    /// Returns its length.
    pub(super) fn bytes(&self) -> u64 {
        self.target.end - self.target.start
    }

    fn order(&self, other: &Self) -> Ordering {
        self.class
            .cmp(&other.class)
            .then_with(|| extension(self.path).cmp(extension(other.path)))
            .then_with(|| self.path.cmp(other.path))
            .then_with(|| self.payload.cmp(&other.payload))
    }
}

impl<'a> LayerPayloads<'a> {
    /// Lists the payloads of a layer.
    pub(super) fn of(plan: &'a Plan, ordinal: u32, choices: &'a [Choice]) -> Result<Self> {
        let index = &*plan.target.layers[ordinal as usize];
        let stream: &LayerStream = plan.volume.stream(&index.diff_id).ok_or_else(|| {
            Error::bad_input(format_args!("layer {}", index.diff_id), "its stream was not read")
        })?;
        let parts = plan.opened.target[ordinal as usize].parts.as_ref();
        let target = TargetBytes { stream, parts };
        let inner = &plan.inner[ordinal as usize];
        let mut spans = spans(index);
        spans.extend((0..).take(inner.len()).map(PayloadSpan::Part));
        let (mut rebuilt, mut rebuilt_before, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut checkpoint = Checkpoint::new(&*plan.context.progress);
        for (payload, span) in (0..).zip(&spans) {
            checkpoint.step()?;
            rebuilt_before.push(bytes);
            let (range, choice, path, is_part) = match span {
                PayloadSpan::Raw(range) => (range.clone(), None, &b""[..], false),
                PayloadSpan::Entry(entry) => {
                    let found = index.entries.at(*entry as usize);
                    let choice = &choices[*entry as usize];
                    (found.payload, Some(choice), found.path.as_bytes(), false)
                }
                PayloadSpan::Part(part) => {
                    let Some(parts) = parts else { continue };
                    let found = parts.index.entries.at(*part as usize);
                    (found.payload, Some(&inner[*part as usize]), found.path.as_bytes(), true)
                }
            };
            let (places, is_own): (&[EntryPlace], bool) = match choice.map(|it| (&it.content, it)) {
                None => (&[], false),
                Some((PayloadSource::Built(places, _), choice)) => {
                    (places, matches!(places[..], [place] if choice.header == Some(place)))
                }
                Some(_) => continue,
            };
            bytes += range.end - range.start;
            let class = match (places, target.starts_with(is_part, &range, ELF_MAGIC)?) {
                ([], false) => PieceClass::New,
                ([], true) => PieceClass::NewProgram,
                (_, true) => PieceClass::Program,
                (_, false) => PieceClass::Changed,
            };
            let target = range;
            rebuilt.push(RebuiltPayload { payload, is_part, target, places, is_own, class, path });
        }
        rebuilt.shared_sort_by(RebuiltPayload::order);
        Ok(Self { ordinal, index, choices, spans, rebuilt, rebuilt_before, target })
    }

    /// Returns the offset of a payload in the layer's stream.
    pub(super) fn stream_offset(&self, payload: u32) -> u64 {
        match &self.spans[payload as usize] {
            PayloadSpan::Raw(range) => range.start,
            PayloadSpan::Entry(entry) => self.index.entries.payload(*entry as usize).start,
            PayloadSpan::Part(_) => unreachable!("parts are read in their own layer only"),
        }
    }

    /// Returns the length of a payload of the layer's stream.
    pub(super) fn payload_bytes(&self, payload: u32) -> u64 {
        let range = match &self.spans[payload as usize] {
            PayloadSpan::Raw(range) => range.clone(),
            PayloadSpan::Entry(entry) => self.index.entries.payload(*entry as usize),
            PayloadSpan::Part(_) => 0..0,
        };
        range.end - range.start
    }

    /// Appends all rebuilt payloads to an address space, in their order in the recipe.
    pub(super) fn append_rebuilt(&self, plan: &Plan, space: &mut AddressSpace) -> Result<()> {
        let index = &plan.target.layers[self.ordinal as usize];
        let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
        let stream = AddressSpace::new(&plan.volume, &[name])?;
        let mut rebuilt: Vec<&RebuiltPayload<'_>> = self.rebuilt.iter().collect();
        rebuilt.shared_sort_by_key(|rebuilt| rebuilt.payload);
        for RebuiltPayload { is_part, target, .. } in rebuilt {
            let parts = self.target.parts.filter(|_| *is_part);
            let bytes = parts.map_or(&stream, |parts| &parts.space);
            space.append(bytes, target.clone())?;
        }
        Ok(())
    }
}

/// Returns the last name of a path.
pub(super) fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// Returns the file extension; empty if there is none.
fn extension(path: &[u8]) -> &[u8] {
    let name = last_name(path);
    name.iter().rposition(|&byte| byte == b'.').map_or(&[], |dot| &name[dot + 1..])
}

pub(super) const ELF_MAGIC: &[u8] = b"\x7fELF";
