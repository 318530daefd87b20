//! Deltas between the bases and the image: found as referrers of the bases that the deltas name.
//!
//! Follows the cheapest deltas first: by the recipes of manifests that were read, and by the length
//! that a list claims for the last delta. A delta is dropped when the recipes after it cost as much
//! as a way that is known. Each image is listed once, and requests and bytes have bounds, so that a registry with a
//! huge or circular graph costs little; the test `a_hostile_graph_costs_few_requests` holds this.
//! Downloads lists and manifests, and no recipe.

use super::{fallback::is_delta_error, local::LocalContent, source::PullSource, ways::ChainStep};
use crate::{
    artifact::{ARTIFACT_TYPE, Artifact, BASE_ANNOTATION, BYTES_ANNOTATION, RecipeBlob},
    referrers::{ListLimit, Referrer},
    repository::ManifestReference,
};
use imgdelta_core::{BlobDigest, DiffId, Error, Note, Result, sort::SharedSort};
use imgdelta_image::store::Descriptor;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    sync::Arc,
};

/// Bounds of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkLimits {
    /// The most deltas in sequence, those of the image included.
    pub deltas: usize,
    pub requests: usize,
    pub bytes: u64,
}

/// Recipes of deltas between the bases and the image, with the bytes of the search.
#[derive(Debug, Default)]
pub(super) struct FoundLinks {
    pub steps: Vec<ChainStep>,
    pub bytes: u64,
}

/// Searches for deltas that lead to the bases of the image's deltas, `direct`. Chains that need more
/// than `most_bytes`, or a recipe that failed, are not followed.
pub(super) fn find(
    source: &PullSource,
    local: &LocalContent,
    direct: &[Artifact],
    failed: &HashSet<BlobDigest>,
    most_bytes: u64,
    limits: LinkLimits,
    notes: &mut Vec<Note>,
) -> FoundLinks {
    let edges = direct.iter().map(|artifact| LinkEdge::of_image(source, local, artifact));
    let mut search = LinkSearch {
        source,
        local,
        failed,
        limits,
        most_bytes,
        edges: edges.collect(),
        bytes: 0,
        requests: 0,
    };
    if let Err(error) = search.run() {
        let what = format!("cannot search for chains of deltas: {error}");
        notes.push(Note::new(source.repository.place(), what));
    }
    let artifacts = search.edges.iter().filter_map(|edge| edge.artifact.as_ref());
    let mut known = HashSet::new();
    let steps = artifacts.flat_map(steps_of);
    let steps = steps.filter(|step| known.insert((step.recipe.digest, step.target)));
    FoundLinks { steps: steps.take(MAX_STEPS).collect(), bytes: search.bytes }
}

/// Returns the recipes of a delta whose annotations name their streams.
pub(super) fn steps_of(artifact: &Artifact) -> Vec<ChainStep> {
    let recipes = artifact.recipes.iter().filter_map(|recipe| {
        Some(ChainStep {
            recipe: recipe.blob.clone(),
            target: recipe.target?,
            sources: recipe.sources.clone(),
            delta: artifact.descriptor.digest,
            image: artifact.subject?,
            base: artifact.base,
        })
    });
    recipes.collect()
}

/// A delta on the way from a base to the image that is pulled.
#[derive(Debug)]
struct LinkEdge {
    descriptor: Descriptor,
    base: Option<BlobDigest>,
    /// The number of deltas from its base to the image.
    deltas: usize,
    /// Bytes of all deltas from its base to the image: recipes of those that were read, and the length
    /// of this one as its list claims it.
    claimed_bytes: u64,
    /// Bytes of the recipes of the deltas after this one, and of layers that come whole.
    bytes_after: u64,
    /// Streams of the image that it makes which the deltas after it read, without local ones.
    wanted: Arc<HashSet<DiffId>>,
    /// Its manifest, once it is read.
    artifact: Option<Artifact>,
}

impl LinkEdge {
    /// Returns a delta of the image itself, which was read already.
    fn of_image(source: &PullSource, local: &LocalContent, artifact: &Artifact) -> Self {
        let (mut wanted, mut carried_bytes) = (HashSet::new(), 0_u64);
        for layer in &source.image.layers {
            if local.streams.contains(&layer.diff_id) {
                continue;
            }
            // No chain spares a layer that the delta does not make either.
            if artifact.carried.iter().any(|blob| blob.digest == layer.descriptor.digest) {
                carried_bytes = carried_bytes.saturating_add(layer.descriptor.size_bytes);
            } else {
                wanted.insert(layer.diff_id);
            }
        }
        let mut edge = Self {
            descriptor: artifact.descriptor.clone(),
            base: artifact.base,
            deltas: 1,
            claimed_bytes: 0,
            bytes_after: carried_bytes,
            wanted: Arc::new(wanted),
            artifact: None,
        };
        edge.claimed_bytes = edge
            .read_recipes(artifact)
            .map(|recipe| recipe.blob.size_bytes)
            .fold(carried_bytes, u64::saturating_add);
        edge.artifact = Some(artifact.clone());
        edge
    }

    /// Returns the recipes of its manifest that make wanted streams.
    fn read_recipes<'a>(&self, artifact: &'a Artifact) -> impl Iterator<Item = &'a RecipeBlob> {
        let wanted = Arc::clone(&self.wanted);
        let is_wanted = move |target: &DiffId| wanted.contains(target);
        artifact.recipes.iter().filter(move |recipe| recipe.target.as_ref().is_some_and(&is_wanted))
    }
}

/// The state of a search.
struct LinkSearch<'a> {
    source: &'a PullSource,
    local: &'a LocalContent,
    failed: &'a HashSet<BlobDigest>,
    limits: LinkLimits,
    most_bytes: u64,
    edges: Vec<LinkEdge>,
    bytes: u64,
    requests: usize,
}

impl LinkSearch<'_> {
    fn run(&mut self) -> Result<()> {
        let mut listed = HashSet::from([self.source.image.digest]);
        let mut open: BinaryHeap<_> = (0..self.edges.len()).map(|edge| self.rank(edge)).collect();
        while let Some(Reverse((_, _, edge))) = open.pop() {
            let Some((bytes, wanted, is_complete)) = self.read(edge)? else { continue };
            let LinkEdge { base, deltas, .. } = self.edges[edge];
            let is_own = deltas == 1;
            if is_complete {
                // The caller knows those of the image itself.
                self.most_bytes = if is_own { self.most_bytes } else { self.most_bytes.min(bytes) };
                continue;
            }
            let is_worth = bytes.saturating_add(LIST_BYTES) < self.most_bytes;
            let Some(base) = base.filter(|_| is_worth && deltas < self.limits.deltas) else {
                continue;
            };
            if !listed.insert(base) {
                continue;
            }
            let Some(referrers) = self.list(&base)? else { break };
            let wanted = Arc::new(wanted);
            for referrer in referrers {
                let base = base_of(&referrer);
                if base.is_some_and(|base| listed.contains(&base)) {
                    continue;
                }
                self.edges.push(LinkEdge {
                    base,
                    deltas: deltas + 1,
                    claimed_bytes: bytes.saturating_add(claimed_bytes(&referrer)),
                    bytes_after: bytes,
                    wanted: Arc::clone(&wanted),
                    descriptor: referrer.descriptor,
                    artifact: None,
                });
                open.push(self.rank(self.edges.len() - 1));
            }
        }
        Ok(())
    }

    /// Returns the place of a delta in the order of the search: those from a local base first, then
    /// the smallest.
    fn rank(&self, edge: usize) -> Reverse<(bool, u64, usize)> {
        let LinkEdge { base, claimed_bytes, .. } = &self.edges[edge];
        Reverse((!base.is_some_and(|base| self.is_local(&base)), *claimed_bytes, edge))
    }

    /// Reads the manifest of a delta. Returns the bytes of all recipes from its base on, the streams
    /// of the base that these read, without local ones, and true if none of them is lacking; nothing
    /// for a delta that cannot be better than those that are known.
    fn read(&mut self, edge: usize) -> Result<Option<(u64, HashSet<DiffId>, bool)>> {
        if self.edges[edge].bytes_after >= self.most_bytes {
            return Ok(None);
        }
        if self.edges[edge].artifact.is_none() {
            let Some(artifact) = self.artifact(edge)? else { return Ok(None) };
            let known = &mut self.edges[edge];
            known.base = known.base.or(artifact.base);
            known.artifact = Some(artifact);
        }
        let known = &self.edges[edge];
        let artifact = known.artifact.as_ref().expect("read above");
        let (mut bytes, mut wanted, mut made) = (known.bytes_after, HashSet::new(), HashSet::new());
        for recipe in known.read_recipes(artifact) {
            if self.failed.contains(&recipe.blob.digest) {
                return Ok(None);
            }
            bytes = bytes.saturating_add(recipe.blob.size_bytes);
            wanted.extend(recipe.sources.iter().filter(|it| !self.local.streams.contains(it)));
            made.extend(recipe.target);
        }
        // A recipe may read an earlier layer of the same image.
        wanted.retain(|stream: &DiffId| !made.contains(stream));
        // Layers that its base has, too.
        wanted.extend(known.wanted.iter().filter(|stream| !made.contains(*stream)));
        let is_base = known.base.is_some_and(|base| self.is_local(&base));
        // A base may have the streams under another manifest, as images in docker's store do.
        let is_complete = is_base || wanted.is_empty();
        Ok((bytes < self.most_bytes).then_some((bytes, wanted, is_complete)))
    }

    fn is_local(&self, manifest: &BlobDigest) -> bool {
        self.local.manifests.contains(manifest)
    }

    /// Lists the deltas of an image. Returns none if the bounds do not admit it.
    fn list(&mut self, image: &BlobDigest) -> Result<Option<Vec<Referrer>>> {
        // The registry may not list referrers, and then the tag is a second request.
        self.requests += LIST_REQUESTS;
        let rest_bytes = self.limits.bytes.saturating_sub(self.bytes);
        if self.requests > self.limits.requests || rest_bytes == 0 {
            return Ok(None);
        }
        let limit = ListLimit { pages: 1, bytes: rest_bytes.min(MAX_LIST_BYTES) };
        let (repository, subject) = (self.source.repository.clone(), *image);
        let list =
            async move { repository.referrers_within(&subject, Some(ARTIFACT_TYPE), limit).await };
        let list = match self.source.network.wait(list).map_err(Error::from) {
            Err(error) if is_delta_error(&error) => return Ok(Some(Vec::new())),
            outcome => outcome?,
        };
        self.bytes += list.bytes;
        let mut referrers = list.entries;
        referrers.shared_sort_by_key(|referrer| {
            let is_local = base_of(referrer).is_some_and(|base| self.is_local(&base));
            (!is_local, claimed_bytes(referrer))
        });
        referrers.truncate(MAX_EDGES);
        Ok(Some(referrers))
    }

    /// Downloads the manifest of a delta. Returns none if it is not one, or the bounds do not admit it.
    fn artifact(&mut self, edge: usize) -> Result<Option<Artifact>> {
        let Descriptor { digest, size_bytes, .. } = self.edges[edge].descriptor;
        self.requests += 1;
        let bytes = self.bytes.saturating_add(size_bytes);
        if self.requests > self.limits.requests || bytes > self.limits.bytes {
            return Ok(None);
        }
        self.bytes = bytes;
        let (repository, reference) =
            (self.source.repository.clone(), ManifestReference::Digest(digest));
        let manifest = async move { repository.manifest_within(&reference, size_bytes).await };
        let manifest = self.source.network.wait(manifest).map_err(Error::from);
        let parse = |manifest| Artifact::parse(&manifest, &self.source.repository.place());
        match manifest.and_then(parse) {
            // Another delta may lead to the same place.
            Err(error) if is_delta_error(&error) => Ok(None),
            outcome => outcome.map(Some),
        }
    }
}

fn base_of(referrer: &Referrer) -> Option<BlobDigest> {
    referrer.annotations.get(BASE_ANNOTATION)?.parse().ok()
}

/// Returns the length of a delta as its list claims it. A list without annotations claims nothing,
/// and its deltas come first.
fn claimed_bytes(referrer: &Referrer) -> u64 {
    let bytes = referrer.annotations.get(BYTES_ANNOTATION);
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Bytes of a list of a few deltas: a chain that saves less is not worth a request.
const LIST_BYTES: u64 = 2 << 10;
/// Requests for a list: the registry's own, and the tag.
const LIST_REQUESTS: usize = 2;
/// Bytes of one list: far more than a few dozen deltas take.
const MAX_LIST_BYTES: u64 = 1 << 20;
/// Deltas of one image that are followed.
const MAX_EDGES: usize = 64;
/// Recipes of all deltas together: more than chains of large images have.
const MAX_STEPS: usize = 4096;
