//! An opened configuration: queue, registry client and budgets, shared by scans and workers.
//!
//! Does no work itself.

use crate::{
    config::Config,
    log,
    made::UnpublishedDeltas,
    make::DeltaMaker,
    metrics::Metrics,
    outage::OutageBreaker,
    queue::{self, LeaseTerms, PostgresQueue, Queue, SqliteQueue},
    reuse::RecipeReuse,
    running::RunningTasks,
    scan::Scanner,
    warning::ScanWarning,
};
use imgdelta::{Error, Result};
use imgdelta_registry::{Client, ClientOptions, Credentials, Proxies, Secret, Trust};
use imgdelta_service::{Stop, StopPhase, machine};
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

/// A job that prepares deltas for the images of one registry.
#[derive(Debug)]
pub struct Job {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) scanner: Scanner,
    pub(crate) maker: DeltaMaker,
    pub(crate) unpublished: UnpublishedDeltas,
    pub(crate) outage: OutageBreaker,
    pub(crate) running: RunningTasks,
    pub(crate) reuse: Arc<RecipeReuse>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) terms: LeaseTerms,
    /// Name of this process in the queue.
    pub(crate) worker_name: String,
    pub(crate) metrics: Arc<Metrics>,
    /// Warnings that a service has given.
    pub(crate) warned: Mutex<BTreeSet<ScanWarning>>,
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
        let metrics = Arc::new(Metrics::default());
        let options = ClientOptions::default()
            .credentials(credentials)
            .trust(Trust::of_machine(registry.ca.clone()))
            .proxies(proxies)
            .plain_http(registry.plain_http)
            .events(log::client_events(Arc::clone(&metrics)));
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
            scanner: Scanner::new(&client, host, config.scan.rate),
            maker: DeltaMaker::new(&client, &config, Arc::clone(&reuse))?,
            unpublished: UnpublishedDeltas::default(),
            outage: OutageBreaker::new(&client, host),
            running: RunningTasks::default(),
            reuse,
            client,
            queue,
            terms,
            worker_name: format!("{}/{:04x}", machine::worker_name(), instance()),
            metrics,
            warned: Mutex::default(),
            added: Notify::new(),
            config,
        }))
    }

    /// Opens the job of a service: waits for a queue that does not answer yet, until it does or the
    /// stop is requested. Mistakes, such as a wrong password, are errors at once.
    pub async fn open_patiently(
        config: Config,
        credentials: Credentials,
        proxies: Proxies,
        stop: &Stop,
    ) -> Result<Arc<Self>> {
        let mut pause = FIRST_PAUSE;
        loop {
            let opening = Self::open(config.clone(), credentials.clone(), proxies.clone());
            let error = match opening.await {
                Err(error) if queue::is_away(&error) => error,
                outcome => return outcome,
            };
            tracing::warn!(%error, "waiting for the queue");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.reached(StopPhase::Finishing) => return Err(Error::Cancelled),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns the queue.
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.queue
    }
}

/// Returns a random number: containers may share the name of their host, and the number of a process.
fn instance() -> u16 {
    let random = RandomState::new().hash_one(std::process::id());
    u16::try_from(random % 65_536).unwrap_or_default()
}

/// Opens the queue of a configuration.
pub(crate) async fn open_queue(config: &Config) -> Result<Arc<dyn Queue>> {
    let (queue, host) = (&config.queue, config.registry.host.get_ref().as_str());
    if let Some(server) = &queue.postgres {
        let password =
            queue.password_file.as_ref().map(|file| secret(file.get_ref())).transpose()?;
        let authorities = queue.ca.as_ref().map_or_else(Vec::new, |ca| ca.get_ref().0.clone());
        // A heartbeat that waits for longer would lose its lease.
        let answer_timeout = queue.lease.get_ref().duration() / HEARTBEATS_PER_LEASE;
        let server = server.get_ref().clone().answer_timeout(answer_timeout);
        let queue = PostgresQueue::connect(&server, &authorities, password.as_ref(), host);
        return Ok(Arc::new(queue.await?));
    }
    Ok(Arc::new(SqliteQueue::open(&queue.file().unwrap_or_default(), host)?))
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

/// Three may get lost.
pub(crate) const HEARTBEATS_PER_LEASE: u32 = 4;
/// Pauses between attempts to open a queue.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
