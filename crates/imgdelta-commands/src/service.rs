//! Signals and the log of a service: `job serve` and `node serve`.

use imgdelta::{Error, Result};
use imgdelta_service::{
    Stop, StopPhase,
    setting::{LogConfig, LogFormat, LogLevel},
};
use std::io;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Passes signals on: the first asks to finish running tasks, the second to give them back, the
/// third ends the process.
pub fn signals(stop: Stop) -> Result<impl Future<Output = ()>> {
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
pub fn start_log(config: &LogConfig, is_service: bool) {
    let level = match config.level {
        _ if !is_service => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Only the services' own messages: those of other libraries are not checked for secrets.
    let own = ["imgdelta_job", "imgdelta_queue", "imgdelta_node", "imgdelta_service"];
    let filter = Targets::new().with_targets(own.map(|target| (target, level)));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // Its own report of a failed write would be a panic.
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // A log that another part of the process started serves as well.
    drop(started);
    if is_service {
        imgdelta_service::log_panics();
    }
}
