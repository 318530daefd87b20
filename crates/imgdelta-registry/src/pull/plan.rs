//! The plan of a pull: the source of each layer, and the bytes that it downloads.
//!
//! Downloads documents and fronts, and no layer or recipe.

use super::{
    cost::CostModel,
    deltas::choose_deltas,
    destination::PullDestination,
    layers::{FailedPairs, LayerSource, PullDelta, PullLayer, choose_sources, fetch_bytes},
    local::LocalContent,
    options::PullOptions,
    source::PullSource,
};
use crate::dates;
use imgdelta_core::{Context, Error, Note, Result};
use imgdelta_image::{image::Image, store::Descriptor};

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
    pub(super) failed: FailedPairs,
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
        let layers = choose_sources(&source.image, &local, &[], &FailedPairs::new(), costs);
        let documents = (source.image.manifest.len() + source.image.config_bytes.len()) as u64;
        let plain_layers_bytes = fetch_bytes(&layers);
        let mut plan = Self {
            layers,
            deltas: Vec::new(),
            plain_bytes: documents + plain_layers_bytes,
            decided_bytes: 0,
            notes: source.image.notes.clone(),
            source,
            bases,
            output,
            options,
            context: context.clone(),
            local,
            failed: FailedPairs::new(),
            rest_bytes: plain_layers_bytes,
        };
        if plan.options.deltas && plain_layers_bytes > 0 && !plan.local.streams.is_empty() {
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

    /// Chooses deltas. A failure is a note: the layers can be pulled without deltas.
    fn search(&mut self, costs: CostModel, plain_layers_bytes: u64) {
        let Self { source, local, layers, notes, .. } = self;
        match choose_deltas(source, local, layers, costs, notes) {
            Ok(selection) => {
                self.deltas = selection.deltas;
                self.rest_bytes = plain_layers_bytes.saturating_sub(selection.search_bytes);
                self.choose_sources();
            }
            Err(error) => {
                let what = format!("cannot search for deltas: {error}");
                self.notes.push(Note::new(self.source.repository.place(), what));
            }
        }
    }

    /// Chooses the cheapest source of each layer, without those that failed.
    pub(super) fn choose_sources(&mut self) {
        let Self { source, local, deltas, failed, options, .. } = self;
        let costs = CostModel(options.link);
        self.layers = choose_sources(&source.image, local, deltas, failed, costs);
    }

    /// Returns the recipe of a layer's source, if it has one.
    pub(super) fn recipe(&self, source: LayerSource) -> Option<&Descriptor> {
        match source {
            LayerSource::Recipe { delta, recipe } => {
                Some(&self.deltas[delta].artifact.recipes[recipe].blob)
            }
            _ => None,
        }
    }
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
