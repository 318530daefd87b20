//! The `create` command: makes a delta, proves it, and only then lets it be seen.
//!
//! Holds no matching of its own.

use crate::{
    args::{self, Common, Making},
    registry::Registries,
    session, terminal,
};
use imgdelta::Result;
use imgdelta::apply::LayerForm;
use imgdelta::create::{
    ArchiveOptions, Cost, CreateOptions, Draft, ImagePair, Preset, ProvedDelta, check_destination,
};
use imgdelta::diff::DiffOptions;
use imgdelta::size::Exact;
use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

/// Runs the command.
pub fn run(args: &args::Create, common: &Common) -> Result<ExitCode> {
    for path in [&args.output, &args.rollback].into_iter().flatten() {
        if !is_stdout(path) {
            check_destination(path)?;
        }
    }
    let progress = terminal::progress(common.quiet)?;
    let registries = Registries::new(common)?;
    let session = session::new(common, args.making.scratch.as_deref(), &progress)?
        .memory_bytes(args.making.memory)
        .platform(args.platform.clone());
    let session = registries.attach(session);
    let images = session.open_pair(&args.old, &args.new)?;
    let pair = session.read_pair(images, &DiffOptions::default())?;
    let options = options(&args.making).layers(args.layers.into());
    // Both deltas are proved before either is saved, so that a failure leaves no half of a pair.
    let mut made = Vec::new();
    if args.output.is_some() || args.dry_run {
        made.push(make(&pair, &options, args.output.as_deref(), args.no_prove)?);
    }
    if let Some(path) = &args.rollback {
        made.push(make(&pair.reversed(), &options, Some(path), args.no_prove)?);
    }
    progress.finish();
    let (mut text, mut documents) = (String::new(), Vec::new());
    for (cost, ready) in made {
        match ready {
            Ready::DryRun => {
                let _ = write!(text, "{cost}");
            }
            Ready::Stdout(ready) => {
                write_out(ready)?;
                continue;
            }
            Ready::File(path, ready) => {
                let saved = match ready {
                    Either::Proved(delta) => delta.save(path)?,
                    Either::Unproved(draft) => draft.save_unproved(path)?,
                };
                let _ = writeln!(
                    text,
                    "{}: {}; a plain pull is {}",
                    saved.path.display(),
                    Exact(cost.delta_bytes),
                    Exact(cost.pull_bytes)
                );
            }
        }
        documents.push(cost.json());
    }
    if args.json && !documents.is_empty() {
        let document = if documents.len() == 1 { documents.remove(0) } else { documents.into() };
        return crate::print_json(&document);
    }
    crate::print(text.as_bytes())
}

/// Returns the library's options for the command line's.
pub fn options(making: &Making) -> CreateOptions {
    let preset = match making.preset {
        args::Preset::Fast => Preset::Fast,
        args::Preset::Default => Preset::Default,
        args::Preset::Best => Preset::Best,
    };
    let archives = ArchiveOptions::default()
        .depth(making.archive_depth)
        .nanoseconds_per_byte(making.remake_cost);
    CreateOptions::default().preset(preset).archives(archives)
}

/// A delta that waits to be written, with its destination.
enum Ready<'a> {
    DryRun,
    Stdout(Either),
    File(&'a Path, Either),
}

/// A delta that was proved, or one that the user did not want to be proved.
enum Either {
    Proved(ProvedDelta),
    Unproved(Box<Draft>),
}

/// Makes one delta; with `--no-prove` it is not applied and compared.
fn make<'a>(
    pair: &ImagePair,
    options: &CreateOptions,
    path: Option<&'a Path>,
    no_prove: bool,
) -> Result<(Cost, Ready<'a>)> {
    let draft = pair.plan(options)?.encode()?;
    let cost = draft.cost()?;
    let Some(path) = path else { return Ok((cost, Ready::DryRun)) };
    let ready =
        if no_prove { Either::Unproved(Box::new(draft)) } else { Either::Proved(draft.prove()?) };
    let ready = if is_stdout(path) { Ready::Stdout(ready) } else { Ready::File(path, ready) };
    Ok((cost, ready))
}

fn write_out(ready: Either) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match ready {
        Either::Proved(delta) => delta.write_to(&mut out)?,
        Either::Unproved(draft) => draft.write_unproved(&mut out)?,
    };
    out.flush().map_err(imgdelta::Error::io("standard output"))
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

impl From<args::Layers> for LayerForm {
    fn from(layers: args::Layers) -> Self {
        match layers {
            args::Layers::Exact => Self::Exact,
            args::Layers::Uncompressed => Self::Uncompressed,
        }
    }
}
