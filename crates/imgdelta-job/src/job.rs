//! An opened configuration: queue, registry client and budgets, shared by scans and workers.
//!
//! Does no work itself.

use crate::{
    config::Config,
    make::DeltaMaker,
    metrics::Metrics,
    queue::{LeaseTerms, PostgresQueue, Queue, SqliteQueue},
    reuse::RecipeReuse,
    scan::Scanner,
};
use imgdelta::{Error, Result};
use imgdelta_registry::{Client, ClientOptions, Credentials, Proxies, Secret, Trust};
use imgdelta_service::machine;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::Notify;

/// A job that prepares deltas for the images of one registry.
#[derive(Debug)]
pub struct Job {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) scanner: Scanner,
    pub(crate) maker: DeltaMaker,
    pub(crate) reuse: Arc<RecipeReuse>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) terms: LeaseTerms,
    /// Name of this process in the queue.
    pub(crate) worker_name: String,
    pub(crate) metrics: Metrics,
    /// Wakes workers when tasks were added.
    pub(crate) added: Notify,
}

impl Job {
    /// Opens the queue. `credentials` are used if the configuration names no file of logins. Sends
    /// nothing to the registry.
    pub async fn open(
        config: Config,
        credentials: Credentials,
        proxies: Proxies,
    ) -> Result<Arc<Self>> {
        let registry = &config.registry;
        let credentials = match &registry.auth_file {
            Some(file) => Credentials::files(vec![file.clone()], true),
            None => credentials,
        };
        let options = ClientOptions::default()
            .credentials(credentials)
            .trust(Trust::of_machine(registry.ca.clone()))
            .proxies(proxies)
            .plain_http(registry.plain_http);
        let client = Client::new(options);
        let queue = open_queue(&config).await?;
        let terms = LeaseTerms::new(
            config.queue.lease.get_ref().duration(),
            *config.queue.tries.get_ref(),
            config.queue.pause.duration(),
        );
        let host = registry.host.get_ref();
        let reuse = Arc::new(RecipeReuse::new(&client, host, Arc::clone(&queue)));
        Ok(Arc::new(Self {
            scanner: Scanner::new(&client, host),
            maker: DeltaMaker::new(&client, &config, Arc::clone(&reuse))?,
            reuse,
            client,
            queue,
            terms,
            worker_name: machine::worker_name(),
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
        let queue = PostgresQueue::connect(server.get_ref(), &authorities, password.as_ref());
        return Ok(Arc::new(queue.await?));
    }
    let default = PathBuf::from(DEFAULT_QUEUE);
    let path = queue.sqlite.as_ref().map_or(&default, |path| path.get_ref());
    Ok(Arc::new(SqliteQueue::open(path)?))
}

/// Reads a secret from a file, without the line end.
pub(crate) fn secret(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Error::bad_input(path.display(), "no secret in it"));
    }
    Ok(Secret::new(text))
}

const DEFAULT_QUEUE: &str = "imgdelta-job.db";
