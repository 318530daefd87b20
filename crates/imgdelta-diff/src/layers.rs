//! Pairs the layers of two images by content, not by position.
//! Never reads a payload: digests decide.
//!
//! Equal layers are paired first, then the most similar ones. A layer has moved if it does not fit
//! the longest common order.

mod alike;
mod counts;

use counts::LayerCounts;
use imgdelta_core::{
    PayloadDigest, Result,
    progress::{Checkpoint, Progress},
};
use imgdelta_format::{BlobDigest, DiffId};
use imgdelta_image::index::{Entry, LayerIndex};
use std::collections::{HashMap, HashSet};

/// A layer's identity and index.
#[derive(Clone, Copy, Debug)]
pub struct SurveyedLayer<'a> {
    /// Digest of the stored blob.
    pub blob: BlobDigest,
    /// Size of the stored blob.
    pub stored_bytes: u64,
    /// Entries of the layer.
    pub index: &'a LayerIndex,
}

/// Relation of a target layer to the base image, or of a base layer to the target image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerRelation {
    /// Both images have the blob.
    Same,
    /// Both images have the stream, in different compressions. A pull fetches it again in full.
    Recompressed,
    /// The layer replaces a base layer with which it shares content or paths.
    Replaced,
    /// No base layer is similar.
    Added,
    /// No target layer is similar to this base layer.
    Dropped,
}

/// A pair of similar layers, or a layer without a counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerChange {
    /// Relation of the two layers.
    pub relation: LayerRelation,
    /// True if the layer's position among the common layers differs.
    pub is_moved: bool,
    /// The base layer.
    pub base: Option<LayerFacts>,
    /// The target layer.
    pub target: Option<LayerFacts>,
    /// Payload bytes of the target layer that some base layer has, at any path.
    pub found_again_bytes: u64,
    /// Files of a fetched layer that the base image's root file system already has, with equal
    /// content at the same path.
    pub reshipped: ReshippedFiles,
}

/// Identity and sizes of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerFacts {
    /// Position in the image, from 0.
    pub ordinal: usize,
    /// Digest of the stored blob.
    pub blob: BlobDigest,
    /// Digest of the uncompressed stream.
    pub diff_id: DiffId,
    /// Size of the blob, which is usually compressed.
    pub stored_bytes: u64,
    /// Size of the tar stream.
    pub stream_bytes: u64,
    /// Bytes of file content.
    pub payload_bytes: u64,
    /// Number of tar entries.
    pub entries: usize,
}

/// Unchanged files that a pull fetches again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReshippedFiles {
    /// Number of files.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

impl LayerChange {
    /// True if a pull with the base image at hand fetches this layer.
    pub fn is_fetched(&self) -> bool {
        self.target.is_some() && self.relation != LayerRelation::Same
    }

    /// Returns the share of the target layer's payload that the base image has, from 0 to 1.
    pub fn found_again_share(&self) -> f64 {
        match &self.target {
            #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
            Some(target) if target.payload_bytes > 0 => {
                self.found_again_bytes as f64 / target.payload_bytes as f64
            }
            _ => 0.0,
        }
    }
}

/// Pairs the layers of two images.
///
/// `is_in_base` is true if the base's root file system has an entry's content at its path. The
/// result has the target's layers in order; a dropped layer stands at its place in the base.
pub fn compare(
    base: &[SurveyedLayer<'_>],
    target: &[SurveyedLayer<'_>],
    is_in_base: impl Fn(&Entry<'_>) -> bool,
    progress: &dyn Progress,
) -> Result<Vec<LayerChange>> {
    let mut checkpoint = Checkpoint::new(progress);
    let mut partners = pair_equal(base, target);
    let moved = out_of_order(&partners);
    let contents = contents_by_layer(base, &mut checkpoint)?;
    alike::pair(base, target, &contents, &mut partners, &mut checkpoint)?;

    let mut changes = Vec::with_capacity(target.len() + base.len());
    for (ordinal, layer) in target.iter().enumerate() {
        let partner = partners[ordinal].map(|at| &base[at]);
        let relation = match partner {
            Some(old) if old.blob == layer.blob => LayerRelation::Same,
            Some(old) if old.index.diff_id == layer.index.diff_id => LayerRelation::Recompressed,
            Some(_) => LayerRelation::Replaced,
            None => LayerRelation::Added,
        };
        let has_files_to_ship = matches!(relation, LayerRelation::Replaced | LayerRelation::Added);
        changes.push(LayerChange {
            relation,
            is_moved: moved.contains(&ordinal),
            base: partners[ordinal].map(|at| facts(at, &base[at])),
            target: Some(facts(ordinal, layer)),
            found_again_bytes: found_again(layer, &contents, &mut checkpoint)?,
            reshipped: if has_files_to_ship {
                reshipped(layer, &is_in_base, &mut checkpoint)?
            } else {
                ReshippedFiles::default()
            },
        });
    }
    insert_dropped(base, &partners, &mut changes);
    Ok(changes)
}

fn facts(ordinal: usize, layer: &SurveyedLayer<'_>) -> LayerFacts {
    LayerFacts {
        ordinal,
        blob: layer.blob,
        diff_id: layer.index.diff_id,
        stored_bytes: layer.stored_bytes,
        stream_bytes: layer.index.stream_bytes,
        payload_bytes: layer.index.entries.iter().map(|entry| payload_bytes(&entry)).sum(),
        entries: layer.index.entries.len(),
    }
}

/// Test if the base layer at one place is the partner of the target layer at another place.
type PairCriterion = fn(usize, usize, &SurveyedLayer<'_>, &SurveyedLayer<'_>) -> bool;

/// Returns the base layer of equal content for each target layer.
///
/// An image may have a layer twice. Of several equal base layers, the one at the same place wins,
/// then the one with the same blob, then the first one that is free.
fn pair_equal(base: &[SurveyedLayer<'_>], target: &[SurveyedLayer<'_>]) -> Vec<Option<usize>> {
    let mut partners = vec![None; target.len()];
    let mut is_taken = vec![false; base.len()];
    let mut by_stream: HashMap<DiffId, Vec<usize>> = HashMap::new();
    for (at, layer) in base.iter().enumerate() {
        by_stream.entry(layer.index.diff_id).or_default().push(at);
    }
    let criteria: [PairCriterion; 3] =
        [|at, to, _, _| at == to, |_, _, old, new| old.blob == new.blob, |_, _, _, _| true];
    for fits in criteria {
        for (to, new) in target.iter().enumerate() {
            let Some(equal) = by_stream.get(&new.index.diff_id).filter(|_| partners[to].is_none())
            else {
                continue;
            };
            let partner = equal.iter().find(|&&at| !is_taken[at] && fits(at, to, &base[at], new));
            if let Some(&at) = partner {
                is_taken[at] = true;
                partners[to] = Some(at);
            }
        }
    }
    partners
}

/// Returns the target layers whose partners are not in the longest increasing run of base places.
fn out_of_order(partners: &[Option<usize>]) -> HashSet<usize> {
    let paired: Vec<(usize, usize)> =
        partners.iter().enumerate().filter_map(|(to, at)| at.map(|at| (to, at))).collect();
    // Patience sorting: `tails[k]` ends the best run of length k + 1; `before` links back along it.
    let mut tails: Vec<usize> = Vec::new();
    let mut before = vec![usize::MAX; paired.len()];
    for (i, &(_, at)) in paired.iter().enumerate() {
        let length = tails.partition_point(|&j| paired[j].1 < at);
        if length > 0 {
            before[i] = tails[length - 1];
        }
        if length == tails.len() {
            tails.push(i);
        } else {
            tails[length] = i;
        }
    }
    let mut moved: HashSet<usize> = paired.iter().map(|&(to, _)| to).collect();
    let mut next = tails.last().copied().unwrap_or(usize::MAX);
    while let Some(&(to, _)) = paired.get(next) {
        moved.remove(&to);
        next = before[next];
    }
    moved
}

/// For each content, the base layers that have it.
type ContentLayers = HashMap<PayloadDigest, LayerCounts>;

fn contents_by_layer(
    layers: &[SurveyedLayer<'_>],
    checkpoint: &mut Checkpoint<'_>,
) -> Result<ContentLayers> {
    let mut contents = ContentLayers::new();
    for (at, layer) in layers.iter().enumerate() {
        for entry in &layer.index.entries {
            checkpoint.step()?;
            if let Some(digest) = entry.digest {
                contents.entry(digest).or_default().count(at);
            }
        }
    }
    Ok(contents)
}

fn payload_bytes(entry: &Entry<'_>) -> u64 {
    entry.payload.end - entry.payload.start
}

fn found_again(
    layer: &SurveyedLayer<'_>,
    contents: &ContentLayers,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<u64> {
    let mut bytes = 0;
    for entry in &layer.index.entries {
        checkpoint.step()?;
        if entry.digest.is_some_and(|digest| contents.contains_key(&digest)) {
            bytes += payload_bytes(&entry);
        }
    }
    Ok(bytes)
}

fn reshipped(
    layer: &SurveyedLayer<'_>,
    is_in_base: &impl Fn(&Entry<'_>) -> bool,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<ReshippedFiles> {
    let mut again = ReshippedFiles::default();
    for entry in &layer.index.entries {
        checkpoint.step()?;
        if entry.digest.is_some() && is_in_base(&entry) {
            again.files += 1;
            again.bytes += payload_bytes(&entry);
        }
    }
    Ok(again)
}

fn insert_dropped(
    base: &[SurveyedLayer<'_>],
    partners: &[Option<usize>],
    changes: &mut Vec<LayerChange>,
) {
    let taken: HashSet<usize> = partners.iter().flatten().copied().collect();
    for (at, layer) in base.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
        let dropped = LayerChange {
            relation: LayerRelation::Dropped,
            is_moved: false,
            base: Some(facts(at, layer)),
            target: None,
            found_again_bytes: 0,
            reshipped: ReshippedFiles::default(),
        };
        let stands_later =
            |change: &LayerChange| change.base.as_ref().is_some_and(|facts| facts.ordinal > at);
        let place = changes.iter().position(stands_later).unwrap_or(changes.len());
        changes.insert(place, dropped);
    }
}
