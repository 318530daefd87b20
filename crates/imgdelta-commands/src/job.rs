//! The commands `job …`: one module for the job itself, one for questions to its queue, one for
//! questions to its registry, one for pairs on request.
//!
//! Reads the configuration; decides nothing.

mod ask;
mod explain;
mod pairs;
mod work;

use crate::{
    args::{CommonOptions, JobAction, JobArgs},
    environment,
    exit::Failure,
};
use imgdelta::Error;
use imgdelta_job::{Config, Job};
use std::{path::Path, process::ExitCode};

/// Runs the command.
pub fn run(args: &JobArgs, common: &CommonOptions) -> Result<ExitCode, Failure> {
    let outcome = match &args.action {
        JobAction::Run(run) => return work::run(run, common),
        JobAction::Serve(serve) => work::serve(serve, common),
        JobAction::Status(args) => ask::status(args, common),
        JobAction::Tasks(args) => ask::tasks(args, common),
        JobAction::Retry(args) => ask::retry(args, common),
        JobAction::Drop(args) => ask::drop(args, common),
        JobAction::Pause(args) => ask::pause(args, common),
        JobAction::Resume(args) => ask::resume(args, common),
        JobAction::Explain(args) => explain::run(args, common),
        JobAction::Want(args) => pairs::want(args, common),
        JobAction::Ready(args) => pairs::ready(args, common),
    };
    outcome.map_err(Failure::from)
}

/// Reads the configuration, and adds the options of the command line to it.
fn configuration(path: &Path, common: &CommonOptions) -> imgdelta::Result<Config> {
    let mut config = Config::open(path)?;
    config.registry.ca.extend(common.registry.ca.iter().cloned());
    config.registry.plain_http |= common.registry.plain_http;
    Ok(config)
}

/// Opens the job of a configuration for one question.
fn with_job<Answer>(
    config: Config,
    common: &CommonOptions,
    question: impl AsyncFnOnce(&Job) -> imgdelta::Result<Answer>,
) -> imgdelta::Result<Answer> {
    let credentials = environment::credentials(common.registry.authfile.as_deref());
    let threads = threads()?;
    let outcome = threads.block_on(async {
        let job = Job::open(config, credentials, environment::proxies()).await?;
        question(&job).await
    });
    threads.shutdown_background();
    outcome
}

/// Removes the job's registry from the front of a name, where commands that pull have it.
fn without_registry<'a>(host: &str, text: &'a str) -> imgdelta::Result<&'a str> {
    let Some(rest) = text.strip_prefix("docker://") else { return Ok(text) };
    rest.strip_prefix(host).and_then(|rest| rest.strip_prefix('/')).ok_or_else(|| {
        Error::bad_input(text, format!("the registry of this configuration is {host}"))
    })
}

/// Starts threads that wait for a server.
fn threads() -> imgdelta::Result<tokio::runtime::Runtime> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().build().map_err(Error::io("threads for the job"))
}
