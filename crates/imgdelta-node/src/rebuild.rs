//! One image: its base found on the node, the decision for a delta, the rebuild of its layers.
//!
//! Uses the credentials of the request for the whole rebuild, and drops them with it. A failure is
//! counted and logged: the runtime then pulls the image whole.

use crate::{
    blobs::RebuiltBlobs,
    config::{BlobMode, Config},
    directory::{BLOBS, SCRATCH, WorkDirectory},
    metrics::{Metrics, PullOutcome},
    rate::LinkRate,
    runtime::Runtime,
};
use hyper::header::HeaderValue;
use imgdelta::{Session, progress::Progress};
use imgdelta_core::{BlobDigest, Error, Result};
use imgdelta_image::{
    Reference,
    image::OpenOptions,
    reference::{RegistryReference, RepositoryName},
};
use imgdelta_registry::{
    Client, PullOptions, Registries, Traffic,
    pull::{LinkSpeed, PullDestination},
};
use imgdelta_service::{Stop, StopPhase};
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// An image that a runtime asks for.
#[derive(Clone, Debug)]
pub(crate) struct ImageRequest {
    /// The registry, by its name in images.
    pub registry: String,
    pub repository: RepositoryName,
    /// The digest of the manifest.
    pub digest: BlobDigest,
    /// The credentials of the request.
    pub authorization: Option<HeaderValue>,
}

/// Rebuilds images.
#[derive(Debug)]
pub(crate) struct Rebuilder {
    config: Arc<Config>,
    /// By the registry's name in images.
    registries: HashMap<String, Registries>,
    runtime: Arc<dyn Runtime>,
    session: Session,
    rate: LinkRate,
    places: Semaphore,
    starts: Mutex<VecDeque<Instant>>,
    blobs: Option<RebuiltBlobs>,
    stop: Stop,
    _directory: WorkDirectory,
    pub metrics: Metrics,
}

/// Cancels rebuilds when the service leaves.
#[derive(Debug)]
struct StopProgress(Stop);

impl Progress for StopProgress {
    fn is_cancelled(&self) -> bool {
        self.0.phase() >= StopPhase::Leaving
    }
}

/// The end of a rebuild, with its costs.
struct RebuildReport {
    outcome: PullOutcome,
    fetched_bytes: u64,
    plain_bytes: u64,
    plan_time: Duration,
    rebuild_time: Duration,
}

impl Rebuilder {
    /// Prepares registries, temporary files and blobs. Sends nothing.
    pub fn new(config: Arc<Config>, runtime: Arc<dyn Runtime>, stop: Stop) -> Result<Self> {
        let rebuild = &config.rebuild;
        let directory = WorkDirectory::lock(&rebuild.directory)?;
        let session = Session::new(directory.empty_folder(SCRATCH)?)?
            .threads(rebuild.threads)?
            .progress(Arc::new(StopProgress(stop.clone())));
        let blobs = match rebuild.blobs {
            BlobMode::None => None,
            BlobMode::Exact => {
                let folder = directory.empty_folder(BLOBS)?;
                Some(RebuiltBlobs::new(folder, rebuild.disk.get_ref().0))
            }
        };
        let mut registries = HashMap::new();
        for registry in config.registries.get_ref() {
            let registry_client = Registries::new(registry.client_options())?;
            registries.insert(registry.host.get_ref().clone(), registry_client);
        }
        let rate = LinkRate::new(config.link.rate.get_ref().0, config.link.measured);
        let places = Semaphore::new(*rebuild.parallel.get_ref());
        let (starts, metrics) = (Mutex::default(), Metrics::default());
        Ok(Self {
            config,
            registries,
            runtime,
            session,
            rate,
            places,
            starts,
            blobs,
            stop,
            metrics,
            _directory: directory,
        })
    }

    /// Returns the client for a registry.
    pub fn client(&self, registry: &str) -> Option<&Client> {
        self.registries.get(registry).map(Registries::client)
    }

    /// Opens a rebuilt blob.
    pub fn blob(&self, digest: &BlobDigest) -> Option<(File, u64)> {
        self.blobs.as_ref()?.file(digest)
    }

    /// Returns the bytes of rebuilt blobs.
    pub fn kept_bytes(&self) -> u64 {
        self.blobs.as_ref().map_or(0, RebuiltBlobs::bytes)
    }

    /// Returns the rate of the link.
    pub fn bits_per_second(&self) -> u64 {
        self.rate.bits_per_second()
    }

    /// Returns true once the service stops.
    pub fn is_stopping(&self) -> bool {
        self.stop.phase() > StopPhase::Running
    }

    /// Returns the traffic with all registries.
    pub fn traffic(&self) -> Traffic {
        let traffic = self.registries.values().map(|registries| registries.client().traffic());
        traffic.fold(Traffic::default(), |sum, one| Traffic {
            received_bytes: sum.received_bytes + one.received_bytes,
            sent_bytes: sum.sent_bytes + one.sent_bytes,
            requests: sum.requests + one.requests,
        })
    }

    /// Rebuilds an image if that pays. Reports a failure, and returns after any outcome.
    pub async fn rebuild(self: Arc<Self>, image: ImageRequest) {
        let name = format!("{}/{}@{}", image.registry, image.repository, image.digest);
        if !self.may_start() {
            self.metrics.count(PullOutcome::TooMany);
            tracing::warn!(image = name, "pulled whole: too many rebuilds in this minute");
            return;
        }
        let Ok(_place) = self.places.acquire().await else { return };
        let rebuilder = Arc::clone(&self);
        let rebuilt = tokio::task::spawn_blocking(move || rebuilder.rebuild_now(&image)).await;
        match rebuilt {
            Ok(Ok(report)) => self.report(&name, &report),
            Ok(Err(error)) => {
                self.metrics.count(PullOutcome::Failed);
                tracing::warn!(image = name, %error, "pulled whole: the rebuild failed");
            }
            Err(error) => {
                self.metrics.count(PullOutcome::Failed);
                tracing::error!(image = name, %error, "pulled whole: the rebuild panicked");
            }
        }
    }

    fn report(&self, image: &str, report: &RebuildReport) {
        let RebuildReport { outcome, fetched_bytes, plain_bytes, plan_time, rebuild_time } =
            *report;
        self.metrics.count(outcome);
        self.metrics.add_times(plan_time, rebuild_time);
        let millis = (plan_time + rebuild_time).as_millis();
        if outcome == PullOutcome::Rebuilt {
            self.metrics.add_rebuilt(fetched_bytes, plain_bytes);
            tracing::info!(image, fetched_bytes, plain_bytes, millis, "rebuilt");
        } else {
            tracing::info!(image, reason = outcome.word(), millis, "left to the runtime");
        }
    }

    /// Counts a start; false if too many rebuilds began in the last minute.
    fn may_start(&self) -> bool {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while starts.front().is_some_and(|start| now.duration_since(*start) >= MINUTE) {
            starts.pop_front();
        }
        if starts.len() as u64 >= u64::from(*self.config.rebuild.per_minute.get_ref()) {
            return false;
        }
        starts.push_back(now);
        true
    }

    fn rebuild_now(&self, image: &ImageRequest) -> Result<RebuildReport> {
        let started = Instant::now();
        let options = OpenOptions::default().limits(self.session.context().limits.clone());
        let bases = self.runtime.images(&image.registry, &image.repository, &options)?;
        let mut report = RebuildReport {
            outcome: PullOutcome::NoBase,
            fetched_bytes: 0,
            plain_bytes: 0,
            plan_time: started.elapsed(),
            rebuild_time: Duration::ZERO,
        };
        if bases.is_empty() {
            return Ok(report);
        }
        let registry = self.config.registry(Some(&image.registry));
        let registries = self.registries.get(&image.registry);
        let (Some(registry), Some(registries)) = (registry, registries) else {
            return Err(Error::bad_input(&image.registry, "not a registry of the configuration"));
        };
        let host = registry.address();
        let source = Reference::Registry(RegistryReference {
            host: host.to_owned(),
            repository: image.repository.clone(),
            tag: None,
            digest: Some(image.digest),
        });
        let registries = registries.with_authorization(image.authorization.clone());
        let directory = self.blobs.as_ref().map(RebuiltBlobs::directory);
        let destination = if let Some(directory) = &directory {
            PullDestination::from(directory.layout())
        } else {
            let runtime = Arc::clone(&self.runtime);
            PullDestination::sink("the runtime's store", move || runtime.sink())
        };
        let workers = self.session.context().workers.count();
        let link = LinkSpeed::new(self.rate.bits_per_second(), workers);
        // After a failure the runtime pulls whole layers itself, and not after the mirror did.
        let options = PullOptions::default().link(Some(link)).fallback(false);
        let before = registries.client().transfers();
        let plan = registries.plan_pull_to(&self.session, &source, bases, destination, &options)?;
        report.plan_time = started.elapsed();
        report.plain_bytes = plan.plain_bytes;
        if plan.is_complete() {
            report.outcome = PullOutcome::Present;
            return Ok(report);
        }
        if plan.deltas.is_empty() {
            report.outcome = PullOutcome::NotWorth;
            return Ok(report);
        }
        let layers: Vec<_> = plan.layers.iter().map(|layer| layer.blob.clone()).collect();
        let pulled = plan.carry_out()?;
        for note in &pulled.notes {
            tracing::debug!(%note, "pull");
        }
        if let Some((blobs, directory)) = self.blobs.as_ref().zip(directory) {
            blobs.keep(directory, layers);
        }
        let after = registries.client().transfers();
        self.rate.observe(after.bytes - before.bytes, after.waited.saturating_sub(before.waited));
        report.outcome = PullOutcome::Rebuilt;
        report.fetched_bytes = pulled.received_bytes;
        report.rebuild_time = started.elapsed().saturating_sub(report.plan_time);
        Ok(report)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
