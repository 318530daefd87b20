//! The commands `apply`, `verify` and `inspect`.
//!
//! Contains no decoding.

use crate::{
    args::{self, CommonOptions, DeltaArgs},
    output, session,
    terminal::{self, TerminalProgress},
};
use imgdelta::{
    Result, Session,
    apply::ApplyReport,
    delta::{Delta, Inspection},
    image::Image,
    sink,
};
use std::{process::ExitCode, sync::Arc};

/// Runs `apply`.
pub fn apply(args: &args::ApplyArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let (session, delta, base) = open(&args.delta, common, &progress)?;
    let sink = sink::create(&args.output, session.context())?;
    let applied = session.apply_to(&delta, &base, sink, args.layers.into())?;
    print(&applied, &args.delta, common, &progress)
}

/// Runs `verify`.
pub fn verify(args: &args::VerifyArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let (session, delta, base) = open(&args.delta, common, &progress)?;
    let applied = session.verify_delta(&delta, &base)?;
    print(&applied, &args.delta, common, &progress)
}

/// Runs `inspect`.
pub fn inspect(args: &args::InspectArgs, common: &CommonOptions) -> Result<ExitCode> {
    let session = session::session(common, None, &Arc::new(terminal::silent()))?;
    let inspection = Inspection::of(session::open_delta(&session, &args.file)?)?;
    let text = inspection.text(args.files);
    output::print_result(|| inspection.json(), &text, args.json, false)
}

/// Opens a delta and the images that hold its base.
fn open(
    args: &DeltaArgs,
    common: &CommonOptions,
    progress: &Arc<TerminalProgress>,
) -> Result<(Session, Delta, Vec<Image>)> {
    let session = session::session(common, args.scratch.as_deref(), progress)?;
    let mut session = session.platform(args.platform.clone());
    if let Some(bytes) = args.memory {
        session = session.memory_bytes(bytes);
    }
    let session = session::registries(common)?.attach(session);
    let delta = session::open_delta(&session, &args.file)?;
    let base = session.open_base(&delta, &args.base)?;
    Ok((session, delta, base))
}

fn print(
    applied: &ApplyReport,
    args: &DeltaArgs,
    common: &CommonOptions,
    progress: &TerminalProgress,
) -> Result<ExitCode> {
    progress.finish();
    output::print_result(|| applied.json(), applied, args.json, common.quiet)
}
