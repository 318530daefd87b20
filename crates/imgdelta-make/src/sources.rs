//! The choice of base payloads from which each target payload is rebuilt.
//! Never reads a payload except for sketches, through the caller.
//!
//! In this order: the same content anywhere; the same path; the same name except for digits and
//! hashes; similar content. A poor choice costs bytes and is never wrong, since everything that the
//! sources lack becomes literal.

mod links;
mod lookup;
mod names;
mod sketch;

pub(crate) use names::masked;

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
    /// An entry of an earlier layer of the target has the same payload, which the base lacks.
    Earlier(EntryPlace),
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
    /// Layers of the target from which later ones among them may copy payloads, ascending.
    pub copied: &'a [u32],
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
    let first = first_places(input, &mut Checkpoint::new(progress))?;
    let mut choices = context.workers.map(layers.to_vec(), |layer| {
        let index = &*input.target[layer as usize];
        let mut checkpoint = Checkpoint::new(progress);
        let partner = base.partner(index, &mut checkpoint)?;
        let is_copied = input.copied.contains(&layer);
        let earlier = |key| first.get(&key).copied().filter(|at| is_copied && at.layer < layer);
        by_name(&base, layer, index, partner, &earlier, &mut checkpoint)
    })?;
    by_content(&base, layers, &mut choices, limit, payloads, context)?;
    Ok(choices)
}

/// Returns the first place of each payload in the layers that later ones may copy from.
fn first_places(
    input: ChoiceInput<'_>,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<HashMap<ContentKey, EntryPlace>> {
    let mut first = HashMap::new();
    // Nothing is copied from the last layer.
    let Some((_, layers)) = input.copied.split_last() else { return Ok(first) };
    for &layer in layers {
        for (entry, found) in (0..).zip(&input.target[layer as usize].entries) {
            checkpoint.step()?;
            if let Some(key) = content_key(&found) {
                first.entry(key).or_insert(EntryPlace { layer, entry });
            }
        }
    }
    Ok(first)
}

/// Digest and length of a payload.
type ContentKey = (PayloadDigest, u64);

/// Returns a key that equal payloads share; `None` for empty and sparse ones.
///
/// The digest of a sparse entry covers the map as well, so that equal digests do not mean equal
/// stored bytes.
fn content_key(entry: &Entry<'_>) -> Option<ContentKey> {
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
    earlier_layers: &dyn Fn(ContentKey) -> Option<EntryPlace>,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<Vec<Choice>> {
    let mut earlier: HashMap<ContentKey, u32> = HashMap::new();
    let mut choices = Vec::with_capacity(index.entries.len());
    for (ordinal, entry) in (0..).zip(&index.entries) {
        checkpoint.step()?;
        let same_path = base.at_path(entry.path, partner);
        let settled = base.input.settled.get(&EntryPlace { layer, entry: ordinal });
        let content = if let Some(content) = settled {
            content.clone()
        } else {
            let found = base.content(&entry, same_path, partner);
            let in_layer = |key| earlier.get(&key).copied().map(PayloadSource::Repeat);
            let in_layers = |key| earlier_layers(key).map(PayloadSource::Earlier);
            let key = content_key(&entry);
            let same = found.or_else(|| in_layer(key?)).or_else(|| in_layers(key?));
            let content = same.unwrap_or_else(|| similar(base, &entry, same_path));
            if let (PayloadSource::Built(..), Some(key)) = (&content, key) {
                earlier.insert(key, ordinal);
            }
            content
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
                | PayloadSource::Earlier(_)
                | PayloadSource::Opened
                | PayloadSource::Packed(_) => None,
            };
            found.filter(|place| base.is_headed(*place))
        });
        choices.push(Choice { header, content });
    }
    Ok(choices)
}

/// Returns the source of a payload whose content neither the base nor the target has before: files
/// with a related name.
fn similar(
    base: &BaseLookup<'_>,
    entry: &Entry<'_>,
    same_path: Option<EntryPlace>,
) -> PayloadSource {
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
    let sizes = orphans.iter().map(|(_, place)| {
        let payload = base.input.target[place.layer as usize].entries.payload(place.entry as usize);
        payload.end - payload.start
    });
    let candidates = candidates(base, limit, sizes, &mut checkpoint)?;
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

/// Returns the base entries to sketch, within the limit: those whose content the target lacks, then
/// those that stay and have about the size of one of the `orphans`.
fn candidates(
    base: &BaseLookup<'_>,
    limit: SketchLimit,
    orphans: impl Iterator<Item = u64>,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<Vec<EntryPlace>> {
    let mut kept = HashSet::new();
    for entry in base.input.target.iter().flat_map(|index| &index.entries) {
        checkpoint.step()?;
        kept.extend(content_key(&entry));
    }
    let mut orphans: Vec<u64> = orphans.filter(|bytes| *bytes >= KEPT_BYTES).collect();
    orphans.sort_unstable();
    let is_like_orphan = |bytes: u64| {
        let larger = orphans.partition_point(|orphan| *orphan < bytes - bytes / NEAR_SHARE);
        orphans.get(larger).is_some_and(|orphan| *orphan <= bytes + bytes / NEAR_SHARE)
    };
    let mut left_bytes = limit.sketched_bytes;
    let (mut candidates, mut staying) = (Vec::new(), Vec::new());
    for (layer, index) in (0..).zip(base.input.base) {
        for (ordinal, entry) in (0..).zip(&index.entries) {
            checkpoint.step()?;
            let bytes = entry.payload.end - entry.payload.start;
            if !is_sketched(&entry) || bytes > left_bytes {
                continue;
            }
            let place = EntryPlace { layer, entry: ordinal };
            if !content_key(&entry).is_some_and(|key| kept.contains(&key)) {
                left_bytes -= bytes;
                candidates.push(place);
            } else if is_like_orphan(bytes) {
                staying.push((bytes, place));
            }
        }
    }
    for (bytes, place) in staying {
        checkpoint.step()?;
        if bytes <= left_bytes {
            left_bytes -= bytes;
            candidates.push(place);
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
/// A shorter file is not worth a layer of the base that nothing else needs.
const KEPT_BYTES: u64 = 16 << 10;
/// A file that stays is compared with new files whose length differs by less than a half.
const NEAR_SHARE: u64 = 2;
