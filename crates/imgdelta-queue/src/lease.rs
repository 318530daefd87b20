//! Leases: the terms, the ticket, and the ends of a task.
//!
//! Values and arithmetic only.

use std::time::Duration;

/// Rules of leases and retries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseTerms {
    /// Time without a heartbeat after which a lease ends.
    pub lease: Duration,
    /// Attempts before a task fails for good.
    pub tries: u32,
    /// Pause before the first retry, doubled for each further one.
    pub pause: Duration,
}

impl LeaseTerms {
    /// Makes terms.
    pub fn new(lease: Duration, tries: u32, pause: Duration) -> Self {
        Self { lease, tries, pause }
    }

    /// Returns the pause after this many failed attempts.
    pub(super) fn wait(&self, tries: u32) -> Duration {
        let doubled = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.pause.saturating_mul(doubled).min(MAX_PAUSE)
    }
}

/// The worker that takes a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taker {
    /// Name of the worker's process.
    pub worker: String,
    /// Target of the task that this worker had last; its blobs are at hand.
    pub last_target: Option<String>,
}

/// A task that a worker has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedTask {
    /// The worker's right to the task.
    pub ticket: Ticket,
    /// The body that was added.
    pub body: String,
    /// The target that was added.
    pub target: String,
    /// Attempts so far, including this one.
    pub tries: u32,
    /// Time since the task was added.
    pub age: Duration,
}

/// The right to report the result of a task, as long as the lease lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The task.
    pub key: String,
    /// Number of times that the task has been taken.
    pub(super) turn: i64,
}

/// The end of a task that did not fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskEnd {
    /// The outcome in full, which the queue stores.
    pub outcome: String,
    /// True if the task published a delta.
    pub is_published: bool,
    /// Bytes of that delta.
    pub delta_bytes: u64,
    /// Bytes that it saves each receiver.
    pub saved_bytes: u64,
}

impl TaskEnd {
    /// Returns the end of a task that published nothing.
    pub fn of(outcome: impl Into<String>) -> Self {
        Self { outcome: outcome.into(), ..Self::default() }
    }
}

/// The failure of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFailure {
    /// The error.
    pub error: String,
    /// One word for the kind of failure, as in metrics.
    pub reason: &'static str,
    /// Decision about another attempt.
    pub retry: Retry,
}

/// Decision about another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The cause may pass, such as a full disk.
    Later,
    /// Another attempt would fail as well.
    Never,
}

/// A registry that is down for a day will not be up sooner with longer pauses.
const MAX_PAUSE: Duration = Duration::from_secs(86400);
