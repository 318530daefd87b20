//! The `create` command: encodes deltas, verifies them, saves them.
//!
//! Contains no matching.

use crate::{
    args::{self, CommonOptions},
    display::{self, TerminalProgress},
    output, session, stderr, terminal,
};
use imgdelta::{
    Error, Result,
    create::{
        Cost, CreateOptions, CreateReport, CreatedDelta, Direction, Draft, ImagePair, ProvedDelta,
        SavedDelta, check_destination,
    },
    diff::DiffOptions,
    size::Exact,
};
use std::{
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
    let progress = display::progress(common.quiet)?;
    let mut session = session::session(common, args.making.scratch.as_deref(), &progress)?
        .platform(args.platform.clone());
    if let Some(bytes) = args.making.memory {
        session = session.memory_bytes(bytes);
    }
    let session = session::registries(common, &progress)?.attach(session);
    let mut options = args.options();
    for path in &args.reuse {
        options = options.reuse(&session.open_delta(path)?)?;
    }
    let images = match &args.old {
        Some(old) => session.open_pair(old, &args.new)?,
        None => session.open_without_base(&args.new)?,
    };
    if images[0].digest == images[1].digest {
        progress.print_line("the old and the new image are the same");
    }
    let pair = session.read_pair(images, &DiffOptions::default())?;
    if args.dry_run {
        let created = CreatedDelta::of(&pair.plan(&options)?.encode()?, Direction::Upgrade)?;
        progress.finish();
        let report = CreateReport::default().with(created);
        let text = report.deltas[0].cost.text(terminal::width());
        return output::print_result(|| report.json(), &text, args.json, false);
    }
    // Both deltas are verified before either is saved, so that a failure leaves no half of a pair.
    let mut files = Vec::new();
    if let Some(path) = &args.output {
        files.push((path, DeltaFile::make(&pair, &options, Direction::Upgrade, args.no_prove)?));
    }
    if let Some(path) = &args.rollback {
        let pair = pair.reversed();
        files.push((path, DeltaFile::make(&pair, &options, Direction::Rollback, args.no_prove)?));
    }
    progress.finish();
    if common.verbose {
        for (_, (created, _)) in &files {
            explain(&created.cost, &progress);
        }
    }
    let mut report = CreateReport::default();
    for (path, (mut created, delta)) in files {
        if args::is_stdout(path) {
            delta.write_to_stdout()?;
        } else {
            created.file = Some(delta.save(path)?);
        }
        report.deltas.push(created);
    }
    if args.json {
        return output::print_json(&report.json());
    }
    let text = report.to_string();
    if !args.writes_to_stdout() {
        return output::print(text.as_bytes());
    }
    // Standard output has the delta, and nothing else.
    if !common.quiet {
        text.lines().for_each(stderr::print_line);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the decision for each layer.
fn explain(cost: &Cost, progress: &TerminalProgress) {
    for (number, layer) in (1..).zip(&cost.layers) {
        let (method, bytes) = (layer.method.words(), Exact(layer.bytes));
        progress.print_line(&format!("{}, layer {number}: {method}; {bytes}", cost.target));
    }
}

/// An encoded delta that can be saved: proved, or not by the user's choice.
enum DeltaFile {
    Proved(Box<ProvedDelta>),
    Unproved(Box<Draft>),
}

impl DeltaFile {
    /// Encodes a delta and returns it with its description.
    fn make(
        pair: &ImagePair,
        options: &CreateOptions,
        direction: Direction,
        no_prove: bool,
    ) -> Result<(CreatedDelta, Self)> {
        let draft = pair.plan(options)?.encode()?;
        let mut created = CreatedDelta::of(&draft, direction)?;
        let delta = if no_prove {
            Self::Unproved(Box::new(draft))
        } else {
            created.is_proved = true;
            Self::Proved(Box::new(draft.prove()?))
        };
        Ok((created, delta))
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
