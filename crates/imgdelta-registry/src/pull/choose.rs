//! Which way each layer comes: by bytes, from what is here and what deltas offer.
//!
//! Believes an artifact's annotations as far as fetching its front, which is checked; recipes are
//! checked by whoever applies them. Bounds what is fetched for looking.

use super::{Chosen, Here, PlannedLayer, Source, Way};
use crate::{
    artifact::{ARTIFACT_TYPE, Artifact, BASE_ANNOTATION, Front, MOST_FRONT_BYTES},
    failure::Result,
    recipes,
    referrers::Referrer,
    repository::Named,
};
use imgdelta::{
    Error, Note,
    delta::{Body, Envelope, LayerOutline},
    image::{Image, Layer},
};
use std::{cmp::Reverse, collections::HashSet};

/// Returns the cheapest way for each layer.
pub(super) fn ways(image: &Image, here: &Here, chosen: Option<&Chosen>) -> Vec<PlannedLayer> {
    let mut fetched = HashSet::new();
    let layers = image.layers.iter().map(|layer| {
        let blob = layer.descriptor.clone();
        let way = way(layer, here, chosen);
        let (digest, bytes) = match (way, chosen) {
            (Way::Recipe(ordinal), Some(chosen)) => {
                let blob = &chosen.artifact.recipes[ordinal].blob;
                (blob.digest, blob.size_bytes)
            }
            (Way::Registry, _) => (blob.digest, blob.size_bytes),
            _ => (blob.digest, 0),
        };
        let fetch_bytes = if bytes > 0 && fetched.insert(digest) { bytes } else { 0 };
        PlannedLayer { blob, diff_id: layer.diff_id, way, fetch_bytes }
    });
    layers.collect()
}

fn way(layer: &Layer, here: &Here, chosen: Option<&Chosen>) -> Way {
    let digest = layer.descriptor.digest;
    if here.there.contains(&digest) {
        return Way::There;
    }
    if here.blobs.contains(&digest) {
        return Way::Base;
    }
    let Some(Chosen { artifact, front }) = chosen else { return Way::Registry };
    let LayerOutline { body, envelope, .. } = &front.outline.layers[layer.ordinal];
    if !matches!(envelope, Envelope::Stored | Envelope::Deflate(_)) {
        return Way::Registry;
    }
    match body {
        Body::Kept if here.streams.contains(&layer.diff_id) => Way::Remade,
        Body::Recipe(ordinal) => {
            let ordinal = *ordinal as usize;
            let recipe = &artifact.recipes[ordinal];
            let has_sources = recipe.sources.iter().all(|source| here.streams.contains(source));
            let pays = recipe.blob.size_bytes < layer.descriptor.size_bytes;
            if has_sources && pays { Way::Recipe(ordinal) } else { Way::Registry }
        }
        _ => Way::Registry,
    }
}

/// Returns what is fetched for all layers.
pub(super) fn fetch_bytes(layers: &[PlannedLayer]) -> u64 {
    layers.iter().map(|layer| layer.fetch_bytes).fold(0, u64::saturating_add)
}

/// Finds the delta that saves most, if any saves anything.
pub(super) fn delta(
    source: &Source,
    here: &Here,
    plain_bytes: u64,
    notes: &mut Vec<Note>,
) -> Result<Option<Chosen>> {
    let Source { repository, handle, image, .. } = source;
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
            Ok(artifact) => {
                let bytes = estimate(&artifact, image, here);
                if bytes < plain_bytes && artifact.front.size_bytes <= MOST_FRONT_BYTES {
                    candidates.push((bytes, artifact));
                }
            }
            Err(error) => {
                notes.push(Note::new(repository.place(), format!("{error}; passed over")));
            }
        }
    }
    candidates.sort_by_key(|(bytes, artifact)| (*bytes, artifact.descriptor.digest));
    let mut spent_bytes = 0;
    for (_, artifact) in candidates.into_iter().take(MOST_FRONTS) {
        let front = match front(source, &artifact) {
            Ok(front) => front,
            Err(error) => {
                notes.push(Note::new(repository.place(), format!("{error}; passed over")));
                continue;
            }
        };
        let chosen = Chosen { artifact, front };
        let layers_bytes = fetch_bytes(&ways(image, here, Some(&chosen)));
        spent_bytes += chosen.artifact.front.size_bytes;
        // The front is here by now: what counts is what is still to come.
        if layers_bytes < plain_bytes {
            return Ok(Some(chosen));
        }
        if spent_bytes >= plain_bytes {
            break;
        }
    }
    Ok(None)
}

fn is_for(referrer: &Referrer, here: &Here) -> bool {
    let base = referrer.annotations.get(BASE_ANNOTATION).and_then(|base| base.parse().ok());
    base.is_some_and(|base| here.manifests.contains(&base))
}

/// What a pull by an artifact fetches, as far as its manifest tells: at best.
fn estimate(artifact: &Artifact, image: &Image, here: &Here) -> u64 {
    let mut fetched = HashSet::new();
    let mut bytes = artifact.front.size_bytes;
    for layer in &image.layers {
        let blob = &layer.descriptor;
        let is_here = here.there.contains(&blob.digest)
            || here.blobs.contains(&blob.digest)
            || here.streams.contains(&layer.diff_id);
        if is_here {
            continue;
        }
        let recipes = artifact.recipes.iter().filter(|recipe| {
            recipe.target == Some(layer.diff_id)
                && recipe.sources.iter().all(|source| here.streams.contains(source))
        });
        let recipe = recipes.map(|recipe| &recipe.blob).min_by_key(|blob| blob.size_bytes);
        let cheapest = recipe.filter(|recipe| recipe.size_bytes < blob.size_bytes);
        let cheapest = cheapest.unwrap_or(blob);
        if fetched.insert(cheapest.digest) {
            bytes = bytes.saturating_add(cheapest.size_bytes);
        }
    }
    bytes
}

/// Fetches a front, and compares what it says with the image and the artifact.
fn front(source: &Source, artifact: &Artifact) -> imgdelta::Result<Front> {
    let Source { repository, handle, image, .. } = source;
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
/// The first is nearly always what its manifest promised.
const MOST_FRONTS: usize = 3;
