//! The `diff` command: opens two images, compares them, prints the differences.
//!
//! Contains no comparison.

use crate::{
    args::{self, CommonOptions},
    output, session, terminal,
};
use imgdelta::{
    Result,
    diff::{Diff, DiffOptions, FileOrder, TextOptions},
    path::LayerPath,
};
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &args::DiffArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let session = session::session(common, args.making.scratch.as_deref(), &progress)?
        .memory_bytes(args.making.memory)
        .platform(args.platform.clone());
    let registries = session::registries(common)?;
    let session = if args.cost {
        registries.attach(session)
    } else {
        registries.attach_without_scratch(session)
    };
    let images = if args.any_platform {
        [session.open(&args.old)?, session.open(&args.new)?]
    } else {
        session.open_pair(&args.old, &args.new)?
    };
    let options = DiffOptions::default().ignore(args.ignore.clone()).cache(args.cache.clone());
    let (mut diff, cost) = if args.cost {
        let pair = session.read_pair(images, &options)?;
        let cost = pair.plan(&args.making.options())?.encode()?.cost()?;
        let listener = &*session.context().progress;
        (Diff::between(pair.base(), pair.target(), &args.ignore, listener)?, Some(cost))
    } else {
        (session.diff_images(images, &options)?, None)
    };
    progress.finish();

    if !args.filter.is_empty() {
        diff.keep_files(|path| is_chosen(args, path));
    }
    let printed = if args.json {
        let mut document = diff.json();
        if let Some(cost) = &cost {
            document["cost"] = cost.json();
        }
        output::print_json(&document)?
    } else {
        let cost = cost.map_or_else(String::new, |cost| format!("\n{cost}"));
        output::print(format!("{}{cost}", diff.text(text_options(args, common))).as_bytes())?
    };
    Ok(if args.exit_code && diff.differs() { ExitCode::from(1) } else { printed })
}

/// True if a filter matches a path, written with or without the leading `/`.
fn is_chosen(args: &args::DiffArgs, path: &LayerPath) -> bool {
    let from_root = [b"/", path.as_bytes()].concat();
    args.filter.iter().any(|glob| glob.matches(&from_root) || glob.matches(path.as_bytes()))
}

fn text_options(args: &args::DiffArgs, common: &CommonOptions) -> TextOptions {
    let mut options = TextOptions::default();
    options.color = terminal::has_color(common.color);
    options.all_files = args.files;
    options.details = !args.layers;
    options.order = match args.sort {
        args::SortOrder::Size => FileOrder::Size,
        args::SortOrder::Path => FileOrder::Path,
    };
    options
}
