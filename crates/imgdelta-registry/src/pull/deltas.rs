//! The deltas of a pull: found as referrers of the image, chosen by their manifests. Deltas between
//! the bases and the image count with those that they lead to.
//!
//! Believes an artifact's annotations only as far as downloading its front, which is checked. Bounds
//! the bytes of the search.

use super::{
    cost::CostModel,
    layers::{
        FailedSources, KnownDeltas, LayerSource, PullDelta, PullLayer, choose_sources, fetch_bytes,
        recipes_bytes, total_cost,
    },
    links::{self, LinkLimits},
    local::LocalContent,
    options::PullOptions,
    source::PullSource,
    ways::{ChainStep, StreamWays},
};
use crate::{
    artifact::{ARTIFACT_TYPE, Artifact, BASE_ANNOTATION, Front, MAX_FRONT_BYTES},
    error::Result,
    recipes,
    referrers::{ListLimit, Referrer, ReferrerList},
    repository::ManifestReference,
};
use imgdelta_core::{Error, Note, sort::SharedSort};
use imgdelta_image::{image::Layer, store::Descriptor};
use std::{cmp::Reverse, collections::HashSet};

/// The deltas of a pull, with the bytes of the search.
#[derive(Debug, Default)]
pub(super) struct DeltaSelection {
    pub deltas: Vec<PullDelta>,
    /// Recipes of the image's deltas, and of deltas between the bases and the image.
    pub steps: Vec<ChainStep>,
    /// All deltas of the image that were read.
    pub candidates: Vec<Artifact>,
    /// Bytes of the list, of manifests and of fronts, those of rejected deltas included.
    pub search_bytes: u64,
}

/// Chooses the deltas that save more than they cost, the best one first. Each further one must save
/// more in addition. `plain` are the layers of a pull without deltas.
pub(super) fn choose_deltas(
    source: &PullSource,
    local: &LocalContent,
    plain: &[PullLayer],
    costs: CostModel,
    options: &PullOptions,
    notes: &mut Vec<Note>,
) -> Result<DeltaSelection> {
    let plain_bytes = fetch_bytes(plain);
    let Candidates { mut artifacts, bytes, rest_bytes } =
        candidates(source, local, plain_bytes, notes)?;
    let mut selection = DeltaSelection {
        candidates: artifacts.clone(),
        search_bytes: bytes,
        ..DeltaSelection::default()
    };
    let mut layers = plain.to_vec();
    let failed = FailedSources::default();
    let depth = options.recipes_in_sequence();
    selection.steps = artifacts.iter().flat_map(links::steps_of).collect();
    let mut ways = StreamWays::find(&local.streams, &selection.steps, &failed.recipes, depth);
    if options.chain > 1 && !artifacts.is_empty() {
        let estimate =
            Estimate { source, plain_bytes, selection: &selection, layers: &layers, ways: &ways };
        let estimates = artifacts.iter().filter_map(|artifact| estimate.fetch_bytes(artifact));
        let most_bytes = estimates.min().unwrap_or(plain_bytes);
        let limits = LinkLimits {
            deltas: options.chain,
            requests: options.chain_requests,
            bytes: rest_bytes,
        };
        let found =
            links::find(source, local, &artifacts, &failed.recipes, most_bytes, limits, notes);
        selection.search_bytes += found.bytes;
        selection.steps = found.steps;
        ways = StreamWays::find(&local.streams, &selection.steps, &failed.recipes, depth);
    }
    for _ in 0..MAX_FRONTS {
        let estimate =
            Estimate { source, plain_bytes, selection: &selection, layers: &layers, ways: &ways };
        let estimates = artifacts.iter().enumerate().filter_map(|(at, artifact)| {
            Some((estimate.fetch_bytes(artifact)?, artifact.descriptor.digest, at))
        });
        let Some((_, _, best)) = estimates.min() else { break };
        let artifact = artifacts.swap_remove(best);
        selection.search_bytes += artifact.front.size_bytes;
        let front = match fetch_front(source, &artifact) {
            Ok(front) => front,
            Err(error) => {
                notes.push(skipped(source, &error));
                continue;
            }
        };
        selection.deltas.push(PullDelta { artifact, front });
        let (deltas, steps) = (&selection.deltas, &selection.steps);
        let known = KnownDeltas { deltas, steps, failed: &failed, depth };
        let choose = |costs| choose_sources(&source.image, local, known, costs);
        let with = choose(costs);
        // The front is already here; only further downloads count. All bytes for deltas together
        // stay below a plain pull, in case none of the deltas works.
        let is_bounded = selection.search_bytes.saturating_add(recipes_bytes(&with)) < plain_bytes;
        if is_bounded && total_cost(&with) < total_cost(&layers) {
            layers = with;
        } else {
            let by_bytes = choose(CostModel::BYTES);
            if is_bounded && fetch_bytes(&by_bytes) < fetch_bytes(&layers) {
                let what = "a delta needs fewer bytes and more time on this link";
                notes.push(Note::new(source.repository.place(), what));
            }
            selection.deltas.pop();
        }
    }
    Ok(selection)
}

/// Artifacts that refer to the image, with the bytes of their list and manifests.
struct Candidates {
    artifacts: Vec<Artifact>,
    bytes: u64,
    /// Bytes that a search for further deltas may take.
    rest_bytes: u64,
}

/// Downloads the list of artifacts that refer to the image, and their manifests.
fn candidates(
    source: &PullSource,
    local: &LocalContent,
    plain_bytes: u64,
    notes: &mut Vec<Note>,
) -> Result<Candidates> {
    let most_bytes = plain_bytes / SEARCH_SHARE;
    let limit = ListLimit { pages: MAX_PAGES, bytes: most_bytes.min(MAX_LIST_BYTES) };
    let (repository, subject) = (source.repository.clone(), source.image.digest);
    let list =
        async move { repository.referrers_within(&subject, Some(ARTIFACT_TYPE), limit).await };
    let ReferrerList { entries: mut referrers, bytes } = source.network.wait(list)?;
    if local.streams.is_empty() {
        // Without local layers only deltas help that need none.
        referrers.retain(|referrer| !referrer.annotations.contains_key(BASE_ANNOTATION));
    }
    // Those for a local base first; there may be many.
    referrers.shared_sort_by_key(|referrer| Reverse(has_local_base(referrer, local)));
    let mut artifacts = Vec::new();
    let mut rest_bytes = most_bytes.saturating_sub(bytes);
    for referrer in referrers.into_iter().take(MAX_CANDIDATES) {
        let size = referrer.descriptor.size_bytes;
        let Some(left) = rest_bytes.checked_sub(size) else { continue };
        rest_bytes = left;
        let reference = ManifestReference::Digest(referrer.descriptor.digest);
        let repository = source.repository.clone();
        let outcome = source
            .network
            .wait(async move { repository.manifest_within(&reference, size).await })
            .map_err(Error::from)
            .and_then(|manifest| Artifact::parse(&manifest, &source.repository.place()));
        match outcome {
            Ok(artifact) => artifacts.push(artifact),
            Err(error) => notes.push(skipped(source, &error)),
        }
    }
    Ok(Candidates { artifacts, bytes: most_bytes - rest_bytes, rest_bytes })
}

fn has_local_base(referrer: &Referrer, local: &LocalContent) -> bool {
    let base = referrer.annotations.get(BASE_ANNOTATION).and_then(|base| base.parse().ok());
    base.is_some_and(|base| local.manifests.contains(&base))
}

fn skipped(source: &PullSource, error: &Error) -> Note {
    Note::new(source.repository.place(), format!("{error}; this delta is skipped"))
}

/// The state of a selection, to estimate the gain of one more delta.
struct Estimate<'a> {
    source: &'a PullSource,
    plain_bytes: u64,
    selection: &'a DeltaSelection,
    /// The layers with the deltas of the selection.
    layers: &'a [PullLayer],
    ways: &'a StreamWays,
}

impl Estimate<'_> {
    /// Returns the bytes of a pull with an artifact whose annotations are right, its front included.
    /// Returns `None` if it saves nothing, or risks more than the bound.
    fn fetch_bytes(&self, artifact: &Artifact) -> Option<u64> {
        let front_bytes = artifact.front.size_bytes;
        let promised_bytes = self.promised_bytes(artifact);
        let total = promised_bytes.checked_add(front_bytes)?;
        // The search plus recipes, promised or chosen, must stay below a plain pull.
        let recipes_bytes = promised_bytes.max(recipes_bytes(self.layers));
        let risk =
            recipes_bytes.checked_add(front_bytes)?.checked_add(self.selection.search_bytes)?;
        let is_wanted = front_bytes <= MAX_FRONT_BYTES
            && total < fetch_bytes(self.layers)
            && risk < self.plain_bytes;
        is_wanted.then_some(total)
    }

    /// Returns the bytes of all layers with an artifact in addition, by its manifest: the best case.
    fn promised_bytes(&self, artifact: &Artifact) -> u64 {
        let (mut fetched, mut bytes) = (HashSet::new(), 0_u64);
        for (layer, planned) in self.source.image.layers.iter().zip(self.layers) {
            let whole = [layer.descriptor.clone()];
            let current = match planned.source {
                LayerSource::Destination | LayerSource::Base | LayerSource::BaseStream { .. } => {
                    continue;
                }
                LayerSource::Recipe { delta, recipe } => {
                    vec![&self.selection.deltas[delta].artifact.recipes[recipe].blob]
                }
                LayerSource::Chain { .. } => {
                    planned.chain.iter().map(|step| &step.recipe).collect()
                }
                LayerSource::Registry => whole.iter().collect(),
            };
            let sum = |blobs: &[&Descriptor]| -> u64 {
                blobs.iter().map(|blob| blob.size_bytes).fold(0, u64::saturating_add)
            };
            let ways = self.ways_with(artifact, layer);
            let cheapest = ways.into_iter().min_by_key(|way| sum(way));
            let cheapest = cheapest.filter(|way| sum(way) < sum(&current)).unwrap_or(current);
            for blob in cheapest {
                if fetched.insert(blob.digest) {
                    bytes = bytes.saturating_add(blob.size_bytes);
                }
            }
        }
        bytes
    }

    /// Returns the recipes of each way to a layer with an artifact, by its manifest.
    fn ways_with<'a>(&'a self, artifact: &'a Artifact, layer: &Layer) -> Vec<Vec<&'a Descriptor>> {
        let steps = &self.selection.steps;
        let mut found = Vec::new();
        // Without the annotation, the front may lack the way from the stream to the blob.
        let compresses = artifact.compresses.as_ref();
        if compresses.is_some_and(|layers| layers.contains(layer.ordinal))
            && let Some(way) = self.ways.chain_to(steps, &layer.diff_id, &self.source.image.digest)
        {
            found.push(way.steps.into_iter().map(|step| &steps[step].recipe).collect());
        }
        for recipe in &artifact.recipes {
            if recipe.target == Some(layer.diff_id)
                && let Some(way) = self.ways.to_all(steps, &recipe.sources)
            {
                let before = way.steps.into_iter().map(|step| &steps[step].recipe);
                found.push(before.chain([&recipe.blob]).collect());
            }
        }
        found
    }
}

/// Downloads a front, and compares it with the image and the artifact.
fn fetch_front(source: &PullSource, artifact: &Artifact) -> imgdelta_core::Result<Front> {
    let (repository, wanted) = (source.repository.clone(), artifact.clone());
    let front = source.network.wait(async move { recipes::front(&repository, &wanted).await })?;
    let place = recipes::place(&source.repository, artifact);
    let (image, outline) = (&source.image, &front.outline);
    if outline.manifest != image.manifest || outline.config != image.config_bytes {
        return Err(Error::bad_input(place, "it makes another image than its subject"));
    }
    if outline.layers.len() != image.layers.len() {
        return Err(Error::bad_input(place, "its number of layers differs from the image's"));
    }
    Ok(front)
}

/// List and manifests may take half of a plain pull.
const SEARCH_SHARE: u64 = 2;
/// Pages and bytes of the list: far more than a few dozen deltas take.
const MAX_PAGES: u64 = 20;
const MAX_LIST_BYTES: u64 = 4 << 20;
/// An image has deltas from its last versions, a few dozen at most.
const MAX_CANDIDATES: usize = 32;
/// The layers of an image come from a base or two, and manifests nearly always keep their promises.
const MAX_FRONTS: usize = 3;
