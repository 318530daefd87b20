//! The `log` command: the versions of a repository.
//!
//! Contains no protocol.

use crate::{
    args::{self, CommonOptions},
    display, output, session,
};
use imgdelta::{Error, Reference, Result};
use imgdelta_history::{History, HistoryOptions};
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &args::HistoryArgs, common: &CommonOptions) -> Result<ExitCode> {
    let Reference::Registry(repository) = &args.repository else {
        let what = "not in a registry; write docker://HOST[:PORT]/REPOSITORY";
        return Err(Error::bad_input(&args.repository, what));
    };
    output::check(args.html.as_deref())?;
    let progress = display::progress(common.quiet)?;
    let registries = session::registries(common, &progress)?;
    let session = session::session(common, None, &progress)?.platform(args.platform.clone());
    let session = registries.attach_without_scratch(session);
    let options = HistoryOptions::default().versions(args.last);
    let history = History::read(&registries, &session, repository, &options)?;
    progress.finish();
    if let Some(file) = &args.html {
        let page = imgdelta_report::history_page(&history.json());
        let written = output::write(file, page.as_bytes())?;
        if args::is_stdout(file) {
            return Ok(written);
        }
    }
    output::print_result(|| history.json(), &history, args.json, false)
}
