//! The source of each layer: the cheapest of local content, deltas and the registry.
//!
//! Downloads nothing. Recipes are checked when they are applied.

use super::{cost::CostModel, local::LocalContent};
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
    /// Its blob is downloaded from the registry.
    Registry,
}

impl LayerSource {
    /// Returns the ordinal of the delta that it uses, if any.
    pub fn delta(self) -> Option<usize> {
        match self {
            Self::BaseStream { delta } | Self::Recipe { delta, .. } => Some(delta),
            Self::Destination | Self::Base | Self::Registry => None,
        }
    }

    /// Returns its name in listings and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Destination => "there",
            Self::Base => "base",
            Self::BaseStream { .. } => "remade",
            Self::Recipe { .. } => "recipe",
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
    /// Bytes that are downloaded for it; 0 if another layer needs the same blob.
    pub fetch_bytes: u64,
    /// Its cost, in the unit of this pull.
    pub(super) cost: u64,
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

/// Pairs of a layer and a delta that failed, by their ordinals.
pub(super) type FailedPairs = HashSet<(usize, usize)>;

/// Returns the cheapest source of each layer.
pub(super) fn choose_sources(
    image: &Image,
    local: &LocalContent,
    deltas: &[PullDelta],
    failed: &FailedPairs,
    costs: CostModel,
) -> Vec<PullLayer> {
    let mut fetched = HashSet::new();
    let layers = image.layers.iter().map(|layer| {
        let (source, wanted, cost) = cheapest(layer, local, deltas, failed, costs, &fetched);
        let is_new = wanted.is_some_and(|blob| fetched.insert(blob.digest));
        let fetch_bytes = wanted.filter(|_| is_new).map_or(0, |blob| blob.size_bytes);
        let (blob, diff_id) = (layer.descriptor.clone(), layer.diff_id);
        PullLayer { blob, diff_id, source, fetch_bytes, cost }
    });
    layers.collect()
}

/// Returns the cheapest source of a layer, the blob that it needs from the registry, and its cost.
/// Blobs that were `fetched` for other layers are not downloaded again.
fn cheapest<'a>(
    layer: &'a Layer,
    local: &LocalContent,
    deltas: &'a [PullDelta],
    failed: &FailedPairs,
    costs: CostModel,
    fetched: &HashSet<BlobDigest>,
) -> (LayerSource, Option<&'a Descriptor>, u64) {
    let whole = &layer.descriptor;
    if local.destination.get(layer.ordinal) == Some(&true) {
        return (LayerSource::Destination, None, 0);
    }
    let has_stream = local.streams.contains(&layer.diff_id);
    let is_in_base =
        if local.takes_streams { has_stream } else { local.blobs.contains(&whole.digest) };
    if is_in_base {
        return (LayerSource::Base, None, 0);
    }
    let download = |blob: &Descriptor| {
        costs.download(if fetched.contains(&blob.digest) { 0 } else { blob.size_bytes })
    };
    let mut cheapest = (LayerSource::Registry, Some(whole), download(whole));
    for (delta, PullDelta { artifact, front }) in deltas.iter().enumerate() {
        let outline = &front.outline.layers[layer.ordinal];
        let LayerOutline { body, envelope, .. } = outline;
        let is_made = local.takes_streams || envelope.makes_blob();
        if !is_made || failed.contains(&(layer.ordinal, delta)) {
            continue;
        }
        let work = if local.takes_streams {
            costs.work(&LayerOutline { envelope: Envelope::Stored, ..outline.clone() })
        } else {
            costs.work(outline)
        };
        // The way from the stream to the blob holds for the stream of any base.
        if has_stream {
            if work < cheapest.2 {
                cheapest = (LayerSource::BaseStream { delta }, None, work);
            }
            continue;
        }
        let LayerBody::Recipe(recipe) = *body else { continue };
        let recipe = recipe as usize;
        let RecipeBlob { blob, sources, .. } = &artifact.recipes[recipe];
        let has_sources = sources.iter().all(|source| local.streams.contains(source));
        let all = work.saturating_add(download(blob));
        if has_sources && all < cheapest.2 {
            cheapest = (LayerSource::Recipe { delta, recipe }, Some(blob), all);
        }
    }
    cheapest
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
    let recipes = layers.iter().filter(|layer| matches!(layer.source, LayerSource::Recipe { .. }));
    recipes.map(|layer| layer.fetch_bytes).fold(0, u64::saturating_add)
}
