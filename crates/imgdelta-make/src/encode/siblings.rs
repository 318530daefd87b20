//! Target files that have content of another rebuilt file, which the base of that file lacks.
//! Never matches bytes: landmarks show what two files share.
//!
//! A file may be made from files before it: of the same layer in the order of packing, or of an
//! earlier layer. Landmarks that the base of a file has say nothing, since those bytes cost nothing.
//! Of the others, each belongs to the first file that has it. A poor choice costs bytes and is never
//! wrong.

use super::{
    digests::LayerDigests,
    order::{LayerPayloads, PieceClass, RebuiltPayload},
    read_pieces,
};
use crate::{landmarks::LandmarkFinder, plan::Plan, sources::EntryPlace};
use imgdelta_core::{Context, Result};
use imgdelta_format::limits::written;
use imgdelta_image::volume::AddressSpace;
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

/// A range of a rebuilt file from which another one is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sibling {
    /// Place of its layer among the encoded layers.
    pub(super) layer: usize,
    /// Its payload in the recipe of that layer.
    pub(super) payload: u32,
    /// The range in the payload.
    pub(super) range: Range<u64>,
}

/// Siblings of each rebuilt payload, in the order of packing.
pub(super) type LayerSiblings = Vec<Vec<Sibling>>;

/// A landmark, and the offset of its end.
type Mark = (u64, u64);

/// Finds the siblings of all rebuilt payloads. A payload with digests is not a sibling, since it is
/// complete only at the end.
pub(super) fn find(
    plan: &Plan,
    layers: &[LayerPayloads<'_>],
    digests: &[LayerDigests],
) -> Result<Vec<LayerSiblings>> {
    let bases = BaseBytes::of(plan)?;
    let mut left_bytes = MOST_BYTES;
    let mut tasks = Vec::new();
    for (place, layer) in layers.iter().enumerate() {
        for (at, file) in layer.rebuilt.iter().enumerate() {
            let bytes = file.bytes();
            if (LEAST_BYTES..=MOST_FILE_BYTES).contains(&bytes) && bytes <= left_bytes {
                left_bytes -= bytes;
                tasks.push((place, at));
            }
        }
    }
    let marks = marks(plan, &bases, layers, tasks)?;
    let mut siblings: Vec<LayerSiblings> =
        layers.iter().map(|layer| vec![Vec::new(); layer.rebuilt.len()]).collect();
    let mut left_bytes = vec![written::TARGET_SOURCE_BYTES; layers.len()];
    let mut owners = Owners::default();
    for ((place, at), marks) in marks {
        let file = &layers[place].rebuilt[at];
        let is_source = |(layer, other): (usize, usize)| {
            layer == place || plan.has_links && !layers[layer].rebuilt[other].is_part
        };
        let base_bytes: u64 = file.places.iter().map(|place| bases.payload(*place)).sum();
        let mut room_bytes = BASE_BYTES.saturating_sub(base_bytes).min(left_bytes[place]);
        for ((layer, other), range) in owners.alike(&marks, file, is_source) {
            let source = &layers[layer].rebuilt[other];
            let range = range.start..range.end.min(source.bytes());
            let bytes = range.end - range.start;
            if bytes <= room_bytes {
                room_bytes -= bytes;
                left_bytes[place] -= bytes;
                let payload = source.payload;
                siblings[place][at].push(Sibling { layer, payload, range });
            }
        }
        if digests[place].are_in(file.payload) {
            continue;
        }
        for (mark, offset) in marks {
            owners.places.entry(mark).or_insert(((place, at), offset));
        }
    }
    Ok(siblings)
}

/// Returns the landmarks by which files find each other, file by file in the order of `tasks`.
///
/// A program takes no siblings and is only found by others. So its base is not read, which saves most
/// of the search in an upgrade of programs, and of its landmarks those are kept that others have.
fn marks(
    plan: &Plan,
    bases: &BaseBytes<'_>,
    layers: &[LayerPayloads<'_>],
    tasks: Vec<FilePlace>,
) -> Result<Vec<(FilePlace, Vec<Mark>)>> {
    let Context { workers, progress, .. } = &plan.context;
    let is_program =
        |&(place, at): &FilePlace| layers[place].rebuilt[at].class == PieceClass::Program;
    let (programs, others): (Vec<FilePlace>, Vec<FilePlace>) =
        tasks.iter().copied().partition(is_program);
    let mut found: HashMap<FilePlace, Vec<Mark>> = HashMap::new();
    let of_others = workers.map(others, |(place, at)| {
        progress.check()?;
        let layer = &layers[place];
        Ok(((place, at), new_marks(plan, bases, layer, &layer.rebuilt[at])?))
    })?;
    found.extend(of_others);
    let wanted: HashSet<u64> = found.values().flatten().map(|(mark, _)| *mark).collect();
    if !wanted.is_empty() {
        let of_programs = workers.map(programs, |(place, at)| {
            progress.check()?;
            let layer = &layers[place];
            Ok(((place, at), wanted_marks(layer, &layer.rebuilt[at], &wanted)?))
        })?;
        found.extend(of_programs);
    }
    Ok(tasks.into_iter().map(|file| (file, found.remove(&file).unwrap_or_default())).collect())
}

/// The base entries of a plan, and their bytes.
struct BaseBytes<'a> {
    plan: &'a Plan,
    spaces: Vec<AddressSpace>,
}

impl<'a> BaseBytes<'a> {
    fn of(plan: &'a Plan) -> Result<Self> {
        let mut spaces = crate::plan::spaces(&plan.base, &plan.volume)?;
        spaces.extend(plan.opened.base.as_ref().map(|parts| parts.space.clone()));
        Ok(Self { plan, spaces })
    }

    /// Returns the length of an entry.
    fn payload(&self, place: EntryPlace) -> u64 {
        let payload = self.plan.base_entry(place).payload;
        payload.end - payload.start
    }

    /// Passes the bytes of an entry to `sink`.
    fn read(&self, place: EntryPlace, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        let space = &self.spaces[place.layer as usize];
        let payload = self.plan.base_entry(place).payload;
        read_pieces(payload, sink, |at, piece| space.read_exact_at(at, piece))
    }
}

/// Returns the landmarks of a file that its base lacks.
fn new_marks(
    plan: &Plan,
    bases: &BaseBytes<'_>,
    layer: &LayerPayloads<'_>,
    file: &RebuiltPayload<'_>,
) -> Result<Vec<Mark>> {
    let rarity = rarity(file);
    let mut known = HashSet::new();
    for place in file.places {
        let mut finder = LandmarkFinder::new(rarity);
        bases.read(*place, &mut |piece| finder.feed(piece, |_, mark| known.extend([mark])))?;
        plan.context.progress.check()?;
    }
    // A landmark counts once for each file: a run of one byte has it at every place.
    marks_if(layer, file, |mark| known.insert(mark))
}

/// Returns those of the landmarks of a file that `wanted` has.
fn wanted_marks(
    layer: &LayerPayloads<'_>,
    file: &RebuiltPayload<'_>,
    wanted: &HashSet<u64>,
) -> Result<Vec<Mark>> {
    let mut known = HashSet::new();
    marks_if(layer, file, |mark| wanted.contains(&mark) && known.insert(mark))
}

/// Returns the landmarks of a file for which `is_taken` is true.
fn marks_if(
    layer: &LayerPayloads<'_>,
    file: &RebuiltPayload<'_>,
    mut is_taken: impl FnMut(u64) -> bool,
) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    let mut finder = LandmarkFinder::new(rarity(file));
    let read = |at: u64, piece: &mut [u8]| layer.target.read_exact_at(file.is_part, at, piece);
    let mut take = |at, mark| {
        if is_taken(mark) {
            marks.push((mark, at));
        }
    };
    read_pieces(file.target.clone(), &mut |piece| finder.feed(piece, &mut take), read)?;
    Ok(marks)
}

fn rarity(file: &RebuiltPayload<'_>) -> u32 {
    if file.bytes() > LARGE_BYTES { LARGE_RARITY } else { RARITY }
}

/// A file, by the places of its layer and of itself.
type FilePlace = (usize, usize);

/// The first file of each landmark, with the offset there.
#[derive(Default)]
struct Owners {
    places: HashMap<u64, (FilePlace, u64)>,
}

impl Owners {
    /// Returns the files that share most landmarks with a file, each with the range that has them.
    fn alike(
        &self,
        marks: &[Mark],
        file: &RebuiltPayload<'_>,
        is_source: impl Fn(FilePlace) -> bool,
    ) -> Vec<(FilePlace, Range<u64>)> {
        let mut shared: HashMap<FilePlace, Vec<u64>> = HashMap::new();
        for (mark, _) in marks {
            if let Some((place, offset)) = self.places.get(mark)
                && is_source(*place)
            {
                shared.entry(*place).or_default().push(*offset);
            }
        }
        let least = match file.class {
            PieceClass::New => LEAST_IN_NEW,
            PieceClass::Changed => LEAST_IN_CHANGED,
            // Its view has no base. A file that is mostly in others needs no view.
            PieceClass::NewProgram => marks.len() / 2 + LEAST_IN_NEW,
            // The view of a program reads its references by one file.
            PieceClass::Program => return Vec::new(),
        };
        let mut shared: Vec<(FilePlace, Vec<u64>)> =
            shared.into_iter().filter(|(_, offsets)| offsets.len() >= least).collect();
        shared.sort_unstable_by(|(one, marks), (other, others)| {
            others.len().cmp(&marks.len()).then(one.cmp(other))
        });
        shared.truncate(MOST_SIBLINGS);
        let range = |offsets| densest(offsets, file.bytes().saturating_mul(2).max(LEAST_SPAN));
        shared.into_iter().map(|(place, offsets)| (place, range(offsets))).collect()
    }
}

/// Returns the range of at most `span` bytes with most landmarks, and a margin on both sides.
fn densest(mut offsets: Vec<u64>, span: u64) -> Range<u64> {
    offsets.sort_unstable();
    let (mut best, mut first) = (0..0, 0);
    for end in 0..offsets.len() {
        while offsets[end] - offsets[first] > span {
            first += 1;
        }
        if end + 1 - first > best.len() {
            best = first..end + 1;
        }
    }
    let found = &offsets[best];
    let (start, end) = (found.first().copied(), found.last().copied());
    start.unwrap_or(0).saturating_sub(MARGIN_BYTES)..end.unwrap_or(0).saturating_add(MARGIN_BYTES)
}

/// Shorter files cost little in any form.
const LEAST_BYTES: u64 = 512;
/// Offsets of landmarks in longer files are not worth their memory.
const MOST_FILE_BYTES: u64 = 1 << 30;
/// Most bytes that are searched for landmarks.
const MOST_BYTES: u64 = 1 << 30;
/// One place in 64: a certificate has some twenty.
const RARITY: u32 = 6;
/// One place in 256, in files of more than [`LARGE_BYTES`].
const LARGE_RARITY: u32 = 8;
const LARGE_BYTES: u64 = 1 << 20;
/// Landmarks that a file without a base must share with another one.
const LEAST_IN_NEW: usize = 2;
/// The same for a file with a base: packing finds a few equal bytes of neighbours as well.
const LEAST_IN_CHANGED: usize = 4;
/// Files from which one file is made, in addition to its base.
const MOST_SIBLINGS: usize = 8;
/// A range of this length may be taken from a file, however short the other one is.
const LEAST_SPAN: u64 = 16 << 10;
/// Bytes of a range before its first landmark and after its last. A landmark depends on 64 bytes.
const MARGIN_BYTES: u64 = 2 << 10;
/// Most bytes of a base with siblings, which the receiver puts together in memory.
const BASE_BYTES: u64 = 24 << 20;
