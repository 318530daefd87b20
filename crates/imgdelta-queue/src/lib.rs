//! The queue: tasks that wait, run, are done or failed, kept where a kill loses none.
//!
//! Knows no image: a task is a key and a text. A handle belongs to one registry, and sees no task of
//! another one in the same database. A worker holds a task by a ticket and renews it with heartbeats;
//! when the lease ends, another worker gets the task and the old ticket is void. One suite of tests
//! runs over every kind of queue.

mod lease;
mod options;
mod postgres;
mod record;
mod sqlite;

pub use lease::{LeaseTerms, LeasedTask, Retry, Taker, TaskEnd, TaskFailure, Ticket};
pub use options::PostgresOptions;
pub use postgres::{PostgresQueue, advice, is_away};
pub use record::{
    DaySavings, DocumentRecord, ListedTask, NewTask, QueuePause, RequestedPair, ScanTurn,
    TagRecord, TaskCounts, TaskFilter, TaskPage, TaskState, Urgency,
};
pub use sqlite::SqliteQueue;

use imgdelta_core::Result;
use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, time::Duration};

/// Future of a queue operation.
pub type QueueFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A queue of one registry's tasks, as scans and workers use it. Each operation happens completely or
/// not at all, also if the process is killed (test `kills_at_any_moment_lose_and_double_nothing`).
pub trait Queue: TaskAdmin + RegistryRecords + fmt::Debug + Send + Sync {
    /// Adds the tasks that the queue does not contain in any state; returns their number. A waiting
    /// task gets the new text and priority, and the more urgent of both reasons.
    fn add<'a>(&'a self, tasks: &'a [NewTask]) -> QueueFuture<'a, u64>;

    /// Removes the waiting tasks of a repository that are not among `wanted` keys, and those that a
    /// vanished worker left; returns their number. Requested tasks stay.
    fn withdraw_waiting<'a>(
        &'a self,
        repository: &'a str,
        wanted: &'a [String],
    ) -> QueueFuture<'a, u64>;

    /// Takes the first task by urgency, band and priority, or one whose lease has ended. Within a
    /// band, the tasks of the taker's last target go first, and those of a target that another
    /// process works on are left to it. Takes nothing while the queue is paused. A task whose lease
    /// ends at its last attempt fails for good.
    fn take<'a>(
        &'a self,
        taker: &'a Taker,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<LeasedTask>>;

    /// Renews a lease; returns false if another worker has the task, or a person dropped it.
    fn beat<'a>(&'a self, ticket: &'a Ticket, terms: &'a LeaseTerms) -> QueueFuture<'a, bool>;

    /// Records that a task is done; returns false if another worker has the task.
    fn finish<'a>(&'a self, ticket: &'a Ticket, end: &'a TaskEnd) -> QueueFuture<'a, bool>;

    /// Records that a task failed. Returns its new state, waiting for a retry or failed, or none if
    /// another worker has the task. A task that failed for a reason that may pass waits again after
    /// a day.
    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        failure: &'a TaskFailure,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<TaskState>>;

    /// Returns a task to the queue; the attempt is not counted.
    fn give_back<'a>(&'a self, ticket: &'a Ticket) -> QueueFuture<'a, bool>;

    /// Returns the time until a task waits no longer or a lease ends; none without such tasks.
    fn next_due(&self) -> QueueFuture<'_, Option<Duration>>;

    /// Waits until tasks may have been added by any process, but no longer than `at_most`.
    fn added(&self, at_most: Duration) -> QueueFuture<'_, ()>;

    /// Returns the outcomes of those tasks that are done, by key.
    fn outcomes<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, BTreeMap<String, String>>;

    /// Returns at most `limit` keys of done tasks of a repository, in the order of their bytes and
    /// after the key `after`. Such a key begins with the repository's name and a space. Fewer than
    /// `limit` keys are the last ones.
    fn done_in<'a>(
        &'a self,
        repository: &'a str,
        after: &'a str,
        limit: u32,
    ) -> QueueFuture<'a, Vec<String>>;

    /// Removes tasks that do not run, so that they can be added again; returns their number.
    fn forget<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64>;

    /// Records that a place offers things.
    fn offer<'a>(&'a self, place: &'a str, things: &'a [String]) -> QueueFuture<'a, ()>;

    /// Returns at most `limit` places that offer one of the things, the latest offer first.
    fn offers<'a>(&'a self, things: &'a [String], limit: u32) -> QueueFuture<'a, Vec<String>>;

    /// Removes the offers of a place.
    fn retract<'a>(&'a self, place: &'a str) -> QueueFuture<'a, ()>;
}

/// The part of a queue that people and monitors use.
pub trait TaskAdmin {
    /// Counts the tasks by state. Costs the same with any number of tasks.
    fn counts(&self) -> QueueFuture<'_, TaskCounts>;

    /// Returns the time since the oldest waiting task was added.
    fn oldest_waiting(&self) -> QueueFuture<'_, Option<Duration>>;

    /// Returns a page of the tasks that a filter admits, in the order in which they were added.
    fn list<'a>(&'a self, filter: &'a TaskFilter) -> QueueFuture<'a, TaskPage>;

    /// Returns those of the named tasks that the queue contains.
    fn tasks<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, Vec<ListedTask>>;

    /// Lets failed tasks with these keys wait again, counted from the first attempt; returns their
    /// number.
    fn retry<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64>;

    /// Lets all failed tasks wait again; returns their number.
    fn retry_failed(&self) -> QueueFuture<'_, u64>;

    /// Ends tasks that are not done, for good: they count as failed with the reason `dropped`, and no
    /// scan adds them again. A worker that has one notices it at its next heartbeat.
    fn drop_tasks<'a>(&'a self, keys: &'a [String], message: &'a str) -> QueueFuture<'a, u64>;

    /// Lets no worker take a task until [`TaskAdmin::resume`].
    fn pause<'a>(&'a self, who: &'a str, reason: &'a str) -> QueueFuture<'a, ()>;

    /// Ends a pause; returns false if there was none.
    fn resume(&self) -> QueueFuture<'_, bool>;

    /// Returns the current pause.
    fn paused(&self) -> QueueFuture<'_, Option<QueuePause>>;

    /// Returns sums over finished tasks by day (UTC), the latest day first.
    fn days(&self, limit: u32) -> QueueFuture<'_, Vec<DaySavings>>;

    /// Records that a receiver asked for a pair, and adds its task or makes it urgent; returns the
    /// task. The state of the pair is that of the task. Of each repository the thousand pairs that
    /// were requested last are remembered.
    fn request<'a>(
        &'a self,
        pair: &'a RequestedPair,
        task: &'a NewTask,
    ) -> QueueFuture<'a, ListedTask>;

    /// Returns the requested pairs of a repository, the last request first.
    fn requested<'a>(
        &'a self,
        repository: &'a str,
        limit: u32,
    ) -> QueueFuture<'a, Vec<RequestedPair>>;
}

/// The content of a registry as the last scan found it, shared by all processes.
pub trait RegistryRecords {
    /// Records the digests of tags. Returns a number for each tag, which grows with every tag that
    /// is new or names another digest.
    fn note_tags<'a>(
        &'a self,
        repository: &'a str,
        tags: &'a [(String, String)],
    ) -> QueueFuture<'a, Vec<u64>>;

    /// Returns the recorded tags of a repository.
    fn tags<'a>(&'a self, repository: &'a str) -> QueueFuture<'a, Vec<TagRecord>>;

    /// Removes the records of all tags of a repository that are not among `present`.
    fn retain_tags<'a>(&'a self, repository: &'a str, present: &'a [String])
    -> QueueFuture<'a, ()>;

    /// Returns at most `limit` repositories with a tag that is new or moved within `span`, the latest
    /// first. A repository that was recorded for the first time has not changed.
    fn changed_repositories(&self, span: Duration, limit: u32) -> QueueFuture<'_, Vec<String>>;

    /// Returns the recorded documents among these digests.
    fn documents<'a>(&'a self, digests: &'a [String]) -> QueueFuture<'a, Vec<DocumentRecord>>;

    /// Records documents. A digest has one content, so that the first record stays.
    fn add_documents<'a>(&'a self, documents: &'a [DocumentRecord]) -> QueueFuture<'a, ()>;

    /// Takes or renews the lease on scanning all repositories. Returns none if another holder has it,
    /// or if the last complete scan began less than `interval` ago.
    fn hold_scan<'a>(
        &'a self,
        holder: &'a str,
        lease: Duration,
        interval: Duration,
    ) -> QueueFuture<'a, Option<ScanTurn>>;

    /// Records that a scan has reached `cursor`; returns false if another holder has the lease.
    fn save_scan<'a>(&'a self, holder: &'a str, cursor: &'a str) -> QueueFuture<'a, bool>;

    /// Ends the lease. A complete scan starts the next interval at its beginning; an incomplete one
    /// leaves its cursor to the next holder.
    fn end_scan<'a>(&'a self, holder: &'a str, is_complete: bool) -> QueueFuture<'a, ()>;

    /// Records a property of the registry.
    fn set_feature<'a>(&'a self, name: &'a str, value: bool) -> QueueFuture<'a, ()>;

    /// Returns a property that was recorded within `span`.
    fn feature<'a>(&'a self, name: &'a str, span: Duration) -> QueueFuture<'a, Option<bool>>;

    /// Records that the caller does a thing now, and returns true, unless any process did within
    /// `span`. Of several callers at once, one gets true.
    fn claim<'a>(&'a self, name: &'a str, span: Duration) -> QueueFuture<'a, bool>;
}

/// Returns the exclusive bounds, in the order of bytes, of the keys of a repository.
fn bounds(repository: &str) -> (String, String) {
    // `!` is the byte after the space.
    (format!("{repository} "), format!("{repository}!"))
}

/// Outcome of a task whose lease ended at its last attempt.
const VANISHED: &str = "its worker vanished each time";
/// Reason of such a task.
const VANISHED_REASON: &str = "worker-lost";
/// Reason of a task that a person ended.
const DROPPED_REASON: &str = "dropped";
/// Requested pairs of a repository that are remembered.
const MAX_PAIRS: u32 = 1000;
/// Time after which a task waits again that failed for a reason that may pass.
const REVIVAL: Duration = Duration::from_secs(86400);

#[cfg(test)]
mod tests;
