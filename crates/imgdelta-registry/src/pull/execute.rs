//! Carrying out a plan: downloads the recipes, makes the image, replaces sources that fail.
//!
//! Downloads nothing that the plan does not name, and no more for deltas than a plain pull needs.

use super::{
    compose::{self, RecipeFile, RecipeFiles},
    fallback::{FallbackStep, is_content_error},
    layers::LayerSource,
    plan::PullPlan,
    report::PullReport,
};
use crate::recipes;
use imgdelta_apply::{
    delta::LayerBody,
    rebuild::{self, LayerForm},
    sink::{self, AcceptedForm, BlobWriter, NullSink, OutgoingImage, Sink},
};
use imgdelta_core::{
    BlobDigest, Error, Note, Result,
    progress::{Progress, Stage},
};
use imgdelta_image::store::Descriptor;
use std::{collections::HashSet, sync::Arc};

impl PullPlan {
    /// Downloads, makes the image, and shows it at the destination. Blocks.
    pub fn carry_out(mut self) -> Result<PullReport> {
        let mut recipes = RecipeFiles::new();
        let mut step = FallbackStep::Deltas;
        loop {
            if step == FallbackStep::Deltas {
                self.fetch_recipes(&mut recipes)?;
            }
            if self.has_step(step) {
                let error = match self.apply(&recipes, step) {
                    Ok(()) => return Ok(PullReport::new(self)),
                    Err(error) if step == FallbackStep::Registry => {
                        return Err(self.without_bases(error));
                    }
                    Err(error) if is_content_error(&error) => error,
                    Err(error) => return Err(error),
                };
                // Blobs that were made stay at the destination and are not made again.
                let is_isolated = step == FallbackStep::Deltas && self.isolate(&recipes)?;
                let consequence =
                    if is_isolated { "continuing without that" } else { step.consequence() };
                let note = format!("{error}; {consequence}");
                self.notes.push(Note::new(&self.source.image.name, note));
                if is_isolated {
                    continue;
                }
            }
            step = step.next();
            self.give_up(step);
        }
    }

    /// Returns true if a step differs from the next one.
    fn has_step(&self, step: FallbackStep) -> bool {
        match step {
            FallbackStep::Deltas => self.layers.iter().any(|layer| layer.source.delta().is_some()),
            FallbackStep::Bases => {
                self.layers.iter().any(|layer| layer.source == LayerSource::BaseBlob)
            }
            FallbackStep::Registry => true,
        }
    }

    /// Takes layers from the registry whose sources a step no longer uses.
    fn give_up(&mut self, step: FallbackStep) {
        for layer in &mut self.layers {
            let is_given_up = match layer.source {
                LayerSource::Recipe { .. } | LayerSource::BaseStream { .. } => {
                    step != FallbackStep::Deltas
                }
                LayerSource::BaseBlob => step == FallbackStep::Registry,
                LayerSource::Destination | LayerSource::Registry => false,
            };
            if is_given_up {
                layer.source = LayerSource::Registry;
                layer.fetch_bytes = layer.blob.size_bytes;
            }
        }
    }

    /// Downloads the recipes. A layer whose recipe is missing or damaged gets another source.
    fn fetch_recipes(&mut self, recipes: &mut RecipeFiles) -> Result<()> {
        loop {
            let mut wanted: Vec<Descriptor> = Vec::new();
            let mut failed = HashSet::new();
            for layer in &self.layers {
                let Some(blob) = self.recipe(layer.source).cloned() else { continue };
                let digest = blob.digest;
                if recipes.contains_key(&digest) || wanted.iter().any(|one| one.digest == digest) {
                    continue;
                }
                match self.rest_bytes.checked_sub(blob.size_bytes) {
                    Some(rest) => {
                        self.rest_bytes = rest;
                        wanted.push(blob);
                    }
                    // Happens only after other recipes failed.
                    None => drop(failed.insert((digest, blob.size_bytes))),
                }
            }
            for (blob, outcome) in self.download(wanted) {
                match outcome {
                    Ok(file) => drop(recipes.insert(blob.digest, file)),
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(error) => {
                        let note = format!("{error}; its layers come from another source");
                        self.notes.push(Note::new(&self.source.image.name, note));
                        failed.insert((blob.digest, blob.size_bytes));
                    }
                }
            }
            if failed.is_empty() {
                return Ok(());
            }
            self.exclude(&failed);
            self.choose_sources();
        }
    }

    /// Downloads blobs to scratch files, several at the same time.
    fn download(&self, blobs: Vec<Descriptor>) -> Vec<(Descriptor, Result<RecipeFile>)> {
        let total = blobs.iter().map(|blob| blob.size_bytes).sum();
        self.context.progress.begin(Stage::Fetching, total);
        let downloads = blobs.into_iter().map(|blob| {
            let repository = self.source.repository.clone();
            let scratch = self.context.scratch.clone();
            let progress = Arc::clone(&self.context.progress);
            async move {
                let file = recipes::fetch(&repository, &blob, &scratch, &*progress).await;
                (blob, file)
            }
        });
        self.source.network.wait(futures_util::future::join_all(downloads))
    }

    /// Excludes recipes as sources, in every delta that has them.
    fn exclude(&mut self, recipes: &HashSet<(BlobDigest, u64)>) {
        for (delta, chosen) in self.deltas.iter().enumerate() {
            for (ordinal, layer) in chosen.front.outline.layers.iter().enumerate() {
                let LayerBody::Recipe(recipe) = layer.body else { continue };
                let blob = &chosen.artifact.recipes[recipe as usize].blob;
                if recipes.contains(&(blob.digest, blob.size_bytes)) {
                    self.failed.insert((ordinal, delta));
                }
            }
        }
    }

    fn apply(&self, recipes: &RecipeFiles, step: FallbackStep) -> Result<()> {
        let delta = compose::delta(self, recipes, &|_| true)?;
        // The registry's image is the last base: it has the blobs that no other base has.
        let mut images =
            if step == FallbackStep::Registry { Vec::new() } else { self.bases.clone() };
        images.push(self.source.image.clone());
        let sink = sink::create(&self.output, &self.context)?;
        rebuild::apply(&delta, &images, sink, LayerForm::Exact, &self.context)?;
        Ok(())
    }

    /// Returns an error of the last step, where the registry's image is the only base: layers that
    /// this base lacks are missing in the registry.
    fn without_bases(&self, error: Error) -> Error {
        let Error::BaseMissing { missing, .. } = error else { return error };
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let (place, what) = (self.source.repository.place(), missing.join(", "));
        Error::NotFound { place, what, present: Vec::new() }
    }

    /// Makes each layer of a delta alone and discards it, to find those that fail. Gives them other
    /// sources, and returns true if there are any. Costs work and no download.
    fn isolate(&mut self, recipes: &RecipeFiles) -> Result<bool> {
        let mut images = self.bases.clone();
        // Has the blobs of the other layers, which are not read.
        images.push(self.source.image.clone());
        let mut failed = Vec::new();
        for (ordinal, layer) in self.layers.iter().enumerate() {
            let Some(delta) = layer.source.delta() else { continue };
            let sink = Box::new(SingleBlobSink(layer.blob.digest));
            let outcome = compose::delta(self, recipes, &|one| one == ordinal).and_then(|delta| {
                rebuild::apply(&delta, &images, sink, LayerForm::Exact, &self.context)
            });
            match outcome {
                Ok(_) => {}
                Err(error) if is_content_error(&error) => failed.push((ordinal, delta)),
                Err(error) => return Err(error),
            }
        }
        let is_isolated = !failed.is_empty();
        self.failed.extend(failed);
        self.choose_sources();
        Ok(is_isolated)
    }
}

/// A sink that claims to have every blob except one, and discards that one.
#[derive(Debug)]
struct SingleBlobSink(BlobDigest);

impl Sink for SingleBlobSink {
    fn place(&self) -> String {
        NullSink.place()
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Blobs
    }

    fn begin(&mut self, _: OutgoingImage) -> Result<()> {
        Ok(())
    }

    fn has(&self, blob: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(blob.digest != self.0)
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(NullSink))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
