//! A delta and a base become the target: every blob rebuilt, proven, and handed to a sink.
//!
//! The order of work makes what fails fail early: what the base lacks is told before anything is
//! read, what cannot be written before anything is made. Then base layers are inflated to scratch
//! files, groups decode side by side, and layers are put together side by side, each shown only
//! once its digest was compared. Memory is the groups being decoded, within a budget, the recipes,
//! and some buffers a worker; never a layer. Decides nothing about how a delta is made.

mod assemble;
mod effort;
mod nested;
mod output;
mod plan;
mod prove;
mod rebuild;
mod report;
mod table;
#[cfg(test)]
mod tests;

use crate::{
    delta::{Delta, StoredRecipe},
    sink::{Nothing, Sink, Wants},
};
pub use effort::effort;
use imgdelta_core::{
    BlobDigest, Context, DiffId, Error, Note, Result,
    progress::{Progress, Stage},
};
use imgdelta_image::{
    envelope::StreamCheck,
    image::{Image, Platform},
    volume::Volume,
};
use plan::Plan;
pub use prove::prove;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use table::Prepared;

/// Form of a written image's layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerForm {
    /// The target's blobs, byte for byte, so that the image has its digest.
    #[default]
    Exact,
    /// Streams, uncompressed. The config is the target's, the manifest a new one.
    Uncompressed,
}

/// What applying a delta made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Applied {
    /// Where it was written; `None` if it was only verified.
    pub place: Option<String>,
    /// The digest of the target's manifest.
    pub target: BlobDigest,
    /// The digest of the manifest that was written: the target's, unless layers are uncompressed.
    /// `None` where only streams are kept: an archive for Docker is known by the config.
    pub manifest: Option<BlobDigest>,
    /// The digest of the config, which is Docker's id of the image.
    pub config: BlobDigest,
    /// What the image runs on.
    pub platform: Platform,
    /// The layers, lowest first.
    pub layers: Vec<AppliedLayer>,
    /// What was remarkable.
    pub notes: Vec<Note>,
}

/// What became of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedLayer {
    /// The digest of what was written: the target's blob, or its stream where that was wanted or
    /// is all that can be made.
    pub digest: BlobDigest,
    /// Its length.
    pub bytes: u64,
    /// Its stream.
    pub diff_id: DiffId,
    /// Whether what was written is the target's blob.
    pub is_exact: bool,
    /// Where it came from.
    pub came: Came,
}

/// Where a layer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Came {
    /// From the base, as it is.
    Kept,
    /// From a recipe.
    Rebuilt,
    /// From the delta, which carries it whole.
    Carried,
    /// The sink had it already.
    There,
}

/// Makes the target of a delta in a sink, from images that hold the base.
///
/// All streams that the delta needs and no image has are told in one
/// [`Error::BaseMissing`].
pub fn apply(
    delta: &Delta,
    base: &[Image],
    mut sink: Box<dyn Sink>,
    layers: LayerForm,
    context: &Context,
) -> Result<Applied> {
    let Context { workers, limits, .. } = context;
    let progress = &*context.progress;
    let wants = sink.wants();
    let plan = Plan::make(delta, base, wants, layers)?;
    sink.begin(plan.outgoing.clone())?;
    let mut applied = plan.applied(delta, sink.place());
    if wants == Wants::Streams {
        applied.manifest = None;
    }

    progress.begin(Stage::Looking, plan.jobs.iter().map(|job| job.output.size_bytes).sum());
    let looked = workers.map(plan.jobs.clone(), |job| {
        let has = sink.has(&job.output, progress)?;
        progress.advance(job.output.size_bytes);
        Ok(has)
    })?;
    let (mut jobs, mut there) = (Vec::new(), Vec::new());
    for (job, has) in plan.jobs.iter().zip(looked) {
        if has { there.push(job.output.digest) } else { jobs.push(job) }
    }
    for layer in &mut applied.layers {
        if there.contains(&layer.digest) {
            layer.came = Came::There;
        }
    }

    let ordinals: BTreeSet<u32> = jobs.iter().filter_map(|job| job.recipe()).collect();
    let stored = stored(delta, ordinals, progress)?;
    let sources = stored.iter().flat_map(|(_, recipe)| &recipe.sources);
    let wanted: Vec<DiffId> = sources.map(|source| source.diff_id).collect();
    let images: Vec<&Image> = base.iter().collect();
    let make = || {
        // That a blob holds the stream that a config says is not hashed: all that is made of it
        // is compared, and that is half of what hashing there is.
        let digest = StreamCheck::Assume;
        let volume = Volume::extract_as(digest, &images, &wanted, context)?;
        let recipes = prepare(delta, stored, &volume, context)?;
        rebuild::all(&recipes.prepared, context)?;

        // The longest first, so that no worker is left with a large one at the end.
        jobs.sort_by_key(|job| Reverse(job.stream.bytes));
        progress.begin(Stage::Writing, jobs.iter().map(|job| job.stream.bytes).sum());
        let recipes = &recipes;
        let notes = workers.map(jobs, |job| {
            let mut notes = Vec::new();
            let maker = assemble::Maker { delta, base, recipes, limits, workers, progress };
            maker.make(job, &*sink, &mut notes)?;
            Ok(notes)
        })?;
        Ok(volume.notes().iter().cloned().chain(notes.into_iter().flatten()).collect::<Vec<_>>())
    };
    let notes = make().map_err(|error| match error {
        Error::Mismatch { .. } | Error::BadInput { .. } | Error::OverLimit { .. } => {
            // Perhaps it is the base that is not what it says.
            let base = Volume::extract(&images, &wanted, context);
            base.err().unwrap_or(error)
        }
        error => error,
    })?;
    applied.notes.extend(notes);
    sink.finish()?;
    Ok(applied)
}

/// Makes the target of a delta and keeps nothing: whether a delta and a base are whole.
///
/// Layers whose blob cannot be remade are checked as streams.
pub fn verify(delta: &Delta, base: &[Image], context: &Context) -> Result<Applied> {
    let applied = apply(delta, base, Box::new(Nothing), LayerForm::Exact, context)?;
    Ok(Applied { place: None, ..applied })
}

/// The recipes that are to be used, by their ordinals, and the base's streams.
#[derive(Debug)]
struct Recipes<'a> {
    volume: &'a Volume,
    prepared: BTreeMap<u32, Prepared>,
}

/// Reads recipes.
fn stored(
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

/// Works out where each payload comes from.
fn prepare<'a>(
    delta: &Delta,
    stored: Vec<(u32, StoredRecipe)>,
    volume: &'a Volume,
    context: &Context,
) -> Result<Recipes<'a>> {
    let mut works = Vec::new();
    for (ordinal, recipe) in stored {
        let place = format!("{}, recipe {ordinal}", delta.place());
        // Its archives are opened side by side.
        let base = Prepared::open(&recipe, &place, volume, context)?;
        works.push((ordinal, recipe, place, base));
    }
    let prepared = context.workers.map(works, |(ordinal, recipe, place, base)| {
        Ok((ordinal, Prepared::new(recipe, place, base, context)?))
    })?;
    Ok(Recipes { volume, prepared: prepared.into_iter().collect() })
}
