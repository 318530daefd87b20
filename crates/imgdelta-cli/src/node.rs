//! The commands `node serve`, `node stage`, `node status` and `node clean`.
//!
//! Reads the environment for the node, and passes signals on; decides nothing.

use crate::{
    args::{CommonOptions, NodeAction, NodeArgs, StageArgs, StatusArgs},
    environment, output, service, session, terminal,
};
use imgdelta::{Error, Result};
use imgdelta_node::{Config, ContainerdRuntime, Runtime};
use imgdelta_service::Stop;
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

/// Runs the command.
pub fn run(args: &NodeArgs, common: &CommonOptions) -> Result<ExitCode> {
    match &args.action {
        NodeAction::Serve(serve) => run_service(&configuration(&serve.config, common)?, common),
        NodeAction::Stage(stage) => run_stage(stage, common),
        NodeAction::Status(status) => run_status(status, common),
        NodeAction::Clean(clean) => {
            let count = imgdelta_node::clean(&configuration(&clean.config, common)?)?;
            let text = format!(
                "removed temporary files, kept blobs, hosts.toml files of the mirror and {count} leases\n"
            );
            if common.quiet { Ok(ExitCode::SUCCESS) } else { output::print(text.as_bytes()) }
        }
    }
}

fn run_service(config: &Config, common: &CommonOptions) -> Result<ExitCode> {
    service::start_log(&config.log, !common.quiet);
    let runtime: Arc<dyn Runtime> = Arc::new(ContainerdRuntime::connect(config)?);
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

fn run_stage(args: &StageArgs, common: &CommonOptions) -> Result<ExitCode> {
    let config = configuration(&args.node.config, common)?;
    let runtime: Arc<dyn Runtime> = Arc::new(ContainerdRuntime::connect(&config)?);
    let progress = terminal::progress(common.quiet)?;
    let session = session::session(common, None, &progress)?;
    for image in &args.images {
        let credentials = environment::credentials(common.registry.authfile.as_deref());
        let staged = imgdelta_node::stage(&config, &runtime, &session, image, credentials)?;
        progress.finish();
        let text = match (args.json, common.quiet) {
            (true, _) => format!("{}\n", staged.json()),
            (false, true) => continue,
            (false, false) => format!("staged  {image}\n{staged}"),
        };
        // A reader that stops early is not a failure: the other images are staged, too.
        drop(io::stdout().lock().write_all(text.as_bytes()));
    }
    Ok(ExitCode::SUCCESS)
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

fn threads() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::io("threads for the node"))
}
