//! The `create` command: encodes deltas, verifies them, saves them.
//!
//! Contains no matching.

use crate::{
    args::{self, CommonOptions},
    output, session, terminal,
};
use imgdelta::{
    Error, Result,
    create::{Cost, CreateOptions, Draft, ImagePair, ProvedDelta, SavedDelta, check_destination},
    diff::DiffOptions,
    size::Exact,
};
use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

/// Runs the command.
pub fn run(args: &args::CreateArgs, common: &CommonOptions) -> Result<ExitCode> {
    for path in [&args.output, &args.rollback].into_iter().flatten() {
        if !args::is_stdout(path) {
            check_destination(path)?;
        }
    }
    let progress = terminal::progress(common.quiet)?;
    let session = session::session(common, args.making.scratch.as_deref(), &progress)?
        .memory_bytes(args.making.memory)
        .platform(args.platform.clone());
    let session = session::registries(common)?.attach(session);
    let mut options = args.options();
    for path in &args.reuse {
        options = options.reuse(&session.open_delta(path)?)?;
    }
    let images = session.open_pair(&args.old, &args.new)?;
    let pair = session.read_pair(images, &DiffOptions::default())?;
    if args.dry_run {
        let cost = pair.plan(&options)?.encode()?.cost()?;
        progress.finish();
        return output::print_result(|| cost.json(), &cost, args.json, false);
    }
    // Both deltas are verified before either is saved, so that a failure leaves no half of a pair.
    let mut deltas = Vec::new();
    if let Some(path) = &args.output {
        deltas.push((path, DeltaFile::make(&pair, &options, args.no_prove)?));
    }
    if let Some(path) = &args.rollback {
        deltas.push((path, DeltaFile::make(&pair.reversed(), &options, args.no_prove)?));
    }
    progress.finish();
    let (mut text, mut documents) = (String::new(), Vec::new());
    for (path, (cost, delta)) in deltas {
        if args::is_stdout(path) {
            delta.write_to_stdout()?;
            continue;
        }
        let path = delta.save(path)?.path;
        let (delta, pull) = (Exact(cost.delta_bytes), Exact(cost.pull_bytes));
        let _ = writeln!(text, "{}: {delta}; a plain pull is {pull}", path.display());
        documents.push(cost.json());
    }
    if args.json && !documents.is_empty() {
        let document = if documents.len() == 1 { documents.remove(0) } else { documents.into() };
        return output::print_json(&document);
    }
    output::print(text.as_bytes())
}

/// An encoded delta that can be saved: proved, or not by the user's choice.
enum DeltaFile {
    Proved(Box<ProvedDelta>),
    Unproved(Box<Draft>),
}

impl DeltaFile {
    /// Encodes a delta and returns it with its cost.
    fn make(pair: &ImagePair, options: &CreateOptions, no_prove: bool) -> Result<(Cost, Self)> {
        let draft = pair.plan(options)?.encode()?;
        let cost = draft.cost()?;
        let delta = if no_prove {
            Self::Unproved(Box::new(draft))
        } else {
            Self::Proved(Box::new(draft.prove()?))
        };
        Ok((cost, delta))
    }

    fn save(self, path: &Path) -> Result<SavedDelta> {
        match self {
            Self::Proved(delta) => delta.save(path),
            Self::Unproved(draft) => draft.save_unproved(path),
        }
    }

    fn write_to_stdout(self) -> Result<()> {
        let mut stdout = io::BufWriter::new(io::stdout().lock());
        match self {
            Self::Proved(delta) => delta.write_to(&mut stdout)?,
            Self::Unproved(draft) => draft.write_unproved(&mut stdout)?,
        };
        stdout.flush().map_err(Error::io("standard output"))
    }
}
