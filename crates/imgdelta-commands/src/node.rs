//! The commands `node serve`, `node stage`, `node status` and `node clean`.
//!
//! Reads the environment for the node, and passes signals on; decides nothing.

use crate::{
    args::{CleanArgs, CommonOptions, NodeAction, NodeArgs, StatusArgs},
    output, runtimes, service, stage,
};
use imgdelta::{Error, Result};
use imgdelta_node::Config;
use imgdelta_service::{Stop, StopPhase};
use std::{path::Path, process::ExitCode};

/// Runs the command.
pub fn run(args: &NodeArgs, common: &CommonOptions) -> Result<ExitCode> {
    match &args.action {
        NodeAction::Serve(serve) => run_service(&configuration(&serve.config, common)?, common),
        NodeAction::Stage(args) => {
            stage::run(args, configuration(&args.node.config, common)?, common)
        }
        NodeAction::Status(status) => run_status(status, common),
        NodeAction::Clean(clean) => run_clean(clean, common),
    }
}

fn run_clean(args: &CleanArgs, common: &CommonOptions) -> Result<ExitCode> {
    let count = imgdelta_node::clean(&configuration(&args.node.config, common)?)?;
    if !common.quiet {
        let text = format!(
            "removed temporary files, kept blobs, hosts.toml files of the mirror and {count} leases\n"
        );
        output::print(text.as_bytes())?;
    }
    if args.wait {
        threads()?.block_on(async {
            let stop = Stop::default();
            tokio::spawn(service::signals(stop.clone())?);
            stop.reached(StopPhase::Finishing).await;
            Ok::<_, Error>(())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_service(config: &Config, common: &CommonOptions) -> Result<ExitCode> {
    service::start_log(&config.log, !common.quiet);
    let runtime = runtimes::of_node(config)?;
    let threads = threads()?;
    let outcome = threads.block_on(async {
        let stop = Stop::default();
        tokio::spawn(service::signals(stop.clone())?);
        imgdelta_node::serve(config.clone(), runtime, &stop, |_| ()).await
    });
    // Nothing waits for a rebuild that does not end.
    threads.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

fn run_status(args: &StatusArgs, common: &CommonOptions) -> Result<ExitCode> {
    let config = configuration(&args.node.config, common)?;
    let address = *config.mirror.listen.get_ref();
    let status = threads()?.block_on(imgdelta_node::status(address))?;
    let document = || serde_json::to_value(&status).expect("numbers and texts");
    output::print_result(document, &status, args.json, false)
}

/// Reads the configuration, and adds the options of the command line to it.
fn configuration(path: &Path, common: &CommonOptions) -> Result<Config> {
    let mut config = Config::open(path)?;
    for registry in config.registries.get_mut() {
        registry.ca.extend(common.registry.ca.iter().cloned());
        registry.plain_http |= common.registry.plain_http;
    }
    Ok(config)
}

/// Starts threads that relay and wait. Two suffice on any machine: work has threads of its own.
fn threads() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::io("threads for the node"))
}
