//! Findings of a scan that are probably mistakes in the configuration.
//!
//! Values only.

use crate::task;
use imgdelta::path::escaped;
use imgdelta_registry::RepositoryName;
use serde_json::{Value, json};
use std::fmt;

/// A rule or a repository without effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ScanWarning {
    /// No repository of the registry is one of this rule.
    IdleRule {
        /// Its place among the rules, from 1.
        rule: usize,
        /// Its patterns.
        patterns: Vec<String>,
    },
    /// A repository has tags, and none of them is a version for its rule.
    NoVersions {
        /// The repository.
        repository: RepositoryName,
        /// Place of the rule that applies, from 1.
        rule: usize,
        /// Number of its tags.
        tags: usize,
        /// One of them, and the reason for which it is not a version.
        example: (String, String),
    },
    /// A rule names a repository that the registry does not have.
    MissingRepository {
        /// The repository.
        repository: RepositoryName,
        /// Place of the rule, from 1.
        rule: usize,
    },
}

impl ScanWarning {
    /// Returns the place of the rule, from 1.
    pub fn rule(&self) -> usize {
        match self {
            Self::IdleRule { rule, .. }
            | Self::NoVersions { rule, .. }
            | Self::MissingRepository { rule, .. } => *rule,
        }
    }

    /// Returns the repository, if the warning is about one.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::IdleRule { .. } => None,
            Self::NoVersions { repository, .. } | Self::MissingRepository { repository, .. } => {
                Some(repository)
            }
        }
    }

    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        let mut document = json!({
            "schema": task::SCHEMA, "event": "warning",
            "rule": self.rule(), "warning": self.to_string(),
        });
        if let Some(repository) = self.repository() {
            document["repository"] = repository.as_str().into();
        }
        document
    }
}

impl fmt::Display for ScanWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdleRule { rule, patterns } => {
                let patterns = patterns.join(", ");
                let patterns = escaped(patterns.as_bytes());
                write!(
                    f,
                    "rule {rule} ({patterns}) applies to no repository: the registry has none of \
                     these names, or rules above it match them"
                )
            }
            Self::MissingRepository { repository, rule } => write!(
                f,
                "{repository}: rule {rule} names this repository, and the registry does not have it; \
                 its first push is awaited"
            ),
            Self::NoVersions { repository, rule, tags, example: (tag, why) } => {
                let tag = escaped(tag.as_bytes());
                write!(
                    f,
                    "{repository}: none of its {tags} tags is a version for rule {rule}, for example \
                     {tag}: {why}; `imgdelta job explain {repository}` lists them"
                )
            }
        }
    }
}
