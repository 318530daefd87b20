//! The `create` command: makes a delta, proves it, and only then lets it be seen.
//!
//! Holds no matching of its own.

use crate::{
    args::{self, Common, Making},
    delta,
    output::Output,
    registry::Registries,
    terminal::{self, Told},
};
use imgdelta::{
    Limits, Reference, Result,
    apply::{self, ApplyOptions},
    cost::Cost,
    delta::Delta,
    draft::Draft,
    encode::{self, EncodeOptions, Layers},
    image::{self, OpenOptions},
    inside::InsideOptions,
    parallel::Workers,
    plan::{Plan, PlanOptions, Preset},
    scratch::Scratch,
    size::Exact,
    survey::{self, Survey, SurveyOptions},
    volume::Volume,
};
use std::{fmt::Write as _, path::Path, process::ExitCode, sync::Arc};

/// Runs the command.
pub fn run(args: &args::Create, common: &Common) -> Result<ExitCode> {
    let limits = common.limits();
    let progress = terminal::progress(common.quiet)?;
    let open = OpenOptions::default().limits(limits.clone()).platform(args.platform.clone());
    let scratch = delta::scratch(args.making.scratch.as_deref())?;
    let registries = Registries::new(common, Some(scratch.clone()))?;
    let opener = |reference: &Reference, limits: &Limits| registries.open(reference, limits);
    let images = image::open_pair_by(&args.old, &args.new, &open, &opener)?;
    let workers = Workers::new(common.jobs)?;
    let options = SurveyOptions::default().limits(limits);
    let ([base, target], volume) =
        survey::both_with_streams(images, &options, &scratch, &workers, &progress)?;
    let maker = Maker {
        making: &args.making,
        layers: match args.layers {
            args::Layers::Exact => Layers::Exact,
            args::Layers::Uncompressed => Layers::Uncompressed,
        },
        volume: &volume,
        scratch: &scratch,
        workers: &workers,
        progress: &progress,
    };
    let proof = ApplyOptions::new(scratch.clone()).limits(options.limits);
    let proof = (!args.no_prove).then_some(&proof);
    let directions =
        [([&base, &target], args.output.as_deref()), ([&target, &base], args.rollback.as_deref())];
    // Both are made before either is seen: a rollback that fails leaves no half of a pair behind.
    let mut made = Vec::new();
    for (images, path) in directions {
        if path.is_some() || (args.dry_run && made.is_empty()) {
            made.push(make(&maker, images, path, proof)?);
        }
    }
    progress.finish();
    let (mut text, mut documents) = (String::new(), Vec::new());
    for one in made {
        let is_stdout = one.output.as_ref().is_some_and(Output::is_stdout);
        let bytes = one.cost.delta_bytes;
        match one.output {
            None => {
                let _ = write!(text, "{}", one.cost);
            }
            Some(output) => {
                let place = output.publish()?;
                if !is_stdout {
                    let _ = writeln!(
                        text,
                        "{place}: {}; a plain pull is {}",
                        Exact(bytes),
                        Exact(one.cost.pull_bytes)
                    );
                }
            }
        }
        if !is_stdout {
            documents.push(one.cost.json());
        }
    }
    if args.json {
        let document = if documents.len() == 1 { documents.remove(0) } else { documents.into() };
        return crate::print_json(&document);
    }
    crate::print(text.as_bytes())
}

/// What the drafts of both directions share.
pub struct Maker<'a> {
    pub making: &'a Making,
    pub layers: Layers,
    pub volume: &'a Volume,
    pub scratch: &'a Scratch,
    pub workers: &'a Workers,
    pub progress: &'a Told,
}

impl Maker<'_> {
    /// Makes a draft and hands it to `then`.
    pub fn draft<T>(
        &self,
        base: &Survey,
        target: &Survey,
        then: impl FnOnce(&Draft<'_>) -> Result<T>,
    ) -> Result<T> {
        let preset = match self.making.preset {
            args::Preset::Fast => Preset::Fast,
            args::Preset::Default => Preset::Default,
            args::Preset::Best => Preset::Best,
        };
        let inside = InsideOptions::default()
            .depth(self.making.archive_depth)
            .nanoseconds_per_byte(self.making.remake_cost);
        let options = PlanOptions::default().preset(preset).inside(inside);
        let (scratch, workers, progress) = (self.scratch, self.workers, self.progress);
        let plan = Plan::of(base, target, self.volume, options, scratch, workers, progress)?;
        let options = EncodeOptions::default().layers(self.layers).memory_bytes(self.making.memory);
        then(&encode::encode(&plan, &options, self.scratch, self.workers, self.progress)?)
    }
}

struct Made {
    output: Option<Output>,
    cost: Cost,
}

/// Makes one delta; it is complete and proved, and not yet where it is to be seen.
fn make(
    maker: &Maker<'_>,
    [base, target]: [&Survey; 2],
    path: Option<&Path>,
    proof: Option<&ApplyOptions>,
) -> Result<Made> {
    maker.draft(base, target, |draft| {
        let cost = Cost::of(draft)?;
        let Some(path) = path else { return Ok(Made { output: None, cost }) };
        let mut output = Output::create(path, maker.scratch)?;
        draft.write(&mut output)?;
        let file = output.finish()?;
        if let Some(options) = proof {
            let fresh = Delta::open(Arc::new(file), path.display(), &options.limits)?;
            apply::prove(&fresh, maker.volume, options, maker.workers, maker.progress)?;
        }
        Ok(Made { output: Some(output), cost })
    })
}
