//! One delta to be made: between which images, and how.
//!
//! Names images by digest, so that it means the same tomorrow; tags are only for people.

use crate::config::Share;
use imgdelta_core::{BlobDigest, Error, Result, path::escaped};
use imgdelta_make::options::Preset;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A delta to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Work {
    /// The repository that holds both images.
    pub repository: String,
    /// The manifest of the image that receivers have.
    pub base: BlobDigest,
    /// The manifest of the image that they want.
    pub target: BlobDigest,
    /// What both run on.
    pub platform: String,
    /// Whether it leads to the newer or back to the older.
    pub direction: Direction,
    /// The base's tag when it was wanted.
    pub base_tag: String,
    /// The target's tag when it was wanted.
    pub target_tag: String,
    /// How much time to spend.
    pub preset: Preset,
    /// Below which share of a plain pull it is published.
    pub worth: Share,
}

/// Where a delta leads.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the newer image.
    Forward,
    /// Back to the older one.
    Back,
}

/// A work as it lies in a queue.
#[derive(Deserialize, Serialize)]
struct Written {
    repository: String,
    base: String,
    target: String,
    platform: String,
    direction: Direction,
    base_tag: String,
    target_tag: String,
    preset: String,
    worth: u16,
}

impl Work {
    /// Returns what tells it from all other works: made twice, it would be the same delta.
    pub fn key(&self) -> String {
        key(&self.repository, &self.base, &self.target)
    }

    /// Returns it for machines, as what is wanted.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "schema": SCHEMA,
            "event": "wanted",
            "repository": self.repository,
            "base": self.base.to_string(),
            "target": self.target.to_string(),
            "base_tag": self.base_tag,
            "target_tag": self.target_tag,
            "platform": self.platform,
            "direction": self.direction,
        })
    }

    /// Returns it as text.
    pub fn text(&self) -> String {
        let written = Written {
            repository: self.repository.clone(),
            base: self.base.to_string(),
            target: self.target.to_string(),
            platform: self.platform.clone(),
            direction: self.direction,
            base_tag: self.base_tag.clone(),
            target_tag: self.target_tag.clone(),
            preset: crate::config::preset_word(self.preset).into(),
            worth: self.worth.thousandths(),
        };
        serde_json::to_string(&written).expect("text and numbers")
    }

    /// Reads what [`Work::text`] wrote.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::bad_input("work in the queue", what);
        let written: Written = serde_json::from_str(text).map_err(|error| {
            Error::bad_input_because("work in the queue", "not as it is written here", error)
        })?;
        let digest = |text: &str| text.parse().map_err(|_| wrong("no digest"));
        Ok(Self {
            base: digest(&written.base)?,
            target: digest(&written.target)?,
            preset: crate::config::preset_of(&written.preset).ok_or_else(|| wrong("no preset"))?,
            worth: Share::per_mille(written.worth),
            repository: written.repository,
            platform: written.platform,
            direction: written.direction,
            base_tag: written.base_tag,
            target_tag: written.target_tag,
        })
    }
}

/// Returns the key of the work in a repository from a base to a target.
pub(crate) fn key(repository: &str, base: &BlobDigest, target: &BlobDigest) -> String {
    format!("{repository} {base} {target}")
}

/// Reads the base and the target of what [`key`] wrote for a repository.
pub(crate) fn ends(key: &str, repository: &str) -> Option<(BlobDigest, BlobDigest)> {
    let (base, target) = key.strip_prefix(repository)?.strip_prefix(' ')?.split_once(' ')?;
    Some((base.parse().ok()?, target.parse().ok()?))
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are a stranger's text; a line stays a line.
        let [repository, base, target] = [&self.repository, &self.base_tag, &self.target_tag]
            .map(|name| escaped(name.as_bytes()));
        write!(f, "{repository}: {base} to {target} for {}", self.platform)
    }
}

/// The name and version of each document that a job prints; a reader refuses another.
pub const SCHEMA: &str = "imgdelta.job/1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_what_it_was_made_of() {
        let digest = |n: u64| -> BlobDigest { format!("sha256:{n:064x}").parse().unwrap() };
        let key = key("team/app", &digest(1), &digest(2));
        assert_eq!(ends(&key, "team/app"), Some((digest(1), digest(2))));
        for other in ["team", "team/ap", "team/app ", "", "team/app/x"] {
            assert_eq!(ends(&key, other), None, "{other:?}");
        }
        assert_eq!(ends("team/app x y", "team/app"), None);
        assert_eq!(ends("team/app", "team/app"), None);
    }
}
