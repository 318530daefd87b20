//! The `diff` command: opens two images, compares, prints.
//!
//! Holds no comparing of its own.

use crate::{
    args::{self, Common},
    create::Maker,
    delta,
    registry::Registries,
    terminal,
};
use imgdelta::{
    Limits, Reference, Result,
    cost::Cost,
    diff::{Diff, FileOrder, TextOptions},
    encode::Layers,
    image::{self, OpenOptions},
    parallel::Workers,
    survey::{self, SurveyOptions},
};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, process::ExitCode};

/// Runs the command.
pub fn run(args: &args::Diff, common: &Common) -> Result<ExitCode> {
    let limits = common.limits();
    let progress = terminal::progress(common.quiet)?;
    let open = OpenOptions::default().limits(limits.clone()).platform(args.platform.clone());
    // Only what a cost is worked out from is read more than once.
    let scratch = args.cost.then(|| delta::scratch(args.making.scratch.as_deref())).transpose()?;
    let registries = Registries::new(common, scratch.clone())?;
    let opener = |reference: &Reference, limits: &Limits| registries.open(reference, limits);
    let images = if args.any_platform {
        [&args.old, &args.new].map(|reference| image::open_by(reference, &open, &opener))
    } else {
        image::open_pair_by(&args.old, &args.new, &open, &opener)?.map(Ok)
    };
    let [base, target] = images;
    let images = [base?, target?];

    let mut options = SurveyOptions::default().limits(limits);
    if let Some(dir) = &args.cache {
        options = options.cache(dir)?;
    }
    let workers = Workers::new(common.jobs)?;
    let ([base, target], cost) = if let Some(scratch) = scratch {
        let ([base, target], volume) =
            survey::both_with_streams(images, &options, &scratch, &workers, &progress)?;
        let maker = Maker {
            making: &args.making,
            layers: Layers::Exact,
            volume: &volume,
            scratch: &scratch,
            workers: &workers,
            progress: &progress,
        };
        let cost = maker.draft(&base, &target, Cost::of)?;
        ([base, target], Some(cost))
    } else {
        (survey::both(images, &options, &workers, &progress)?, None)
    };
    progress.finish();

    let mut diff = Diff::between(&base, &target, &args.ignore);
    if !args.filter.is_empty() {
        diff.keep_files(|path| {
            let from_root = [b"/", path.as_bytes()].concat();
            let from_root = Path::new(OsStr::from_bytes(&from_root));
            let relative = Path::new(OsStr::from_bytes(path.as_bytes()));
            args.filter.iter().any(|glob| glob.is_match(from_root) || glob.is_match(relative))
        });
    }
    let printed = if args.json {
        let mut document = diff.json();
        if let Some(cost) = &cost {
            document["cost"] = cost.json();
        }
        crate::print_json(&document)?
    } else {
        let cost = cost.map_or_else(String::new, |cost| format!("\n{cost}"));
        crate::print(format!("{}{cost}", diff.text(text_options(args, common))).as_bytes())?
    };
    Ok(if args.exit_code && diff.differs() { ExitCode::from(1) } else { printed })
}

fn text_options(args: &args::Diff, common: &Common) -> TextOptions {
    let mut options = TextOptions::default();
    options.color = terminal::has_color(common.color);
    options.all_files = args.files;
    options.details = !args.layers;
    options.order = match args.sort {
        args::Sort::Size => FileOrder::Size,
        args::Sort::Path => FileOrder::Path,
    };
    options
}
