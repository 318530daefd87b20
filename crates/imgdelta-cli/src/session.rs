//! The library's session with this machine's runtimes, and registries, from the options that commands share.
//!
//! Runs no command.

use crate::{args::CommonOptions, environment, runtimes, terminal::TerminalProgress};
use imgdelta::{Result, Session, delta::Delta};
use imgdelta_registry::{ClientOptions, Registries, Trust};
use std::{io, path::Path, sync::Arc};

/// Starts a session with the user's limits, threads and temporary directory.
pub fn session(
    common: &CommonOptions,
    scratch: Option<&Path>,
    progress: &Arc<TerminalProgress>,
) -> Result<Session> {
    let session = Session::new(environment::scratch_directory(scratch))?
        .threads(common.jobs)?
        .limits(common.limits())
        .progress(Arc::clone(progress) as _);
    Ok(runtimes::attach(session))
}

/// Makes a client for registries with the user's logins, authorities and proxies; sends nothing.
pub fn registries(common: &CommonOptions) -> Result<Registries> {
    let args = &common.registry;
    let options = ClientOptions::default()
        .credentials(environment::credentials(args.authfile.as_deref()))
        .trust(Trust::of_machine(args.ca.clone()))
        .proxies(environment::proxies())
        .plain_http(args.plain_http);
    Registries::new(options)
}

/// Opens a delta; `-` is standard input.
pub fn open_delta(session: &Session, file: &Path) -> Result<Delta> {
    if file == Path::new("-") {
        return session.read_delta(&mut io::stdin().lock(), "standard input");
    }
    session.open_delta(file)
}
