//! The result of a task, for people and programs.
//!
//! Holds values only.

use crate::task::Task;
use imgdelta::{BlobDigest, Error, size::Human};
use serde_json::Value;
use std::{fmt, time::Duration};

/// Outcome of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    /// The delta was made and is in the registry.
    Published,
    /// The registry had a delta between these images already.
    There,
    /// The delta would save too little.
    NotWorth,
    /// The base or the target is no longer in the registry.
    Gone,
    /// It failed and waits for a retry.
    Waits,
    /// It failed for good.
    Failed,
}

impl TaskOutcome {
    /// All outcomes, in the order of their discriminants.
    pub(crate) const ALL: [Self; 6] =
        [Self::Published, Self::There, Self::NotWorth, Self::Gone, Self::Waits, Self::Failed];

    /// Returns the word for the outcome.
    pub fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::There => "there",
            Self::NotWorth => "not-worth",
            Self::Gone => "gone",
            Self::Waits => "waits",
            Self::Failed => "failed",
        }
    }
}

/// Result of a task.
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskReport {
    /// The task.
    pub task: Task,
    /// Its outcome.
    pub outcome: TaskOutcome,
    /// The delta in the registry.
    pub artifact: Option<BlobDigest>,
    /// Bytes of the delta; 0 if none was made.
    pub delta_bytes: u64,
    /// Bytes that a plain pull fetches with the base present; 0 if not computed.
    pub pull_bytes: u64,
    /// Number of its recipes that were made for other images before.
    pub reused_recipes: u64,
    /// Number of layers whose compression was found for an earlier delta.
    pub reused_envelopes: u64,
    /// The frames of its base in the registry.
    pub frames: Option<BlobDigest>,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Time from adding the task to the end of this attempt.
    pub age: Duration,
    /// One word for the kind of failure.
    pub reason: Option<&'static str>,
    /// Duration.
    pub seconds: f64,
    /// Processor time.
    pub cpu_seconds: f64,
    /// The error of a task that failed.
    pub error: Option<Error>,
}

impl TaskReport {
    /// Returns the JSON document of the result.
    pub fn json(&self) -> Value {
        let mut document = self.task.json();
        document["event"] = "delta".into();
        document["id"] = self.task.id().into();
        document["attempt"] = self.attempt.into();
        document["outcome"] = self.outcome.word().into();
        document["delta_bytes"] = self.delta_bytes.into();
        document["pull_bytes"] = self.pull_bytes.into();
        document["reused_recipes"] = self.reused_recipes.into();
        document["reused_envelopes"] = self.reused_envelopes.into();
        document["seconds"] = self.seconds.into();
        document["cpu_seconds"] = self.cpu_seconds.into();
        if let Some(artifact) = &self.artifact {
            document["artifact"] = artifact.to_string().into();
        }
        if let Some(frames) = &self.frames {
            document["frames"] = frames.to_string().into();
        }
        if let Some(reason) = self.reason {
            document["reason"] = reason.into();
        }
        if let Some(error) = &self.error {
            document["error"] = error.to_string().into();
        }
        document
    }
}

/// Returns the delta in a report that the queue stores.
pub(crate) fn artifact_in(report: &str) -> Option<BlobDigest> {
    digest_in(report, "artifact")
}

/// Returns the artifact with the frames of the base in a report that the queue stores.
pub(crate) fn frames_in(report: &str) -> Option<BlobDigest> {
    digest_in(report, "frames")
}

fn digest_in(report: &str, field: &str) -> Option<BlobDigest> {
    let report: Value = serde_json::from_str(report).ok()?;
    report[field].as_str()?.parse().ok()
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.task)?;
        let (delta, pull) = (Human(self.delta_bytes), Human(self.pull_bytes));
        match (self.outcome, &self.error) {
            (TaskOutcome::Published, _) => write!(f, "{delta} instead of {pull}"),
            (TaskOutcome::There, _) => f.write_str("the registry has this delta already"),
            (TaskOutcome::NotWorth, _) => {
                let worth = self.task.worth;
                write!(f, "{delta} instead of {pull} saves too little (worth = {worth})")
            }
            (TaskOutcome::Gone, _) => f.write_str("an image is no longer in the registry"),
            (TaskOutcome::Waits, error) => write!(f, "will be retried{}", Cause(error)),
            (TaskOutcome::Failed, error) => write!(f, "failed for good{}", Cause(error)),
        }
    }
}

struct Cause<'a>(&'a Option<Error>);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|error| write!(f, ": {error}"))
    }
}
