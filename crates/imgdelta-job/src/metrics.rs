//! Metrics in the text format of Prometheus.
//!
//! Counters start at zero with the process. Figures of the queue come from the queue, and are the same
//! for all workers that share it.

mod requests;
mod scans;
mod tasks;

pub(crate) use scans::ScanResult;

use crate::{queue::TaskCounts, report::TaskReport};
use imgdelta_registry::{ClientEvent, Traffic};
use imgdelta_service::MetricsPage;
use requests::RequestMetrics;
use scans::ScanMetrics;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};
use tasks::TaskMetrics;

/// Counters of a process.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    tasks: TaskMetrics,
    scans: ScanMetrics,
    requests: RequestMetrics,
    removed_deltas: AtomicU64,
    accepted_notifications: AtomicU64,
    refused_notifications: AtomicU64,
    ignored_names: [AtomicU64; NameSource::ALL.len()],
}

impl Default for Metrics {
    /// All counters are zero.
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            tasks: TaskMetrics::default(),
            scans: ScanMetrics::default(),
            requests: RequestMetrics::default(),
            removed_deltas: AtomicU64::new(0),
            accepted_notifications: AtomicU64::new(0),
            refused_notifications: AtomicU64::new(0),
            ignored_names: Default::default(),
        }
    }
}

/// Figures that are read when the page of metrics is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Figures of the queue; none if it does not answer.
    pub queue: Option<QueueGauges>,
    /// Traffic with the registry.
    pub traffic: Traffic,
    /// Bytes of temporary files.
    pub scratch_bytes: u64,
    /// Budget of temporary files.
    pub scratch_limit_bytes: u64,
    /// Interval of the scans of all repositories.
    pub scan_interval: Duration,
}

/// Figures of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueGauges {
    /// Tasks by state.
    pub counts: TaskCounts,
    /// Time since the oldest waiting task was added; zero if none waits.
    pub oldest_waiting: Duration,
    /// True if a person paused the queue.
    pub is_paused: bool,
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

impl Metrics {
    /// Counts an attempt of a task.
    pub fn count(&self, report: &TaskReport) {
        self.tasks.count(report);
    }

    /// Counts a task that another worker took meanwhile.
    pub(crate) fn count_lost_lease(&self) {
        self.tasks.lost_leases.fetch_add(1, Relaxed);
    }

    /// Counts an event of the client for the registry.
    pub(crate) fn count_request(&self, event: &ClientEvent<'_>) {
        self.requests.count(event);
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

    /// Counts a repository that was scanned.
    pub(crate) fn count_scanned(&self) {
        self.scans.repositories.fetch_add(1, Relaxed);
    }

    /// Counts a scan of all repositories.
    pub(crate) fn count_scan(&self, result: ScanResult, duration: Duration) {
        self.scans.count(result, duration);
    }

    /// Returns the page of all metrics.
    pub fn text(&self, gauges: &Gauges) -> String {
        let Gauges { queue, traffic, scratch_bytes, scratch_limit_bytes, scan_interval } = gauges;
        let mut page = MetricsPage::default();
        page.family("imgdelta_build_info", "gauge", "The running version");
        let version = env!("CARGO_PKG_VERSION");
        page.line(&format!("imgdelta_build_info{{version=\"{version}\"}}"), 1);
        let what = "1 if the queue answers, otherwise 0";
        page.gauge("imgdelta_queue_up", what, u8::from(queue.is_some()));
        if let Some(QueueGauges { counts, oldest_waiting, is_paused }) = queue {
            let TaskCounts { waiting, running, done, failed } = *counts;
            page.family("imgdelta_tasks", "gauge", "Tasks in the queue, by state");
            let states = [waiting, running, done, failed];
            for (word, count) in ["waiting", "running", "done", "failed"].into_iter().zip(states) {
                page.line(&format!("imgdelta_tasks{{state=\"{word}\"}}"), count);
            }
            let what = "Time since the oldest waiting task was added";
            page.gauge("imgdelta_oldest_waiting_seconds", what, oldest_waiting.as_secs());
            let what = "1 if the queue is paused, otherwise 0";
            page.gauge("imgdelta_queue_paused", what, u8::from(*is_paused));
        }
        self.tasks.print(&mut page);
        let read = |counter: &AtomicU64| counter.load(Relaxed);
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
        self.scans.print(&mut page, *scan_interval);
        self.requests.print(&mut page);
        let Traffic { received_bytes, sent_bytes, .. } = *traffic;
        page.counter("imgdelta_received_bytes_total", "Bytes from the registry", received_bytes);
        page.counter("imgdelta_sent_bytes_total", "Bytes to the registry", sent_bytes);
        page.gauge("imgdelta_scratch_bytes", "Bytes of temporary files", scratch_bytes);
        let (name, what) = ("imgdelta_scratch_limit_bytes", "Budget of temporary files");
        page.gauge(name, what, scratch_limit_bytes);
        page.process(self.started);
        page.text()
    }
}
