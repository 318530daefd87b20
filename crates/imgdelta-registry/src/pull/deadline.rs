//! The time that deltas of a pull may take: hardly more than a plain pull.
//!
//! Reads a clock of the caller's, so that tests decide the time. Cancels the work on deltas only.

use imgdelta_core::progress::{Progress, Stage};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A clock that never goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the time since some moment that stays the same.
    fn now(&self) -> Duration;
}

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The end of the time for deltas, as a listener between the work and the caller's listener.
pub(super) struct DeltaDeadline {
    progress: Arc<dyn Progress>,
    clock: Arc<dyn Clock>,
    end: Duration,
    has_expired: AtomicBool,
}

impl DeltaDeadline {
    /// Passes all calls on to `progress`, and cancels when the clock reaches `end`.
    pub fn new(progress: Arc<dyn Progress>, clock: Arc<dyn Clock>, end: Duration) -> Self {
        Self { progress, clock, end, has_expired: AtomicBool::new(false) }
    }

    /// Returns true if the time is over, and the caller did not cancel.
    pub fn has_expired(&self) -> bool {
        self.has_expired.load(Relaxed) && !self.progress.is_cancelled()
    }
}

impl Progress for DeltaDeadline {
    fn begin(&self, stage: Stage, total_bytes: u64) {
        self.progress.begin(stage, total_bytes);
    }

    fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }

    fn expect_items(&self, count: u64) {
        self.progress.expect_items(count);
    }

    fn finish_item(&self) {
        self.progress.finish_item();
    }

    fn is_cancelled(&self) -> bool {
        if self.clock.now() > self.end {
            self.has_expired.store(true, Relaxed);
        }
        self.has_expired.load(Relaxed) || self.progress.is_cancelled()
    }
}

/// Returns the time of a plain pull.
pub(super) fn plain_time(bytes: u64, bytes_per_second: Option<u64>) -> Duration {
    let rate = bytes_per_second.unwrap_or(UNKNOWN_BYTES_PER_SECOND).max(1);
    let millis = u128::from(bytes) * 1000 / u128::from(rate);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Returns the time that one core usually takes to rebuild and compress layers of `bytes` bytes.
///
/// A caller without a stated link wants to save bytes, also where that takes longer than a plain
/// pull; so deltas get this time in addition.
pub(super) fn usual_work(bytes: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(WORK_PER_BYTE))
}

/// Returns the time that a pull with deltas may take instead of a plain one.
pub(super) fn allowed_time(plain: Duration) -> Duration {
    plain.saturating_add(LEAST_DELAY.max(plain / DELAY_SHARE))
}

/// Nobody notices a shorter delay.
const LEAST_DELAY: Duration = Duration::from_secs(2);
/// A tenth: saved bytes are worth that much time.
const DELAY_SHARE: u32 = 10;
/// Nanoseconds for a compressed byte: three to four bytes of stream, by gzip's usual level.
const WORK_PER_BYTE: u64 = 150;
/// Rate of a link that is not known yet, as after a few small documents: 8 Mbit/s.
const UNKNOWN_BYTES_PER_SECOND: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_core::progress::Silent;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct HandClock(Mutex<Duration>);

    impl Clock for HandClock {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    #[test]
    fn deltas_may_take_two_seconds_or_a_tenth_more() {
        let seconds = Duration::from_secs;
        assert_eq!(plain_time(50_000_000, Some(5_000_000)), seconds(10));
        assert_eq!(plain_time(3_000_000, None), seconds(3));
        assert_eq!(plain_time(1, Some(0)), seconds(1));
        assert_eq!(allowed_time(seconds(0)), seconds(2));
        assert_eq!(allowed_time(seconds(10)), seconds(12));
        assert_eq!(allowed_time(seconds(100)), seconds(110));
        assert_eq!(usual_work(100_000_000), seconds(15));
        assert_eq!(
            allowed_time(plain_time(u64::MAX, Some(1))),
            Duration::from_millis(u64::MAX) / 10 * 11
        );
    }

    #[test]
    fn only_the_clock_ends_the_time() {
        let clock = Arc::new(HandClock::default());
        let end = Duration::from_secs(5);
        let deadline = DeltaDeadline::new(Arc::new(Silent), Arc::clone(&clock) as _, end);
        *clock.0.lock().unwrap() = end;
        assert!(!deadline.is_cancelled() && !deadline.has_expired());
        *clock.0.lock().unwrap() = end + Duration::from_nanos(1);
        assert!(deadline.is_cancelled() && deadline.has_expired());
    }
}
