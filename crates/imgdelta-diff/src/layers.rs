//! Layers set against each other by what they hold, not by where they stand.
//!
//! Equal content is paired first, then what resembles it most; what moved is what does not fit the
//! longest common order. Payload digests decide, no payload is read.

use imgdelta_core::PayloadDigest;
use imgdelta_format::{BlobDigest, DiffId};
use imgdelta_image::index::Index;
use std::collections::{HashMap, HashSet};

/// A layer as a diff needs it: who it is and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct LayerView<'a> {
    /// The stored blob.
    pub blob: BlobDigest,
    /// Its stored size.
    pub stored_bytes: u64,
    /// Its entries.
    pub index: &'a Index,
}

/// How a target layer relates to the base image, or a base layer to the target image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The very same blob.
    Same,
    /// The same stream compressed otherwise: equal diff id, another blob digest. A registry ships
    /// it again in full.
    Recompressed,
    /// It takes the place of a base layer that it shares content or paths with.
    Replaced,
    /// Nothing in the base image resembles it.
    Added,
    /// Nothing in the target image resembles this base layer.
    Dropped,
}

/// One line of the layer comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerChange {
    /// How the two sides relate.
    pub relation: Relation,
    /// Whether the layer stands in another order among those both images have.
    pub is_moved: bool,
    /// The base layer, from 0.
    pub base: Option<LayerFacts>,
    /// The target layer, from 0.
    pub target: Option<LayerFacts>,
    /// Payload bytes of the target layer whose content some base layer has, under any path.
    pub found_again_bytes: u64,
    /// Files of a target layer that the base image does not have as a layer, although its root
    /// file system has the very same content at the same path: shipped again for nothing.
    pub reshipped: Reshipped,
}

/// One side's layer in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    /// Its place in the image, from 0.
    pub ordinal: usize,
    /// The stored blob.
    pub blob: BlobDigest,
    /// The uncompressed stream.
    pub diff_id: DiffId,
    /// Stored, usually compressed size.
    pub stored_bytes: u64,
    /// Size of the tar stream.
    pub stream_bytes: u64,
    /// Bytes of file content in it.
    pub payload_bytes: u64,
    /// Entries in it.
    pub entries: usize,
}

/// Content that is shipped again unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reshipped {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl LayerChange {
    /// Returns whether a puller that holds the base image must fetch this layer.
    pub fn is_fetched(&self) -> bool {
        self.target.is_some() && self.relation != Relation::Same
    }

    /// Returns the share of the target's payload that the base image already has, in 0..=1.
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

/// Pairs the layers of two images. `is_in_base` tells whether an entry of a target layer has the
/// same content at the same path in the base's root file system.
///
/// Target layers come in their order; dropped base layers stand where they stood.
pub fn compare(
    base: &[LayerView<'_>],
    target: &[LayerView<'_>],
    is_in_base: impl Fn(&imgdelta_image::index::Entry) -> bool,
) -> Vec<LayerChange> {
    let mut partners = pair_equal(base, target);
    let moved = out_of_order(&partners);
    let contents: HashMap<PayloadDigest, Vec<usize>> = contents_by_layer(base);
    pair_alike(base, target, &contents, &mut partners);

    let mut changes = Vec::with_capacity(target.len() + base.len());
    for (ordinal, layer) in target.iter().enumerate() {
        let partner = partners[ordinal].map(|at| &base[at]);
        let relation = match partner {
            Some(old) if old.blob == layer.blob => Relation::Same,
            Some(old) if old.index.diff_id == layer.index.diff_id => Relation::Recompressed,
            Some(_) => Relation::Replaced,
            None => Relation::Added,
        };
        let is_shipped_again = matches!(relation, Relation::Replaced | Relation::Added);
        changes.push(LayerChange {
            relation,
            is_moved: moved.contains(&ordinal),
            base: partners[ordinal].map(|at| facts(at, &base[at])),
            target: Some(facts(ordinal, layer)),
            found_again_bytes: found_again(layer, &contents),
            reshipped: if is_shipped_again {
                reshipped(layer, &is_in_base)
            } else {
                Reshipped::default()
            },
        });
    }
    insert_dropped(base, &partners, &mut changes);
    changes
}

fn facts(ordinal: usize, layer: &LayerView<'_>) -> LayerFacts {
    LayerFacts {
        ordinal,
        blob: layer.blob,
        diff_id: layer.index.diff_id,
        stored_bytes: layer.stored_bytes,
        stream_bytes: layer.index.stream_bytes,
        payload_bytes: layer.index.entries.iter().map(payload_bytes).sum(),
        entries: layer.index.entries.len(),
    }
}

/// Whether a base layer at one place is the partner for a target layer at another.
type Criterion = fn(usize, usize, &LayerView<'_>, &LayerView<'_>) -> bool;

/// For each target layer the base layer of equal content. Where several are equal, one at the same
/// place wins, then the same blob, then the first left over: an image may hold one layer twice.
fn pair_equal(base: &[LayerView<'_>], target: &[LayerView<'_>]) -> Vec<Option<usize>> {
    let mut partners = vec![None; target.len()];
    let mut is_taken = vec![false; base.len()];
    let mut by_stream: HashMap<DiffId, Vec<usize>> = HashMap::new();
    for (at, layer) in base.iter().enumerate() {
        by_stream.entry(layer.index.diff_id).or_default().push(at);
    }
    let criteria: [Criterion; 3] =
        [|at, to, _, _| at == to, |_, _, old, new| old.blob == new.blob, |_, _, _, _| true];
    for fits in criteria {
        for (to, new) in target.iter().enumerate() {
            let Some(equal) = by_stream.get(&new.index.diff_id).filter(|_| partners[to].is_none())
            else {
                continue;
            };
            let found = equal.iter().find(|&&at| !is_taken[at] && fits(at, to, &base[at], new));
            if let Some(&at) = found {
                is_taken[at] = true;
                partners[to] = Some(at);
            }
        }
    }
    partners
}

/// The target layers whose partner does not lie on the longest run of rising base places.
fn out_of_order(partners: &[Option<usize>]) -> HashSet<usize> {
    let paired: Vec<(usize, usize)> =
        partners.iter().enumerate().filter_map(|(to, at)| at.map(|at| (to, at))).collect();
    // Patience sorting: `tails[k]` ends the best run of length k + 1; `before` leads back through it.
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

fn contents_by_layer(layers: &[LayerView<'_>]) -> HashMap<PayloadDigest, Vec<usize>> {
    let mut contents: HashMap<PayloadDigest, Vec<usize>> = HashMap::new();
    for (at, layer) in layers.iter().enumerate() {
        for digest in layer.index.entries.iter().filter_map(|entry| entry.digest) {
            let places = contents.entry(digest).or_default();
            if places.last() != Some(&at) {
                places.push(at);
            }
        }
    }
    contents
}

/// Pairs what is left by likeness, best pair first. Likeness is bytes of equal content, and, at an
/// eighth of the weight, bytes of files at equal paths: a recompiled program is still that program.
fn pair_alike(
    base: &[LayerView<'_>],
    target: &[LayerView<'_>],
    contents: &HashMap<PayloadDigest, Vec<usize>>,
    partners: &mut [Option<usize>],
) {
    let taken: HashSet<usize> = partners.iter().flatten().copied().collect();
    let mut paths: HashMap<&imgdelta_core::path::LayerPath, Vec<usize>> = HashMap::new();
    for (at, layer) in base.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
        for entry in layer.index.entries.iter().filter(|entry| entry.digest.is_some()) {
            paths.entry(&entry.path).or_default().push(at);
        }
    }
    let mut scores: Vec<(u64, usize, usize)> = Vec::new();
    for (to, layer) in target.iter().enumerate().filter(|(to, _)| partners[*to].is_none()) {
        let mut likeness = vec![0u64; base.len()];
        for entry in &layer.index.entries {
            // One more for each, so that layers of empty files resemble each other too.
            let weight = payload_bytes(entry) + 1;
            let same = entry.digest.and_then(|digest| contents.get(&digest));
            for &at in same.into_iter().flatten() {
                likeness[at] += weight * CONTENT_OVER_PATH;
            }
            for &at in paths.get(&entry.path).into_iter().flatten() {
                likeness[at] += weight;
            }
        }
        scores.extend(
            likeness
                .into_iter()
                .enumerate()
                .filter(|(at, score)| *score > 0 && !taken.contains(at))
                .map(|(at, score)| (score, at, to)),
        );
    }
    // Ties go to the lower places, so that the outcome never depends on hashing order.
    scores.sort_unstable_by_key(|&(score, at, to)| (std::cmp::Reverse(score), to, at));
    let mut taken = taken;
    for (_, at, to) in scores {
        if partners[to].is_none() && taken.insert(at) {
            partners[to] = Some(at);
        }
    }
}

fn payload_bytes(entry: &imgdelta_image::index::Entry) -> u64 {
    entry.payload.end - entry.payload.start
}

fn found_again(layer: &LayerView<'_>, contents: &HashMap<PayloadDigest, Vec<usize>>) -> u64 {
    let is_known = |entry: &&imgdelta_image::index::Entry| {
        entry.digest.is_some_and(|digest| contents.contains_key(&digest))
    };
    layer.index.entries.iter().filter(is_known).map(payload_bytes).sum()
}

fn reshipped(
    layer: &LayerView<'_>,
    is_in_base: &impl Fn(&imgdelta_image::index::Entry) -> bool,
) -> Reshipped {
    let again =
        layer.index.entries.iter().filter(|entry| entry.digest.is_some() && is_in_base(entry));
    again.fold(Reshipped::default(), |sum, entry| Reshipped {
        files: sum.files + 1,
        bytes: sum.bytes + payload_bytes(entry),
    })
}

fn insert_dropped(
    base: &[LayerView<'_>],
    partners: &[Option<usize>],
    changes: &mut Vec<LayerChange>,
) {
    let taken: HashSet<usize> = partners.iter().flatten().copied().collect();
    for (at, layer) in base.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
        let dropped = LayerChange {
            relation: Relation::Dropped,
            is_moved: false,
            base: Some(facts(at, layer)),
            target: None,
            found_again_bytes: 0,
            reshipped: Reshipped::default(),
        };
        let stands_later =
            |change: &LayerChange| change.base.as_ref().is_some_and(|facts| facts.ordinal > at);
        let place = changes.iter().position(stands_later).unwrap_or(changes.len());
        changes.insert(place, dropped);
    }
}

/// Equal content says far more than an equal name, but an equal name says something.
const CONTENT_OVER_PATH: u64 = 8;
