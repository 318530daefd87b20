//! The plan of a pull: the source of each layer, and the bytes that it downloads.
//!
//! Downloads documents and fronts, and no layer or recipe.

use super::{
    cost::CostModel,
    deltas::choose_deltas,
    destination::PullDestination,
    layers::{
        FailedSources, KnownDeltas, LayerSource, PullDelta, PullLayer, choose_sources, fetch_bytes,
        plain_sources, total_cost,
    },
    links::{self, LinkLimits},
    local::LocalContent,
    options::PullOptions,
    source::PullSource,
    ways::ChainStep,
};
use crate::{artifact::Artifact, dates};
use imgdelta_core::{Context, DiffId, Error, Note, Result};
use imgdelta_image::image::Image;
use std::collections::HashSet;

/// The downloads of a pull, decided and not started. It prints, and can be dropped.
#[derive(Debug)]
pub struct PullPlan {
    pub(super) source: PullSource,
    pub(super) bases: Vec<Image>,
    pub(super) output: PullDestination,
    pub(super) options: PullOptions,
    pub(super) context: Context,
    /// The layers, the lowest first.
    pub layers: Vec<PullLayer>,
    /// The chosen deltas, the one that saves most first.
    pub deltas: Vec<PullDelta>,
    /// Bytes of a plain pull: manifest, config, and layers that are not on this machine.
    pub plain_bytes: u64,
    /// Bytes that were downloaded for the decision.
    pub decided_bytes: u64,
    /// Remarks, such as a delta that was skipped.
    pub notes: Vec<Note>,
    pub(super) local: LocalContent,
    /// Recipes of deltas between the bases and the image.
    pub(super) steps: Vec<ChainStep>,
    /// All deltas of the image that were read.
    pub(super) candidates: Vec<Artifact>,
    /// Searches for other chains that failures may still cause.
    pub(super) rest_searches: usize,
    pub(super) failed: FailedSources,
    /// Bytes that recipes may still cost, so that all bytes for deltas stay below a plain pull.
    pub(super) rest_bytes: u64,
}

impl PullPlan {
    /// Searches for deltas and chooses the source of each layer.
    pub(crate) fn new(
        source: PullSource,
        bases: Vec<Image>,
        output: PullDestination,
        options: PullOptions,
        context: &Context,
    ) -> Result<Self> {
        if options.rollback {
            check_rollback(&source.image, &bases)?;
        }
        let sink = output.open(context)?;
        let local = LocalContent::find(&source.image, &bases, &*sink, &*context.progress)?;
        let costs = CostModel(options.link);
        let layers = plain_sources(&source.image, &local, costs);
        let documents = (source.image.manifest.len() + source.image.config_bytes.len()) as u64;
        let plain_layers_bytes = fetch_bytes(&layers);
        let mut plan = Self {
            layers,
            deltas: Vec::new(),
            plain_bytes: documents + plain_layers_bytes,
            decided_bytes: 0,
            notes: notes(&source.image, &bases),
            source,
            bases,
            output,
            options,
            context: context.clone(),
            local,
            steps: Vec::new(),
            candidates: Vec::new(),
            rest_searches: MAX_FURTHER_SEARCHES,
            failed: FailedSources::default(),
            rest_bytes: plain_layers_bytes,
        };
        if plan.options.deltas && plain_layers_bytes > 0 {
            plan.search(costs, plain_layers_bytes);
        }
        plan.decided_bytes = plan.source.received_bytes();
        Ok(plan)
    }

    /// Returns the bytes that are still to be downloaded.
    pub fn fetch_bytes(&self) -> u64 {
        fetch_bytes(&self.layers)
    }

    /// Returns true if the destination has all layers already.
    pub fn is_complete(&self) -> bool {
        self.layers.iter().all(|layer| layer.source == LayerSource::Destination)
    }

    /// Returns the streams that are read from the bases, by the promises of the deltas.
    pub fn base_streams(&self) -> HashSet<DiffId> {
        let mut streams = HashSet::new();
        for layer in &self.layers {
            let mut made = HashSet::new();
            for step in &layer.chain {
                let sources = step.sources.iter().filter(|source| !made.contains(*source));
                streams.extend(sources.copied());
                made.insert(step.target);
            }
            match layer.source {
                LayerSource::Recipe { delta, recipe } => {
                    streams.extend(&self.deltas[delta].artifact.recipes[recipe].sources);
                }
                LayerSource::Base | LayerSource::BaseStream { .. } => {
                    streams.insert(layer.diff_id);
                }
                LayerSource::Destination | LayerSource::Chain { .. } | LayerSource::Registry => {}
            }
        }
        streams
    }

    /// True if the plan is cheaper than a pull without bases although `bytes` more are downloaded for
    /// the bases, and `checked_bytes` of them are compared with their digests first.
    pub fn pays_with(&self, bytes: u64, checked_bytes: u64) -> bool {
        let costs = CostModel(self.options.link);
        let local = self.local.without_bases();
        let plain = plain_sources(&self.source.image, &local, costs);
        let more = costs.download(bytes).saturating_add(costs.check(checked_bytes));
        total_cost(&self.layers).saturating_add(more) < total_cost(&plain)
    }

    /// Chooses deltas. A failure is a note: the layers can be pulled without deltas.
    fn search(&mut self, costs: CostModel, plain_layers_bytes: u64) {
        let Self { source, local, layers, notes, options, .. } = self;
        match choose_deltas(source, local, layers, costs, options, notes) {
            Ok(selection) => {
                self.deltas = selection.deltas;
                self.steps = selection.steps;
                self.candidates = selection.candidates;
                self.rest_bytes = plain_layers_bytes.saturating_sub(selection.search_bytes);
                self.choose_sources();
            }
            Err(error) => {
                let what = format!("cannot search for deltas: {error}");
                self.notes.push(Note::new(self.source.repository.place(), what));
            }
        }
    }

    /// Searches for other chains after a recipe of one has failed.
    pub(super) fn search_other_chains(&mut self) {
        if self.options.chain < 2 || self.rest_searches == 0 {
            return;
        }
        self.rest_searches -= 1;
        let limits = LinkLimits {
            deltas: self.options.chain,
            requests: self.options.chain_requests,
            bytes: self.rest_bytes / 2,
        };
        let Self { source, local, notes, rest_bytes, candidates, failed, .. } = self;
        let failed = &failed.recipes;
        let found = links::find(source, local, candidates, failed, *rest_bytes, limits, notes);
        *rest_bytes = rest_bytes.saturating_sub(found.bytes);
        let known: HashSet<_> =
            self.steps.iter().map(|step| (step.recipe.digest, step.target)).collect();
        let is_new = |step: &ChainStep| !known.contains(&(step.recipe.digest, step.target));
        self.steps.extend(found.steps.into_iter().filter(is_new));
    }

    /// Chooses the cheapest source of each layer, without those that failed.
    pub(super) fn choose_sources(&mut self) {
        let Self { source, local, deltas, steps, failed, options, .. } = self;
        let costs = CostModel(options.link);
        let known = KnownDeltas { deltas, steps, failed, depth: options.recipes_in_sequence() };
        self.layers = choose_sources(&source.image, local, known, costs);
    }
}

/// Returns remarks about the image, and about layers of the bases that are not on this machine.
fn notes(target: &Image, bases: &[Image]) -> Vec<Note> {
    let mut notes = target.notes.clone();
    for base in bases {
        for layer in base.layers.iter().filter(|layer| layer.is_absent()) {
            let what = format!(
                "layer {} ({}) is not a base: its blob is not there, and it cannot be put together \
                 from unpacked files",
                layer.ordinal + 1,
                layer.diff_id
            );
            notes.push(Note::new(&base.name, what));
        }
    }
    notes
}

/// Refuses an image that is newer than a base, by the dates of their configs.
fn check_rollback(target: &Image, bases: &[Image]) -> Result<()> {
    if bases.is_empty() {
        let what = "a rollback needs the image that it starts from; name it with --base";
        return Err(Error::bad_input(&target.name, what));
    }
    let date = |image: &Image| image.config.created.as_deref().and_then(dates::nanoseconds);
    // Without dates, or with the equal dates of reproducible builds, nothing is refused.
    let older = bases.iter().find(|base| date(base).zip(date(target)).is_some_and(|(b, t)| b < t));
    let Some(base) = older else { return Ok(()) };
    let [created, base_created] =
        [target, base].map(|image| image.config.created.clone().unwrap_or_default());
    let what = format!(
        "the image, made {created}, is newer than the base {}, made {base_created}; drop --rollback \
         to pull it anyway",
        base.name
    );
    Err(Error::bad_input(&target.name, what))
}

/// Searches for chains after failures: each one may cost as many requests as the first.
const MAX_FURTHER_SEARCHES: usize = 2;
