//! The library's session with this machine's runtimes, and registries, from the options that commands share.
//!
//! Runs no command.

use crate::{args::CommonOptions, display::TerminalProgress, environment, runtimes, stderr};
use imgdelta::{Result, Session, delta::Delta};
use imgdelta_registry::{ClientEvent, ClientOptions, EventListener, Registries, Trust};
use std::{io, path::Path, sync::Arc, thread};

/// Starts a session with the user's limits, threads and temporary directory.
pub fn session(
    common: &CommonOptions,
    scratch: Option<&Path>,
    progress: &Arc<TerminalProgress>,
) -> Result<Session> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let most = cores.saturating_mul(JOBS_PER_CORE);
    let jobs = common.jobs.min(most);
    if jobs < common.jobs {
        progress.print_line(&format!(
            "--jobs {} is more than this machine can use; using {jobs}, {JOBS_PER_CORE} for each core",
            common.jobs
        ));
    }
    let session = Session::new(environment::scratch_directory(scratch))?
        .threads(jobs)?
        .limits(common.limits())
        .progress(Arc::clone(progress) as _);
    Ok(runtimes::attach(session, progress))
}

/// Makes a client for registries with the user's logins, certificates and proxies; sends nothing.
///
/// Silence and retries are shown between progress; with `--verbose`, answers, too.
pub fn registries(common: &CommonOptions, progress: &Arc<TerminalProgress>) -> Result<Registries> {
    let args = &common.registry;
    if !args.tls_verify {
        stderr::print_line(
            "imgdelta: warning: --tls-verify=false: certificates of registries are not checked",
        );
    }
    let (progress, is_verbose) = (Arc::clone(progress), common.verbose);
    let events = EventListener::new(move |event| {
        let is_shown = match event {
            ClientEvent::Exchanged { .. } => false,
            ClientEvent::Answered { .. } => is_verbose,
            _ => true,
        };
        if is_shown {
            progress.print_line(&event.to_string());
        }
    });
    let options = ClientOptions::default()
        .credentials(environment::credentials(args.authfile.as_deref()))
        .trust(Trust::of_machine(args.ca.clone()).accept_any(!args.tls_verify))
        .proxies(environment::proxies())
        .plain_http(args.plain_http)
        .events(events);
    Registries::new(options)
}

/// Opens a delta; `-` is standard input.
pub fn open_delta(session: &Session, file: &Path) -> Result<Delta> {
    if file == Path::new("-") {
        return session.read_delta(&mut io::stdin().lock(), "standard input");
    }
    session.open_delta(file)
}

/// More threads than this only wait for each other.
const JOBS_PER_CORE: usize = 8;
