//! The clocks of a queue in a file: one for leases, one for dates.
//!
//! Leases use the time since the machine's start, which nobody can set: a wrong date neither ends a
//! lease early nor prolongs it (test `a_wrong_date_changes_no_lease`).

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The clocks of one process.
#[derive(Clone, Debug)]
pub(super) struct QueueClock(Arc<ClockKind>);

#[derive(Debug)]
enum ClockKind {
    Machine,
    #[cfg(test)]
    Set {
        start: String,
        steady_ms: std::sync::atomic::AtomicI64,
        date_ms: i64,
    },
}

impl QueueClock {
    pub fn of_machine() -> Self {
        Self(Arc::new(ClockKind::Machine))
    }

    /// Returns a clock that a test sets.
    #[cfg(test)]
    pub fn set(start: &str, steady_ms: i64, date_ms: i64) -> Self {
        let (start, steady_ms) = (start.to_owned(), steady_ms.into());
        Self(Arc::new(ClockKind::Set { start, steady_ms, date_ms }))
    }

    /// Moves a clock that a test sets.
    #[cfg(test)]
    pub fn advance(&self, span: Duration) {
        if let ClockKind::Set { steady_ms, .. } = &*self.0 {
            steady_ms.fetch_add(millis(span), std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Returns the name of the machine's start; times of another start mean nothing now.
    pub fn start(&self) -> String {
        match &*self.0 {
            ClockKind::Machine => {
                time_since_start().map_or_else(|| NO_START.to_owned(), |(name, _)| name)
            }
            #[cfg(test)]
            ClockKind::Set { start, .. } => start.clone(),
        }
    }

    /// Returns the time since the machine's start, or the date where that is unknown.
    pub fn steady_ms(&self) -> i64 {
        match &*self.0 {
            ClockKind::Machine => time_since_start()
                .map_or_else(date_ms, |(_, time)| i64::try_from(time).unwrap_or(i64::MAX)),
            #[cfg(test)]
            ClockKind::Set { steady_ms, .. } => {
                steady_ms.load(std::sync::atomic::Ordering::Relaxed)
            }
        }
    }

    /// Returns the steady time after a span.
    pub fn after(&self, span: Duration) -> i64 {
        self.steady_ms().saturating_add(millis(span))
    }

    /// Returns the date, in milliseconds since 1970.
    pub fn date_ms(&self) -> i64 {
        match &*self.0 {
            ClockKind::Machine => date_ms(),
            #[cfg(test)]
            ClockKind::Set { date_ms, .. } => *date_ms,
        }
    }
}

/// Returns the name of the machine's start, and the milliseconds since then. Nobody can set this clock,
/// and all processes of the machine share it.
#[cfg(target_os = "linux")]
fn time_since_start() -> Option<(String, u64)> {
    let name = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let millis = time.tv_sec.unsigned_abs().checked_mul(1000)?;
    Some((name.trim().to_owned(), millis.checked_add(time.tv_nsec.unsigned_abs() / 1_000_000)?))
}

/// Returns none: other systems do not name their starts.
#[cfg(not(target_os = "linux"))]
fn time_since_start() -> Option<(String, u64)> {
    None
}

fn date_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Name of all starts of a machine without names for them.
const NO_START: &str = "unknown";
