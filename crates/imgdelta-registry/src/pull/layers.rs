//! The source of each layer: the cheapest of local content, deltas and the registry.
//!
//! Downloads nothing. Recipes are checked when they are applied.

use super::{
    cost::CostModel,
    local::LocalContent,
    ways::{ChainStep, RecipeSequence, StreamWays},
};
use crate::artifact::{Artifact, Front, RecipeBlob};
use imgdelta_apply::delta::{Envelope, LayerBody, LayerOutline};
use imgdelta_core::{BlobDigest, DiffId};
use imgdelta_image::{
    image::{Image, Layer},
    store::Descriptor,
};
use std::collections::HashSet;

/// Source of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerSource {
    /// The destination has it.
    Destination,
    /// A base has it in the form that the destination takes: its blob, or its stream.
    Base,
    /// A base has its stream, and a delta has the way from the stream to the blob.
    BaseStream {
        /// Ordinal of the delta in [`PullPlan::deltas`](super::PullPlan::deltas).
        delta: usize,
    },
    /// A recipe makes it.
    Recipe {
        /// Ordinal of the delta in [`PullPlan::deltas`](super::PullPlan::deltas).
        delta: usize,
        /// Ordinal of the recipe in the delta.
        recipe: usize,
    },
    /// Recipes of one or more deltas make its stream, one after another, and this delta has the way
    /// from the stream to the blob. [`PullLayer::chain`] has the recipes.
    Chain {
        /// Ordinal of the delta in [`PullPlan::deltas`](super::PullPlan::deltas).
        delta: usize,
    },
    /// Its blob is downloaded from the registry.
    Registry,
}

impl LayerSource {
    /// Returns the ordinal of the delta that it uses, if any.
    pub fn delta(self) -> Option<usize> {
        match self {
            Self::BaseStream { delta } | Self::Recipe { delta, .. } | Self::Chain { delta } => {
                Some(delta)
            }
            Self::Destination | Self::Base | Self::Registry => None,
        }
    }

    /// Returns the words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Destination => "already there",
            Self::Base => "from the base",
            Self::BaseStream { .. } => "from the base, compressed again",
            Self::Recipe { .. } => "rebuilt",
            Self::Chain { .. } => "rebuilt by a chain of deltas",
            Self::Registry => "from the registry",
        }
    }

    /// Returns its name in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Destination => "there",
            Self::Base => "base",
            Self::BaseStream { .. } => "remade",
            Self::Recipe { .. } => "recipe",
            Self::Chain { .. } => "chain",
            Self::Registry => "registry",
        }
    }
}

/// One layer of a pull.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullLayer {
    /// Its blob.
    pub blob: Descriptor,
    /// Its stream.
    pub diff_id: DiffId,
    /// Its source.
    pub source: LayerSource,
    /// The recipes that make its stream, in this order, if its source is a chain.
    pub chain: Vec<ChainStep>,
    /// The recipe that makes its stream, if its source is one.
    pub(super) recipe: Option<Descriptor>,
    /// Bytes that are downloaded for it; 0 if another layer needs the same blob.
    pub fetch_bytes: u64,
    /// Its cost, in the unit of this pull.
    pub(super) cost: u64,
}

impl PullLayer {
    /// Returns the recipe that makes its stream, if one does.
    pub(super) fn last_recipe(&self) -> Option<&Descriptor> {
        self.chain.last().map_or(self.recipe.as_ref(), |last| Some(&last.recipe))
    }

    /// Returns all recipes that it needs, in the order in which they are applied.
    pub(super) fn recipes(&self) -> Vec<Descriptor> {
        match self.source {
            LayerSource::Chain { .. } => {
                self.chain.iter().map(|step| step.recipe.clone()).collect()
            }
            _ => self.last_recipe().cloned().into_iter().collect(),
        }
    }

    /// Returns true if this recipe makes its stream.
    pub(super) fn is_made_by(&self, step: &ChainStep) -> bool {
        let last = self.last_recipe();
        self.diff_id == step.target && last.is_some_and(|it| it.digest == step.recipe.digest)
    }
}

/// A delta that was chosen for a pull.
#[derive(Clone, Debug)]
pub struct PullDelta {
    pub(super) artifact: Artifact,
    pub(super) front: Front,
}

impl PullDelta {
    /// Returns the digest of its manifest.
    pub fn digest(&self) -> BlobDigest {
        self.artifact.descriptor.digest
    }
}

/// Sources of layers that failed.
#[derive(Clone, Debug, Default)]
pub(super) struct FailedSources {
    /// Pairs of a layer and a delta, by their ordinals.
    pub pairs: HashSet<(usize, usize)>,
    /// Recipes that are missing or damaged, or do not make their stream.
    pub recipes: HashSet<BlobDigest>,
}

/// The deltas that a pull knows, without those that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownDeltas<'a> {
    /// Deltas of the image, with their fronts.
    pub deltas: &'a [PullDelta],
    /// Recipes of the image's deltas, and of deltas between the bases and the image.
    pub steps: &'a [ChainStep],
    pub failed: &'a FailedSources,
    /// The most recipes in sequence: at least 1.
    pub depth: usize,
}

impl KnownDeltas<'_> {
    /// Returns the cheapest ways to streams.
    pub fn ways(&self, local: &LocalContent) -> StreamWays {
        StreamWays::find(&local.streams, self.steps, &self.failed.recipes, self.depth)
    }
}

/// Returns the cheapest source of each layer.
pub(super) fn choose_sources(
    image: &Image,
    local: &LocalContent,
    known: KnownDeltas<'_>,
    costs: CostModel,
) -> Vec<PullLayer> {
    let ways = known.ways(local);
    let chooser = SourceChooser { image, local, known, ways: &ways, costs };
    let mut fetched = HashSet::new();
    let layers = image.layers.iter().map(|layer| {
        let LayerChoice { source, chain, wanted, cost } = chooser.cheapest(layer, &fetched);
        let mut fetch_bytes = 0_u64;
        for blob in wanted {
            if fetched.insert(blob.digest) {
                fetch_bytes = fetch_bytes.saturating_add(blob.size_bytes);
            }
        }
        let (blob, diff_id) = (layer.descriptor.clone(), layer.diff_id);
        let recipe = match source {
            LayerSource::Recipe { delta, recipe } => {
                Some(known.deltas[delta].artifact.recipes[recipe].blob.clone())
            }
            _ => None,
        };
        PullLayer { blob, diff_id, source, chain, recipe, fetch_bytes, cost }
    });
    layers.collect()
}

/// Returns the source of each layer in a pull without deltas.
pub(super) fn plain_sources(
    image: &Image,
    local: &LocalContent,
    costs: CostModel,
) -> Vec<PullLayer> {
    let failed = &FailedSources::default();
    let none = KnownDeltas { deltas: &[], steps: &[], failed, depth: 0 };
    choose_sources(image, local, none, costs)
}

/// The source of a layer, with the blobs that it needs from the registry.
struct LayerChoice {
    source: LayerSource,
    chain: Vec<ChainStep>,
    wanted: Vec<Descriptor>,
    cost: u64,
}

impl LayerChoice {
    fn local(source: LayerSource) -> Self {
        Self { source, chain: Vec::new(), wanted: Vec::new(), cost: 0 }
    }
}

/// The inputs of a choice, which are the same for all layers.
struct SourceChooser<'a> {
    image: &'a Image,
    local: &'a LocalContent,
    known: KnownDeltas<'a>,
    ways: &'a StreamWays,
    costs: CostModel,
}

impl SourceChooser<'_> {
    /// Returns the cheapest source of a layer. Blobs that were `fetched` for other layers are not
    /// downloaded again.
    fn cheapest(&self, layer: &Layer, fetched: &HashSet<BlobDigest>) -> LayerChoice {
        let Self { local, known, costs, .. } = *self;
        let whole = &layer.descriptor;
        if local.destination.get(layer.ordinal) == Some(&true) {
            return LayerChoice::local(LayerSource::Destination);
        }
        let has_stream = local.streams.contains(&layer.diff_id);
        let is_in_base =
            if local.takes_streams { has_stream } else { local.blobs.contains(&whole.digest) };
        if is_in_base {
            return LayerChoice::local(LayerSource::Base);
        }
        let new_bytes =
            |blob: &Descriptor| if fetched.contains(&blob.digest) { 0 } else { blob.size_bytes };
        let mut cheapest = LayerChoice {
            source: LayerSource::Registry,
            chain: Vec::new(),
            wanted: vec![whole.clone()],
            cost: costs.download(new_bytes(whole)),
        };
        for (delta, PullDelta { artifact, front }) in known.deltas.iter().enumerate() {
            let outline = &front.outline.layers[layer.ordinal];
            let LayerOutline { body, envelope, .. } = outline;
            let is_made = local.takes_streams || envelope.makes_blob();
            if !is_made || known.failed.pairs.contains(&(layer.ordinal, delta)) {
                continue;
            }
            let stream_work =
                costs.work(&LayerOutline { envelope: Envelope::Stored, ..outline.clone() });
            let work = if local.takes_streams { stream_work } else { costs.work(outline) };
            // The way from the stream to the blob holds for the stream of any base.
            if has_stream {
                if work < cheapest.cost {
                    let source = LayerSource::BaseStream { delta };
                    cheapest = LayerChoice { cost: work, ..LayerChoice::local(source) };
                }
                continue;
            }
            for chain in self.chains(layer, artifact, *body) {
                let bytes = chain.iter().map(|step| new_bytes(&step.recipe));
                // Versions of a layer have about the same length.
                let before = stream_work.saturating_mul(chain.len() as u64 - 1);
                let cost = costs
                    .download(bytes.fold(0, u64::saturating_add))
                    .saturating_add(work)
                    .saturating_add(before);
                if cost >= cheapest.cost {
                    continue;
                }
                let wanted = chain.iter().map(|step| step.recipe.clone()).collect();
                let own = own_recipe(&chain, artifact, *body);
                cheapest = match own {
                    Some(recipe) => {
                        let source = LayerSource::Recipe { delta, recipe };
                        LayerChoice { source, chain: Vec::new(), wanted, cost }
                    }
                    None => {
                        LayerChoice { source: LayerSource::Chain { delta }, chain, wanted, cost }
                    }
                };
            }
        }
        cheapest
    }

    /// Returns sequences of recipes that make a layer's stream, each at least one recipe long: with the
    /// recipe that the delta of `artifact` has for it, and with the cheapest of any delta.
    fn chains(&self, layer: &Layer, artifact: &Artifact, body: LayerBody) -> Vec<Vec<ChainStep>> {
        let Self { known, ways, .. } = *self;
        let sequence = |way: RecipeSequence| -> Vec<ChainStep> {
            way.steps.into_iter().map(|step| known.steps[step].clone()).collect()
        };
        let mut chains = Vec::new();
        if let LayerBody::Recipe(recipe) = body {
            let RecipeBlob { blob, sources, .. } = &artifact.recipes[recipe as usize];
            let is_right = !known.failed.recipes.contains(&blob.digest);
            if let Some(way) = ways.to_all(known.steps, sources).filter(|_| is_right)
                && way.depth < known.depth
            {
                let mut chain = sequence(way);
                chain.push(ChainStep {
                    recipe: blob.clone(),
                    target: layer.diff_id,
                    sources: sources.clone(),
                    delta: artifact.descriptor.digest,
                    image: artifact.subject.unwrap_or(artifact.descriptor.digest),
                    base: artifact.base,
                });
                chains.push(chain);
            }
        }
        let image = &self.image.digest;
        chains.extend(ways.chain_to(known.steps, &layer.diff_id, image).map(sequence));
        chains
    }
}

/// Returns the ordinal of a delta's own recipe, if a chain is that recipe alone.
fn own_recipe(chain: &[ChainStep], artifact: &Artifact, body: LayerBody) -> Option<usize> {
    let LayerBody::Recipe(recipe) = body else { return None };
    let recipe = recipe as usize;
    let is_alone = chain.len() == 1;
    (is_alone && chain[0].recipe.digest == artifact.recipes[recipe].blob.digest).then_some(recipe)
}

/// Returns the bytes that are downloaded for all layers.
pub(super) fn fetch_bytes(layers: &[PullLayer]) -> u64 {
    layers.iter().map(|layer| layer.fetch_bytes).fold(0, u64::saturating_add)
}

/// Returns the cost of all layers.
pub(super) fn total_cost(layers: &[PullLayer]) -> u64 {
    layers.iter().map(|layer| layer.cost).fold(0, u64::saturating_add)
}

/// Returns the bytes of all recipes that are downloaded.
pub(super) fn recipes_bytes(layers: &[PullLayer]) -> u64 {
    let recipes = layers.iter().filter(|layer| {
        matches!(layer.source, LayerSource::Recipe { .. } | LayerSource::Chain { .. })
    });
    recipes.map(|layer| layer.fetch_bytes).fold(0, u64::saturating_add)
}
