//! The choice of base payloads from which each target payload is rebuilt.
//! Never reads a payload except for sketches, through the caller.
//!
//! In this order: the same content anywhere; the same path; the same name except for digits and
//! hashes; similar content. A poor choice costs bytes and is never wrong, since everything that the
//! sources lack becomes literal.

mod lookup;
mod names;
mod sketch;

use imgdelta_core::{Context, PayloadDigest, Result, progress::Checkpoint};
use imgdelta_image::index::{Entry, EntryKind, LayerIndex};
use lookup::BaseLookup;
use sketch::{Sketch, Sketcher};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// An entry of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryPlace {
    /// Ordinal of the layer.
    pub layer: u32,
    /// Ordinal of the entry in the layer's index.
    pub entry: u32,
}

/// The sources of a target entry in the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The base entry that its header is written against.
    pub header: Option<EntryPlace>,
    /// The source of its payload.
    pub content: PayloadSource,
}

/// The source of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadSource {
    /// The entry has no payload.
    Empty,
    /// A base entry has the same payload.
    Same(EntryPlace),
    /// An earlier entry of the same layer has the same payload.
    Repeat(u32),
    /// The payload is rebuilt from similar base payloads.
    Built(Vec<EntryPlace>, SourceReason),
    /// The payload is an archive that is closed from its parts.
    Opened,
    /// The payload is a member of an archive, and this part of a base archive is stored equally.
    Packed(u32),
}

/// Entries of both images.
#[derive(Clone, Copy, Debug)]
pub struct ChoiceInput<'a> {
    /// The base's layers, followed by the parts of its archives.
    pub base: &'a [Arc<LayerIndex>],
    /// Number of the base's layers, whose entries have headers.
    pub headed: u32,
    /// The target's layers, followed by the parts of their archives.
    pub target: &'a [Arc<LayerIndex>],
    /// Entries of the target whose source is decided already.
    pub settled: &'a HashMap<EntryPlace, PayloadSource>,
}

/// The reason for the choice of a payload's sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceReason {
    /// The base has the same path.
    Path,
    /// The base has the same path except for digits and hashes.
    Name,
    /// The sources have similar content.
    Content,
    /// The base has no similar file.
    None,
}

/// Limit for the search by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SketchLimit {
    /// Most base bytes that are read for sketches.
    pub sketched_bytes: u64,
}

/// Reads a payload of either image in pieces.
pub trait PayloadReader: Sync {
    /// Passes the payload of a base entry to `sink`.
    fn base(&self, place: EntryPlace, sink: &mut dyn FnMut(&[u8])) -> Result<()>;
    /// Passes the payload of a target entry to `sink`.
    fn target(&self, place: EntryPlace, sink: &mut dyn FnMut(&[u8])) -> Result<()>;
}

/// Chooses sources for all entries of some indexes of the target.
///
/// The result has a list for each of `layers`, with a choice for each entry.
pub fn choose(
    input: ChoiceInput<'_>,
    layers: &[u32],
    limit: SketchLimit,
    payloads: &dyn PayloadReader,
    context: &Context,
) -> Result<Vec<Vec<Choice>>> {
    let progress = &*context.progress;
    let base = BaseLookup::of(input, &mut Checkpoint::new(progress))?;
    let mut choices = context.workers.map(layers.to_vec(), |layer| {
        let index = &*input.target[layer as usize];
        let mut checkpoint = Checkpoint::new(progress);
        let partner = base.partner(index, &mut checkpoint)?;
        by_name(&base, layer, index, partner, &mut checkpoint)
    })?;
    by_content(&base, layers, &mut choices, limit, payloads, context)?;
    Ok(choices)
}

/// Returns a key that equal payloads share; `None` for empty and sparse ones.
///
/// The digest of a sparse entry covers the map as well, so that equal digests do not mean equal
/// stored bytes.
fn content_key(entry: &Entry<'_>) -> Option<(PayloadDigest, u64)> {
    let bytes = entry.payload.end - entry.payload.start;
    (bytes > 0 && !entry.is_sparse).then_some((entry.digest?, bytes))
}

fn is_source(entry: &Entry<'_>) -> bool {
    matches!(entry.kind, EntryKind::File) && !entry.payload.is_empty()
}

fn by_name(
    base: &BaseLookup<'_>,
    layer: u32,
    index: &LayerIndex,
    partner: Option<u32>,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<Vec<Choice>> {
    let mut earlier: HashMap<(PayloadDigest, u64), u32> = HashMap::new();
    let mut choices = Vec::with_capacity(index.entries.len());
    for (ordinal, entry) in (0..).zip(&index.entries) {
        checkpoint.step()?;
        let same_path = base.at_path(entry.path, partner);
        let settled = base.input.settled.get(&EntryPlace { layer, entry: ordinal });
        let content = match settled {
            Some(content) => content.clone(),
            None => content_of(base, &entry, ordinal, same_path, partner, &mut earlier),
        };
        if let (PayloadSource::Opened, Some(key)) = (&content, content_key(&entry)) {
            earlier.insert(key, ordinal);
        }
        let header = same_path.filter(|place| base.is_headed(*place)).or_else(|| {
            let found = match &content {
                PayloadSource::Same(place) => Some(*place),
                PayloadSource::Built(places, _) => places.first().copied(),
                PayloadSource::Empty
                | PayloadSource::Repeat(_)
                | PayloadSource::Opened
                | PayloadSource::Packed(_) => None,
            };
            found.filter(|place| base.is_headed(*place))
        });
        choices.push(Choice { header, content });
    }
    Ok(choices)
}

fn content_of(
    base: &BaseLookup<'_>,
    entry: &Entry<'_>,
    ordinal: u32,
    same_path: Option<EntryPlace>,
    partner: Option<u32>,
    earlier: &mut HashMap<(PayloadDigest, u64), u32>,
) -> PayloadSource {
    if entry.payload.is_empty() {
        return PayloadSource::Empty;
    }
    if let Some(key) = content_key(entry) {
        let is_same = |place: &EntryPlace| content_key(&base.entry(*place)) == Some(key);
        if let Some(place) = same_path.filter(is_same) {
            return PayloadSource::Same(place);
        }
        if let Some(place) = base.with_content(key, partner) {
            return PayloadSource::Same(place);
        }
        if let Some(&before) = earlier.get(&key) {
            return PayloadSource::Repeat(before);
        }
        earlier.insert(key, ordinal);
    }
    if let Some(place) = same_path.filter(|place| is_source(&base.entry(*place))) {
        return PayloadSource::Built(vec![place], SourceReason::Path);
    }
    let size_bytes = entry.payload.end - entry.payload.start;
    match base.with_masked_name(entry.path, size_bytes) {
        Some(place) => PayloadSource::Built(vec![place], SourceReason::Name),
        None => PayloadSource::Built(Vec::new(), SourceReason::None),
    }
}

/// Chooses sources by content for files without a related name.
fn by_content(
    base: &BaseLookup<'_>,
    layers: &[u32],
    choices: &mut [Vec<Choice>],
    limit: SketchLimit,
    payloads: &dyn PayloadReader,
    context: &Context,
) -> Result<()> {
    let Context { workers, progress, .. } = context;
    let mut checkpoint = Checkpoint::new(&**progress);
    let mut orphans = Vec::new();
    for (list, &layer) in layers.iter().enumerate() {
        for (ordinal, choice) in choices[list].iter().enumerate() {
            checkpoint.step()?;
            if matches!(choice.content, PayloadSource::Built(_, SourceReason::None))
                && is_sketched(&base.input.target[layer as usize].entries.at(ordinal))
            {
                let entry = u32::try_from(ordinal).expect("entries are limited");
                orphans.push((list, EntryPlace { layer, entry }));
            }
        }
    }
    let candidates = candidates(base, limit, &mut checkpoint)?;
    if orphans.is_empty() || candidates.is_empty() {
        return Ok(());
    }
    let sketches = workers.map(candidates, |place| {
        progress.check()?;
        let mut sketcher = Sketcher::new();
        payloads.base(place, &mut |bytes| sketcher.update(bytes))?;
        Ok((place, sketcher.finish()))
    })?;
    let mut owners: HashMap<u64, Vec<EntryPlace>> = HashMap::new();
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
        progress.check()?;
        let mut sketcher = Sketcher::new();
        payloads.target(place, &mut |bytes| sketcher.update(bytes))?;
        Ok((list, place, alike(&owners, &sketcher.finish())))
    })?;
    for (list, place, sources) in found {
        if let Some(&first) = sources.first() {
            let choice = &mut choices[list][place.entry as usize];
            choice.header = choice.header.or(Some(first).filter(|place| base.is_headed(*place)));
            choice.content = PayloadSource::Built(sources, SourceReason::Content);
        }
    }
    Ok(())
}

/// Returns the base entries to sketch: those whose content the target lacks, within the limit.
fn candidates(
    base: &BaseLookup<'_>,
    limit: SketchLimit,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<Vec<EntryPlace>> {
    let mut kept = HashSet::new();
    for entry in base.input.target.iter().flat_map(|index| &index.entries) {
        checkpoint.step()?;
        kept.extend(content_key(&entry));
    }
    let mut left_bytes = limit.sketched_bytes;
    let mut candidates = Vec::new();
    for (layer, index) in (0..).zip(base.input.base) {
        for (ordinal, entry) in (0..).zip(&index.entries) {
            checkpoint.step()?;
            let bytes = entry.payload.end - entry.payload.start;
            let is_kept = content_key(&entry).is_some_and(|key| kept.contains(&key));
            if is_sketched(&entry) && !is_kept && bytes <= left_bytes {
                left_bytes -= bytes;
                candidates.push(EntryPlace { layer, entry: ordinal });
            }
        }
    }
    Ok(candidates)
}

fn is_sketched(entry: &Entry<'_>) -> bool {
    is_source(entry) && entry.payload.end - entry.payload.start >= SKETCHED_BYTES
}

/// Returns the file that shares most landmarks, and a second one that shares many of the others.
fn alike(owners: &HashMap<u64, Vec<EntryPlace>>, sketch: &Sketch) -> Vec<EntryPlace> {
    let mut sources: Vec<EntryPlace> = Vec::new();
    let mut landmarks: Vec<u64> = sketch.landmarks().to_vec();
    for enough in [2, 6] {
        let mut shared: HashMap<EntryPlace, usize> = HashMap::new();
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

/// Shorter files cost little in any form.
const SKETCHED_BYTES: u64 = 512;
const COMMON_LANDMARK: usize = 64;
