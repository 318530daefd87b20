//! Streams between the bases and the image, made by recipes in temporary files.
//!
//! A stream is made when its sources are there, and its digest is compared. Streams that nothing
//! reads any more go away. Downloads nothing.

use super::{
    compose::{RecipeFile, RecipeFiles},
    fallback::is_delta_error,
    layers::PullLayer,
    ways::ChainStep,
};
use imgdelta_apply::chain::{self, LayerRecipe};
use imgdelta_core::{Context, DiffId, Error, Result};
use imgdelta_image::image::Image;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// Streams on the way, as images that hold them.
#[derive(Debug, Default)]
pub(super) struct MadeStreams {
    images: Vec<Image>,
}

/// Recipes that did not make their streams, each with its error.
pub(super) type FailedSteps = Vec<(ChainStep, Error)>;

impl MadeStreams {
    /// Returns the images.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Drops all streams.
    pub fn clear(&mut self) {
        self.images.clear();
    }

    /// Makes the streams that the last recipe of each layer reads. Returns the recipes that failed;
    /// those that need their streams were not tried.
    pub fn make(
        &mut self,
        layers: &[PullLayer],
        recipes: &RecipeFiles,
        bases: &[Image],
        place: &str,
        context: &Context,
    ) -> Result<FailedSteps> {
        let local: HashSet<DiffId> = streams(bases).collect();
        loop {
            let there: HashSet<DiffId> =
                local.iter().copied().chain(streams(&self.images)).collect();
            let (pending, read) = pending(layers, &there);
            self.images.retain(|image| image.layers.iter().any(|it| read.contains(&it.diff_id)));
            let is_ready =
                |step: &&ChainStep| step.sources.iter().all(|source| there.contains(source));
            let ready: Vec<ChainStep> = pending.values().filter(is_ready).cloned().collect();
            if ready.is_empty() {
                return Ok(Vec::new());
            }
            let failed = self.make_ready(&ready, recipes, bases, place, context)?;
            if !failed.is_empty() {
                return Ok(failed);
            }
        }
    }

    /// Makes streams whose sources are there: all at once, or each alone to find those that fail.
    fn make_ready(
        &mut self,
        ready: &[ChainStep],
        recipes: &RecipeFiles,
        bases: &[Image],
        place: &str,
        context: &Context,
    ) -> Result<FailedSteps> {
        let images: Vec<Image> = bases.iter().chain(&self.images).cloned().collect();
        let make = |steps: &[ChainStep]| {
            let recipes: Vec<LayerRecipe> =
                steps.iter().map(|step| layer_recipe(step, recipes)).collect();
            chain::make_streams(&recipes, &images, place, context)
        };
        let error = match make(ready) {
            Ok(image) => {
                self.images.push(image);
                return Ok(Vec::new());
            }
            Err(error) if !is_delta_error(&error) => return Err(error),
            Err(error) => error,
        };
        if let [only] = ready {
            return Ok(vec![(only.clone(), error)]);
        }
        let mut failed = Vec::new();
        for step in ready {
            match make(std::slice::from_ref(step)) {
                Ok(image) => self.images.push(image),
                Err(error) if !is_delta_error(&error) => return Err(error),
                Err(error) => failed.push((step.clone(), error)),
            }
        }
        Ok(failed)
    }
}

/// Returns the recipes that are still needed before the last recipe of each layer, and the streams
/// that these and the last ones read.
fn pending(
    layers: &[PullLayer],
    there: &HashSet<DiffId>,
) -> (BTreeMap<DiffId, ChainStep>, HashSet<DiffId>) {
    let mut pending = BTreeMap::new();
    let mut read = HashSet::new();
    for (ordinal, layer) in layers.iter().enumerate() {
        let Some((last, before)) = layer.chain.split_last() else { continue };
        let mut wanted: HashSet<DiffId> = last.sources.iter().copied().collect();
        read.extend(wanted.iter().copied());
        // A step comes after those whose streams it reads. The delta of the plan makes the streams of
        // earlier layers itself.
        for step in before.iter().rev() {
            let is_own = layers[..ordinal].iter().any(|earlier| earlier.is_made_by(step));
            if wanted.contains(&step.target) && !there.contains(&step.target) && !is_own {
                wanted.extend(step.sources.iter().copied());
                read.extend(step.sources.iter().copied());
                pending.insert(step.target, step.clone());
            }
        }
    }
    (pending, read)
}

fn layer_recipe(step: &ChainStep, recipes: &RecipeFiles) -> LayerRecipe {
    let file: &RecipeFile =
        recipes.get(&step.recipe.digest).expect("a layer whose recipe failed has another source");
    LayerRecipe { target: step.target, source: Arc::clone(file) }
}

fn streams(images: &[Image]) -> impl Iterator<Item = DiffId> {
    images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id)
}
