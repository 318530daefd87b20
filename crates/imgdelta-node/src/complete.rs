//! The compressed blobs of an image whose layers were staged, made after its pull.
//!
//! Waits until the runtime has the image, makes the exact blobs from its unpacked layers, and adds them.
//! One image at a time, on threads of low priority. Nothing waits for it, and a stop cancels it.

mod priority;

use crate::{
    config::Config,
    metrics::{CompletionOutcome, Metrics},
    pull::NodePull,
    runtime::{ImageState, Runtime},
    stop_progress::StopProgress,
};
use imgdelta::Session;
use imgdelta_core::{BlobDigest, Error, Result, scratch::Scratch};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::RegistryReference,
};
use imgdelta_registry::{
    PullOptions, Registries,
    pull::{LayerSource, PullDestination, PullMaterial},
};
use imgdelta_service::{Stop, StopPhase};
use priority::LowPriority;
use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// An image whose blobs are wanted.
#[derive(Clone, Debug)]
pub(crate) struct WantedBlobs {
    /// The image, with the registry's name in images and the manifest's digest.
    pub image: RegistryReference,
    pub digest: BlobDigest,
    /// The registry, with the login of the request.
    pub registries: Registries,
    /// Documents and deltas of the rebuild; none if the layers were there before.
    pub material: Option<PullMaterial>,
}

/// Completes images in the background.
#[derive(Debug)]
pub(crate) struct BlobCompletion {
    config: Arc<Config>,
    runtime: Arc<dyn Runtime>,
    scratch: Scratch,
    metrics: Arc<Metrics>,
    stop: Stop,
    /// Images that wait or are completed.
    wanted: Mutex<HashSet<BlobDigest>>,
    place: Semaphore,
}

/// The end of a completion, with its costs.
#[derive(Clone, Copy, Debug)]
struct CompletionReport {
    outcome: CompletionOutcome,
    blobs: usize,
    blob_bytes: u64,
    fetched_bytes: u64,
}

impl From<CompletionOutcome> for CompletionReport {
    /// Reports an end without a blob.
    fn from(outcome: CompletionOutcome) -> Self {
        Self { outcome, blobs: 0, blob_bytes: 0, fetched_bytes: 0 }
    }
}

impl BlobCompletion {
    pub fn new(
        config: Arc<Config>,
        runtime: Arc<dyn Runtime>,
        scratch: Scratch,
        metrics: Arc<Metrics>,
        stop: Stop,
    ) -> Self {
        let (wanted, place) = (Mutex::default(), Semaphore::new(1));
        Self { config, runtime, scratch, metrics, stop, wanted, place }
    }

    /// Returns the number of images that wait or are completed.
    pub fn waiting(&self) -> usize {
        self.table().len()
    }

    /// Completes an image in the background, unless that was requested before.
    pub fn start(self: &Arc<Self>, wanted: WantedBlobs) {
        let name = wanted.image.to_string();
        let entry = {
            let mut table = self.table();
            if table.contains(&wanted.digest) {
                return;
            }
            if table.len() >= MOST_WANTED {
                drop(table);
                self.metrics.count_completion(CompletionOutcome::TooMany);
                tracing::warn!(image = name, "not completed: too many images wait");
                return;
            }
            table.insert(wanted.digest);
            WantedEntry { completion: Arc::clone(self), image: wanted.digest }
        };
        let completion = Arc::clone(self);
        tokio::spawn(async move {
            let started = Instant::now();
            let report = completion.complete(wanted).await;
            completion.report(&name, report, started.elapsed());
            drop(entry);
        });
    }

    fn report(&self, image: &str, report: Result<CompletionReport>, time: Duration) {
        let millis = time.as_millis();
        let report = report.unwrap_or_else(|error| {
            let is_stopped = matches!(error, Error::Cancelled);
            if !is_stopped {
                tracing::warn!(image, %error, "not completed");
            }
            let outcome =
                if is_stopped { CompletionOutcome::Stopped } else { CompletionOutcome::Failed };
            outcome.into()
        });
        let CompletionReport { outcome, blobs, blob_bytes, fetched_bytes } = report;
        self.metrics.count_completion(outcome);
        self.metrics.add_completed_bytes(blob_bytes);
        match outcome {
            CompletionOutcome::Completed => {
                tracing::info!(image, blobs, blob_bytes, fetched_bytes, millis, "completed");
            }
            CompletionOutcome::Present => tracing::debug!(image, "complete already"),
            _ => tracing::info!(image, reason = outcome.word(), millis, "left without blobs"),
        }
    }

    async fn complete(self: &Arc<Self>, wanted: WantedBlobs) -> Result<CompletionReport> {
        let patience = self.config.containerd.lease.get_ref().duration();
        let pulled = tokio::time::timeout(patience, self.pulled(wanted.digest));
        let Ok(state) = self.unless_stopped(pulled).await? else {
            return Ok(CompletionOutcome::NoPull.into());
        };
        let image = match state? {
            ImageState::Incomplete { image } => image,
            ImageState::Complete => return Ok(CompletionOutcome::Present.into()),
            ImageState::Discarding => return Ok(CompletionOutcome::Discarded.into()),
            ImageState::Awaited => return Ok(CompletionOutcome::NoPull.into()),
        };
        let _place = self.unless_stopped(self.place.acquire()).await?;
        let completion = Arc::clone(self);
        LowPriority::run(move || completion.complete_now(&wanted, image)).await
    }

    /// Waits for work, but not longer than until a stop.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            () = self.stop.reached(StopPhase::Finishing) => Err(Error::Cancelled),
            outcome = work => Ok(outcome),
        }
    }

    /// Waits until the runtime has an image.
    async fn pulled(self: &Arc<Self>, manifest: BlobDigest) -> Result<ImageState> {
        let mut pause = FIRST_PAUSE;
        loop {
            let completion = Arc::clone(self);
            let options = OpenOptions::default();
            let ask = move || completion.runtime.image_state(&manifest, &options);
            let state = tokio::task::spawn_blocking(ask).await;
            let state = state
                .map_err(|error| Error::io("the runtime's store")(std::io::Error::other(error)))?;
            match state? {
                ImageState::Awaited => tokio::time::sleep(pause).await,
                state => return Ok(state),
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes the blobs of an image that the runtime has.
    fn complete_now(
        &self,
        wanted: &WantedBlobs,
        image: Option<Box<Image>>,
    ) -> Result<CompletionReport> {
        // Its one worker has the priority of this thread.
        let progress = StopProgress { stop: self.stop.clone(), phase: StopPhase::Finishing };
        let session = Session::in_scratch(self.scratch.clone())?.threads(1)?;
        let session = session.progress(Arc::new(progress));
        let pull = NodePull { config: &self.config, runtime: &self.runtime, session: &session };
        let mut bases: Vec<Image> = image.map(|image| *image).into_iter().collect();
        bases.extend(pull.bases(&wanted.image)?);
        let (runtime, origin) = (Arc::clone(&self.runtime), wanted.image.clone());
        let destination = PullDestination::sink("the runtime's blobs", move || {
            runtime.blob_sink(&origin.host, &origin.repository)
        });
        // It may take its time, and fetches no whole layers after a failure.
        let options = PullOptions::default().time_limit(false).fallback(false);
        let plan = match &wanted.material {
            Some(material) => material.plan_to(&session, bases, destination, &options)?,
            None => pull.plan(&wanted.registries, &wanted.image, bases, destination, &options)?,
        };
        if plan.is_complete() {
            return Ok(CompletionOutcome::Present.into());
        }
        if plan.deltas.is_empty() {
            return Ok(CompletionOutcome::NoDelta.into());
        }
        let report = plan.carry_out()?;
        let made = report.layers.iter().filter(|layer| layer.source != LayerSource::Destination);
        Ok(CompletionReport {
            outcome: CompletionOutcome::Completed,
            blobs: made.clone().count(),
            blob_bytes: made.map(|layer| layer.blob.size_bytes).sum(),
            fetched_bytes: report.received_bytes,
        })
    }

    fn table(&self) -> MutexGuard<'_, HashSet<BlobDigest>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of an image that is to be completed; removed at its end.
struct WantedEntry {
    completion: Arc<BlobCompletion>,
    image: BlobDigest,
}

impl Drop for WantedEntry {
    fn drop(&mut self) {
        self.completion.table().remove(&self.image);
    }
}

/// A pull that found all layers takes a second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Each question to the runtime is a few calls of some kilobytes.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Each image that waits holds its documents and blobs that were downloaded whole.
const MOST_WANTED: usize = 16;
