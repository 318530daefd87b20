//! A plan carried out: recipes fetched, the image made; what fails is done another way.
//!
//! Fetches nothing that the plan does not name, and no more for deltas than a plain pull costs.
//! Chooses no way itself: it says which ways failed.

use super::{PullPlan, Pulled, Way, compose, compose::Recipes};
use crate::recipes;
use imgdelta_apply::{
    apply::{self, LayerForm},
    delta::Body,
    sink::{self, BlobWriter, Nothing, Outgoing, Sink, Wants},
};
use imgdelta_core::{
    BlobDigest, Error, Note, Result,
    progress::{Progress, Stage},
};
use imgdelta_image::store::Descriptor;
use std::collections::HashSet;

impl PullPlan {
    /// Fetches what the plan says, makes the image and lets it be seen.
    pub fn carry_out(mut self) -> Result<Pulled> {
        let context = self.context.clone();
        let progress = &*context.progress;
        let mut recipes = Recipes::new();
        let mut step = Step::Deltas;
        loop {
            if step == Step::Deltas {
                self.fetch(&mut recipes, progress)?;
            }
            if self.has_step(step) {
                let error = match self.apply(&recipes, step) {
                    Ok(()) => {
                        let received_bytes = self.received_bytes();
                        return Ok(Pulled::new(self, received_bytes));
                    }
                    Err(error) if is_of_content(&error) && step != Step::Registry => error,
                    Err(error) => return Err(error),
                };
                // Blobs that were made stay where they are kept, and are not made again.
                let is_sorted_out = step == Step::Deltas && self.sort_out(&recipes)?;
                let instead = if is_sorted_out { "done without that" } else { step.instead() };
                self.notes.push(Note::new(&self.source.image.name, format!("{error}; {instead}")));
                if is_sorted_out {
                    continue;
                }
            }
            step = step.next();
            self.give_up(step);
        }
    }

    /// Whether a step does other things than the next.
    fn has_step(&self, step: Step) -> bool {
        match step {
            Step::Deltas => self.layers.iter().any(|layer| layer.way.delta().is_some()),
            Step::Base => self.layers.iter().any(|layer| layer.way == Way::Base),
            Step::Registry => true,
        }
    }

    /// What did not go well another way comes whole.
    fn give_up(&mut self, step: Step) {
        for layer in &mut self.layers {
            let is_given_up = match layer.way {
                Way::Recipe { .. } | Way::Remade { .. } => step != Step::Deltas,
                Way::Base => step == Step::Registry,
                Way::There | Way::Registry => false,
            };
            if is_given_up {
                layer.way = Way::Registry;
                layer.fetch_bytes = layer.blob.size_bytes;
            }
        }
    }

    /// Fetches the recipes. One that does not come, or not as it should, is done without.
    fn fetch(&mut self, recipes: &mut Recipes, progress: &dyn Progress) -> Result<()> {
        loop {
            let mut wanted: Vec<Descriptor> = Vec::new();
            let mut failed = HashSet::new();
            for layer in &self.layers {
                let Some(blob) = self.recipe(layer.way).cloned() else { continue };
                let digest = blob.digest;
                if recipes.contains_key(&digest) || wanted.iter().any(|one| one.digest == digest) {
                    continue;
                }
                match self.rest_bytes.checked_sub(blob.size_bytes) {
                    Some(rest) => {
                        self.rest_bytes = rest;
                        wanted.push(blob);
                    }
                    // Only where others failed before.
                    None => drop(failed.insert((digest, blob.size_bytes))),
                }
            }
            progress.begin(Stage::Fetching, wanted.iter().map(|blob| blob.size_bytes).sum());
            let (repository, scratch) = (&self.source.repository, &self.context.scratch);
            let all = wanted.iter().map(|blob| recipes::fetch(repository, blob, scratch, progress));
            let outcomes = self.source.handle.block_on(futures_util::future::join_all(all));
            for (blob, outcome) in wanted.into_iter().zip(outcomes) {
                match outcome {
                    Ok(file) => drop(recipes.insert(blob.digest, file)),
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(error) => {
                        let what = format!("{error}; its layers come another way");
                        self.notes.push(Note::new(&self.source.image.name, what));
                        failed.insert((blob.digest, blob.size_bytes));
                    }
                }
            }
            if failed.is_empty() {
                return Ok(());
            }
            self.pass_over(&failed);
            self.choose();
        }
    }

    /// Has no layer come by these recipes, whichever delta offers them.
    fn pass_over(&mut self, failed: &HashSet<(BlobDigest, u64)>) {
        for (delta, chosen) in self.deltas.iter().enumerate() {
            for (ordinal, layer) in chosen.front.outline.layers.iter().enumerate() {
                let Body::Recipe(recipe) = layer.body else { continue };
                let blob = &chosen.artifact.recipes[recipe as usize].blob;
                if failed.contains(&(blob.digest, blob.size_bytes)) {
                    self.broken.insert((ordinal, delta));
                }
            }
        }
    }

    fn apply(&self, recipes: &Recipes, step: Step) -> Result<()> {
        let delta = compose::delta(self, recipes, &|_| true)?;
        // The registry's image is the last base: what no other has comes from there.
        let mut images = if step == Step::Registry { Vec::new() } else { self.bases.clone() };
        images.push(self.source.image.clone());
        let sink = sink::create(&self.output, self.limits())?;
        apply::apply(&delta, &images, sink, LayerForm::Exact, &self.context)?;
        Ok(())
    }

    /// Makes each layer that comes by a delta alone, into nothing, to find those that fail; whether
    /// there were any. They come another way then. Costs work, and nothing is fetched.
    fn sort_out(&mut self, recipes: &Recipes) -> Result<bool> {
        let mut images = self.bases.clone();
        // Holds the blobs that are not asked for.
        images.push(self.source.image.clone());
        let mut broken = Vec::new();
        for (ordinal, layer) in self.layers.iter().enumerate() {
            let Some(delta) = layer.way.delta() else { continue };
            let sink = Box::new(Only(layer.blob.digest));
            let tried = compose::delta(self, recipes, &|one| one == ordinal).and_then(|delta| {
                apply::apply(&delta, &images, sink, LayerForm::Exact, &self.context)
            });
            match tried {
                Ok(_) => {}
                Err(error) if is_of_content(&error) => broken.push((ordinal, delta)),
                Err(error) => return Err(error),
            }
        }
        let is_sorted_out = !broken.is_empty();
        self.broken.extend(broken);
        self.choose();
        Ok(is_sorted_out)
    }
}

/// How much is trusted, most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The deltas, the bases, the registry.
    Deltas,
    /// The bases' blobs and the registry.
    Base,
    /// The registry alone.
    Registry,
}

impl Step {
    fn next(self) -> Self {
        match self {
            Self::Deltas => Self::Base,
            Self::Base | Self::Registry => Self::Registry,
        }
    }

    fn instead(self) -> &'static str {
        match self {
            Self::Deltas => "done without deltas",
            Self::Base => "done without the base",
            Self::Registry => "given up",
        }
    }
}

/// Whether an error says that bytes are wrong or missing, so that others may do.
fn is_of_content(error: &Error) -> bool {
    matches!(
        error,
        Error::BadInput { .. }
            | Error::Mismatch { .. }
            | Error::NotFound { .. }
            | Error::OverLimit { .. }
            | Error::BaseMissing { .. }
    )
}

/// A place that says it has every blob but one, and forgets that.
#[derive(Debug)]
struct Only(BlobDigest);

impl Sink for Only {
    fn place(&self) -> String {
        Nothing.place()
    }

    fn wants(&self) -> Wants {
        Wants::Blobs
    }

    fn begin(&mut self, _: Outgoing) -> Result<()> {
        Ok(())
    }

    fn has(&self, blob: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(blob.digest != self.0)
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(Nothing))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
