//! Pairs of layers that share content or paths, the most similar pair first.
//! Never reads a payload: digests decide.
//!
//! Similarity is the number of bytes with equal content, plus an eighth of the bytes at equal paths:
//! a recompiled program is a version of the same program.
//!
//! A layer may have one path or one content a million times, and an image thousands of layers. So
//! equal entries of a base layer are counted before they are compared, and a content or path counts
//! for a fixed number of layers.

use super::{ContentLayers, LayerCounts, SurveyedLayer, payload_bytes};
use imgdelta_core::{Result, path::LayerPathRef, progress::Checkpoint};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

/// The similarity of two layers, ordered from the most similar pair.
///
/// The lower places win ties, so that the result does not depend on hash order.
type PairScore = (Reverse<u64>, usize, usize);

/// For each path, the base layers that have it.
///
/// The key is a hash of the path: there may be millions of paths. Two paths of one hash would make
/// their layers look more alike.
#[derive(Default)]
struct PathLayers {
    layers: HashMap<u64, LayerCounts>,
    hasher: RandomState,
}

/// Pairs the layers that have no partner.
pub(super) fn pair(
    base: &[SurveyedLayer<'_>],
    target: &[SurveyedLayer<'_>],
    contents: &ContentLayers,
    partners: &mut [Option<usize>],
    checkpoint: &mut Checkpoint<'_>,
) -> Result<()> {
    let mut taken: HashSet<usize> = partners.iter().flatten().copied().collect();
    let paths = PathLayers::of(base, &taken, checkpoint)?;
    let mut scores: Vec<PairScore> = Vec::new();
    for (to, layer) in target.iter().enumerate().filter(|(to, _)| partners[*to].is_none()) {
        let scored = similarity(layer, base.len(), contents, &paths, checkpoint)?;
        let mut of_layer: Vec<PairScore> = (scored.bytes.into_iter().enumerate())
            .filter(|(at, score)| *score > 0 && !taken.contains(at))
            .map(|(at, score)| (Reverse(score), to, at))
            .collect();
        if of_layer.len() > MAX_PARTNERS {
            of_layer.select_nth_unstable(MAX_PARTNERS);
            of_layer.truncate(MAX_PARTNERS);
        }
        scores.extend(of_layer);
    }
    scores.sort_unstable();
    for (_, to, at) in scores {
        if partners[to].is_none() && taken.insert(at) {
            partners[to] = Some(at);
        }
    }
    Ok(())
}

impl PathLayers {
    fn of(
        base: &[SurveyedLayer<'_>],
        taken: &HashSet<usize>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Self> {
        let mut paths = Self::default();
        for (at, layer) in base.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            for entry in layer.index.entries.iter().filter(|entry| entry.digest.is_some()) {
                checkpoint.step()?;
                let key = paths.hasher.hash_one(entry.path);
                paths.layers.entry(key).or_default().count(at);
            }
        }
        Ok(paths)
    }

    fn with(&self, path: LayerPathRef<'_>) -> Option<&LayerCounts> {
        self.layers.get(&self.hasher.hash_one(path))
    }
}

/// The bytes that a target layer shares with each base layer.
struct SharedBytes {
    bytes: Vec<u64>,
    /// Number of additions, which is the work.
    additions: u64,
}

impl SharedBytes {
    fn add(&mut self, at: usize, bytes: u64) {
        self.additions += 1;
        self.bytes[at] = self.bytes[at].saturating_add(bytes);
    }
}

fn similarity(
    layer: &SurveyedLayer<'_>,
    base_layers: usize,
    contents: &ContentLayers,
    paths: &PathLayers,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<SharedBytes> {
    let mut shared = SharedBytes { bytes: vec![0; base_layers], additions: 0 };
    for entry in &layer.index.entries {
        checkpoint.step()?;
        // One byte more for each entry, so that layers of empty files are similar, too.
        let weight = payload_bytes(&entry) + 1;
        let same = entry.digest.and_then(|digest| contents.get(&digest));
        for (at, _) in same.into_iter().flat_map(LayerCounts::iter) {
            shared.add(at, weight.saturating_mul(CONTENT_OVER_PATH));
        }
        for (at, entries) in paths.with(entry.path).into_iter().flat_map(LayerCounts::iter) {
            shared.add(at, weight.saturating_mul(entries));
        }
    }
    Ok(shared)
}

/// Weight of equal content against an equal path.
const CONTENT_OVER_PATH: u64 = 8;

/// Base layers that are weighed against each other for one target layer.
const MAX_PARTNERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::{super::counts::MAX_LAYERS, *};
    use imgdelta_core::{Algorithm, DiffId, Limits, progress::Silent};
    use imgdelta_format::BlobDigest;
    use imgdelta_image::index::{IndexBuilder, LayerIndex};
    use imgdelta_testkit::Crowd;

    fn index(stream: &[u8]) -> LayerIndex {
        let mut builder = IndexBuilder::new(&Limits::default(), None);
        builder.feed(stream).unwrap();
        builder.finish(DiffId::new(Algorithm::Sha256, &[0; 32]).unwrap()).unwrap()
    }

    /// Weighs a layer against many copies of another; returns the number of additions.
    fn additions(crowd: Crowd, entries: usize, base_layers: usize) -> u64 {
        let [base, target] = crowd.layers(entries).map(|stream| index(&stream));
        let blob = BlobDigest::new(Algorithm::Sha256, &[0; 32]).unwrap();
        let surveyed = |index| SurveyedLayer { blob, stored_bytes: 0, index };
        let base = vec![surveyed(&base); base_layers];
        let mut checkpoint = Checkpoint::new(&Silent);
        let contents = super::super::contents_by_layer(&base, &mut checkpoint).unwrap();
        let paths = PathLayers::of(&base, &HashSet::new(), &mut checkpoint).unwrap();
        let target = surveyed(&target);
        let shared = similarity(&target, base_layers, &contents, &paths, &mut checkpoint).unwrap();
        shared.additions
    }

    #[test]
    fn layers_of_alike_entries_are_weighed_in_proportion_to_their_entries() {
        for crowd in Crowd::ALL {
            for entries in [500, 2000] {
                let additions = additions(crowd, entries, 1);
                // Directories hold one more entry each, and opaque markers add some.
                let most = 2 * (2 * entries as u64 + 600);
                assert!(additions <= most, "{crowd:?}: {additions} for {entries} entries");
            }
        }
    }

    #[test]
    fn a_content_counts_for_a_fixed_number_of_layers() {
        // Ten files of one content, and an empty one.
        assert_eq!(additions(Crowd::OneContent, 10, 300), 11 * MAX_LAYERS as u64);
    }
}
