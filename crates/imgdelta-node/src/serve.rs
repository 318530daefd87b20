//! The service on a node.
//!
//! Its server is for the runtimes of this machine. A stop ends in good order: answers that wait are
//! given, a rebuild that runs is cancelled after a grace, and what it had staged is removed.

use crate::{
    config::Config, holds::Holds, hosts::HostFiles, mirror::Mirror, rebuild::Rebuilder,
    runtime::Runtime,
};
use imgdelta_core::{Error, Result};
use imgdelta_service::{
    Stop, StopPhase,
    connections::{self, ConnectionLimits},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Serves until it is asked to stop; calls `listening` with the address once it accepts connections.
pub async fn serve(
    config: Config,
    runtime: Arc<dyn Runtime>,
    stop: &Stop,
    listening: impl FnOnce(SocketAddr),
) -> Result<()> {
    let config = Arc::new(config);
    let place = format!("address {}", config.mirror.listen.get_ref());
    let holds = Holds::new(config.mirror.hold.get_ref().duration(), *config.mirror.held.get_ref());
    let rebuilder = Arc::new(Rebuilder::new(Arc::clone(&config), runtime, stop.clone())?);
    let listener =
        TcpListener::bind(config.mirror.listen.get_ref()).await.map_err(Error::io(&place))?;
    let address = listener.local_addr().map_err(Error::io(&place))?;
    let registries = config.registries.get_ref();
    tracing::info!(%address, registries = registries.len(), version = env!("CARGO_PKG_VERSION"), "serving");
    // The socket takes connections from here on.
    let host_files = HostFiles::of(&config);
    if let Some(files) = &host_files {
        files.write(registries, address);
    }
    listening(address);
    let limits = ConnectionLimits {
        common: MOST_CONNECTIONS,
        // A held answer, and then a layer over a slow link.
        connection: Duration::from_secs(24 * 3600),
        write: Duration::from_secs(300),
        ..ConnectionLimits::default()
    };
    let mirror =
        Arc::new(Mirror { config, rebuilder: Arc::clone(&rebuilder), holds: Arc::clone(&holds) });
    let answer = move |request, place| {
        let mirror = Arc::clone(&mirror);
        async move { mirror.answer(request, place).await }
    };
    let server = tokio::spawn(connections::accept(listener, limits, answer));
    stop.reached(StopPhase::Finishing).await;
    // New pulls ask the registry itself.
    if let Some(Err(error)) = host_files.map(|files| files.remove()) {
        tracing::warn!(%error, "containerd still asks the mirror first, and then the registry");
    }
    tracing::info!(held = holds.waiting(), running = holds.running(), "stopping");
    // Completions of blobs are cancelled now.
    let finished = async {
        while holds.running() + rebuilder.completing() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(GRACE) => stop.request(StopPhase::Leaving),
        () = stop.reached(StopPhase::Leaving) => {}
    }
    // A cancelled rebuild ends at its next question, and removes what it staged.
    for _ in 0..40 {
        if holds.running() + rebuilder.completing() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.abort();
    drop(server.await);
    rebuilder.remove_blobs();
    tracing::info!("stopped");
    Ok(())
}

/// A node starts many containers at once, each with some connections.
const MOST_CONNECTIONS: usize = 256;
/// Less than Kubernetes waits.
const GRACE: Duration = Duration::from_secs(20);
