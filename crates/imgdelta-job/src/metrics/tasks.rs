//! Finished tasks: outcomes, bytes, durations, failures by reason.
//!
//! Counts each delta once, however many attempts it took.

use crate::report::{TaskOutcome, TaskReport};
use imgdelta_service::{
    MetricsPage,
    histogram::{Histogram, WORK_SECONDS},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Counters of tasks.
#[derive(Debug)]
pub(super) struct TaskMetrics {
    sums: Mutex<TaskSums>,
    seconds: Histogram,
    publish_seconds: Histogram,
    pub lost_leases: AtomicU64,
}

/// Sums over finished tasks.
#[derive(Clone, Debug, Default)]
struct TaskSums {
    outcomes: [u64; TaskOutcome::ALL.len()],
    failures: BTreeMap<&'static str, u64>,
    delta_bytes: u64,
    saved_bytes: u64,
    reused_recipes: u64,
    cpu_seconds: f64,
}

impl Default for TaskMetrics {
    fn default() -> Self {
        Self {
            sums: Mutex::default(),
            seconds: Histogram::new(WORK_SECONDS),
            publish_seconds: Histogram::new(WORK_SECONDS),
            lost_leases: AtomicU64::new(0),
        }
    }
}

impl TaskMetrics {
    pub fn count(&self, report: &TaskReport) {
        self.seconds.record(report.seconds);
        if report.outcome == TaskOutcome::Published {
            self.publish_seconds.record(report.age.as_secs_f64());
        }
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.outcomes[report.outcome as usize] += 1;
        sums.cpu_seconds += report.cpu_seconds;
        if let Some(reason) = report.reason {
            *sums.failures.entry(reason).or_default() += 1;
        }
        if report.outcome == TaskOutcome::Published {
            sums.delta_bytes += report.delta_bytes;
            sums.saved_bytes += report.pull_bytes.saturating_sub(report.delta_bytes);
            sums.reused_recipes += report.reused_recipes;
        }
    }

    pub fn print(&self, page: &mut MetricsPage) {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = "imgdelta_deltas_total";
        page.family(name, "counter", "Deltas whose task ended, by outcome");
        for (outcome, count) in TaskOutcome::ALL.into_iter().zip(sums.outcomes) {
            // An attempt that is repeated is not the end of a delta.
            if outcome != TaskOutcome::Waits {
                page.line(&format!("{name}{{outcome=\"{}\"}}", outcome.word()), count);
            }
        }
        let name = "imgdelta_task_failures_total";
        page.family(name, "counter", "Attempts that failed, by reason");
        for (reason, count) in sums.failures {
            page.line(&format!("{name}{{reason=\"{reason}\"}}"), count);
        }
        page.counter("imgdelta_delta_bytes_total", "Bytes of published deltas", sums.delta_bytes);
        let saved = "Bytes that published deltas save each receiver, added up";
        page.counter("imgdelta_saved_bytes_total", saved, sums.saved_bytes);
        let reused = "Recipes of published deltas that were reused from other images";
        page.counter("imgdelta_reused_recipes_total", reused, sums.reused_recipes);
        let (name, what) = ("imgdelta_task_seconds", "Duration of attempts");
        page.family(name, "histogram", what);
        self.seconds.print(page, name, "");
        let name = "imgdelta_publish_seconds";
        page.family(name, "histogram", "Time from adding a task to its published delta");
        self.publish_seconds.print(page, name, "");
        let cpu = "Processor time of attempts, added up";
        page.counter("imgdelta_task_cpu_seconds_total", cpu, sums.cpu_seconds);
        let lost = "Tasks that another worker took, since this one was silent for too long";
        page.counter("imgdelta_lost_leases_total", lost, self.lost_leases.load(Relaxed));
    }
}
