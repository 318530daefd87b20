//! A task of the queue, as people and programs read it.
//!
//! Values only. A task that another version of the program wrote has its key, and no names.

use crate::{
    queue::{ListedTask, TaskState},
    task::{self, Task},
};
use serde_json::{Value, json};

/// A task with its names and its result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskRow {
    /// The task in the queue.
    pub listed: ListedTask,
    /// Short name of its key.
    pub id: String,
    /// Its images; none if the text is unreadable.
    pub task: Option<Task>,
    /// The report of a task that is done.
    report: Value,
}

impl TaskRow {
    /// Reads a task.
    pub fn of(listed: &ListedTask) -> Self {
        let report = match listed.state {
            TaskState::Done => serde_json::from_str(&listed.outcome).unwrap_or_default(),
            _ => Value::Null,
        };
        Self {
            id: task::id(&listed.key),
            task: Task::parse(&listed.body).ok(),
            report,
            listed: listed.clone(),
        }
    }

    /// Returns the error of the last attempt, if the task is not done and one failed.
    pub fn error(&self) -> Option<&str> {
        let is_open = self.listed.state != TaskState::Done;
        (is_open && !self.listed.outcome.is_empty()).then_some(self.listed.outcome.as_str())
    }

    /// Returns the word for the outcome of a task that is done.
    pub fn outcome(&self) -> Option<&str> {
        self.report["outcome"].as_str()
    }

    /// Returns the bytes of the delta, and those of a plain pull, if both are known.
    pub fn bytes(&self) -> Option<(u64, u64)> {
        let bytes = [&self.report["delta_bytes"], &self.report["pull_bytes"]].map(Value::as_u64);
        match bytes {
            [Some(delta), Some(pull)] if pull > 0 => Some((delta, pull)),
            _ => None,
        }
    }

    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        let Self { listed, id, task, report } = self;
        let some = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let images = |image: &dyn Fn(&Task) -> String| task.as_ref().map(image);
        let base = task.as_ref().and_then(|task| task.base);
        json!({
            "id": id,
            "key": listed.key,
            "repository": listed.repository,
            "base": base.map(|base| base.to_string()),
            "target": images(&|task| task.target.to_string()),
            "base_tag": base.and_then(|_| images(&|task| task.base_tag.clone())),
            "target_tag": images(&|task| task.target_tag.clone()),
            "platform": images(&|task| task.platform.clone()),
            "direction": images(&|task| task.direction.word().into()),
            "state": listed.state.word(),
            "urgency": listed.urgency.word(),
            "tries": listed.tries,
            "reason": some(&listed.reason),
            "error": self.error(),
            "is_transient": listed.is_transient,
            "outcome": self.outcome(),
            "delta_bytes": report["delta_bytes"].as_u64(),
            "pull_bytes": report["pull_bytes"].as_u64(),
            "artifact": report["artifact"].as_str(),
            "worker": some(&listed.worker),
            "added_ms": listed.added_ms,
            "changed_ms": listed.changed_ms,
        })
    }
}
