//! Questions to the queue of a configuration, and orders to it, as people give them.
//!
//! Asks no registry, so that it works while the registry is away, and from any machine that reaches the
//! queue. The values print themselves as text and as JSON.

mod listed;
mod status;
mod summary;
pub(crate) mod text;

pub use listed::TaskRow;
pub use status::JobStatus;

use crate::{
    config::Config,
    job::open_queue,
    queue::{ListedTask, Queue, TaskFilter, TaskState},
    task,
};
use imgdelta::{Error, Result};
use serde_json::{Value, json};
use std::{fmt, sync::Arc, time::SystemTime};

/// An opened queue, for people.
#[derive(Debug)]
pub struct QueueAdmin {
    queue: Arc<dyn Queue>,
    registry: String,
    place: String,
}

/// The tasks that a question is about.
#[derive(Clone, Debug, Default)]
pub struct TaskChoice {
    /// Only tasks in this state.
    pub state: Option<TaskState>,
    /// Only tasks of this repository.
    pub repository: Option<String>,
    /// Number of tasks at most.
    pub limit: usize,
}

/// A list of tasks.
#[derive(Clone, Debug)]
pub struct TaskList {
    /// The tasks, those that were added last first.
    pub tasks: Vec<TaskRow>,
    /// True if there are more.
    pub is_cut: bool,
    now_ms: i64,
}

impl TaskList {
    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        let tasks: Vec<Value> = self.tasks.iter().map(TaskRow::json).collect();
        json!({"schema": TASKS_SCHEMA, "now_ms": self.now_ms, "tasks": tasks, "is_cut": self.is_cut})
    }
}

impl fmt::Display for TaskList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tasks.is_empty() {
            return writeln!(f, "no tasks");
        }
        text::table(f, &self.tasks, self.now_ms)?;
        if self.is_cut {
            writeln!(f, "there are more; --max N shows N of them")?;
        }
        Ok(())
    }
}

impl QueueAdmin {
    /// Opens the queue of a configuration. A file that does not exist is an error: a question makes no
    /// queue.
    pub async fn open(config: &Config) -> Result<Self> {
        let place = config.queue.place();
        if let Some(path) = config.queue.file()
            && !path.exists()
        {
            let what = "no queue is there: `imgdelta job run` or `imgdelta job serve` with this \
                        configuration makes it";
            return Err(Error::bad_input(place, what));
        }
        let queue = open_queue(config).await?;
        Ok(Self::of(queue, config))
    }

    /// Returns the admin of a queue that is open.
    pub(crate) fn of(queue: Arc<dyn Queue>, config: &Config) -> Self {
        let registry = config.registry.host.get_ref().clone();
        Self { queue, registry, place: config.queue.place() }
    }

    /// Returns the state of the job.
    pub async fn status(&self) -> Result<JobStatus> {
        status::of(&*self.queue, &self.registry, &self.place).await
    }

    /// Returns tasks, those that were added last first.
    pub async fn tasks(&self, choice: &TaskChoice) -> Result<TaskList> {
        let mut found = Vec::new();
        let mut after = None;
        let mut is_cut = false;
        while found.len() < choice.limit {
            let rest = u32::try_from(choice.limit - found.len()).unwrap_or(PAGE).min(PAGE);
            let mut filter = TaskFilter::all(rest).newest_first(true).after(after);
            filter.state = choice.state;
            filter.repository.clone_from(&choice.repository);
            let page = self.queue.list(&filter).await?;
            found.extend(page.tasks.iter().map(TaskRow::of));
            is_cut = page.next.is_some();
            after = page.next;
            if !is_cut {
                break;
            }
        }
        Ok(TaskList { tasks: found, is_cut, now_ms: now_ms() })
    }

    /// Lets failed tasks wait again; returns their number. A task is named by its id, the beginning of
    /// one, or its key.
    pub async fn retry(&self, names: &[String]) -> Result<u64> {
        let keys = self.keys(names, &[TaskState::Failed]).await?;
        self.queue.retry(&keys).await
    }

    /// Lets all failed tasks wait again; returns their number.
    pub async fn retry_failed(&self) -> Result<u64> {
        self.queue.retry_failed().await
    }

    /// Ends tasks for good, in the name of `who`; returns their number. They are named as for
    /// [`QueueAdmin::retry`].
    pub async fn drop_tasks(&self, names: &[String], who: &str) -> Result<u64> {
        let states = [TaskState::Failed, TaskState::Waiting, TaskState::Running];
        let keys = self.keys(names, &states).await?;
        self.queue.drop_tasks(&keys, &format!("dropped by {who}")).await
    }

    /// Lets no worker take a task until [`QueueAdmin::resume`], in the name of `who`. Running tasks are finished.
    pub async fn pause(&self, who: &str, reason: &str) -> Result<()> {
        self.queue.pause(who, reason).await
    }

    /// Ends a pause; returns false if there was none.
    pub async fn resume(&self) -> Result<bool> {
        self.queue.resume().await
    }

    /// Returns the keys of named tasks in some states.
    async fn keys(&self, names: &[String], states: &[TaskState]) -> Result<Vec<String>> {
        let mut keys: Vec<String> =
            names.iter().filter(|name| name.contains(' ')).cloned().collect();
        let known: Vec<String> =
            self.queue.tasks(&keys).await?.into_iter().map(|task| task.key).collect();
        if let Some(unknown) = keys.iter().find(|key| !known.contains(key)) {
            return Err(self.unknown(unknown, states, Vec::new()));
        }
        let ids: Vec<&String> = names.iter().filter(|name| !name.contains(' ')).collect();
        if ids.is_empty() {
            return Ok(keys);
        }
        for id in &ids {
            let is_id = (MIN_DIGITS..=task::ID_DIGITS).contains(&id.len())
                && id.bytes().all(|c| c.is_ascii_hexdigit());
            if !is_id {
                let what = format!(
                    "not the id of a task: expected {MIN_DIGITS} to {} digits from `imgdelta job tasks`",
                    task::ID_DIGITS
                );
                return Err(Error::bad_input(format!("{id:?}"), what));
            }
        }
        let mut found: Vec<Vec<String>> = vec![Vec::new(); ids.len()];
        let mut present = Vec::new();
        for state in states {
            let mut after = None;
            loop {
                let filter = TaskFilter::all(PAGE).state(*state).after(after);
                let page = self.queue.list(&filter).await?;
                for ListedTask { key, .. } in page.tasks {
                    let own = task::id(&key);
                    for (id, found) in ids.iter().zip(&mut found) {
                        if own.starts_with(&id.to_ascii_lowercase()) {
                            found.push(key.clone());
                        }
                    }
                    if present.len() < SHOWN {
                        present.push(own);
                    }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        for (id, found) in ids.into_iter().zip(found) {
            match found.as_slice() {
                [key] => keys.push(key.clone()),
                [] => return Err(self.unknown(id, states, present)),
                _ => {
                    let what = format!("{} tasks begin with it: give more digits", found.len());
                    return Err(Error::bad_input(format!("task {id}"), what));
                }
            }
        }
        Ok(keys)
    }

    fn unknown(&self, name: &str, states: &[TaskState], present: Vec<String>) -> Error {
        let states: Vec<&str> = states.iter().map(|state| state.word()).collect();
        let what = format!("a {} task `{name}`", states.join(" or "));
        Error::NotFound { place: self.place.clone(), what, present }
    }
}

/// Returns the time in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Name and version of the document of a list.
const TASKS_SCHEMA: &str = "imgdelta.job-tasks/1";
/// Tasks that are read at once.
const PAGE: u32 = 500;
/// The fewest digits of an id that name a task.
const MIN_DIGITS: usize = 4;
/// Ids that an error lists.
const SHOWN: usize = 10;
