//! Recipes that were published for other images, found again and offered to who makes a delta.
//!
//! Images on one base layer need the same recipe for it. The queue remembers beside which images
//! recipes lie; they are read from the registry, where they last as long as those images. What
//! cannot be had is made anew: nothing here is needed, and nothing here is trusted, since every
//! delta is proved before it is published.

use crate::{config::preset_word, queue::Queue, work::Work};
use imgdelta_apply::delta::{Delta, StoredRecipe};
use imgdelta_core::{
    BlobDigest, DiffId, Error, Limits, Result, progress::Progress, scratch::Scratch,
};
use imgdelta_make::plan::ReusableRecipe;
use imgdelta_registry::{Client, Repository, recipes};
use std::{collections::HashMap, sync::Arc};

/// Finds recipes again.
#[derive(Debug)]
pub(crate) struct Reuse {
    client: Client,
    host: String,
    queue: Arc<dyn Queue>,
}

/// Recipes that are at hand for a work.
#[derive(Clone, Debug, Default)]
pub(crate) struct AtHand {
    /// The recipes.
    pub known: Vec<ReusableRecipe>,
    /// The repository that each lies in.
    pub lies_in: HashMap<BlobDigest, String>,
}

impl Reuse {
    pub fn new(client: &Client, host: &str, queue: Arc<dyn Queue>) -> Self {
        Self { client: client.clone(), host: host.to_owned(), queue }
    }

    /// Returns recipes for the streams that are `wanted`, of what is `held`. One at most for each.
    pub async fn at_hand(
        &self,
        work: &Work,
        wanted: &[DiffId],
        held: &[DiffId],
        scratch: &Scratch,
        progress: &dyn Progress,
    ) -> Result<AtHand> {
        let mut at_hand = AtHand::default();
        let mut wanted = wanted.to_vec();
        let things: Vec<String> = wanted.iter().map(|diff_id| thing(work, diff_id)).collect();
        for place in self.queue.offers(&things, MOST_PLACES).await? {
            if wanted.is_empty() {
                break;
            }
            let Some((repository, artifact)) = read(&place) else { continue };
            let repository = Repository::new(&self.client, &self.host, repository);
            let offered = match recipes::of(&repository, &artifact).await {
                Ok(offered) => offered,
                Err(error) => {
                    tracing::debug!(place, %error, "its recipes cannot be used again");
                    if matches!(error, Error::NotFound { .. }) {
                        self.queue.withdraw(&place).await?;
                    }
                    continue;
                }
            };
            for offer in offered {
                let Some(at) = wanted.iter().position(|diff_id| *diff_id == offer.target) else {
                    continue;
                };
                if !offer.sources.iter().all(|source| held.contains(source)) {
                    continue;
                }
                let fetched = recipes::fetch(&repository, &offer.blob, scratch, progress).await;
                let recipe = fetched.and_then(|file| {
                    StoredRecipe::alone(&file, offer.blob.digest, &Limits::default())
                });
                let recipe = match recipe {
                    Ok(recipe) => recipe,
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(error) => {
                        tracing::debug!(place, %error, "a recipe cannot be used again");
                        continue;
                    }
                };
                let envelopes = offer.envelopes.into_iter().collect();
                at_hand.known.push(ReusableRecipe { recipe, envelopes, cost: offer.cost });
                at_hand.lies_in.insert(offer.blob.digest, repository.name().to_owned());
                wanted.swap_remove(at);
            }
        }
        Ok(at_hand)
    }

    /// Remembers that a delta was published, and with it its recipes.
    pub async fn remember(&self, work: &Work, artifact: &BlobDigest, delta: &Delta) -> Result<()> {
        let mut things = Vec::new();
        for ordinal in 0..delta.recipe_count() {
            let ordinal = u32::try_from(ordinal).expect("no more recipes than layers");
            things.push(thing(work, &delta.recipe(ordinal)?.target.diff_id));
        }
        if things.is_empty() {
            return Ok(());
        }
        self.queue.offer(&format!("{} {artifact}", work.repository), &things).await
    }
}

/// Names a recipe as whoever looks for one does: made with another effort, or by another version of
/// the program, it is not the one that would be made now.
fn thing(work: &Work, diff_id: &DiffId) -> String {
    format!("{} {} {diff_id}", env!("CARGO_PKG_VERSION"), preset_word(work.preset))
}

/// Reads what [`Reuse::remember`] wrote.
fn read(place: &str) -> Option<(&str, BlobDigest)> {
    let (repository, artifact) = place.split_once(' ')?;
    Some((repository, artifact.parse().ok()?))
}

/// Each costs two requests. Layers that many images share lie beside the first of them.
const MOST_PLACES: u32 = 8;
