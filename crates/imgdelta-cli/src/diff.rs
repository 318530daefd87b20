//! The `diff` command: opens two images, compares, prints.
//!
//! Holds no comparing of its own.

use crate::{
    args::{self, Common},
    create,
    registry::Registries,
    session, terminal,
};
use imgdelta::Result;
use imgdelta::diff::{Diff, DiffOptions, FileOrder, TextOptions};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, process::ExitCode};

/// Runs the command.
pub fn run(args: &args::Diff, common: &Common) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let registries = Registries::new(common)?;
    let session = session::new(common, args.making.scratch.as_deref(), &progress)?
        .memory_bytes(args.making.memory)
        .platform(args.platform.clone());
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
        let cost = pair.plan(&create::options(&args.making))?.encode()?.cost()?;
        (Diff::between(pair.base(), pair.target(), &args.ignore), Some(cost))
    } else {
        (session.diff_images(images, &options)?, None)
    };
    progress.finish();

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
