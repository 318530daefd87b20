//! Which base payloads each target payload is rebuilt from.
//!
//! The same content, wherever it lies; else the same path; else the same name but for digits and
//! hashes; else the file most like it by content. A choice is never wrong, only dear: what the
//! base cannot give becomes literal. Reads payloads only for sketches, through the caller.

mod names;
mod sketch;

use imgdelta_core::{PayloadDigest, Result, parallel::Workers, path::LayerPath};
use imgdelta_image::index::{Entry, EntryKind, LayerIndex};
use sketch::{Sketch, Sketcher};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// An entry of an image: which layer, which entry of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The layer's ordinal.
    pub layer: u32,
    /// The entry's ordinal.
    pub entry: u32,
}

/// What a target entry takes from the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The base entry its header is written against.
    pub header: Option<Place>,
    /// Where its payload comes from.
    pub content: Content,
}

/// Where a payload comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is none.
    Empty,
    /// A base entry has the same.
    Same(Place),
    /// An earlier entry of the same layer has the same.
    Repeat(u32),
    /// It is rebuilt from base payloads that resemble it.
    Built(Vec<Place>, Found),
    /// It is an archive that is closed again from what is inside.
    Opened,
    /// It is a member of an archive, stored as one of the base's is: that part of the base's.
    Packed(u32),
}

/// The entries that are chosen among, and for.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The base's layers, and the parts of its archives behind them.
    pub base: &'a [Arc<LayerIndex>],
    /// How many of the base's have headers: its layers.
    pub headed: u32,
    /// The target's layers, and the parts of their archives.
    pub target: &'a [Arc<LayerIndex>],
    /// Entries of the target that are settled, by their places.
    pub settled: &'a HashMap<Place, Content>,
}

/// How the sources of a rebuilt payload were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// The base has its path.
    Path,
    /// The base has its path but for digits and hashes.
    Name,
    /// Its content is like theirs.
    Alike,
    /// The base has nothing like it.
    Nowhere,
}

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// How many base bytes may be read for sketches.
    pub sketched_bytes: u64,
}

/// Reads a payload of either image in pieces.
pub trait Payloads: Sync {
    /// Hands the payload of a base entry to `sink`.
    fn base(&self, place: Place, sink: &mut dyn FnMut(&[u8])) -> Result<()>;
    /// Hands the payload of a target entry to `sink`.
    fn target(&self, place: Place, sink: &mut dyn FnMut(&[u8])) -> Result<()>;
}

/// Chooses for the given indexes of the target; the rest is not looked at.
///
/// The result has a list for each of `layers`, with a choice for each entry.
pub fn choose(
    sides: Sides<'_>,
    layers: &[u32],
    reach: Reach,
    payloads: &dyn Payloads,
    workers: &Workers,
) -> Result<Vec<Vec<Choice>>> {
    let known = Known::of(sides);
    let mut choices = workers.map(layers.to_vec(), |layer| {
        let index = &*sides.target[layer as usize];
        Ok(by_name(&known, layer, index, known.partner(index)))
    })?;
    by_content(&known, layers, &mut choices, reach, payloads, workers)?;
    Ok(choices)
}

/// The base's entries by what they are looked up by.
struct Known<'a> {
    sides: Sides<'a>,
    paths: HashMap<&'a LayerPath, Vec<Place>>,
    contents: HashMap<(PayloadDigest, u64), Vec<Place>>,
    masked: HashMap<Vec<u8>, Vec<Place>>,
}

impl<'a> Known<'a> {
    fn of(sides: Sides<'a>) -> Self {
        let mut known =
            Self { sides, paths: HashMap::new(), contents: HashMap::new(), masked: HashMap::new() };
        for (layer, index) in (0..).zip(sides.base) {
            for (ordinal, entry) in (0..).zip(&index.entries) {
                let place = Place { layer, entry: ordinal };
                known.paths.entry(&entry.path).or_default().push(place);
                if let Some(key) = content_key(entry) {
                    known.contents.entry(key).or_default().push(place);
                }
                if is_source(entry) {
                    known
                        .masked
                        .entry(names::masked(entry.path.as_bytes()))
                        .or_default()
                        .push(place);
                }
            }
        }
        known
    }

    fn entry(&self, place: Place) -> &'a Entry {
        &self.sides.base[place.layer as usize].entries[place.entry as usize]
    }

    fn is_headed(&self, place: Place) -> bool {
        place.layer < self.sides.headed
    }

    /// The base layer that has most of a target layer's paths.
    fn partner(&self, index: &LayerIndex) -> Option<u32> {
        let mut shared = vec![0_u64; self.sides.base.len()];
        for entry in &index.entries {
            let mut last = None;
            for place in self.paths.get(&entry.path).into_iter().flatten() {
                if last != Some(place.layer) {
                    shared[place.layer as usize] += 1;
                }
                last = Some(place.layer);
            }
        }
        let best = (0..).zip(shared).max_by_key(|&(layer, count)| (count, layer))?;
        (best.1 > 0).then_some(best.0)
    }
}

/// The best of several places: in the partner layer, else the highest layer; the last of one layer.
fn nearest(places: &[Place], partner: Option<u32>) -> Option<Place> {
    places.iter().copied().max_by_key(|place| (Some(place.layer) == partner, *place))
}

/// What equal payloads have in common. Of sparse entries the digest covers the map as well, so
/// equal digests do not make equal stored bytes.
fn content_key(entry: &Entry) -> Option<(PayloadDigest, u64)> {
    let bytes = entry.payload.end - entry.payload.start;
    (bytes > 0 && !entry.is_sparse).then_some((entry.digest?, bytes))
}

fn is_source(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File) && !entry.payload.is_empty()
}

fn by_name(known: &Known<'_>, layer: u32, index: &LayerIndex, partner: Option<u32>) -> Vec<Choice> {
    let mut earlier: HashMap<(PayloadDigest, u64), u32> = HashMap::new();
    let mut choices = Vec::with_capacity(index.entries.len());
    for (ordinal, entry) in (0..).zip(&index.entries) {
        let same_path = known.paths.get(&entry.path).and_then(|places| nearest(places, partner));
        let settled = known.sides.settled.get(&Place { layer, entry: ordinal });
        let content = match settled {
            Some(content) => content.clone(),
            None => content_of(known, entry, ordinal, same_path, partner, &mut earlier),
        };
        if let (Content::Opened, Some(key)) = (&content, content_key(entry)) {
            earlier.insert(key, ordinal);
        }
        let header = same_path.filter(|place| known.is_headed(*place)).or_else(|| {
            let found = match &content {
                Content::Same(place) => Some(*place),
                Content::Built(places, _) => places.first().copied(),
                Content::Empty | Content::Repeat(_) | Content::Opened | Content::Packed(_) => None,
            };
            found.filter(|place| known.is_headed(*place))
        });
        choices.push(Choice { header, content });
    }
    choices
}

fn content_of(
    known: &Known<'_>,
    entry: &Entry,
    ordinal: u32,
    same_path: Option<Place>,
    partner: Option<u32>,
    earlier: &mut HashMap<(PayloadDigest, u64), u32>,
) -> Content {
    if entry.payload.is_empty() {
        return Content::Empty;
    }
    if let Some(key) = content_key(entry) {
        let is_same = |place: &Place| content_key(known.entry(*place)) == Some(key);
        if let Some(place) = same_path.filter(is_same) {
            return Content::Same(place);
        }
        if let Some(place) = known.contents.get(&key).and_then(|places| nearest(places, partner)) {
            return Content::Same(place);
        }
        if let Some(&before) = earlier.get(&key) {
            return Content::Repeat(before);
        }
        earlier.insert(key, ordinal);
    }
    if let Some(place) = same_path.filter(|place| is_source(known.entry(*place))) {
        return Content::Built(vec![place], Found::Path);
    }
    let masked = known.masked.get(&names::masked(entry.path.as_bytes()));
    let size = |place: &Place| {
        let payload = &known.entry(*place).payload;
        (payload.end - payload.start).abs_diff(entry.payload.end - entry.payload.start)
    };
    match masked.and_then(|places| places.iter().min_by_key(|place| (size(place), **place))) {
        Some(place) => Content::Built(vec![*place], Found::Name),
        None => Content::Built(Vec::new(), Found::Nowhere),
    }
}

/// Looks for files like those that no name led to.
fn by_content(
    known: &Known<'_>,
    layers: &[u32],
    choices: &mut [Vec<Choice>],
    reach: Reach,
    payloads: &dyn Payloads,
    workers: &Workers,
) -> Result<()> {
    let mut orphans = Vec::new();
    for (list, &layer) in layers.iter().enumerate() {
        for (ordinal, choice) in choices[list].iter().enumerate() {
            let entry = &known.sides.target[layer as usize].entries[ordinal];
            if matches!(choice.content, Content::Built(_, Found::Nowhere)) && is_sketched(entry) {
                let entry = u32::try_from(ordinal).expect("entries are limited");
                orphans.push((list, Place { layer, entry }));
            }
        }
    }
    let candidates = candidates(known, reach);
    if orphans.is_empty() || candidates.is_empty() {
        return Ok(());
    }
    let sketches = workers.map(candidates, |place| {
        let mut sketcher = Sketcher::new();
        payloads.base(place, &mut |bytes| sketcher.update(bytes))?;
        Ok((place, sketcher.finish()))
    })?;
    let mut owners: HashMap<u64, Vec<Place>> = HashMap::new();
    for (place, sketch) in sketches {
        for &landmark in sketch.landmarks() {
            let owners = owners.entry(landmark).or_default();
            // A landmark of hundreds of files is a licence text and says nothing.
            if owners.len() < COMMON_LANDMARK {
                owners.push(place);
            }
        }
    }
    let found = workers.map(orphans, |(list, place)| {
        let mut sketcher = Sketcher::new();
        payloads.target(place, &mut |bytes| sketcher.update(bytes))?;
        Ok((list, place, alike(&owners, &sketcher.finish())))
    })?;
    for (list, place, sources) in found {
        if let Some(&first) = sources.first() {
            let choice = &mut choices[list][place.entry as usize];
            choice.header = choice.header.or(Some(first).filter(|place| known.is_headed(*place)));
            choice.content = Content::Built(sources, Found::Alike);
        }
    }
    Ok(())
}

/// The base entries worth a sketch: those the target has not kept, as far as the reach goes.
fn candidates(known: &Known<'_>, reach: Reach) -> Vec<Place> {
    let kept: HashSet<_> = known
        .sides
        .target
        .iter()
        .flat_map(|index| &index.entries)
        .filter_map(content_key)
        .collect();
    let mut left_bytes = reach.sketched_bytes;
    let mut candidates = Vec::new();
    for (layer, index) in (0..).zip(known.sides.base) {
        for (ordinal, entry) in (0..).zip(&index.entries) {
            let bytes = entry.payload.end - entry.payload.start;
            let is_kept = content_key(entry).is_some_and(|key| kept.contains(&key));
            if is_sketched(entry) && !is_kept && bytes <= left_bytes {
                left_bytes -= bytes;
                candidates.push(Place { layer, entry: ordinal });
            }
        }
    }
    candidates
}

fn is_sketched(entry: &Entry) -> bool {
    is_source(entry) && entry.payload.end - entry.payload.start >= SKETCHED_BYTES
}

/// The file that shares most landmarks, and one that shares many of the others.
fn alike(owners: &HashMap<u64, Vec<Place>>, sketch: &Sketch) -> Vec<Place> {
    let mut sources: Vec<Place> = Vec::new();
    let mut landmarks: Vec<u64> = sketch.landmarks().to_vec();
    for enough in [2, 6] {
        let mut shared: HashMap<Place, usize> = HashMap::new();
        for place in landmarks.iter().filter_map(|landmark| owners.get(landmark)).flatten() {
            *shared.entry(*place).or_default() += 1;
        }
        let best = shared.into_iter().max_by_key(|&(place, count)| (count, place));
        let Some((place, _)) = best.filter(|&(_, count)| count >= enough) else { break };
        sources.push(place);
        landmarks.retain(|mark| owners.get(mark).is_none_or(|owners| !owners.contains(&place)));
    }
    sources
}

/// Shorter files cost little however they are told.
const SKETCHED_BYTES: u64 = 512;
const COMMON_LANDMARK: usize = 64;
