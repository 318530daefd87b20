//! The commands `job run` and `job serve`.
//!
//! Reads the environment for the job, prints its events, and passes signals on; decides nothing.

use super::{configuration, threads};
use crate::{
    args::{CommonOptions, RunArgs, ServeArgs},
    environment,
    exit::{self, Failure},
    service, stderr,
};
use imgdelta::path::escaped;
use imgdelta_job::{Event, EventHandler, Job, RunOptions, Stop, config::LogFormat};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{Arc, Mutex},
};

/// Runs `job run`.
pub fn run(args: &RunArgs, common: &CommonOptions) -> Result<ExitCode, Failure> {
    let options = RunOptions::default().dry_run(args.dry_run).retry_failed(args.retry_failed);
    let config = configuration(&args.config, common)?;
    let printed = PrintedErrors::default();
    let handler = printer(args.json, common.quiet, &printed);
    let outcome = with_stop(async |stop| {
        let credentials = environment::credentials(common.registry.authfile.as_deref());
        let job = Job::open(config, credentials, environment::proxies()).await?;
        job.run(options, &stop, handler).await
    });
    outcome.map(|()| ExitCode::SUCCESS).map_err(|error| {
        let text = error.to_string();
        let is_printed = printed.lock().is_ok_and(|printed| printed.contains(&text));
        if is_printed { Failure::printed(error) } else { error.into() }
    })
}

/// Texts of the errors that have a line.
type PrintedErrors = Arc<Mutex<Vec<String>>>;

/// Runs `job serve`.
pub fn serve(args: &ServeArgs, common: &CommonOptions) -> imgdelta::Result<ExitCode> {
    let config = configuration(&args.config, common)?;
    service::start_log(&config.log, !common.quiet);
    let has_json_log = config.log.format == LogFormat::Json;
    let handler = service_printer(args.json);
    let outcome = with_stop(async |stop| {
        let credentials = environment::credentials(common.registry.authfile.as_deref());
        let proxies = environment::proxies();
        let job = Job::open_patiently(config, credentials, proxies, &stop).await?;
        job.serve(&stop, handler, |_| ()).await
    });
    match outcome {
        // Each line of this stream is a document.
        Err(error) if has_json_log => Ok(exit::report(error.into(), true)),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

/// Carries out work that signals stop.
fn with_stop(work: impl AsyncFnOnce(Stop) -> imgdelta::Result<()>) -> imgdelta::Result<()> {
    let threads = threads()?;
    let outcome = threads.block_on(async {
        let stop = Stop::default();
        tokio::spawn(service::signals(stop.clone())?);
        work(stop).await
    });
    // Unfinished tasks were given back to the queue; nothing waits for them.
    threads.shutdown_background();
    outcome
}

/// Returns a handler that prints each document of a service as a line. What failed is in the log.
fn service_printer(is_json: bool) -> EventHandler {
    Arc::new(move |event| {
        if is_json {
            drop(writeln!(io::stdout().lock(), "{}", json(&event)));
        }
    })
}

/// Returns a handler that prints each event as a line.
fn printer(is_json: bool, is_quiet: bool, printed: &PrintedErrors) -> EventHandler {
    let printed = Arc::clone(printed);
    Arc::new(move |event| {
        let line = if is_json { json(&event).to_string() } else { text(&event) };
        if let Event::Trouble(_, error) = &event
            && !is_json
            && let Ok(mut printed) = printed.lock()
            && printed.len() < MOST_PRINTED
        {
            printed.push(error.to_string());
        }
        if let Event::Trouble(..) | Event::Warning(_) = &event
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
        Event::Warning(warning) => format!("warning: {warning}"),
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
        Event::Warning(warning) => warning.json(),
        Event::Trouble(name, error) => json!({
            "schema": imgdelta_job::SCHEMA, "event": "trouble",
            "repository": name, "error": error.to_string(),
        }),
        _ => Value::Null,
    }
}

/// Errors that are remembered: the first one is what ends a run.
const MOST_PRINTED: usize = 100;
