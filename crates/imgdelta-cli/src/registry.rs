//! The commands `push` and `pull`, and `docker://` for all others.
//!
//! Holds no protocol of its own; says what will be fetched before it is.

use crate::{
    args::{self, Common},
    delta, session, terminal,
};
use imgdelta::Reference;
use imgdelta::Result;
use imgdelta::Session;
use imgdelta_registry::{
    ClientOptions, Credentials, Trust,
    pull::{Link, PullOptions},
    push::PushOptions,
};
use std::{path::PathBuf, process::ExitCode, sync::Arc};

/// Registries with the user's logins and authorities.
pub struct Registries(imgdelta_registry::Registries);

impl Registries {
    /// Makes a client; nothing is sent.
    pub fn new(common: &Common) -> Result<Self> {
        let args = &common.registry;
        let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let options = ClientOptions::default()
            .credentials(Credentials::of_user(args.authfile.clone(), user(), var))
            .trust(Trust::of_machine(args.ca.clone()))
            .plain_http(args.plain_http);
        imgdelta_registry::Registries::new(options).map(Self)
    }

    /// Returns a session that opens images in registries, too, and fetches each blob once.
    pub fn attach(&self, session: Session) -> Session {
        self.0.attach(session)
    }

    /// Returns a session that opens images in registries, too, for work that reads a blob once.
    pub fn attach_without_scratch(&self, session: Session) -> Session {
        self.0.attach_without_scratch(session)
    }
}

/// Runs `push`.
pub fn run_push(args: &args::Push, common: &Common) -> Result<ExitCode> {
    let progress = Arc::new(terminal::silent());
    let session = session::new(common, args.scratch.as_deref(), &progress)?;
    let delta = delta::open(&args.file, &session)?;
    let tag = match &args.target {
        // Without a tag the reference has this one, which need not be meant.
        Reference::Registry(target) if target.digest.is_none() => {
            target.tag.clone().filter(|tag| tag != "latest")
        }
        _ => None,
    };
    let options = PushOptions::default().tag(tag);
    let pushed = Registries::new(common)?.0.push(&delta, &args.target, &options)?;
    match (args.json, common.quiet) {
        (true, _) => crate::print_json(&pushed.json()),
        (false, true) => Ok(ExitCode::SUCCESS),
        (false, false) => crate::print(pushed.to_string().as_bytes()),
    }
}

/// Runs `pull`.
pub fn run_pull(args: &args::Pull, common: &Common) -> Result<ExitCode> {
    let progress = terminal::progress(common.quiet)?;
    let session = session::new(common, args.scratch.as_deref(), &progress)?;
    let mut session = session.platform(args.platform.clone());
    if let Some(bytes) = args.memory {
        session = session.memory_bytes(bytes);
    }
    let workers = session.context().workers.count();
    let link = args.link.map(|bits_per_second| Link::new(bits_per_second, workers));
    let options = PullOptions::default().deltas(!args.no_delta).rollback(args.rollback).link(link);
    let registries = Registries::new(common)?.0;
    let plan = registries.plan_pull(&session, &args.source, &args.base, &args.output, &options)?;
    if args.dry_run {
        progress.finish();
        if args.json {
            return crate::print_json(&plan.json());
        }
        return crate::print(plan.to_string().as_bytes());
    }
    progress.say(&plan.line());
    let pulled = plan.carry_out()?;
    progress.finish();
    match (args.json, common.quiet) {
        (true, _) => crate::print_json(&pulled.json()),
        (false, true) => Ok(ExitCode::SUCCESS),
        (false, false) => crate::print(pulled.to_string().as_bytes()),
    }
}

/// The number of the user that runs this.
pub fn user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|own| own.uid())
}
