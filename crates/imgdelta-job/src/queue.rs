//! The queue: tasks that wait, run, are done or failed, kept where a kill loses none.
//!
//! Knows no image: a task is a key and a text. A worker holds a task by a ticket and renews it with
//! heartbeats; when the lease ends, another worker gets the task and the old ticket is void. One
//! suite of tests runs over every kind of queue.

mod postgres;
mod sqlite;

pub use postgres::{PostgresQueue, advice};
pub use sqlite::SqliteQueue;

use imgdelta::Result;
use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, time::Duration};

/// Future of a queue operation.
pub type QueueFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A queue of tasks. Each operation happens completely or not at all, also if the process is killed
/// (test `kills_at_any_moment_lose_and_double_nothing`).
pub trait Queue: fmt::Debug + Send + Sync {
    /// Adds the tasks that the queue does not contain in any state; returns their number.
    fn add<'a>(&'a self, tasks: &'a [NewTask]) -> QueueFuture<'a, u64>;

    /// Takes the task that waits longest, or one whose lease has ended. A task whose lease ends at
    /// its last attempt fails for good.
    fn take<'a>(
        &'a self,
        worker: &'a str,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<LeasedTask>>;

    /// Renews a lease; returns false if another worker has the task.
    fn beat<'a>(&'a self, ticket: &'a Ticket, terms: &'a LeaseTerms) -> QueueFuture<'a, bool>;

    /// Records that a task is done, and its outcome; returns false if another worker has the task.
    fn finish<'a>(&'a self, ticket: &'a Ticket, outcome: &'a str) -> QueueFuture<'a, bool>;

    /// Records that a task failed. Returns its new state, waiting for a retry or failed, or none if
    /// another worker has the task.
    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        error: &'a str,
        retry: Retry,
        terms: &'a LeaseTerms,
    ) -> QueueFuture<'a, Option<TaskState>>;

    /// Returns a task to the queue; the attempt is not counted.
    fn give_back<'a>(&'a self, ticket: &'a Ticket) -> QueueFuture<'a, bool>;

    /// Counts the tasks by state.
    fn counts(&self) -> QueueFuture<'_, TaskCounts>;

    /// Returns at most `limit` tasks in a state, in the order in which they were added.
    fn list(&self, state: TaskState, limit: u32) -> QueueFuture<'_, Vec<ListedTask>>;

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

    /// Lets all failed tasks wait again; returns their number.
    fn retry_failed(&self) -> QueueFuture<'_, u64>;

    /// Removes tasks that do not run, so that they can be added again; returns their number.
    fn forget<'a>(&'a self, keys: &'a [String]) -> QueueFuture<'a, u64>;

    /// Returns a number for each tag. It grows with every tag that is new or names another digest.
    fn seen<'a>(
        &'a self,
        repository: &'a str,
        tags: &'a [(String, String)],
    ) -> QueueFuture<'a, Vec<u64>>;

    /// Records that a place offers things.
    fn offer<'a>(&'a self, place: &'a str, things: &'a [String]) -> QueueFuture<'a, ()>;

    /// Returns at most `limit` places that offer one of the things, the latest offer first.
    fn offers<'a>(&'a self, things: &'a [String], limit: u32) -> QueueFuture<'a, Vec<String>>;

    /// Removes the offers of a place.
    fn withdraw<'a>(&'a self, place: &'a str) -> QueueFuture<'a, ()>;
}

/// A task to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Identity of the task.
    pub key: String,
    /// All other data of the task.
    pub body: String,
}

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
    fn wait(&self, tries: u32) -> Duration {
        let doubled = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.pause.saturating_mul(doubled).min(MAX_PAUSE)
    }
}

/// A task that a worker has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedTask {
    /// The worker's right to the task.
    pub ticket: Ticket,
    /// The body that was added.
    pub body: String,
    /// Attempts so far, including this one.
    pub tries: u32,
}

/// The right to report the result of a task, as long as the lease lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The task.
    pub key: String,
    /// Number of times that the task has been taken.
    turn: i64,
}

/// Decision about another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The cause may pass, such as a registry that is down.
    Later,
    /// Another attempt would fail as well.
    Never,
}

/// State of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// No worker has it.
    Waiting,
    /// A worker has it.
    Running,
    /// It is done.
    Done,
    /// It failed for good.
    Failed,
}

impl TaskState {
    /// Returns the word for the state.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Numbers of tasks by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Tasks that no worker has.
    pub waiting: u64,
    /// Tasks that a worker has.
    pub running: u64,
    /// Tasks that are done.
    pub done: u64,
    /// Tasks that failed for good.
    pub failed: u64,
}

impl TaskCounts {
    fn set(&mut self, word: &str, count: u64) {
        match word {
            "waiting" => self.waiting = count,
            "running" => self.running = count,
            "done" => self.done = count,
            _ => self.failed = count,
        }
    }

    /// Returns the number of tasks that wait or run.
    pub fn open(&self) -> u64 {
        self.waiting + self.running
    }
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTask {
    /// Identity of the task.
    pub key: String,
    /// All other data of the task.
    pub body: String,
    /// The outcome, or the error of the last attempt.
    pub outcome: String,
    /// Attempts so far.
    pub tries: u32,
}

/// Returns the exclusive bounds, in the order of bytes, of the keys of a repository.
fn bounds(repository: &str) -> (String, String) {
    // `!` is the byte after the space.
    (format!("{repository} "), format!("{repository}!"))
}

/// A registry that is down for a day will not be up sooner with longer pauses.
const MAX_PAUSE: Duration = Duration::from_secs(86400);

#[cfg(test)]
mod tests;
