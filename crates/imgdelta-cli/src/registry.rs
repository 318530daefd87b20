//! The commands `push` and `pull`.
//!
//! Contains no protocol. `pull` reports the bytes to fetch before it fetches them.

use crate::{
    args::{self, CommonOptions},
    output, session, terminal,
};
use imgdelta::{Reference, Result};
use imgdelta_registry::{
    PushOptions,
    pull::{LinkSpeed, PullOptions},
};
use std::{process::ExitCode, sync::Arc};

/// Runs `push`.
pub fn push(args: &args::PushArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = Arc::new(terminal::silent());
    let session = session::session(common, args.scratch.as_deref(), &progress)?;
    let delta = session::open_delta(&session, &args.file)?;
    let tag = match &args.target {
        // A reference without a tag has this one, which the user may not have meant.
        Reference::Registry(target) if target.digest.is_none() => {
            target.tag.clone().filter(|tag| tag != "latest")
        }
        _ => None,
    };
    let options = PushOptions::default().tag(tag);
    let pushed = session::registries(common)?.push(&delta, &args.target, &options)?;
    output::print_result(|| pushed.json(), &pushed, args.json, common.quiet)
}

/// Runs `pull`.
pub fn pull(args: &args::PullArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let session = session::session(common, args.scratch.as_deref(), &progress)?;
    let mut session = session.platform(args.platform.clone());
    if let Some(bytes) = args.memory {
        session = session.memory_bytes(bytes);
    }
    let workers = session.context().workers.count();
    let link = args.link.map(|bits_per_second| LinkSpeed::new(bits_per_second, workers));
    let options = PullOptions::default()
        .deltas(!args.no_delta)
        .rollback(args.rollback)
        .time_limit(!args.no_time_limit)
        .link(link);
    let registries = session::registries(common)?;
    let plan = registries.plan_pull(&session, &args.source, &args.base, &args.output, &options)?;
    if args.dry_run {
        progress.finish();
        return output::print_result(|| plan.json(), &plan, args.json, false);
    }
    progress.print_line(&plan.line());
    let pulled = plan.carry_out()?;
    progress.finish();
    output::print_result(|| pulled.json(), &pulled, args.json, common.quiet)
}
