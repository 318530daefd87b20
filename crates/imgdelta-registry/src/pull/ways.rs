//! The cheapest way to a stream: recipes of any deltas, one after another, from local streams.
//!
//! Streams are the nodes of a graph. A recipe leads from the streams that it reads to the stream that
//! it makes, at the price of its bytes. Believes the annotations of recipes; a recipe that was
//! downloaded is compared with them, and each stream with its digest. Downloads nothing.
//!
//! Ways grow by one recipe in each round, so a graph with circles ends after the allowed number of
//! rounds. Where each recipe reads one stream, the result is the cheapest way; the test
//! `the_cheapest_way_is_found_in_any_graph` holds this. A recipe that reads several streams counts
//! recipes that two of its ways share once.

use imgdelta_core::{BlobDigest, DiffId};
use imgdelta_image::store::Descriptor;
use std::collections::{HashMap, HashSet};

/// A recipe on the way to a layer's stream, with the claims of its annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainStep {
    /// The recipe.
    pub recipe: Descriptor,
    /// The stream that it makes.
    pub target: DiffId,
    /// The streams that it needs.
    pub sources: Vec<DiffId>,
    /// The manifest of the delta that has it.
    pub delta: BlobDigest,
    /// The manifest of the image that this delta makes.
    pub image: BlobDigest,
    /// The manifest of that delta's base, if it is known.
    pub base: Option<BlobDigest>,
}

/// The cheapest way to each stream that recipes can make.
#[derive(Debug, Default)]
pub(super) struct StreamWays {
    local: HashSet<DiffId>,
    found: HashMap<DiffId, RecipeSequence>,
}

/// Recipes in the order in which they are applied, by their ordinals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecipeSequence {
    pub steps: Vec<usize>,
    pub bytes: u64,
    /// The most recipes that need each other in sequence.
    pub depth: usize,
}

impl StreamWays {
    /// Finds ways of at most `depth` recipes in sequence, without the recipes that failed.
    pub fn find(
        local: &HashSet<DiffId>,
        steps: &[ChainStep],
        failed: &HashSet<BlobDigest>,
        depth: usize,
    ) -> Self {
        let mut ways = Self { local: local.clone(), found: HashMap::new() };
        for _ in 0..depth {
            let mut better = HashMap::<DiffId, RecipeSequence>::new();
            for (ordinal, step) in steps.iter().enumerate() {
                if failed.contains(&step.recipe.digest) || local.contains(&step.target) {
                    continue;
                }
                let Some(mut way) = ways.to_all(steps, &step.sources) else { continue };
                let is_circle = way.steps.iter().any(|&before| steps[before].target == step.target);
                if is_circle || way.steps.len() >= MAX_RECIPES {
                    continue;
                }
                way.steps.push(ordinal);
                way.depth += 1;
                way.bytes = way.bytes.saturating_add(step.recipe.size_bytes);
                let known = better.get(&step.target).or_else(|| ways.found.get(&step.target));
                if known.is_none_or(|known| way.cost() < known.cost()) {
                    better.insert(step.target, way);
                }
            }
            if better.is_empty() {
                break;
            }
            ways.found.extend(better);
        }
        ways
    }

    /// Returns the way to a stream of an image; without recipes if the stream is local. A lone recipe
    /// of the image's own deltas is not a chain: it comes with the front of its delta.
    pub fn chain_to(
        &self,
        steps: &[ChainStep],
        stream: &DiffId,
        image: &BlobDigest,
    ) -> Option<RecipeSequence> {
        if self.local.contains(stream) {
            return Some(RecipeSequence::default());
        }
        let found = self.found.get(stream).filter(|way| match way.steps[..] {
            [only] => steps[only].image != *image,
            _ => true,
        });
        found.cloned()
    }

    /// Returns the way to several streams. A recipe that is on the way to two of them counts once.
    pub fn to_all(&self, steps: &[ChainStep], streams: &[DiffId]) -> Option<RecipeSequence> {
        let mut all = RecipeSequence::default();
        for stream in streams {
            if self.local.contains(stream) {
                continue;
            }
            let way = self.found.get(stream)?;
            all.depth = all.depth.max(way.depth);
            for &ordinal in &way.steps {
                if all.steps.contains(&ordinal) {
                    continue;
                }
                // A longer way is not worth its work, and a hostile list could have millions.
                if all.steps.len() == MAX_RECIPES {
                    return None;
                }
                all.steps.push(ordinal);
                all.bytes = all.bytes.saturating_add(steps[ordinal].recipe.size_bytes);
            }
        }
        Some(all)
    }
}

impl RecipeSequence {
    /// Returns its cost: bytes, then the number of recipes, which is work.
    fn cost(&self) -> (u64, usize) {
        (self.bytes, self.steps.len())
    }
}

/// Recipes of one way. A version changes a few layers, and a chain has a few versions.
const MAX_RECIPES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_core::Algorithm;

    fn stream(number: u64) -> DiffId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        DiffId::new(Algorithm::Sha256, &bytes).unwrap()
    }

    fn step(ordinal: u64, sources: &[u64], target: u64, bytes: u64) -> ChainStep {
        let digest =
            |number| BlobDigest::new(Algorithm::Sha256, stream(number).as_bytes()).unwrap();
        ChainStep {
            recipe: Descriptor::new(None, digest(1_000 + ordinal), bytes),
            target: stream(target),
            sources: sources.iter().map(|&number| stream(number)).collect(),
            delta: digest(2_000 + ordinal),
            image: digest(target),
            base: None,
        }
    }

    /// The way to a stream.
    fn to(ways: &StreamWays, number: u64) -> Option<RecipeSequence> {
        if number == 0 {
            Some(RecipeSequence::default())
        } else {
            ways.found.get(&stream(number)).cloned()
        }
    }

    /// A generator of numbers below a bound, the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % bound
        }
    }

    /// The least bytes to a stream by at most `depth` recipes, by trying every path.
    fn least(steps: &[ChainStep], at: DiffId, depth: usize) -> Option<u64> {
        if at == stream(0) {
            return Some(0);
        }
        if depth == 0 {
            return None;
        }
        let ways = steps.iter().filter(|step| step.target == at);
        let ways = ways.filter_map(|step| {
            Some(least(steps, step.sources[0], depth - 1)? + step.recipe.size_bytes)
        });
        ways.min()
    }

    #[test]
    fn the_cheapest_way_is_found_in_any_graph() {
        let mut numbers = Numbers(7);
        let (mut reached, mut chains) = (0, 0);
        for _ in 0..400 {
            let versions = 2 + numbers.below(7);
            let count = numbers.below(3 * versions);
            let steps: Vec<ChainStep> = (0..count)
                .map(|ordinal| {
                    let (from, to) = (numbers.below(versions), numbers.below(versions));
                    step(ordinal, &[from], to, numbers.below(50))
                })
                .collect();
            let depth = usize::try_from(1 + numbers.below(5)).unwrap();
            let local = HashSet::from([stream(0)]);
            let ways = StreamWays::find(&local, &steps, &HashSet::new(), depth);
            for version in 0..versions {
                let way = to(&ways, version);
                let expected = least(&steps, stream(version), depth);
                assert_eq!(way.as_ref().map(|way| way.bytes), expected, "{steps:?}");
                let Some(way) = way else { continue };
                reached += 1;
                chains += usize::from(way.steps.len() > 1);
                // Each recipe finds its source made, and the last one makes the stream.
                let mut there = local.clone();
                for &ordinal in &way.steps {
                    assert!(steps[ordinal].sources.iter().all(|source| there.contains(source)));
                    there.insert(steps[ordinal].target);
                }
                assert!(there.contains(&stream(version)) && way.steps.len() <= depth);
            }
        }
        assert!(reached > 500 && chains > 100, "{reached} {chains}");
    }

    #[test]
    fn a_lone_recipe_of_the_images_own_delta_is_not_a_chain() {
        let steps = [step(0, &[0], 1, 5), step(1, &[1], 2, 5)];
        let local = HashSet::from([stream(0)]);
        let ways = StreamWays::find(&local, &steps, &HashSet::new(), 3);
        let image = |ordinal: usize| steps[ordinal].image;
        assert_eq!(ways.chain_to(&steps, &stream(1), &image(0)), None);
        assert_eq!(ways.chain_to(&steps, &stream(1), &image(1)).unwrap().steps, [0]);
        assert_eq!(ways.chain_to(&steps, &stream(2), &image(1)).unwrap().steps, [0, 1]);
        assert_eq!(ways.chain_to(&steps, &stream(0), &image(1)).unwrap().steps, [0; 0]);
    }

    #[test]
    fn a_recipe_counts_once_however_many_sources_need_it() {
        // 0 makes 1; 1 makes 2 and 3; both make 4.
        let steps = [
            step(0, &[0], 1, 100),
            step(1, &[1], 2, 10),
            step(2, &[1, 0], 3, 10),
            step(3, &[2, 3, 0], 4, 5),
            step(4, &[0], 4, 126),
        ];
        let local = HashSet::from([stream(0)]);
        let ways = StreamWays::find(&local, &steps, &HashSet::new(), 3);
        let way = to(&ways, 4).unwrap();
        assert_eq!((way.bytes, way.steps), (125, vec![0, 1, 2, 3]));
        let failed = HashSet::from([steps[2].recipe.digest]);
        let ways = StreamWays::find(&local, &steps, &failed, 3);
        assert_eq!(to(&ways, 4).unwrap().steps, [4]);
        let failed = HashSet::from([steps[2].recipe.digest, steps[4].recipe.digest]);
        assert_eq!(to(&StreamWays::find(&local, &steps, &failed, 3), 4), None);
    }

    #[test]
    fn a_hostile_graph_ends() {
        // Every recipe needs every stream, and all make each other in circles.
        let sources: Vec<u64> = (0..200).collect();
        let all: Vec<ChainStep> =
            (0..200).map(|ordinal| step(ordinal, &sources, ordinal + 1, 0)).collect();
        let local = HashSet::from([stream(0)]);
        let ways = StreamWays::find(&local, &all, &HashSet::new(), 100);
        assert_eq!(to(&ways, 5), None);
        // A line longer than a way may be.
        let line: Vec<ChainStep> =
            (0..200).map(|ordinal| step(ordinal, &[ordinal], ordinal + 1, 0)).collect();
        let ways = StreamWays::find(&local, &line, &HashSet::new(), 1_000);
        assert!(to(&ways, 64).is_some() && to(&ways, 65).is_none());
    }
}
