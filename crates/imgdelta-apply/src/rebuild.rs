//! The target of a delta, rebuilt from base images in a sink.
//! Never makes a delta.
//!
//! Failures come early: missing base layers are reported before a layer is read, and an unwritable
//! destination before a layer is made. Then base layers are inflated to scratch files, groups are
//! decoded in parallel, and layers are assembled in parallel. A layer becomes visible after its
//! digest was compared; the test `whenever_it_is_stopped_nothing_half_done_is_seen` holds this.
//!
//! Memory is the recipes, the groups being decoded (within a budget), and a few buffers per worker.
//! No layer is held in memory.

mod assemble;
mod close;
mod effort;
mod groups;
mod open;
mod order;
mod output;
mod plan;
mod prove;

mod report;
mod table;
#[cfg(test)]
mod tests;

use crate::{
    delta::{Delta, StoredRecipe},
    sink::{AcceptedForm, NullSink, Sink},
};
pub use effort::effort;
use imgdelta_core::{
    Context, DiffId, Error, Result,
    progress::{Progress, Stage},
};
use imgdelta_image::{envelope::StreamCheck, image::Image, volume::Volume};
use plan::ApplyPlan;
pub use prove::prove;
pub use report::{ApplyReport, LayerReport, LayerSource};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use table::PayloadTable;

/// Form of a written image's layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerForm {
    /// The target's blobs, byte for byte, so that the image has its digest.
    #[default]
    Exact,
    /// Uncompressed streams. The config is the target's; the manifest is a new one.
    Uncompressed,
}

/// Makes the target of a delta in a sink, from images that have the base layers.
///
/// One [`Error::BaseMissing`] names all streams that the delta needs and no image has.
pub fn apply(
    delta: &Delta,
    base: &[Image],
    mut sink: Box<dyn Sink>,
    layers: LayerForm,
    context: &Context,
) -> Result<ApplyReport> {
    let Context { workers, limits, .. } = context;
    let progress = &*context.progress;
    let accepted = sink.accepts();
    let plan = ApplyPlan::make(delta, base, accepted, layers)?;
    sink.begin(plan.outgoing.clone())?;
    let mut report = plan.report(delta, sink.place());
    if accepted == AcceptedForm::Streams {
        report.manifest = None;
    }

    progress.begin(Stage::Looking, plan.jobs.iter().map(|job| job.output.size_bytes).sum());
    let checked = workers.map(plan.jobs.clone(), |job| {
        let has = sink.has(&job.output, progress)?;
        progress.advance(job.output.size_bytes);
        Ok(has)
    })?;
    let (mut jobs, mut present) = (Vec::new(), Vec::new());
    for (job, has) in plan.jobs.iter().zip(checked) {
        if has { present.push(job.output.digest) } else { jobs.push(job) }
    }
    for layer in &mut report.layers {
        if present.contains(&layer.digest) {
            layer.source = LayerSource::Present;
        }
    }

    let ordinals: BTreeSet<u32> = jobs.iter().filter_map(|job| job.recipe()).collect();
    let recipes = read_recipes(delta, ordinals, progress)?;
    let sources = recipes.iter().flat_map(|(_, recipe)| &recipe.sources);
    let wanted: Vec<DiffId> = sources.map(|source| source.diff_id).collect();
    let images: Vec<&Image> = base.iter().collect();
    let make = || {
        // Base streams are not hashed, which would double the hashing: every result is compared.
        let digest = StreamCheck::Assume;
        let volume = Volume::extract_as(digest, &images, &wanted, context)?;
        let recipes = load(delta, recipes, &volume, context)?;
        groups::decode_all(&recipes.tables, context)?;

        // The longest first, so that no worker has a long one left at the end.
        jobs.sort_by_key(|job| Reverse(job.stream.bytes));
        progress.begin(Stage::Writing, jobs.iter().map(|job| job.stream.bytes).sum());
        let recipes = &recipes;
        let notes = workers.map(jobs, |job| {
            let mut notes = Vec::new();
            let maker = assemble::LayerMaker { delta, base, recipes, limits, workers, progress };
            maker.make(job, &*sink, &mut notes)?;
            Ok(notes)
        })?;
        Ok(volume.notes().iter().cloned().chain(notes.into_iter().flatten()).collect::<Vec<_>>())
    };
    let notes = make().map_err(|error| match error {
        Error::Mismatch { .. } | Error::BadInput { .. } | Error::OverLimit { .. } => {
            // The cause may be a base stream with another digest, which the user must know.
            let base = Volume::extract(&images, &wanted, context);
            base.err().unwrap_or(error)
        }
        error => error,
    })?;
    report.notes.extend(notes);
    sink.finish()?;
    Ok(report)
}

/// Applies a delta without output, which shows that delta and base are intact.
///
/// A layer whose blob cannot be remade is verified as a stream.
pub fn verify(delta: &Delta, base: &[Image], context: &Context) -> Result<ApplyReport> {
    let report = apply(delta, base, Box::new(NullSink), LayerForm::Exact, context)?;
    Ok(ApplyReport { place: None, ..report })
}

/// The recipes of all layers to be made, by ordinal, with the base's streams.
#[derive(Debug)]
struct LoadedRecipes<'a> {
    volume: &'a Volume,
    tables: BTreeMap<u32, PayloadTable>,
}

/// Reads the recipes of these ordinals.
fn read_recipes(
    delta: &Delta,
    ordinals: impl IntoIterator<Item = u32>,
    progress: &dyn Progress,
) -> Result<Vec<(u32, StoredRecipe)>> {
    let read = ordinals.into_iter().map(|ordinal| {
        progress.check()?;
        Ok((ordinal, delta.recipe(ordinal)?))
    });
    read.collect()
}

/// Opens the archives of each recipe's base, and locates all payloads.
fn load<'a>(
    delta: &Delta,
    recipes: Vec<(u32, StoredRecipe)>,
    volume: &'a Volume,
    context: &Context,
) -> Result<LoadedRecipes<'a>> {
    let mut tasks = Vec::new();
    for (ordinal, recipe) in recipes {
        let place = format!("{}, recipe {ordinal}", delta.place());
        // Archives of one recipe are opened in parallel, so recipes are not.
        let base = PayloadTable::open_base(&recipe, &place, volume, context)?;
        tasks.push((ordinal, recipe, place, base));
    }
    let tables = context.workers.map(tasks, |(ordinal, recipe, place, base)| {
        Ok((ordinal, PayloadTable::new(recipe, place, base, context)?))
    })?;
    Ok(LoadedRecipes { volume, tables: tables.into_iter().collect() })
}
