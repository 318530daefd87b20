//! Carrying out a plan: downloads the recipes, makes the image, replaces sources that fail.
//!
//! Downloads nothing that the plan does not name, and no more for deltas than a plain pull needs.

use super::{
    compose::{self, RecipeFile, RecipeFiles},
    cost::LinkSpeed,
    deadline::{DeltaDeadline, allowed_time, plain_time, usual_work},
    fallback::{FallbackStep, is_delta_error},
    layers::{LayerSource, PullLayer},
    local::LocalContent,
    made::MadeStreams,
    plan::PullPlan,
    report::PullReport,
    streams,
};
use crate::recipes;
use imgdelta_apply::{
    delta::LayerBody,
    rebuild::{self, LayerForm},
    sink::{AcceptedForm, BlobWriter, NullSink, OutgoingImage, Sink},
};
use imgdelta_core::{
    BlobDigest, Context, Error, Note, Result,
    limits::Ceiling,
    progress::{Progress, Stage},
};
use imgdelta_image::{image::Image, store::Descriptor};
use std::{collections::HashSet, sync::Arc, time::Duration};

impl PullPlan {
    /// Downloads, makes the image, and shows it at the destination. Blocks.
    pub fn carry_out(mut self) -> Result<PullReport> {
        let mut recipes = RecipeFiles::new();
        let mut made = MadeStreams::default();
        let mut step = FallbackStep::Deltas;
        let started = self.options.clock.now();
        loop {
            if step == FallbackStep::Deltas {
                self.fetch_recipes(&mut recipes)?;
            }
            if self.has_step(step) {
                let attempt = self.attempt(step, started);
                let outcome = self.make_chains(&recipes, &mut made, step, &attempt.context);
                if let Ok(true) = outcome {
                    continue;
                }
                let outcome = outcome
                    .and_then(|_| self.apply(&recipes, made.images(), step, &attempt.context));
                let error = match outcome {
                    Ok(()) => {
                        self.output.sweep();
                        return Ok(PullReport::new(self));
                    }
                    Err(error) if step == FallbackStep::Registry => {
                        return Err(self.without_bases(error));
                    }
                    Err(Error::Cancelled) if !attempt.has_expired() => {
                        return Err(Error::Cancelled);
                    }
                    Err(error) if !self.options.fallback => return Err(error),
                    Err(error) => error,
                };
                // Blobs that were made stay at the destination and are not made again.
                let is_isolated = step == FallbackStep::Deltas
                    && is_delta_error(&error)
                    && self.isolate(&recipes, made.images(), &attempt)?;
                let consequence =
                    if is_isolated { "continuing without that" } else { step.consequence() };
                let reason = attempt.reason(&error);
                let note = format!("{reason}; {consequence}");
                self.notes.push(Note::new(&self.source.image.name, note));
                if is_isolated {
                    continue;
                }
            }
            // Whole layers may need the room of the recipes.
            recipes.clear();
            made.clear();
            step = step.next();
            self.give_up(step);
        }
    }

    /// Returns the resources of a step. Those for deltas are bounded by what the image is worth.
    fn attempt(&self, step: FallbackStep, started: Duration) -> Attempt {
        let mut context = self.context.clone();
        if step != FallbackStep::Deltas {
            return Attempt { context, time: None };
        }
        let memory_bytes = context.memory_bytes.unwrap_or(MAX_MEMORY_BYTES).min(MAX_MEMORY_BYTES);
        context.memory_bytes = Some(memory_bytes);
        // Together they keep a hostile delta below 256 MiB, and admit what imgdelta writes.
        let limits = &mut context.limits;
        limits.recipe_memory = limits.recipe_memory.min(64 << 20);
        limits.copied_bytes = limits.copied_bytes.min(56 << 20);
        limits.group_bytes = limits.group_bytes.min(64 << 20);
        let images = self.bases.iter().chain([&self.source.image]);
        let layers = images.flat_map(|image| &image.layers);
        let bytes = layers.map(|layer| layer.descriptor.size_bytes).fold(0, u64::saturating_add);
        let most = bytes.saturating_mul(SCRATCH_SHARE).saturating_add(FREE_SCRATCH_BYTES);
        context = context.scratch_ceiling(Ceiling::fixed(most));
        let time = self.options.time_limit.then(|| {
            let link = self.options.link.map(LinkSpeed::bytes_per_second);
            let rate = link.or_else(|| self.source.repository.client().bytes_per_second());
            let plain = plain_time(self.plain_bytes, rate);
            let work = if link.is_none() { usual_work(self.plain_bytes) } else { Duration::ZERO };
            let allowed = allowed_time(plain).saturating_add(work);
            let end = started.saturating_add(allowed);
            let (progress, clock) = (&self.context.progress, &self.options.clock);
            let deadline = DeltaDeadline::new(Arc::clone(progress), Arc::clone(clock), end);
            AttemptTime { deadline: Arc::new(deadline), plain, allowed }
        });
        if let Some(time) = &time {
            context = context.progress(Arc::clone(&time.deadline) as _);
        }
        Attempt { context, time }
    }

    /// Returns true if a step differs from the next one.
    fn has_step(&self, step: FallbackStep) -> bool {
        match step {
            FallbackStep::Deltas => self.layers.iter().any(|layer| layer.source.delta().is_some()),
            FallbackStep::Bases => {
                self.layers.iter().any(|layer| layer.source == LayerSource::Base)
            }
            FallbackStep::Registry => true,
        }
    }

    /// Takes layers from the registry whose sources a step no longer uses.
    fn give_up(&mut self, step: FallbackStep) {
        for layer in &mut self.layers {
            let is_given_up = match layer.source {
                LayerSource::Recipe { .. }
                | LayerSource::BaseStream { .. }
                | LayerSource::Chain { .. } => step != FallbackStep::Deltas,
                LayerSource::Base => step == FallbackStep::Registry,
                LayerSource::Destination | LayerSource::Registry => false,
            };
            if is_given_up {
                layer.source = LayerSource::Registry;
                layer.chain.clear();
                layer.fetch_bytes = layer.blob.size_bytes;
            }
        }
    }

    /// Downloads the recipes. A layer whose recipe is missing or damaged gets another source.
    fn fetch_recipes(&mut self, recipes: &mut RecipeFiles) -> Result<()> {
        loop {
            let mut wanted: Vec<Descriptor> = Vec::new();
            let mut failed = HashSet::new();
            let all: Vec<Descriptor> = self.layers.iter().flat_map(PullLayer::recipes).collect();
            for blob in all {
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
                    Err(error) if !self.options.fallback => return Err(error),
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
            self.replace(&failed);
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
        self.source.network.wait_all(downloads)
    }

    /// Gives the layers that need these recipes other sources.
    fn replace(&mut self, recipes: &HashSet<(BlobDigest, u64)>) {
        self.exclude(recipes);
        let is_failed = |blob: &Descriptor| recipes.contains(&(blob.digest, blob.size_bytes));
        let mut steps = self.layers.iter().flat_map(|layer| &layer.chain);
        if steps.any(|step| is_failed(&step.recipe)) {
            self.search_other_chains();
        }
        self.choose_sources();
    }

    /// Excludes recipes as sources, in every delta that has them.
    fn exclude(&mut self, recipes: &HashSet<(BlobDigest, u64)>) {
        self.failed.recipes.extend(recipes.iter().map(|(digest, _)| *digest));
        for (delta, chosen) in self.deltas.iter().enumerate() {
            for (ordinal, layer) in chosen.front.outline.layers.iter().enumerate() {
                let LayerBody::Recipe(recipe) = layer.body else { continue };
                let blob = &chosen.artifact.recipes[recipe as usize].blob;
                if recipes.contains(&(blob.digest, blob.size_bytes)) {
                    self.failed.pairs.insert((ordinal, delta));
                }
            }
        }
    }

    /// Makes the streams between the bases and the image. Returns true if a recipe failed: then layers
    /// have other sources.
    fn make_chains(
        &mut self,
        recipes: &RecipeFiles,
        made: &mut MadeStreams,
        step: FallbackStep,
        context: &Context,
    ) -> Result<bool> {
        if step != FallbackStep::Deltas {
            return Ok(false);
        }
        let (layers, bases, place) = (&self.layers, &self.bases, &self.source.image.name);
        let failed = made.make(layers, recipes, bases, &format!("to {place}"), context)?;
        if failed.is_empty() {
            return Ok(false);
        }
        let mut excluded = HashSet::new();
        for (failed, error) in failed {
            let recipe = failed.recipe;
            if !self.options.fallback {
                return Err(error);
            }
            let (image, place) = (failed.image, &self.source.image.name);
            let note = format!("{error}; the way over {image} is given up");
            self.notes.push(Note::new(place, note));
            excluded.insert((recipe.digest, recipe.size_bytes));
        }
        self.replace(&excluded);
        Ok(true)
    }

    fn apply(
        &self,
        recipes: &RecipeFiles,
        made: &[Image],
        step: FallbackStep,
        context: &Context,
    ) -> Result<()> {
        let mut images =
            if step == FallbackStep::Registry { Vec::new() } else { self.bases.clone() };
        images.extend_from_slice(made);
        let local = images.clone();
        images.push(self.last_base(&|_| true));
        let sink = self.output.open(context)?;
        let has_delta = self.layers.iter().any(|layer| layer.source.delta().is_some());
        if self.local.takes_streams && !has_delta {
            let images: Vec<&Image> = images.iter().collect();
            return streams::copy(self, &images, sink, context);
        }
        let delta = compose::delta(self, recipes, &local, &|_| true, context)?;
        rebuild::apply(&delta, &images, sink, LayerForm::Exact, context)?;
        Ok(())
    }

    /// Returns the registry's image as the last base. It has the blobs that no other base has, and
    /// not those that deltas make for the layers for which `is_wanted` returns true, so that none of
    /// these is downloaded.
    fn last_base(&self, is_wanted: &dyn Fn(usize) -> bool) -> Image {
        let mut image = self.source.image.clone();
        let is_made = |at: usize| self.layers[at].source.delta().is_some() && is_wanted(at);
        image.layers.retain(|layer| !is_made(layer.ordinal));
        image
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
    /// sources, and returns true if there are any. Costs work and no download. A single layer that
    /// uses a delta is the one that failed, and is not made again.
    fn isolate(
        &mut self,
        recipes: &RecipeFiles,
        made: &[Image],
        attempt: &Attempt,
    ) -> Result<bool> {
        let layers = self.layers.iter().enumerate();
        let users = layers.filter_map(|(ordinal, layer)| Some((ordinal, layer.source.delta()?)));
        let users: Vec<(usize, usize)> = users.collect();
        let mut failed = Vec::new();
        if let [only] = users[..] {
            failed.push(only);
        } else {
            for (ordinal, delta) in users {
                let mut images = self.bases.clone();
                images.extend_from_slice(made);
                let local = images.clone();
                // Earlier layers may be read. Has the blobs of the others, which are not.
                let is_read = |one: usize| {
                    let mut steps = self.layers[ordinal].chain.iter();
                    one < ordinal && steps.any(|step| self.layers[one].is_made_by(step))
                };
                let is_wanted = |one| one == ordinal || is_read(one);
                images.push(self.last_base(&is_wanted));
                let sink = Box::new(SingleLayerSink::new(&self.layers[ordinal], &self.local));
                let context = &attempt.context;
                let outcome =
                    compose::delta(self, recipes, &local, &is_wanted, context).and_then(|delta| {
                        rebuild::apply(&delta, &images, sink, LayerForm::Exact, context)
                    });
                match outcome {
                    Ok(_) => {}
                    Err(Error::Cancelled) if attempt.has_expired() => return Ok(false),
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(_) => failed.push((ordinal, delta)),
                }
            }
        }
        let is_isolated = !failed.is_empty();
        self.failed.pairs.extend(failed);
        self.choose_sources();
        Ok(is_isolated)
    }
}

/// The resources of one step.
struct Attempt {
    context: Context,
    time: Option<AttemptTime>,
}

/// The time of a step with deltas.
struct AttemptTime {
    deadline: Arc<DeltaDeadline>,
    plain: Duration,
    allowed: Duration,
}

impl Attempt {
    fn has_expired(&self) -> bool {
        self.time.as_ref().is_some_and(|time| time.deadline.has_expired())
    }

    /// Returns the reason of an error for people.
    fn reason(&self, error: &Error) -> String {
        match (&self.time, error) {
            (Some(AttemptTime { plain, allowed, .. }), Error::Cancelled) => format!(
                "applying deltas takes more than {:.1} s, a plain pull about {:.1} s",
                allowed.as_secs_f64(),
                plain.as_secs_f64()
            ),
            _ => error.to_string(),
        }
    }
}

/// A sink that claims to have every layer except one, and discards that one.
#[derive(Debug)]
struct SingleLayerSink {
    digest: BlobDigest,
    accepts: AcceptedForm,
}

impl SingleLayerSink {
    fn new(layer: &PullLayer, local: &LocalContent) -> Self {
        if local.takes_streams {
            let digest = Descriptor::of_stream(&layer.diff_id, 0).digest;
            return Self { digest, accepts: AcceptedForm::Streams };
        }
        Self { digest: layer.blob.digest, accepts: AcceptedForm::Blobs }
    }
}

impl Sink for SingleLayerSink {
    fn place(&self) -> String {
        NullSink.place()
    }

    fn accepts(&self) -> AcceptedForm {
        self.accepts
    }

    fn begin(&mut self, _: OutgoingImage) -> Result<()> {
        Ok(())
    }

    fn has(&self, blob: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(blob.digest != self.digest)
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(NullSink))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Memory for the groups that are decoded at once, whatever the session allows.
const MAX_MEMORY_BYTES: u64 = 96 << 20;
/// Bytes of temporary files for each compressed byte of the image and its bases. Layers expand three
/// or four times, and their archives once more.
const SCRATCH_SHARE: u64 = 32;
const FREE_SCRATCH_BYTES: u64 = 1 << 30;
