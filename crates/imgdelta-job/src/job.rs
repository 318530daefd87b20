//! A configuration at work: its queue, its client, its budgets, opened.
//!
//! Holds what the rooms above share; does no work.

use crate::{
    config::Config,
    look::Looker,
    make::Maker,
    metrics::Metrics,
    queue::{Postgres, Queue, Sqlite, Terms},
    reuse::Reuse,
};
use imgdelta_core::{Error, Result};
use imgdelta_registry::{Client, ClientOptions, Credentials, Secret, Trust};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::Notify;

/// A configuration at work.
#[derive(Debug)]
pub struct Job {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) looker: Looker,
    pub(crate) maker: Maker,
    pub(crate) reuse: Arc<Reuse>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) terms: Terms,
    pub(crate) name: String,
    pub(crate) metrics: Metrics,
    /// Told whenever works were added.
    pub(crate) added: Notify,
}

impl Job {
    /// Opens the queue and prepares everything; `credentials` are used where the configuration
    /// names no file. Nothing is asked of the registry yet.
    pub async fn open(config: Config, credentials: Credentials) -> Result<Arc<Self>> {
        let registry = &config.registry;
        let credentials = match &registry.auth_file {
            Some(file) => Credentials::files(vec![file.clone()], true),
            None => credentials,
        };
        let options = ClientOptions::default()
            .credentials(credentials)
            .trust(Trust::of_machine(registry.ca.clone()))
            .plain_http(registry.plain_http);
        let client = Client::new(options);
        let queue = open_queue(&config).await?;
        let terms = Terms::new(
            config.queue.lease.get_ref().get(),
            *config.queue.tries.get_ref(),
            config.queue.pause.get(),
        );
        let host = registry.host.get_ref();
        let reuse = Arc::new(Reuse::new(&client, host, Arc::clone(&queue)));
        Ok(Arc::new(Self {
            looker: Looker::new(&client, host),
            maker: Maker::new(&client, &config, Arc::clone(&reuse))?,
            reuse,
            client,
            queue,
            terms,
            name: crate::machine::worker_name(),
            metrics: Metrics::default(),
            added: Notify::new(),
            config,
        }))
    }

    /// Returns the queue.
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.queue
    }
}

async fn open_queue(config: &Config) -> Result<Arc<dyn Queue>> {
    let queue = &config.queue;
    if let Some(server) = &queue.postgres {
        let password =
            queue.password_file.as_ref().map(|file| secret(file.get_ref())).transpose()?;
        let authorities = queue.ca.as_ref().map_or_else(Vec::new, |ca| ca.get_ref().0.clone());
        let connected = Postgres::connect(server.get_ref(), &authorities, password.as_ref());
        return Ok(Arc::new(connected.await?));
    }
    let default = PathBuf::from(DEFAULT_QUEUE);
    let path = queue.sqlite.as_ref().map_or(&default, |path| path.get_ref());
    Ok(Arc::new(Sqlite::open(path)?))
}

/// Reads a secret from a file, without the line's end.
pub(crate) fn secret(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Error::bad_input(path.display(), "no secret in it"));
    }
    Ok(Secret::new(text))
}

const DEFAULT_QUEUE: &str = "imgdelta-job.db";
