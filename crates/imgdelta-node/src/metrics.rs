//! Counters of the mirror, as a page for Prometheus and as a status for people.

use imgdelta_registry::Traffic;
use imgdelta_service::MetricsPage;
use serde::{Deserialize, Serialize};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The end of a request for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullOutcome {
    /// Its layers were rebuilt, and are in the runtime's store or served.
    Rebuilt,
    /// The runtime has all layers already.
    Present,
    /// The runtime has no image of the repository.
    NoBase,
    /// No delta saves time on this link.
    NotWorth,
    /// Too many rebuilds began in this minute.
    TooMany,
    /// The rebuild failed a short time before.
    FailedBefore,
    /// The rebuild failed.
    Failed,
}

impl PullOutcome {
    const ALL: [Self; 7] = [
        Self::Rebuilt,
        Self::Present,
        Self::NoBase,
        Self::NotWorth,
        Self::TooMany,
        Self::FailedBefore,
        Self::Failed,
    ];

    /// Returns its word in metrics and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rebuilt => "rebuilt",
            Self::Present => "present",
            Self::NoBase => "no-base",
            Self::NotWorth => "not-worth",
            Self::TooMany => "too-many",
            Self::FailedBefore => "failed-before",
            Self::Failed => "failed",
        }
    }
}

/// The end of a completion, which makes the blobs of an image after its pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompletionOutcome {
    /// The blobs were made, and are in the runtime's store.
    Completed,
    /// The runtime has all blobs already.
    Present,
    /// The runtime did not pull the image.
    NoPull,
    /// The runtime discards the blobs of layers.
    Discarded,
    /// No delta says how the blobs are made.
    NoDelta,
    /// Too many images wait.
    TooMany,
    /// The service stops.
    Stopped,
    /// It failed.
    Failed,
}

impl CompletionOutcome {
    const ALL: [Self; 8] = [
        Self::Completed,
        Self::Present,
        Self::NoPull,
        Self::Discarded,
        Self::NoDelta,
        Self::TooMany,
        Self::Stopped,
        Self::Failed,
    ];

    /// Returns its word in metrics and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Present => "present",
            Self::NoPull => "no-pull",
            Self::Discarded => "discarded",
            Self::NoDelta => "no-delta",
            Self::TooMany => "too-many",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// Counters since the process started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    outcomes: [AtomicU64; PullOutcome::ALL.len()],
    completions: [AtomicU64; CompletionOutcome::ALL.len()],
    completed_bytes: AtomicU64,
    /// Answers that did not wait for the end of the rebuild.
    released: AtomicU64,
    /// Requests that were refused.
    refused: AtomicU64,
    fetched_bytes: AtomicU64,
    plain_bytes: AtomicU64,
    plan_millis: AtomicU64,
    rebuild_millis: AtomicU64,
}

/// Values of the moment, which have no counter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub held: usize,
    pub running: usize,
    pub completing: usize,
    pub kept_bytes: u64,
    pub bits_per_second: u64,
}

/// The state of a mirror, for people and programs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The name of this form.
    pub schema: String,
    /// Answers that wait for a rebuild.
    pub held: u64,
    /// Images that are being rebuilt.
    pub running: u64,
    /// Images that were rebuilt by delta.
    pub rebuilt: u64,
    /// Images whose rebuild failed; they were pulled whole.
    pub failed: u64,
    /// Images that were pulled whole for another reason.
    pub whole: u64,
    /// Images that wait for their blobs.
    #[serde(default)]
    pub completing: u64,
    /// Images whose blobs were added after the pull.
    #[serde(default)]
    pub completed: u64,
    /// Bytes that the rebuilt images cost.
    pub fetched_bytes: u64,
    /// Bytes that the rebuilt images would have cost without deltas.
    pub plain_bytes: u64,
    /// Bytes of blobs that are kept to be served.
    pub kept_bytes: u64,
    /// Rate of the link, in bits per second.
    pub bits_per_second: u64,
}

/// The name of the status' form.
pub const STATUS_SCHEMA: &str = "imgdelta-node-status-1";

impl Metrics {
    /// Counts the end of a request for an image.
    pub fn count(&self, outcome: PullOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Counts the end of a completion.
    pub fn count_completion(&self, outcome: CompletionOutcome) {
        self.completions[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Adds the bytes of blobs that were added after a pull.
    pub fn add_completed_bytes(&self, bytes: u64) {
        self.completed_bytes.fetch_add(bytes, Relaxed);
    }

    pub fn count_released(&self) {
        self.released.fetch_add(1, Relaxed);
    }

    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Adds the bytes of a rebuilt image.
    pub fn add_rebuilt(&self, fetched_bytes: u64, plain_bytes: u64) {
        self.fetched_bytes.fetch_add(fetched_bytes, Relaxed);
        self.plain_bytes.fetch_add(plain_bytes, Relaxed);
    }

    /// Adds the time of the decision and of the rebuild.
    pub fn add_times(&self, plan: Duration, rebuild: Duration) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.plan_millis.fetch_add(millis(plan), Relaxed);
        self.rebuild_millis.fetch_add(millis(rebuild), Relaxed);
    }

    fn outcome(&self, outcome: PullOutcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// Returns the state for people and programs.
    pub fn status(&self, gauges: Gauges) -> Status {
        use PullOutcome::{Failed, FailedBefore, NoBase, NotWorth, Rebuilt, TooMany};
        let whole = [NoBase, NotWorth, TooMany, FailedBefore];
        Status {
            schema: STATUS_SCHEMA.into(),
            held: gauges.held as u64,
            running: gauges.running as u64,
            rebuilt: self.outcome(Rebuilt),
            failed: self.outcome(Failed),
            whole: whole.map(|outcome| self.outcome(outcome)).iter().sum(),
            completing: gauges.completing as u64,
            completed: self.completions[CompletionOutcome::Completed as usize].load(Relaxed),
            fetched_bytes: self.fetched_bytes.load(Relaxed),
            plain_bytes: self.plain_bytes.load(Relaxed),
            kept_bytes: gauges.kept_bytes,
            bits_per_second: gauges.bits_per_second,
        }
    }

    /// Returns the page for Prometheus.
    pub fn text(&self, gauges: Gauges, traffic: Traffic) -> String {
        let mut page = MetricsPage::default();
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let (name, what) = ("imgdelta_node_pulls_total", "Requests for an image, by outcome");
        page.family(name, "counter", what);
        for outcome in PullOutcome::ALL {
            let sample = format!("{name}{{outcome=\"{}\"}}", outcome.word());
            page.line(&sample, self.outcome(outcome));
        }
        let what = "Answers that did not wait for the end of a rebuild";
        page.counter("imgdelta_node_released_total", what, read(&self.released));
        page.counter("imgdelta_node_refused_total", "Refused requests", read(&self.refused));
        let what = "Bytes that rebuilt images cost";
        page.counter("imgdelta_node_fetched_bytes_total", what, read(&self.fetched_bytes));
        let what = "Bytes that rebuilt images would have cost without deltas";
        page.counter("imgdelta_node_plain_bytes_total", what, read(&self.plain_bytes));
        let (name, what) = ("imgdelta_node_seconds_total", "Time of rebuilds, by step");
        page.family(name, "counter", what);
        for (step, millis) in [("plan", &self.plan_millis), ("rebuild", &self.rebuild_millis)] {
            let millis = read(millis);
            let sample = format!("{name}{{step=\"{step}\"}}");
            page.line(&sample, format_args!("{}.{:03}", millis / 1000, millis % 1000));
        }
        let name = "imgdelta_node_completions_total";
        page.family(name, "counter", "Images whose blobs were wanted after the pull, by outcome");
        for outcome in CompletionOutcome::ALL {
            let sample = format!("{name}{{outcome=\"{}\"}}", outcome.word());
            page.line(&sample, read(&self.completions[outcome as usize]));
        }
        let what = "Bytes of blobs that were added after a pull";
        page.counter("imgdelta_node_completed_bytes_total", what, read(&self.completed_bytes));
        let what = "Images that wait for their blobs";
        page.gauge("imgdelta_node_completing", what, gauges.completing);
        page.gauge("imgdelta_node_held", "Answers that wait for a rebuild", gauges.held);
        page.gauge("imgdelta_node_running", "Images that are being rebuilt", gauges.running);
        page.gauge("imgdelta_node_kept_bytes", "Bytes of blobs to be served", gauges.kept_bytes);
        let what = "Rate of the link to the registries, learnt from downloads";
        let bytes_per_second = gauges.bits_per_second / 8;
        page.gauge("imgdelta_node_link_bytes_per_second", what, bytes_per_second);
        let Traffic { received_bytes, requests, .. } = traffic;
        page.counter("imgdelta_node_received_bytes_total", "Bytes from registries", received_bytes);
        page.counter("imgdelta_node_requests_total", "Requests to registries", requests);
        page.memory();
        page.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_fits_its_schema() {
        let status = Metrics::default().status(Gauges::default());
        let document = serde_json::to_value(status).unwrap();
        imgdelta_testkit::assert_valid(&document, "node-status");
    }
}
