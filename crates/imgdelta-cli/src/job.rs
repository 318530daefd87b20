//! The commands `job run` and `job serve`.
//!
//! Reads the environment for the job, prints its events, and passes signals on; decides nothing.

use crate::{
    args::{self, CommonOptions, JobAction},
    environment, stderr,
};
use imgdelta::{Error, Result, path::escaped};
use imgdelta_job::{
    Config, Event, EventHandler, Job, RunOptions, Stop, StopPhase,
    config::{LogFormat, LogLevel},
};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Runs the command.
pub fn run(args: &args::JobArgs, common: &CommonOptions) -> Result<ExitCode> {
    let path = match &args.action {
        JobAction::Run(run) => &run.config,
        JobAction::Serve(serve) => &serve.config,
    };
    let config = configuration(path, common)?;
    let is_service = matches!(args.action, JobAction::Serve(_));
    start_log(&config, is_service && !common.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::io("threads for the job"))?;
    let credentials = environment::credentials(common.registry.authfile.as_deref());
    let outcome = runtime.block_on(async {
        let stop = Stop::default();
        tokio::spawn(signals(stop.clone())?);
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

/// Passes signals on: the first asks to finish running tasks, the second to give them back, the
/// third ends the process.
fn signals(stop: Stop) -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(Error::io("signals"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        for phase in [StopPhase::Finishing, StopPhase::Leaving] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.request(phase);
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    })
}

/// Starts the log of a service on standard error; other commands have none.
fn start_log(config: &Config, is_service: bool) {
    let level = match config.log.level {
        _ if !is_service => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Only the job's own messages: those of other libraries are not checked for secrets.
    let filter = Targets::new().with_target("imgdelta_job", level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // Its own report of a failed write would be a panic.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // A log that another part of the process started serves as well.
    drop(started);
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
