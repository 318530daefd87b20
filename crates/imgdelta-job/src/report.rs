//! What came of a work, for people and machines.
//!
//! Values only: nothing is done here.

use crate::work::Work;
use imgdelta_core::{BlobDigest, Error, size::Human};
use serde_json::Value;
use std::fmt;

/// What came of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The delta was made and is in the registry.
    Published,
    /// A delta between these images was there already.
    There,
    /// The delta would spare too little.
    NotWorth,
    /// The base or the target is no longer there.
    Gone,
    /// It failed for now, and waits.
    Waits,
    /// It failed for good, and was set aside.
    Failed,
}

impl Outcome {
    /// All of them, in the order of their discriminants.
    pub(crate) const ALL: [Self; 6] =
        [Self::Published, Self::There, Self::NotWorth, Self::Gone, Self::Waits, Self::Failed];

    /// Returns its word.
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

/// What came of a work, for people and machines.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The work.
    pub work: Work,
    /// What came of it.
    pub outcome: Outcome,
    /// The delta in the registry.
    pub artifact: Option<BlobDigest>,
    /// What the delta takes; 0 if none was made.
    pub delta_bytes: u64,
    /// What a plain pull takes for who has the base; 0 if that was not looked at.
    pub pull_bytes: u64,
    /// How many of its recipes had been made for other images.
    pub reused_recipes: u64,
    /// Time it took.
    pub seconds: f64,
    /// Processor time it took.
    pub cpu_seconds: f64,
    /// Why it failed.
    pub error: Option<Error>,
}

impl Report {
    /// Returns it for machines.
    pub fn json(&self) -> Value {
        let mut document = self.work.json();
        document["event"] = "delta".into();
        document["outcome"] = self.outcome.word().into();
        document["delta_bytes"] = self.delta_bytes.into();
        document["pull_bytes"] = self.pull_bytes.into();
        document["reused_recipes"] = self.reused_recipes.into();
        document["seconds"] = self.seconds.into();
        document["cpu_seconds"] = self.cpu_seconds.into();
        if let Some(artifact) = &self.artifact {
            document["artifact"] = artifact.to_string().into();
        }
        if let Some(error) = &self.error {
            document["error"] = error.to_string().into();
        }
        document
    }
}

/// The delta that a report names, as the queue remembers it.
pub(crate) fn artifact_in(report: &str) -> Option<BlobDigest> {
    let report: Value = serde_json::from_str(report).ok()?;
    report["artifact"].as_str()?.parse().ok()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.work)?;
        let (delta, pull) = (Human(self.delta_bytes), Human(self.pull_bytes));
        match (self.outcome, &self.error) {
            (Outcome::Published, _) => write!(f, "{delta} instead of {pull}"),
            (Outcome::There, _) => f.write_str("is there"),
            (Outcome::NotWorth, _) => {
                write!(f, "{delta} instead of {pull} is not worth it, above {}", self.work.worth)
            }
            (Outcome::Gone, _) => f.write_str("an image is no longer there"),
            (Outcome::Waits, error) => write!(f, "waits for another try{}", Because(error)),
            (Outcome::Failed, error) => write!(f, "set aside{}", Because(error)),
        }
    }
}

struct Because<'a>(&'a Option<Error>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|error| write!(f, ": {error}"))
    }
}
