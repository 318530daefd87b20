//! The processor time of a task, counted through its progress, and its limit.
//!
//! Measures only; the task stops itself when it asks for cancellation.

use imgdelta::progress::Progress;
use imgdelta_service::machine;
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Counts the processor time of a task's threads, and cancels the task at a limit.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    /// Distinguishes tasks that share a thread.
    number: u64,
    limit_nanos: u64,
    spent_nanos: AtomicU64,
    cancel: Arc<AtomicBool>,
}

impl CpuMeter {
    /// Starts at zero; setting `cancel` cancels the task.
    pub fn new(limit: Duration, cancel: Arc<AtomicBool>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let limit_nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let number = NUMBERS.fetch_add(1, Relaxed);
        Self { number, limit_nanos, spent_nanos: AtomicU64::new(0), cancel }
    }

    /// Returns the time up to the latest progress.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_nanos.load(Relaxed))
    }

    /// Returns true if the time exceeds the limit.
    pub fn is_exceeded(&self) -> bool {
        self.spent_nanos.load(Relaxed) > self.limit_nanos
    }

    /// Adds the time of the calling thread since its last call.
    fn count(&self) {
        thread_local! {
            static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
        }
        let now = machine::thread_nanos();
        let (number, before) = LAST.replace((self.number, now));
        // The time before a thread's first call for this task belongs to other tasks.
        if number == self.number {
            self.spent_nanos.fetch_add(now.saturating_sub(before), Relaxed);
        }
    }
}

impl Progress for CpuMeter {
    fn advance(&self, _: u64) {
        self.count();
    }

    fn is_cancelled(&self) -> bool {
        self.count();
        self.cancel.load(Relaxed) || self.is_exceeded()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_spends_too_much_is_stopped() {
        let meter = CpuMeter::new(Duration::from_millis(2), Arc::default());
        assert!(!meter.is_cancelled());
        let mut rounds = 0_u64;
        while !meter.is_cancelled() {
            rounds = std::hint::black_box(rounds + 1);
        }
        assert!(meter.is_exceeded() && meter.spent() > Duration::from_millis(2));
        // Another task on this thread starts at zero.
        let other = CpuMeter::new(Duration::from_secs(1), Arc::default());
        assert!(!other.is_cancelled());
        assert_eq!(other.spent(), Duration::ZERO);
        let cancel = Arc::new(AtomicBool::new(true));
        assert!(CpuMeter::new(Duration::MAX, cancel).is_cancelled());
    }
}
