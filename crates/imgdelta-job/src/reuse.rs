//! Recipes and envelopes of published deltas, offered to deltas between other images.
//!
//! Images with one base layer need the same recipe for it, and the same way from its stream to its
//! blob. The queue remembers the deltas that
//! contain recipes; the recipes are read from the registry. Reuse is optional and untrusted: without
//! it a recipe is made again, and each delta is proved before it is published.

use crate::{config::preset_word, queue::Queue, task::Task};
use imgdelta::{BlobDigest, DiffId, Error, Result, create::ReusableRecipe, delta::Delta};
use imgdelta_apply::delta::{Envelope, StoredRecipe};
use imgdelta_core::Context;
use imgdelta_registry::{Client, Repository, RepositoryName, recipes};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Finds and records recipes that can be reused.
#[derive(Debug)]
pub(crate) struct RecipeReuse {
    client: Client,
    host: String,
    queue: Arc<dyn Queue>,
}

/// Recipes that a task can reuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReusableRecipes {
    /// The recipes.
    pub recipes: Vec<ReusableRecipe>,
    /// Envelopes of layers that both images have, by their blobs.
    pub envelopes: HashMap<BlobDigest, Envelope>,
    /// The repository that holds each recipe's blob.
    pub repositories: HashMap<BlobDigest, RepositoryName>,
}

impl RecipeReuse {
    pub fn new(client: &Client, host: &str, queue: Arc<dyn Queue>) -> Self {
        Self { client: client.clone(), host: host.to_owned(), queue }
    }

    /// Returns at most one recipe for each stream in `wanted` that needs only streams in `held`, and
    /// at most one envelope for each blob in `kept`.
    pub async fn find(
        &self,
        task: &Task,
        wanted: &[DiffId],
        held: &[DiffId],
        kept: &[BlobDigest],
        context: &Context,
    ) -> Result<ReusableRecipes> {
        let Context { scratch, limits, progress, .. } = context;
        let mut found = ReusableRecipes::default();
        let mut wanted = wanted.to_vec();
        let mut kept: HashSet<BlobDigest> = kept.iter().copied().collect();
        let recipes = wanted.iter().map(|diff_id| recipe_name(task, diff_id));
        let names: Vec<String> = recipes.chain(kept.iter().map(envelope_name)).collect();
        for place in self.queue.offers(&names, MAX_PLACES).await? {
            if wanted.is_empty() && kept.is_empty() {
                break;
            }
            let Some((repository, artifact)) = parse_place(&place) else { continue };
            let repository = Repository::new(&self.client, &self.host, &repository);
            let offered = match recipes::offers(&repository, &artifact).await {
                Ok(offered) => offered,
                Err(error) => {
                    tracing::debug!(place, %error, "its recipes cannot be reused");
                    if matches!(error, Error::NotFound { .. }) {
                        self.queue.retract(&place).await?;
                    }
                    continue;
                }
            };
            for (blob, envelope) in offered.envelopes {
                if kept.remove(&blob) {
                    found.envelopes.insert(blob, envelope);
                }
            }
            for offer in offered.recipes {
                let Some(at) = wanted.iter().position(|diff_id| *diff_id == offer.target) else {
                    continue;
                };
                if !offer.sources.iter().all(|source| held.contains(source)) {
                    continue;
                }
                let file = recipes::fetch(&repository, &offer.blob, scratch, &**progress).await;
                let recipe =
                    file.and_then(|file| StoredRecipe::alone(&file, offer.blob.digest, limits));
                let recipe = match recipe {
                    Ok(recipe) => recipe,
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(error) => {
                        tracing::debug!(place, %error, "a recipe cannot be reused");
                        continue;
                    }
                };
                let envelopes = offer.envelopes.into_iter().collect();
                let (archive_milliseconds, cost) = (offer.archive_milliseconds, offer.cost);
                found.recipes.push(ReusableRecipe {
                    recipe,
                    envelopes,
                    archive_milliseconds,
                    cost,
                });
                found.repositories.insert(offer.blob.digest, repository.name().clone());
                wanted.swap_remove(at);
            }
        }
        Ok(found)
    }

    /// Records the recipes and envelopes of a published delta.
    pub async fn record(&self, task: &Task, artifact: &BlobDigest, delta: &Delta) -> Result<()> {
        let mut names = Vec::new();
        for ordinal in 0..delta.recipe_count() {
            let ordinal = u32::try_from(ordinal).expect("no more recipes than layers");
            names.push(recipe_name(task, &delta.recipe(ordinal)?.target.diff_id));
        }
        let compressed = delta.layers().iter().filter(|layer| layer.envelope.recipe().is_some());
        names.extend(compressed.map(|layer| envelope_name(&layer.blob)));
        if names.is_empty() {
            return Ok(());
        }
        self.queue.offer(&format!("{} {artifact}", task.repository), &names).await
    }
}

/// Returns the name of a recipe in the queue. It includes the program's version and the preset:
/// with others, the recipe would not be the one that is made now.
fn recipe_name(task: &Task, diff_id: &DiffId) -> String {
    format!("{} {} {diff_id}", env!("CARGO_PKG_VERSION"), preset_word(task.preset))
}

/// Returns the name of a blob's envelope in the queue. It is the same for all presets.
fn envelope_name(blob: &BlobDigest) -> String {
    format!("{} envelope {blob}", env!("CARGO_PKG_VERSION"))
}

/// Parses the place that [`RecipeReuse::record`] wrote: a repository and a delta.
fn parse_place(place: &str) -> Option<(RepositoryName, BlobDigest)> {
    let (repository, artifact) = place.split_once(' ')?;
    Some((repository.parse().ok()?, artifact.parse().ok()?))
}

/// Each place costs two requests. A base layer's recipe is usually in the first.
const MAX_PLACES: u32 = 8;
