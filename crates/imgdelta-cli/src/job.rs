//! The commands `job run` and `job serve`.
//!
//! Reads the environment for the job, prints its events, and passes signals on; decides nothing.

use crate::{
    args::{self, CommonOptions, JobAction},
    environment, service, stderr,
};
use imgdelta::{Error, Result, path::escaped};
use imgdelta_job::{Config, Event, EventHandler, Job, RunOptions, Stop};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

/// Runs the command.
pub fn run(args: &args::JobArgs, common: &CommonOptions) -> Result<ExitCode> {
    let path = match &args.action {
        JobAction::Run(run) => &run.config,
        JobAction::Serve(serve) => &serve.config,
    };
    let config = configuration(path, common)?;
    let is_service = matches!(args.action, JobAction::Serve(_));
    service::start_log(&config.log, is_service && !common.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::io("threads for the job"))?;
    let credentials = environment::credentials(common.registry.authfile.as_deref());
    let outcome = runtime.block_on(async {
        let stop = Stop::default();
        tokio::spawn(service::signals(stop.clone())?);
        let job = Job::open(config, credentials, environment::proxies()).await?;
        match &args.action {
            JobAction::Run(run) => {
                let options =
                    RunOptions::default().dry_run(run.dry_run).retry_failed(run.retry_failed);
                job.run(options, &stop, printer(run.json, common.quiet)).await
            }
            JobAction::Serve(serve) => {
                let printer = printer(serve.json, !serve.json);
                job.serve(&stop, printer, |_| ()).await
            }
        }
    });
    // Unfinished tasks were given back to the queue; nothing waits for them.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Reads the configuration, and adds the options of the command line to it.
fn configuration(path: &Path, common: &CommonOptions) -> Result<Config> {
    let mut config = Config::open(path)?;
    config.registry.ca.extend(common.registry.ca.iter().cloned());
    config.registry.plain_http |= common.registry.plain_http;
    Ok(config)
}

/// Returns a handler that prints each event as a line.
fn printer(is_json: bool, is_quiet: bool) -> EventHandler {
    Arc::new(move |event| {
        let line = if is_json { json(&event).to_string() } else { text(&event) };
        if let Event::Trouble(..) = &event
            && !is_json
        {
            stderr::print_line(format_args!("imgdelta: {line}"));
        } else if is_json || !is_quiet {
            // A reader that stops early is not a failure: the tasks go on.
            drop(writeln!(io::stdout().lock(), "{line}"));
        }
    })
}

fn text(event: &Event) -> String {
    match event {
        Event::Wanted(task) => format!("wanted  {task}"),
        Event::Finished(report) => format!("{:7} {report}", report.outcome.word()),
        Event::Stray(stray) => format!("stray   {stray}"),
        Event::Removed(stray) => format!("removed {stray}"),
        Event::Trouble(name, error) => format!("{}: {error}", escaped(name.as_bytes())),
        _ => String::new(),
    }
}

fn json(event: &Event) -> Value {
    match event {
        Event::Wanted(task) => task.json(),
        Event::Finished(report) => report.json(),
        Event::Stray(stray) => stray.json(false),
        Event::Removed(stray) => stray.json(true),
        Event::Trouble(name, error) => json!({
            "schema": imgdelta_job::SCHEMA, "event": "trouble",
            "repository": name, "error": error.to_string(),
        }),
        _ => Value::Null,
    }
}
