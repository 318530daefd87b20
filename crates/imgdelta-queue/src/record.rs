//! Records of the queue: tasks, pages of tasks, pairs, tags and documents.
//!
//! Values only.

use std::time::Duration;

/// A task to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Identity of the task in its registry.
    pub key: String,
    /// The repository.
    pub repository: String,
    /// Digest of the image that the task makes a delta to. Tasks of one target share blobs.
    pub target: String,
    /// All other data of the task.
    pub body: String,
    /// The reason for which the task is wanted.
    pub urgency: Urgency,
    /// Place among the tasks of equal urgency, the smallest first. Tasks with equal
    /// `priority / NewTask::BAND` are one band.
    pub priority: u32,
}

impl NewTask {
    /// Priorities of one band. Within a band, one worker carries out the tasks of one target.
    pub const BAND: u32 = 1 << 16;
}

/// The reason for which a task is wanted, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A person or a device asked for it. Such a task is never withdrawn.
    Requested,
    /// A notification named its target.
    Notified,
    /// A scan found it.
    Scanned,
}

impl Urgency {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Requested, Self::Notified, Self::Scanned];

    /// Returns the word for the reason.
    pub fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Notified => "notified",
            Self::Scanned => "scanned",
        }
    }

    /// Returns the number that the queue stores.
    pub(super) fn number(self) -> i16 {
        self as i16
    }

    pub(super) fn of_number(number: i16) -> Self {
        let number = usize::try_from(number).unwrap_or_default();
        Self::ALL.get(number).copied().unwrap_or(Self::Scanned)
    }
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
    /// All states.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Running, Self::Done, Self::Failed];

    /// Returns the word for the state.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    pub(super) fn of_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.word() == word).unwrap_or(Self::Failed)
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
    /// Returns the number of tasks that wait or run.
    pub fn open(&self) -> u64 {
        self.waiting + self.running
    }
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedTask {
    /// Identity of the task in its registry.
    pub key: String,
    /// The repository.
    pub repository: String,
    /// All other data of the task.
    pub body: String,
    /// Its state.
    pub state: TaskState,
    /// The reason for which it is wanted.
    pub urgency: Urgency,
    /// The outcome, or the error of the last attempt.
    pub outcome: String,
    /// One word for the kind of the last failure; empty without one.
    pub reason: String,
    /// True if a failed task waits again by itself, since its reason may pass.
    pub is_transient: bool,
    /// Attempts so far.
    pub tries: u32,
    /// The worker that had it last; empty if none had it.
    pub worker: String,
    /// Time at which it was added, in milliseconds since 1970.
    pub added_ms: i64,
    /// Time of its last change of state, in milliseconds since 1970.
    pub changed_ms: i64,
}

/// A choice of tasks, and the place of a page among them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskFilter {
    /// Only tasks in this state.
    pub state: Option<TaskState>,
    /// Only tasks of this repository.
    pub repository: Option<String>,
    /// Only tasks after this cursor, which is [`TaskPage::next`] of the page before.
    pub after: Option<i64>,
    /// True for the tasks that were added last first. A cursor belongs to one direction.
    pub newest_first: bool,
    /// Tasks of a page.
    pub limit: u32,
}

impl TaskFilter {
    /// Returns a filter that admits all tasks, with pages of `limit` tasks.
    pub fn all(limit: u32) -> Self {
        Self { state: None, repository: None, after: None, newest_first: false, limit }
    }

    /// Admits only tasks in a state.
    #[must_use]
    pub fn state(mut self, state: TaskState) -> Self {
        self.state = Some(state);
        self
    }

    /// Admits only tasks of a repository.
    #[must_use]
    pub fn repository(mut self, repository: impl Into<String>) -> Self {
        self.repository = Some(repository.into());
        self
    }

    /// Sets the cursor.
    #[must_use]
    pub fn after(mut self, after: Option<i64>) -> Self {
        self.after = after;
        self
    }

    /// Sets the direction.
    #[must_use]
    pub fn newest_first(mut self, newest_first: bool) -> Self {
        self.newest_first = newest_first;
        self
    }
}

/// A page of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<ListedTask>,
    /// Cursor of the next page; none after the last one.
    pub next: Option<i64>,
}

/// A pause of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePause {
    /// The person or program that paused it.
    pub who: String,
    /// The reason.
    pub reason: String,
    /// Its beginning, in milliseconds since 1970.
    pub since_ms: i64,
}

/// Sums over the tasks that were finished on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaySavings {
    /// The day, counted from 1970-01-01.
    pub day: i64,
    /// Published deltas.
    pub published: u64,
    /// Their bytes.
    pub delta_bytes: u64,
    /// Bytes that they save each receiver.
    pub saved_bytes: u64,
}

/// A pair of images that a receiver asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedPair {
    /// The repository.
    pub repository: String,
    /// Digest of the manifest that the receiver has.
    pub base: String,
    /// Digest of the manifest that the receiver wants.
    pub target: String,
    /// The platform.
    pub platform: String,
    /// Number of requests; ignored in a new request.
    pub requests: u64,
    /// Time of the last request, in milliseconds since 1970; ignored in a new request.
    pub last_ms: i64,
}

/// A recorded tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRecord {
    /// The tag.
    pub tag: String,
    /// The digest that it named.
    pub digest: String,
    /// A number that grows with every tag that is new or moved.
    pub number: u64,
}

/// The part of a manifest and its config that scans need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentRecord {
    /// Digest of the manifest.
    pub digest: String,
    /// One word for the kind of the document.
    pub kind: String,
    /// The platform of an image.
    pub platform: String,
    /// Creation date of an image, in seconds since 1970.
    pub created: Option<i64>,
    /// Digests of the images of an index.
    pub children: Vec<String>,
}

/// The right to scan all repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanTurn {
    /// The place that an interrupted scan reached; empty at the beginning.
    pub cursor: String,
}

/// Returns the age of a time, by a clock that may be wrong.
pub(super) fn age_ms(now_ms: i64, then_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(then_ms)).unwrap_or_default())
}
