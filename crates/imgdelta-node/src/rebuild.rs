//! One image: its base found on the node, the decision for a delta, the rebuild of its layers.
//!
//! Uses the credentials of the request for the whole rebuild, and drops them with it. A failure is
//! counted and logged: the runtime then pulls the image whole.

use crate::{
    bases::PullRequest,
    blobs::RebuiltBlobs,
    complete::{BlobCompletion, WantedBlobs},
    config::{BlobMode, Config},
    directory::{BLOBS, SCRATCH, WorkDirectory},
    failures::FailedRebuilds,
    leases::StagedLeases,
    metrics::{Metrics, PullOutcome},
    pull::{NodePull, runtime_store},
    rate::LinkRate,
    runtime::Runtime,
    stop_progress::StopProgress,
};
use hyper::header::HeaderValue;
use imgdelta::Session;
use imgdelta_core::{BlobDigest, Error, Result, limits::Ceiling, scratch::Scratch};
use imgdelta_image::reference::{RegistryReference, RepositoryName};
use imgdelta_registry::{
    Client, ClientOptions, Registries, Traffic,
    pull::{PullDestination, PullMaterial},
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
    scratch: Scratch,
    rate: LinkRate,
    places: Semaphore,
    starts: Mutex<VecDeque<Instant>>,
    failures: FailedRebuilds,
    leases: Arc<StagedLeases>,
    blobs: Option<RebuiltBlobs>,
    completion: Option<Arc<BlobCompletion>>,
    stop: Stop,
    _directory: WorkDirectory,
    pub metrics: Arc<Metrics>,
}

/// The end of a rebuild, with its costs.
struct RebuildReport {
    outcome: PullOutcome,
    fetched_bytes: u64,
    plain_bytes: u64,
    plan_time: Duration,
    rebuild_time: Duration,
    /// Documents and deltas, if blobs are made later.
    material: Option<PullMaterial>,
}

impl ImageRequest {
    /// Returns the image's name in the runtime, by its digest.
    fn reference(&self) -> RegistryReference {
        RegistryReference {
            host: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: Some(self.digest),
        }
    }
}

impl Rebuilder {
    /// Prepares registries, temporary files and blobs. Sends nothing.
    pub fn new(config: Arc<Config>, runtime: Arc<dyn Runtime>, stop: Stop) -> Result<Self> {
        let rebuild = &config.rebuild;
        let directory = WorkDirectory::lock(&rebuild.directory)?;
        // All temporary files together, those of completions included.
        let disk = rebuild.disk.get_ref().0;
        let scratch = Scratch::in_dir(&directory.empty_folder(SCRATCH)?)?;
        let scratch = scratch.ceiling(Ceiling::fixed(disk));
        let metrics = Arc::new(Metrics::default());
        let (mut blobs, mut completion) = (None, None);
        match rebuild.blobs {
            BlobMode::None => {}
            BlobMode::Keep => {
                let (config, runtime) = (Arc::clone(&config), Arc::clone(&runtime));
                let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
                let scratch = scratch.clone();
                let started = BlobCompletion::new(config, runtime, scratch, metrics, stop);
                completion = Some(Arc::new(started));
            }
            BlobMode::Exact => {
                blobs = Some(RebuiltBlobs::new(directory.empty_folder(BLOBS)?, disk));
            }
        }
        // All clients share the threads of one.
        let first = Registries::new(ClientOptions::default())?;
        let configured = config.registries.get_ref().iter();
        let registries = configured.map(|registry| {
            let client = first.with_options(registry.client_options());
            (registry.host.get_ref().clone(), client)
        });
        let registries = registries.collect();
        let rate = LinkRate::new(config.link.rate.get_ref().0, config.link.measured);
        let places = Semaphore::new(*rebuild.parallel.get_ref());
        Ok(Self {
            config,
            registries,
            runtime,
            scratch,
            rate,
            places,
            starts: Mutex::default(),
            failures: FailedRebuilds::default(),
            leases: Arc::default(),
            blobs,
            completion,
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

    /// Removes the blobs that are kept to be served: another start would not serve them.
    pub fn remove_blobs(&self) {
        if let Some(blobs) = &self.blobs {
            blobs.clear();
        }
    }

    /// Returns the number of images that wait for their blobs.
    pub fn completing(&self) -> usize {
        self.completion.as_ref().map_or(0, |completion| completion.waiting())
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
        if self.failures.has(&image.digest, Instant::now()) {
            self.metrics.count(PullOutcome::FailedBefore);
            tracing::info!(image = name, "pulled whole: its rebuild failed a short time before");
            return;
        }
        if !self.may_start() {
            self.metrics.count(PullOutcome::TooMany);
            tracing::warn!(image = name, "pulled whole: too many rebuilds in this minute");
            return;
        }
        let Ok(_place) = self.places.acquire().await else { return };
        let (rebuilder, request) = (Arc::clone(&self), image.clone());
        let rebuilt = tokio::task::spawn_blocking(move || rebuilder.rebuild_now(&request)).await;
        match rebuilt {
            Ok(Ok(mut report)) => {
                self.report(&name, &report);
                self.follow(&image, &mut report);
            }
            Ok(Err(error)) => {
                self.metrics.count(PullOutcome::Failed);
                tracing::warn!(image = name, %error, "pulled whole: the rebuild failed");
            }
            Err(error) => {
                self.failures.add(image.digest, Instant::now());
                self.metrics.count(PullOutcome::Failed);
                tracing::error!(image = name, %error, "pulled whole: the rebuild panicked");
            }
        }
    }

    fn report(&self, image: &str, report: &RebuildReport) {
        let &RebuildReport { outcome, fetched_bytes, plain_bytes, plan_time, rebuild_time, .. } =
            report;
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
        let (config, runtime, session) = (&*self.config, &self.runtime, &self.session()?);
        let node = NodePull { config, runtime, session };
        let source = image.reference();
        let mut report = RebuildReport {
            outcome: PullOutcome::NoBase,
            fetched_bytes: 0,
            plain_bytes: 0,
            plan_time: started.elapsed(),
            rebuild_time: Duration::ZERO,
            material: None,
        };
        let registries = self.registries(image)?;
        let directory = self.blobs.as_ref().map(RebuiltBlobs::directory);
        // After a failure the runtime pulls whole layers itself, and not after the mirror did.
        let options = node.by_time(self.rate.bits_per_second()).fallback(false);
        let before = registries.client().transfers();
        let rebuilt = || -> Result<()> {
            let destination = || match &directory {
                Some(directory) => PullDestination::from(directory.layout()),
                None => runtime_store(runtime),
            };
            let (registries, image, options) = (&registries, &source, &options);
            let request = PullRequest { node, registries, image, options };
            let Some(plan) = request.plan(&destination)? else { return Ok(()) };
            report.plan_time = started.elapsed();
            report.plain_bytes = plan.plain_bytes;
            if plan.is_complete() {
                report.outcome = PullOutcome::Present;
                return Ok(());
            }
            if plan.deltas.is_empty() {
                report.outcome = PullOutcome::NotWorth;
                return Ok(());
            }
            let layers: Vec<_> = plan.layers.iter().map(|layer| layer.blob.clone()).collect();
            if let Some((blobs, directory)) = self.blobs.as_ref().zip(directory.as_ref()) {
                blobs.make_room(directory, layers.iter().map(|layer| layer.size_bytes).sum())?;
            }
            report.material = self.completion.as_ref().map(|_| plan.material());
            let pulled = plan.carry_out()?;
            for note in &pulled.notes {
                tracing::debug!(%note, "pull");
            }
            if let Some((blobs, directory)) = self.blobs.as_ref().zip(directory) {
                blobs.keep(directory, layers);
            }
            report.outcome = PullOutcome::Rebuilt;
            report.fetched_bytes = pulled.received_bytes;
            Ok(())
        };
        if let Err(error) = rebuilt() {
            // The next requests for the image would fail alike.
            if !matches!(error, Error::Cancelled) {
                self.failures.add(image.digest, Instant::now());
            }
            return Err(error);
        }
        if report.outcome == PullOutcome::Rebuilt {
            let after = registries.client().transfers();
            let waited = after.waited.saturating_sub(before.waited);
            self.rate.observe(after.bytes - before.bytes, waited);
            report.rebuild_time = started.elapsed().saturating_sub(report.plan_time);
        }
        Ok(report)
    }

    /// Starts the workers of one rebuild. They end with it, and with them the memory that they hold: a
    /// mirror is idle most of the time.
    fn session(&self) -> Result<Session> {
        let progress = StopProgress { stop: self.stop.clone(), phase: StopPhase::Leaving };
        let session = Session::in_scratch(self.scratch.clone())?;
        Ok(session.threads(self.config.rebuild.threads)?.progress(Arc::new(progress)))
    }

    /// Returns the clients for an image's registry, with the login of the request.
    fn registries(&self, image: &ImageRequest) -> Result<Registries> {
        let registries = self.registries.get(&image.registry).ok_or_else(|| {
            Error::bad_input(&image.registry, "not a registry of the configuration")
        })?;
        Ok(registries.with_authorization(image.authorization.clone()))
    }

    /// Begins the work that follows a rebuild: the layers' lease ends once the image uses them, and
    /// missing blobs are added.
    fn follow(self: &Arc<Self>, image: &ImageRequest, report: &mut RebuildReport) {
        if report.outcome == PullOutcome::Rebuilt && self.blobs.is_none() {
            Arc::clone(&self.leases).follow(Arc::clone(&self.runtime), self.stop.clone());
        }
        let is_there = matches!(report.outcome, PullOutcome::Rebuilt | PullOutcome::Present);
        let Some(completion) = self.completion.as_ref().filter(|_| is_there) else { return };
        let Ok(registries) = self.registries(image) else { return };
        completion.start(WantedBlobs {
            image: image.reference(),
            digest: image.digest,
            registries,
            material: report.material.take(),
        });
    }
}

const MINUTE: Duration = Duration::from_secs(60);
