//! Scans of all repositories: results, durations, progress.

use imgdelta_service::{
    MetricsPage,
    histogram::{Histogram, WORK_SECONDS},
};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Result of a scan of all repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanResult {
    /// Every repository was scanned.
    Complete,
    /// The scan reached its end without some repositories; it has their number.
    Partial(u64),
    /// It did not reach its end.
    Failed,
}

impl ScanResult {
    /// Returns the result of a scan that reached its end without this number of repositories.
    pub fn of(failed: u64) -> Self {
        if failed == 0 { Self::Complete } else { Self::Partial(failed) }
    }
}

/// Counters of scans.
#[derive(Debug)]
pub(super) struct ScanMetrics {
    seconds: Histogram,
    complete: AtomicU64,
    partial: AtomicU64,
    failed: AtomicU64,
    /// End of the last scan that reached its end, in seconds since 1970; 0 before.
    last: AtomicU64,
    /// Repositories that the last scan did not reach.
    unscanned: AtomicU64,
    pub repositories: AtomicU64,
}

impl Default for ScanMetrics {
    fn default() -> Self {
        Self {
            seconds: Histogram::new(WORK_SECONDS),
            complete: AtomicU64::new(0),
            partial: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last: AtomicU64::new(0),
            unscanned: AtomicU64::new(0),
            repositories: AtomicU64::new(0),
        }
    }
}

impl ScanMetrics {
    pub fn count(&self, result: ScanResult, duration: Duration) {
        let (counter, missing) = match result {
            ScanResult::Complete => (&self.complete, 0),
            ScanResult::Partial(missing) => (&self.partial, missing),
            ScanResult::Failed => {
                self.failed.fetch_add(1, Relaxed);
                return;
            }
        };
        counter.fetch_add(1, Relaxed);
        self.seconds.record(duration.as_secs_f64());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last.store(now.as_secs(), Relaxed);
        self.unscanned.store(missing, Relaxed);
    }

    pub fn print(&self, page: &mut MetricsPage, interval: Duration) {
        let name = "imgdelta_scans_total";
        page.family(name, "counter", "Scans of all repositories, by result");
        let counters =
            [("complete", &self.complete), ("partial", &self.partial), ("failed", &self.failed)];
        for (word, counter) in counters {
            page.line(&format!("{name}{{result=\"{word}\"}}"), counter.load(Relaxed));
        }
        let (name, what) = ("imgdelta_scan_seconds", "Duration of scans of all repositories");
        page.family(name, "histogram", what);
        self.seconds.print(page, name, "");
        let what = "Repositories scanned; it grows during a scan";
        let scanned = self.repositories.load(Relaxed);
        page.counter("imgdelta_scanned_repositories_total", what, scanned);
        let what = "Repositories that the last scan could not read";
        let unscanned = self.unscanned.load(Relaxed);
        page.gauge("imgdelta_unscanned_repositories", what, unscanned);
        let what = "End of the last scan that reached its end; 0 before the first one";
        page.gauge("imgdelta_last_scan_timestamp_seconds", what, self.last.load(Relaxed));
        let what = "Interval of scans, from the configuration";
        page.gauge("imgdelta_scan_interval_seconds", what, interval.as_secs());
    }
}
