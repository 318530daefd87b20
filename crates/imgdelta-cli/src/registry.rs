//! The commands `push` and `pull`, and `docker://` for all others.
//!
//! Holds no protocol of its own; says what will be fetched before it is.

use crate::{
    args::{self, Common},
    delta, terminal,
};
use imgdelta::{
    Error, Limits, Reference, Result,
    apply::ApplyOptions,
    image::{self, OpenOptions, Platform},
    parallel::Workers,
    reference::{Name, RegistryReference},
    scratch::Scratch,
    store::{self, Store},
};
use imgdelta_registry::{
    Client, ClientOptions, Credentials, RegistryStore, Repository, Trust,
    pull::{Link, Plan, PullOptions, Source, keeps_blobs},
    push::{PushOptions, push},
};
use std::{path::PathBuf, process::ExitCode, sync::Arc};
use tokio::runtime::Runtime;

/// What opens images, those in registries too.
pub struct Registries {
    runtime: Runtime,
    client: Client,
    scratch: Option<Scratch>,
}

impl Registries {
    /// Makes it; with a scratch directory, what was fetched whole is not fetched again.
    pub fn new(common: &Common, scratch: Option<Scratch>) -> Result<Self> {
        let args = &common.registry;
        let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let options = ClientOptions::default()
            .credentials(Credentials::of_user(args.authfile.clone(), user(), var))
            .trust(Trust::of_machine(args.ca.clone()))
            .plain_http(args.plain_http);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .enable_all()
            .build()
            .map_err(Error::io("threads for the network"))?;
        Ok(Self { runtime, client: Client::new(options), scratch })
    }

    /// Opens the store that a reference names, and says the image's name there.
    pub fn open(
        &self,
        reference: &Reference,
        limits: &Limits,
    ) -> Result<(Arc<dyn Store>, Option<Name>)> {
        let Reference::Registry(reference) = reference else {
            return store::open(reference, limits);
        };
        let (handle, scratch) = (self.runtime.handle().clone(), self.scratch.clone());
        Ok(RegistryStore::open(&self.client, reference, handle, scratch))
    }
}

/// Runs `push`.
pub fn run_push(args: &args::Push, common: &Common) -> Result<ExitCode> {
    let target = registry(&args.target)?;
    let limits = common.limits();
    // A file is read where it lies, also where nothing can be written.
    let is_piped = delta::is_piped(&args.file);
    let scratch = is_piped.then(|| delta::scratch(args.scratch.as_deref())).transpose()?;
    let (delta, file) = delta::open_with_source(&args.file, scratch.as_ref(), &limits)?;
    if target.digest.is_some_and(|digest| digest != delta.digest()) {
        let what = format!("the delta makes {}, another image", delta.digest());
        return Err(Error::bad_input(&args.target, what));
    }
    let registries = Registries::new(common, None)?;
    let repository = Repository::of(&registries.client, target);
    // Without a tag the reference has this one, which need not be meant.
    let tag = target.tag.as_deref().filter(|tag| *tag != "latest" && target.digest.is_none());
    let options = PushOptions::default().tag(tag.map(str::to_owned));
    let pushed = registries.runtime.block_on(push(&repository, &delta, file, &options))?;
    match (args.json, common.quiet) {
        (true, _) => crate::print_json(&pushed.json()),
        (false, true) => Ok(ExitCode::SUCCESS),
        (false, false) => crate::print(pushed.to_string().as_bytes()),
    }
}

/// Runs `pull`.
pub fn run_pull(args: &args::Pull, common: &Common) -> Result<ExitCode> {
    let reference = registry(&args.source)?;
    let limits = common.limits();
    let progress = terminal::progress(common.quiet)?;
    let scratch = delta::scratch(args.scratch.as_deref())?;
    let registries = Registries::new(common, None)?;
    let open = |platform: Option<Platform>| {
        OpenOptions::default().limits(limits.clone()).platform(platform)
    };
    // A layout keeps what is fetched; for others it is kept until all is there.
    let kept = (!keeps_blobs(&args.output)).then(|| scratch.clone());
    let handle = registries.runtime.handle().clone();
    let source =
        Source::open(&registries.client, reference, handle, &open(args.platform.clone()), kept)?;
    let base = |reference: &Reference| match reference {
        Reference::Registry(_) => {
            Err(Error::bad_input(reference, "a base lies here, not in a registry"))
        }
        reference => match image::open(reference, &open(Some(source.platform().clone()))) {
            // An image for another platform is still a base if it has the streams.
            Err(Error::NotFound { .. }) => image::open(reference, &open(None)),
            outcome => outcome,
        },
    };
    let bases = args.base.iter().map(base).collect::<Result<Vec<_>>>()?;
    let mut apply = ApplyOptions::new(scratch).limits(limits.clone());
    if let Some(bytes) = args.memory {
        apply = apply.memory_bytes(bytes);
    }
    let workers = Workers::new(common.jobs)?;
    let link = args.link.map(|bits_per_second| Link::new(bits_per_second, workers.count()));
    let options = PullOptions::new(apply).deltas(!args.no_delta).rollback(args.rollback).link(link);
    let plan = Plan::make(source, bases, &args.output, options, &progress)?;
    if args.dry_run {
        progress.finish();
        if args.json {
            return crate::print_json(&plan.json());
        }
        return crate::print(plan.to_string().as_bytes());
    }
    progress.say(&plan.line());
    let pulled = plan.carry_out(&workers, &progress)?;
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

fn registry(reference: &Reference) -> Result<&RegistryReference> {
    match reference {
        Reference::Registry(reference) => Ok(reference),
        other => {
            let what = "not in a registry: name it as docker://HOST[:PORT]/REPO[:TAG]";
            Err(Error::bad_input(other, what))
        }
    }
}

/// Transfers wait more than they work.
const NETWORK_THREADS: usize = 2;
