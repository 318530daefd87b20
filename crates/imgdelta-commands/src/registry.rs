//! The commands `push` and `pull`.
//!
//! Contains no protocol. `pull` reports the bytes to fetch before it fetches them.

#[cfg(feature = "node")]
use crate::runtimes;
use crate::{
    args::{self, CommonOptions},
    destination, display, output, session,
};
#[cfg(feature = "node")]
use imgdelta::Error;
use imgdelta::Result;
use imgdelta_registry::{
    PushOptions,
    pull::{LinkSpeed, PullOptions},
};
use std::process::ExitCode;

/// Runs `push`.
pub fn push(args: &args::PushArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = display::progress(common.quiet)?;
    let session = session::session(common, args.scratch.as_deref(), &progress)?;
    let delta = session::open_delta(&session, &args.file)?;
    let options = PushOptions::default().tag(args.target.tag.clone()).creator(CREATOR);
    let registries = session::registries(common, &progress)?;
    let pushed = registries.push(&delta, &args.target.image, &options)?;
    progress.finish();
    output::print_with_digest(&args.digest, Some(&pushed.artifact), || {
        output::print_result(|| pushed.json(), &pushed, args.json, common.quiet)
    })
}

/// Runs `pull`.
pub fn pull(args: &args::PullArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = display::progress(common.quiet)?;
    let session = session::session(common, args.scratch.as_deref(), &progress)?;
    let mut session = session.platform(args.platform.clone());
    if let Some(bytes) = args.memory {
        session = session.memory_bytes(bytes);
    }
    destination::check(&args.output, &session)?;
    let workers = session.context().workers.count();
    let link = args.link.map(|bits_per_second| LinkSpeed::new(bits_per_second, workers));
    let options = PullOptions::default()
        .deltas(!args.no_delta)
        .rollback(args.rollback)
        .chain(args.chain.into())
        .time_limit(!args.no_time_limit)
        .link(link);
    let registries = session::registries(common, &progress)?;
    let output = destination::of_pull(&args.output, &registries, &session);
    let plan = registries.plan_pull(&session, &args.source, &args.base, output, &options)?;
    #[cfg(feature = "node")]
    let mut unframed = runtimes::UnframedBases::new(args.scratch.as_deref());
    #[cfg(feature = "node")]
    let plan = if plan.is_complete() || !plan.deltas.is_empty() || args.no_delta {
        plan
    } else {
        // Bases that discarded their blobs serve by frames of the registry.
        let output = || destination::of_pull(&args.output, &registries, &session);
        match unframed.plan(&session, &registries, args, &output, &options) {
            Ok(framed) => framed.unwrap_or(plan),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => {
                progress.print_line(&format!("{error}; continuing without frames of the base"));
                plan
            }
        }
    };
    if args.dry_run {
        progress.finish();
        return output::print_result(|| plan.json(), &plan, args.json, false);
    }
    if common.verbose {
        plan.to_string().lines().for_each(|line| progress.print_line(line));
    } else {
        progress.print_line(&plan.line());
    }
    let pulled = plan.carry_out()?;
    progress.finish();
    output::print_with_digest(&args.digest, Some(&pulled.manifest), || {
        output::print_result(|| pulled.json(), &pulled, args.json, common.quiet)
    })
}

/// The program, in the annotations of the deltas that it pushes.
const CREATOR: &str = concat!("imgdelta ", env!("CARGO_PKG_VERSION"));
