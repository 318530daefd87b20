//! What is counted, in the text format of Prometheus.
//!
//! Counters begin at zero with the process; how many works stand where is asked of the queue.

use crate::{
    machine,
    queue::Counts,
    report::{Outcome, Report},
};
use imgdelta_registry::Traffic;
use std::{
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Counters of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    sums: Mutex<Sums>,
    removed: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
    passes: AtomicU64,
    failed_passes: AtomicU64,
    last_pass: AtomicU64,
}

/// What finished works add up to.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    deltas: [u64; Outcome::ALL.len()],
    delta_bytes: u64,
    saved_bytes: u64,
    reused_recipes: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Metrics {
    /// Counts a work that ended.
    pub fn count(&self, report: &Report) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.deltas[report.outcome as usize] += 1;
        sums.seconds += report.seconds;
        sums.cpu_seconds += report.cpu_seconds;
        if report.outcome == Outcome::Published {
            sums.delta_bytes += report.delta_bytes;
            sums.saved_bytes += report.pull_bytes.saturating_sub(report.delta_bytes);
            sums.reused_recipes += report.reused_recipes;
        }
    }

    /// Counts deltas that were removed.
    pub fn count_removed(&self, deltas: u64) {
        self.removed.fetch_add(deltas, Relaxed);
    }

    /// Counts a notification.
    pub fn count_notification(&self, is_taken: bool) {
        if is_taken { &self.taken } else { &self.refused }.fetch_add(1, Relaxed);
    }

    /// Counts a look through all repositories.
    pub fn count_pass(&self, is_whole: bool) {
        if is_whole {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.passes.fetch_add(1, Relaxed);
            self.last_pass.store(now.as_secs(), Relaxed);
        } else {
            self.failed_passes.fetch_add(1, Relaxed);
        }
    }

    /// Returns everything as text; without the queue's counts if it does not answer.
    pub fn text(&self, counts: Option<Counts>, traffic: Traffic) -> String {
        let sums = *self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = Page(String::new());
        page.family("imgdelta_build_info", "gauge", "What runs here");
        let version = env!("CARGO_PKG_VERSION");
        page.line(&format!("imgdelta_build_info{{version=\"{version}\"}}"), 1);
        if let Some(Counts { waiting, running, done, failed }) = counts {
            page.family("imgdelta_works", "gauge", "Works in the queue by state");
            let states = [waiting, running, done, failed];
            for (word, count) in ["waiting", "running", "done", "failed"].into_iter().zip(states) {
                page.line(&format!("imgdelta_works{{state=\"{word}\"}}"), count);
            }
        }
        page.family("imgdelta_queue_up", "gauge", "Whether the queue answers");
        page.line("imgdelta_queue_up", u8::from(counts.is_some()));
        page.family("imgdelta_deltas_total", "counter", "Works that ended, by outcome");
        for (outcome, count) in Outcome::ALL.into_iter().zip(sums.deltas) {
            page.line(&format!("imgdelta_deltas_total{{outcome=\"{}\"}}", outcome.word()), count);
        }
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        page.one("imgdelta_delta_bytes_total", "Bytes of published deltas", sums.delta_bytes);
        let saved = "Bytes that published deltas spare each receiver, added up";
        page.one("imgdelta_saved_bytes_total", saved, sums.saved_bytes);
        let reused = "Recipes of published deltas that had been made for other images";
        page.one("imgdelta_reused_recipes_total", reused, sums.reused_recipes);
        page.one("imgdelta_work_seconds_total", "Time that works took", sums.seconds);
        let cpu = "Processor time that works took";
        page.one("imgdelta_work_cpu_seconds_total", cpu, sums.cpu_seconds);
        page.one("imgdelta_removed_deltas_total", "Deltas removed", read(&self.removed));
        let (name, what) =
            ("imgdelta_notifications_total", "Notifications, by what became of them");
        page.family(name, "counter", what);
        page.line(&format!("{name}{{result=\"taken\"}}"), read(&self.taken));
        page.line(&format!("{name}{{result=\"refused\"}}"), read(&self.refused));
        let (name, what) = ("imgdelta_passes_total", "Looks through all repositories, by result");
        page.family(name, "counter", what);
        page.line(&format!("{name}{{result=\"done\"}}"), read(&self.passes));
        page.line(&format!("{name}{{result=\"failed\"}}"), read(&self.failed_passes));
        let (name, what) =
            ("imgdelta_last_pass_timestamp_seconds", "When the last whole look ended");
        page.family(name, "gauge", what);
        page.line(name, read(&self.last_pass));
        let Traffic { received_bytes, sent_bytes, requests } = traffic;
        page.one("imgdelta_received_bytes_total", "Bytes from the registry", received_bytes);
        page.one("imgdelta_sent_bytes_total", "Bytes to the registry", sent_bytes);
        page.one("imgdelta_requests_total", "Requests to the registry", requests);
        if let Some((now, most)) = machine::memory_bytes() {
            page.family("process_resident_memory_bytes", "gauge", "Memory of the process");
            page.line("process_resident_memory_bytes", now);
            page.family("imgdelta_resident_memory_peak_bytes", "gauge", "The most memory it had");
            page.line("imgdelta_resident_memory_peak_bytes", most);
        }
        page.0
    }
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, what: &str) {
        let _ = writeln!(self.0, "# HELP {name} {what}.\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn one(&mut self, name: &str, what: &str, value: impl std::fmt::Display) {
        self.family(name, "counter", what);
        self.line(name, value);
    }
}
