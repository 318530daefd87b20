//! Which way each layer comes: the cheapest, from what is here and what deltas offer.
//!
//! Believes an artifact's annotations as far as fetching its front, which is checked; recipes are
//! checked by whoever applies them. Bounds what is fetched for looking.

use super::{Broken, Chosen, Here, PlannedLayer, PullSource, Way, price::Price};
use crate::{
    artifact::{ARTIFACT_TYPE, Artifact, BASE_ANNOTATION, Front, MOST_FRONT_BYTES, RecipeBlob},
    failure::Result,
    recipes,
    referrers::Referrer,
    repository::Named,
};
use imgdelta_apply::delta::{Body, Envelope, LayerOutline};
use imgdelta_core::{BlobDigest, Error, Note};
use imgdelta_image::{
    image::{Image, Layer},
    store::Descriptor,
};
use std::{cmp::Reverse, collections::HashSet};

/// Returns the cheapest way for each layer.
pub(super) fn ways(
    image: &Image,
    here: &Here,
    deltas: &[Chosen],
    broken: &Broken,
    price: Price,
) -> Vec<PlannedLayer> {
    let mut fetched = HashSet::new();
    let layers = image.layers.iter().map(|layer| {
        let (way, wanted, price) = way(layer, here, deltas, broken, price, &fetched);
        let is_new = wanted.is_some_and(|blob| fetched.insert(blob.digest));
        let fetch_bytes = wanted.filter(|_| is_new).map_or(0, |blob| blob.size_bytes);
        let (blob, diff_id) = (layer.descriptor.clone(), layer.diff_id);
        PlannedLayer { blob, diff_id, way, fetch_bytes, price }
    });
    layers.collect()
}

/// Returns the cheapest way for a layer, the blob that it needs from the registry, and what that
/// costs. What was `fetched` for other layers is not fetched again.
fn way<'a>(
    layer: &'a Layer,
    here: &Here,
    deltas: &'a [Chosen],
    broken: &Broken,
    price: Price,
    fetched: &HashSet<BlobDigest>,
) -> (Way, Option<&'a Descriptor>, u64) {
    let whole = &layer.descriptor;
    if here.there.contains(&whole.digest) {
        return (Way::There, None, 0);
    }
    if here.blobs.contains(&whole.digest) {
        return (Way::Base, None, 0);
    }
    let fetching = |blob: &Descriptor| {
        price.of_fetching(if fetched.contains(&blob.digest) { 0 } else { blob.size_bytes })
    };
    let mut cheapest = (Way::Registry, Some(whole), fetching(whole));
    for (delta, Chosen { artifact, front }) in deltas.iter().enumerate() {
        let outline = &front.outline.layers[layer.ordinal];
        let LayerOutline { body, envelope, .. } = outline;
        let is_made = !matches!(envelope, Envelope::Unmade | Envelope::Base);
        if !is_made || broken.contains(&(layer.ordinal, delta)) {
            continue;
        }
        let making = price.of_making(outline);
        // How the blob is made of the stream holds wherever the stream comes from.
        if here.streams.contains(&layer.diff_id) {
            if making < cheapest.2 {
                cheapest = (Way::Remade { delta }, None, making);
            }
            continue;
        }
        let Body::Recipe(recipe) = *body else { continue };
        let recipe = recipe as usize;
        let RecipeBlob { blob, sources, .. } = &artifact.recipes[recipe];
        let has_sources = sources.iter().all(|source| here.streams.contains(source));
        let all = making.saturating_add(fetching(blob));
        if has_sources && all < cheapest.2 {
            cheapest = (Way::Recipe { delta, recipe }, Some(blob), all);
        }
    }
    cheapest
}

/// Returns what is fetched for all layers.
pub(super) fn fetch_bytes(layers: &[PlannedLayer]) -> u64 {
    layers.iter().map(|layer| layer.fetch_bytes).fold(0, u64::saturating_add)
}

fn total_price(layers: &[PlannedLayer]) -> u64 {
    layers.iter().map(|layer| layer.price).fold(0, u64::saturating_add)
}

fn recipes_bytes(layers: &[PlannedLayer]) -> u64 {
    let recipes = layers.iter().filter(|layer| matches!(layer.way, Way::Recipe { .. }));
    recipes.map(|layer| layer.fetch_bytes).fold(0, u64::saturating_add)
}

/// The deltas to pull by, and what was fetched to find them.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub deltas: Vec<Chosen>,
    /// Bytes of fronts, those that did not help too.
    pub fronts_bytes: u64,
}

/// Finds the deltas that save more than they cost: first the one that saves most, then the one that
/// saves most beside it, and so on. `plain` are the layers without any.
pub(super) fn deltas(
    source: &PullSource,
    here: &Here,
    plain: &[PlannedLayer],
    price: Price,
    notes: &mut Vec<Note>,
) -> Result<Found> {
    let plain_bytes = fetch_bytes(plain);
    let mut candidates = candidates(source, here, plain_bytes, notes)?;
    let (mut found, mut layers) = (Found::default(), plain.to_vec());
    for _ in 0..MOST_FRONTS {
        let looked = Looked { source, here, plain_bytes, found: &found, layers: &layers };
        let costs = candidates.iter().enumerate().filter_map(|(at, artifact)| {
            Some((looked.cost(artifact)?, artifact.descriptor.digest, at))
        });
        let Some((_, _, best)) = costs.min() else { break };
        let artifact = candidates.swap_remove(best);
        found.fronts_bytes += artifact.front.size_bytes;
        let front = match front(source, &artifact) {
            Ok(front) => front,
            Err(error) => {
                let place = source.repository.place();
                notes.push(Note::new(place, format!("{error}; passed over")));
                continue;
            }
        };
        found.deltas.push(Chosen { artifact, front });
        let with = ways(&source.image, here, &found.deltas, &Broken::new(), price);
        // The front is here by now: what counts is what is still to come. But what deltas cost in
        // all stays below a plain pull, should none of them be any good.
        let is_bounded = found.fronts_bytes.saturating_add(recipes_bytes(&with)) < plain_bytes;
        if is_bounded && total_price(&with) < total_price(&layers) {
            layers = with;
        } else {
            let by_bytes = ways(&source.image, here, &found.deltas, &Broken::new(), Price(None));
            if is_bounded && fetch_bytes(&by_bytes) < fetch_bytes(&layers) {
                let what = "a delta would fetch less, but not take less time on this link";
                notes.push(Note::new(source.repository.place(), what));
            }
            found.deltas.pop();
        }
    }
    Ok(found)
}

/// Reads the manifests of artifacts beside the image.
fn candidates(
    source: &PullSource,
    here: &Here,
    plain_bytes: u64,
    notes: &mut Vec<Note>,
) -> Result<Vec<Artifact>> {
    let PullSource { repository, handle, image, .. } = source;
    let mut found = handle.block_on(repository.referrers(&image.digest, ARTIFACT_TYPE))?;
    // Those made against what is here first; there may be many.
    found.sort_by_key(|referrer| Reverse(is_for(referrer, here)));
    let mut candidates = Vec::new();
    let mut rest_bytes = (plain_bytes / LOOKING_SHARE).max(LEAST_LOOKING_BYTES);
    for referrer in found.into_iter().take(MOST_LOOKED_AT) {
        let size = referrer.descriptor.size_bytes;
        let Some(left) = rest_bytes.checked_sub(size) else { continue };
        rest_bytes = left;
        let named = Named::Digest(referrer.descriptor.digest);
        let read = handle.block_on(repository.manifest_within(&named, size));
        let read = read.map_err(Error::from);
        match read.and_then(|manifest| Artifact::parse(&manifest, &repository.place())) {
            Ok(artifact) => candidates.push(artifact),
            Err(error) => {
                notes.push(Note::new(repository.place(), format!("{error}; passed over")));
            }
        }
    }
    Ok(candidates)
}

fn is_for(referrer: &Referrer, here: &Here) -> bool {
    let base = referrer.annotations.get(BASE_ANNOTATION).and_then(|base| base.parse().ok());
    base.is_some_and(|base| here.manifests.contains(&base))
}

/// What is known when a delta is looked at.
struct Looked<'a> {
    source: &'a PullSource,
    here: &'a Here,
    plain_bytes: u64,
    found: &'a Found,
    /// The layers by what was found.
    layers: &'a [PlannedLayer],
}

impl Looked<'_> {
    /// Returns what is fetched if an artifact keeps its promises, its front included; nothing if
    /// that is no gain, or more than may be lost.
    fn cost(&self, artifact: &Artifact) -> Option<u64> {
        let front_bytes = artifact.front.size_bytes;
        let promised_bytes = self.promised_bytes(artifact);
        let cost = promised_bytes.checked_add(front_bytes)?;
        // Neither those that are promised nor those found so far may cost too much with its front.
        let recipes_bytes = promised_bytes.max(recipes_bytes(self.layers));
        let most = recipes_bytes.checked_add(front_bytes)?.checked_add(self.found.fronts_bytes)?;
        let is_wanted = front_bytes <= MOST_FRONT_BYTES
            && cost < fetch_bytes(self.layers)
            && most < self.plain_bytes;
        is_wanted.then_some(cost)
    }

    /// What all layers fetch with an artifact besides, as far as its manifest tells: at best.
    fn promised_bytes(&self, artifact: &Artifact) -> u64 {
        let (mut fetched, mut bytes) = (HashSet::new(), 0_u64);
        for (layer, planned) in self.source.image.layers.iter().zip(self.layers) {
            let now = match planned.way {
                Way::There | Way::Base | Way::Remade { .. } => continue,
                Way::Recipe { delta, recipe } => {
                    &self.found.deltas[delta].artifact.recipes[recipe].blob
                }
                Way::Registry => &layer.descriptor,
            };
            // How its blob is made stands in any front, or in none.
            if self.found.deltas.is_empty() && self.here.streams.contains(&layer.diff_id) {
                continue;
            }
            let recipes = artifact.recipes.iter().filter(|recipe| {
                recipe.target == Some(layer.diff_id)
                    && recipe.sources.iter().all(|source| self.here.streams.contains(source))
            });
            let recipe = recipes.map(|recipe| &recipe.blob).min_by_key(|blob| blob.size_bytes);
            let cheapest = recipe.filter(|recipe| recipe.size_bytes < now.size_bytes);
            let cheapest = cheapest.unwrap_or(now);
            if fetched.insert(cheapest.digest) {
                bytes = bytes.saturating_add(cheapest.size_bytes);
            }
        }
        bytes
    }
}

/// Fetches a front, and compares what it says with the image and the artifact.
fn front(source: &PullSource, artifact: &Artifact) -> imgdelta_core::Result<Front> {
    let PullSource { repository, handle, image, .. } = source;
    let front = handle.block_on(recipes::front(repository, artifact))?;
    let wrong = |what: &str| Err(Error::bad_input(recipes::place(repository, artifact), what));
    let outline = &front.outline;
    if outline.manifest != image.manifest || outline.config != image.config_bytes {
        return wrong("it makes another image than the one it lies beside");
    }
    if outline.layers.len() != image.layers.len() {
        return wrong("its layers are not as many as the image's");
    }
    Ok(front)
}

/// What may be spent on looking: a quarter of the plain pull, or what a few manifests take.
const LOOKING_SHARE: u64 = 4;
const LEAST_LOOKING_BYTES: u64 = 64 << 10;
/// Beside an image there are deltas from its last versions, some dozens at most.
const MOST_LOOKED_AT: usize = 32;
/// Layers of an image come from a base or two, and fronts are nearly always what manifests promised.
const MOST_FRONTS: usize = 3;
