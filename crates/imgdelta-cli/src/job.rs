//! The commands `job run` and `job serve`.
//!
//! Reads the environment for the job, prints what it tells, and passes signals on; decides nothing.

use crate::args::{self, Common, JobAction};
use imgdelta::{Error, Result, path::escaped};
use imgdelta_job::{
    Config, Event, Job, RunOptions, Teller,
    config::{LogFormat, LogLevel},
    stop::{Phase, Stop},
};
use imgdelta_registry::Credentials;
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Runs the command.
pub fn run(args: &args::Job, common: &Common) -> Result<ExitCode> {
    let path = match &args.action {
        JobAction::Run(run) => &run.config,
        JobAction::Serve(serve) => &serve.config,
    };
    let config = configuration(path, common)?;
    let is_service = matches!(args.action, JobAction::Serve(_));
    log(&config, is_service && !common.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::io("threads for the job"))?;
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let credentials =
        Credentials::of_user(common.registry.authfile.clone(), crate::registry::user(), var);
    let outcome = runtime.block_on(async {
        let stop = Stop::default();
        tokio::spawn(signals(stop.clone())?);
        let job = Job::open(config, credentials).await?;
        match &args.action {
            JobAction::Run(run) => {
                let options =
                    RunOptions::default().dry_run(run.dry_run).retry_failed(run.retry_failed);
                job.run(options, &stop, teller(run.json, common.quiet)).await
            }
            JobAction::Serve(serve) => {
                let teller = teller(serve.json, !serve.json);
                job.serve(&stop, teller, |_| ()).await
            }
        }
    });
    // What still works was given back; it is not waited for.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Reads the configuration; what the command line says besides counts too.
fn configuration(path: &Path, common: &Common) -> Result<Config> {
    let mut config = Config::open(path)?;
    config.registry.ca.extend(common.registry.ca.iter().cloned());
    config.registry.plain_http |= common.registry.plain_http;
    Ok(config)
}

/// Passes the machine's signals on: the first ends, the second leaves, the third is obeyed at once.
#[cfg(unix)]
fn signals(stop: Stop) -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(Error::io("signals"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        for phase in [Phase::Ending, Phase::Leaving] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.ask(phase);
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    })
}

/// Passes Ctrl-C on.
#[cfg(not(unix))]
fn signals(stop: Stop) -> Result<impl Future<Output = ()>> {
    Ok(async move {
        for phase in [Phase::Ending, Phase::Leaving] {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            stop.ask(phase);
        }
    })
}

/// Begins the log, on standard error: all of it for a service, else only what is amiss.
fn log(config: &Config, is_service: bool) {
    let level = match config.log.level {
        _ if !is_service => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Only what the job says: other libraries' words are not looked through for secrets.
    let filter = Targets::new().with_target("imgdelta_job", level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let begun = match config.log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // Somebody else's is as good.
    drop(begun);
}

/// Prints what happens, a line each.
fn teller(is_json: bool, is_quiet: bool) -> Teller {
    Arc::new(move |event| {
        let line = if is_json { json(&event).to_string() } else { text(&event) };
        if let Event::Trouble(..) = &event
            && !is_json
        {
            eprintln!("imgdelta: {line}");
        } else if is_json || !is_quiet {
            // A reader that has seen enough is no failure: the works go on.
            drop(writeln!(io::stdout().lock(), "{line}"));
        }
    })
}

fn text(event: &Event) -> String {
    match event {
        Event::Wanted(work) => format!("wanted  {work}"),
        Event::Ended(report) => format!("{:7} {report}", report.outcome.word()),
        Event::Stray(stray) => format!("stray   {stray}"),
        Event::Removed(stray) => format!("removed {stray}"),
        Event::Trouble(name, error) => format!("{}: {error}", escaped(name.as_bytes())),
        _ => String::new(),
    }
}

fn json(event: &Event) -> Value {
    match event {
        Event::Wanted(work) => work.json(),
        Event::Ended(report) => report.json(),
        Event::Stray(stray) => stray.json(false),
        Event::Removed(stray) => stray.json(true),
        Event::Trouble(name, error) => json!({
            "schema": imgdelta_job::SCHEMA, "event": "trouble",
            "repository": name, "error": error.to_string(),
        }),
        _ => Value::Null,
    }
}
