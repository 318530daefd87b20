//! Metrics in the text format of Prometheus.
//!
//! Counters start at zero with the process. The numbers of tasks by state come from the queue.

use crate::{
    queue::TaskCounts,
    report::{TaskOutcome, TaskReport},
};
use imgdelta_registry::Traffic;
use imgdelta_service::MetricsPage;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Counters of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    sums: Mutex<TaskSums>,
    removed_deltas: AtomicU64,
    accepted_notifications: AtomicU64,
    refused_notifications: AtomicU64,
    scans: AtomicU64,
    failed_scans: AtomicU64,
    last_scan: AtomicU64,
    ignored_names: [AtomicU64; NameSource::ALL.len()],
}

/// Origin of names that are not names of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// A notification.
    Notification,
    /// The registry's list of repositories.
    List,
}

impl NameSource {
    const ALL: [Self; 2] = [Self::Notification, Self::List];

    /// Returns its word in metrics and in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::List => "list",
        }
    }
}

/// Sums over finished tasks.
#[derive(Clone, Copy, Debug, Default)]
struct TaskSums {
    deltas: [u64; TaskOutcome::ALL.len()],
    delta_bytes: u64,
    saved_bytes: u64,
    reused_recipes: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Metrics {
    /// Counts a finished task.
    pub fn count(&self, report: &TaskReport) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.deltas[report.outcome as usize] += 1;
        sums.seconds += report.seconds;
        sums.cpu_seconds += report.cpu_seconds;
        if report.outcome == TaskOutcome::Published {
            sums.delta_bytes += report.delta_bytes;
            sums.saved_bytes += report.pull_bytes.saturating_sub(report.delta_bytes);
            sums.reused_recipes += report.reused_recipes;
        }
    }

    /// Counts deltas that were removed.
    pub fn count_removed(&self, deltas: u64) {
        self.removed_deltas.fetch_add(deltas, Relaxed);
    }

    /// Counts a notification.
    pub fn count_notification(&self, is_accepted: bool) {
        let counter =
            if is_accepted { &self.accepted_notifications } else { &self.refused_notifications };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts ignored names. Returns true if they are the first ones of this source.
    pub fn count_ignored(&self, source: NameSource, names: u64) -> bool {
        names > 0 && self.ignored_names[source as usize].fetch_add(names, Relaxed) == 0
    }

    /// Counts a scan of all repositories.
    pub fn count_scan(&self, is_complete: bool) {
        if is_complete {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.scans.fetch_add(1, Relaxed);
            self.last_scan.store(now.as_secs(), Relaxed);
        } else {
            self.failed_scans.fetch_add(1, Relaxed);
        }
    }

    /// Returns all metrics as text; without the queue's counts if the queue does not answer.
    pub fn text(&self, counts: Option<TaskCounts>, traffic: Traffic) -> String {
        let sums = *self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = MetricsPage::default();
        page.family("imgdelta_build_info", "gauge", "The running version");
        let version = env!("CARGO_PKG_VERSION");
        page.line(&format!("imgdelta_build_info{{version=\"{version}\"}}"), 1);
        if let Some(TaskCounts { waiting, running, done, failed }) = counts {
            page.family("imgdelta_works", "gauge", "Tasks in the queue, by state");
            let states = [waiting, running, done, failed];
            for (word, count) in ["waiting", "running", "done", "failed"].into_iter().zip(states) {
                page.line(&format!("imgdelta_works{{state=\"{word}\"}}"), count);
            }
        }
        page.family("imgdelta_queue_up", "gauge", "1 if the queue answers, otherwise 0");
        page.line("imgdelta_queue_up", u8::from(counts.is_some()));
        page.family("imgdelta_deltas_total", "counter", "Finished tasks, by outcome");
        for (outcome, count) in TaskOutcome::ALL.into_iter().zip(sums.deltas) {
            page.line(&format!("imgdelta_deltas_total{{outcome=\"{}\"}}", outcome.word()), count);
        }
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        page.counter("imgdelta_delta_bytes_total", "Bytes of published deltas", sums.delta_bytes);
        let saved = "Bytes that published deltas save each receiver, added up";
        page.counter("imgdelta_saved_bytes_total", saved, sums.saved_bytes);
        let reused = "Recipes of published deltas that were reused from other images";
        page.counter("imgdelta_reused_recipes_total", reused, sums.reused_recipes);
        page.counter(
            "imgdelta_work_seconds_total",
            "Duration of finished tasks, added up",
            sums.seconds,
        );
        let cpu = "Processor time of finished tasks, added up";
        page.counter("imgdelta_work_cpu_seconds_total", cpu, sums.cpu_seconds);
        page.counter("imgdelta_removed_deltas_total", "Deltas removed", read(&self.removed_deltas));
        let (name, what) = ("imgdelta_notifications_total", "Notifications, by result");
        page.family(name, "counter", what);
        page.line(&format!("{name}{{result=\"taken\"}}"), read(&self.accepted_notifications));
        page.line(&format!("{name}{{result=\"refused\"}}"), read(&self.refused_notifications));
        let (name, what) = ("imgdelta_ignored_names_total", "Invalid repository names, by source");
        page.family(name, "counter", what);
        for (source, count) in NameSource::ALL.into_iter().zip(&self.ignored_names) {
            page.line(&format!("{name}{{source=\"{}\"}}", source.word()), read(count));
        }
        let (name, what) = ("imgdelta_passes_total", "Scans of all repositories, by result");
        page.family(name, "counter", what);
        page.line(&format!("{name}{{result=\"done\"}}"), read(&self.scans));
        page.line(&format!("{name}{{result=\"failed\"}}"), read(&self.failed_scans));
        let (name, what) =
            ("imgdelta_last_pass_timestamp_seconds", "End of the last complete scan");
        page.family(name, "gauge", what);
        page.line(name, read(&self.last_scan));
        let Traffic { received_bytes, sent_bytes, requests } = traffic;
        page.counter("imgdelta_received_bytes_total", "Bytes from the registry", received_bytes);
        page.counter("imgdelta_sent_bytes_total", "Bytes to the registry", sent_bytes);
        page.counter("imgdelta_requests_total", "Requests to the registry", requests);
        page.memory();
        page.text()
    }
}
