//! The commands `apply`, `verify` and `inspect`: a delta opened, applied or described.
//!
//! Holds no applying of its own.

use crate::{
    args::{self, Common},
    registry::Registries,
    session, terminal,
};
use imgdelta::Result;
use imgdelta::Session;
use imgdelta::{
    apply::Applied,
    delta::{Delta, Inspection},
    sink,
};
use std::{io, path::Path, process::ExitCode, sync::Arc};

/// Runs `apply`.
pub fn apply(args: &args::Apply, common: &Common) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let session = session(&args.delta, common, &progress)?;
    let delta = open(&args.delta.file, &session)?;
    let base = session.open_base(&delta, &args.delta.base)?;
    let sink = sink::create(&args.output, &session.context().limits)?;
    let applied = session.apply_to(&delta, &base, sink, args.layers.into())?;
    progress.finish();
    print(&applied, args.delta.json, common.quiet)
}

/// Runs `verify`.
pub fn verify(args: &args::Verify, common: &Common) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let session = session(&args.delta, common, &progress)?;
    let delta = open(&args.delta.file, &session)?;
    let base = session.open_base(&delta, &args.delta.base)?;
    let applied = session.verify_delta(&delta, &base)?;
    progress.finish();
    print(&applied, args.delta.json, common.quiet)
}

/// Runs `inspect`.
pub fn inspect(args: &args::Inspect, common: &Common) -> Result<ExitCode> {
    let progress = Arc::new(terminal::silent());
    let session = session::new(common, None, &progress)?;
    let inspection = Inspection::of(open(&args.file, &session)?)?;
    if args.json {
        return crate::print_json(&inspection.json());
    }
    crate::print(inspection.text(args.files).to_string().as_bytes())
}

fn session(
    args: &args::DeltaArgs,
    common: &Common,
    progress: &Arc<terminal::Told>,
) -> Result<Session> {
    let session = session::new(common, args.scratch.as_deref(), progress)?;
    let session = session.platform(args.platform.clone());
    let session = match args.memory {
        Some(bytes) => session.memory_bytes(bytes),
        None => session,
    };
    Ok(Registries::new(common)?.attach(session))
}

fn print(applied: &Applied, as_json: bool, quiet: bool) -> Result<ExitCode> {
    match (as_json, quiet) {
        (true, _) => crate::print_json(&applied.json()),
        (false, true) => Ok(ExitCode::SUCCESS),
        (false, false) => crate::print(applied.to_string().as_bytes()),
    }
}

/// Opens a delta; `-` is standard input.
pub fn open(file: &Path, session: &Session) -> Result<Delta> {
    if file == Path::new("-") {
        return session.read_delta(&mut io::stdin().lock(), "standard input");
    }
    session.open_delta(file)
}
