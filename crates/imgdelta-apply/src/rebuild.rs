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
mod bill;
mod carried;
mod close;
mod digests;
mod effort;
mod groups;
mod open;
mod order;
mod output;
mod plan;
mod prove;
mod report;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod waves;

use crate::{
    delta::{Delta, LayerBody},
    sink::{AcceptedForm, NullSink, Sink},
};
pub use effort::{compression_nanoseconds, effort, rebuild_time};
use imgdelta_core::{
    Context, DiffId, Error, Result, progress::Stage, sort::SharedSort, work::WorkMeter,
};
use imgdelta_image::{envelope::StreamCheck, image::Image, volume::Volume};
use plan::{ApplyPlan, BlobJob};
pub(crate) use plan::{MANIFEST_TYPE, manifest_document, missing_streams};
pub use prove::prove;
pub use report::{ApplyReport, LayerReport, LayerSource};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};
use table::PayloadTable;
use waves::RecipeWaves;

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

    let images: Vec<&Image> = base.iter().collect();
    let asked: BTreeSet<u32> = jobs.iter().filter_map(|job| job.recipe()).collect();
    let ordinals = delta.with_target_sources(asked.clone())?;
    // Streams that are made only to be read count as made.
    let read: Vec<u64> = ordinals
        .difference(&asked)
        .map(|ordinal| delta.recipe_target(*ordinal).map(|target| target.bytes))
        .collect::<Result<_>>()?;
    let made = jobs.iter().map(|job| job.stream.bytes).chain(read);
    let meter = work_meter(delta, made, context);
    for job in &jobs {
        bill::charge_blob(delta, job, &meter)?;
    }
    let waves = RecipeWaves::charge(delta, &ordinals, &meter, context)?;
    let wanted = waves.sources();
    let compressed = jobs.iter().filter(|job| job.body == LayerBody::Kept && !job.is_in_base);
    let kept: Vec<DiffId> = compressed.map(|job| job.stream.diff_id).collect();
    let used: Vec<DiffId> = wanted.iter().chain(&kept).copied().collect();
    let make = || {
        // Base streams are not hashed, which would double the hashing: every result is compared.
        let digest = StreamCheck::Assume;
        let mut volume = Volume::extract_as(digest, &images, &wanted, context)?;
        volume.add_in_place(&images, &kept, context)?;
        for ordinal in waves.carried() {
            carried::add_to(&mut volume, delta, ordinal, &meter, context)?;
        }
        let mut notes = volume.notes().to_vec();
        waves.run(delta, &volume, &meter, context, &mut |recipes| {
            groups::decode_all(&recipes.tables, &meter, context)?;
            let (mut now, later): (Vec<&BlobJob>, Vec<&BlobJob>) =
                mem::take(&mut jobs).into_iter().partition(|job| recipes.can_make(job));
            jobs = later;
            // The longest first, so that no worker has a long one left at the end.
            now.shared_sort_by_key(|job| Reverse(job.stream.bytes));
            progress.begin(Stage::Writing, now.iter().map(|job| job.stream.bytes).sum());
            progress.expect_items(now.len() as u64);
            let made = workers.map(now, |job| {
                let mut notes = Vec::new();
                let meter = &meter;
                let maker =
                    assemble::LayerMaker { delta, base, recipes, limits, workers, meter, progress };
                maker.make(job, &*sink, &mut notes)?;
                progress.finish_item();
                Ok(notes)
            })?;
            notes.extend(made.into_iter().flatten());
            Ok(())
        })?;
        Ok(notes)
    };
    let notes = make().map_err(|error| match error {
        Error::Mismatch { .. } | Error::BadInput { .. } | Error::OverLimit { .. } => {
            // The cause may be a base stream with another digest, which the user must know.
            let base = Volume::extract(&images, &used, context);
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
    tables: BTreeMap<u32, Arc<PayloadTable>>,
}

impl LoadedRecipes<'_> {
    /// True if a blob can be made now. Blobs that need no recipe go with the first wave.
    fn can_make(&self, job: &BlobJob) -> bool {
        job.recipe().is_none_or(|ordinal| self.tables.contains_key(&ordinal))
    }
}

/// Makes the meter of a delta's work: the streams that it makes, by their lengths, from the base
/// streams that it names.
///
/// A base stream of another length than the delta states is refused before it is used.
fn work_meter(delta: &Delta, made: impl Iterator<Item = u64>, context: &Context) -> WorkMeter {
    let made_bytes = made.fold(0, u64::saturating_add);
    let used = delta.base().streams.iter().map(|stream| stream.bytes);
    let used_bytes = used.fold(0, u64::saturating_add);
    let progress = Arc::clone(&context.progress);
    WorkMeter::new(delta.place(), &context.limits, made_bytes, used_bytes, progress)
}
