//! A task: one delta to make, between which images and with which options.
//!
//! Names images by digest, so that a tag that moves changes no task. Tags are for messages only.

use crate::{
    config::{Rule, Share, preset_of, preset_word},
    queue::{NewTask, Urgency},
};
use imgdelta::{BlobDigest, Error, Result, create::Preset, image::Platform, path::escaped};
use imgdelta_core::{Algorithm, verify::Hasher};
use imgdelta_registry::RepositoryName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A delta to make.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// The repository that holds both images.
    pub repository: RepositoryName,
    /// Digest of the manifest that receivers have; `None` for receivers that have no image.
    pub base: Option<BlobDigest>,
    /// Digest of the manifest that receivers will get.
    pub target: BlobDigest,
    /// Platform of both images.
    pub platform: String,
    /// Direction of the delta.
    pub direction: Direction,
    /// Tag of the base at the time of the scan; empty without a base.
    pub base_tag: String,
    /// Tag of the target at the time of the scan.
    pub target_tag: String,
    /// Time to spend on a smaller delta.
    pub preset: Preset,
    /// Share of a plain pull below which the delta is published.
    pub worth: Share,
    /// True to publish the frames of the base, too.
    pub frames: bool,
    /// Place among the tasks of equal urgency, as [`NewTask::priority`].
    pub priority: u32,
}

/// Direction of a delta.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the newer image.
    Forward,
    /// Back to the older image.
    Back,
}

/// A task in the queue's text.
#[derive(Deserialize, Serialize)]
struct TaskBody {
    repository: String,
    #[serde(default)]
    base: Option<String>,
    target: String,
    platform: String,
    direction: Direction,
    base_tag: String,
    target_tag: String,
    preset: String,
    worth: u16,
    /// Tasks of earlier versions have none.
    #[serde(default)]
    frames: bool,
    #[serde(default)]
    priority: u32,
}

impl Direction {
    /// Returns the word for the direction.
    pub fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
        }
    }
}

impl Task {
    /// Returns a task with the options of a rule, forward and of priority 0. An image is its digest
    /// and its tag.
    pub(crate) fn by_rule(
        rule: &Rule,
        repository: &RepositoryName,
        platform: &Platform,
        base: Option<(BlobDigest, String)>,
        (target, target_tag): (BlobDigest, String),
    ) -> Self {
        let (base, base_tag) = base.map_or((None, String::new()), |(base, tag)| (Some(base), tag));
        Self {
            repository: repository.clone(),
            base,
            target,
            platform: platform.to_string(),
            direction: Direction::Forward,
            base_tag,
            target_tag,
            preset: rule.preset,
            worth: rule.worth,
            frames: rule.frames,
            priority: 0,
        }
    }

    /// Returns a short name of the key, for people and logs.
    pub fn id(&self) -> String {
        id(&self.key())
    }

    /// Returns the identity of the task; two tasks with one key would make the same delta.
    pub fn key(&self) -> String {
        key(&self.repository, self.base.as_ref(), &self.target)
    }

    /// Returns the tags between which the delta leads, for people.
    pub fn way(&self) -> String {
        // Names are untrusted text; escaping keeps a line a line.
        let [base, target] =
            [&self.base_tag, &self.target_tag].map(|name| escaped(name.as_bytes()));
        match self.base {
            Some(_) => format!("{base} to {target}"),
            None => format!("{target} without a base"),
        }
    }

    /// Returns the task as the queue adds it.
    pub fn to_add(&self, urgency: Urgency) -> NewTask {
        NewTask {
            key: self.key(),
            repository: self.repository.to_string(),
            target: self.target.to_string(),
            body: self.text(),
            urgency,
            priority: self.priority,
        }
    }

    /// Returns the JSON document of a wanted delta.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "schema": SCHEMA,
            "event": "wanted",
            "repository": self.repository.as_str(),
            "base": self.base.map(|base| base.to_string()),
            "target": self.target.to_string(),
            "base_tag": self.base.map(|_| &self.base_tag),
            "target_tag": self.target_tag,
            "platform": self.platform,
            "direction": self.direction,
        })
    }

    /// Returns the text that the queue stores.
    pub fn text(&self) -> String {
        let body = TaskBody {
            repository: self.repository.to_string(),
            base: self.base.map(|base| base.to_string()),
            target: self.target.to_string(),
            platform: self.platform.clone(),
            direction: self.direction,
            base_tag: self.base_tag.clone(),
            target_tag: self.target_tag.clone(),
            preset: preset_word(self.preset).into(),
            worth: self.worth.thousandths(),
            frames: self.frames,
            priority: self.priority,
        };
        serde_json::to_string(&body).expect("text and numbers")
    }

    /// Parses the text of [`Task::text`].
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::bad_input("task in the queue", what);
        let body: TaskBody = serde_json::from_str(text).map_err(|error| {
            Error::bad_input_because("task in the queue", "not written by this program", error)
        })?;
        let digest = |text: &str| text.parse().map_err(|_| wrong("a digest is invalid"));
        Ok(Self {
            base: body.base.as_deref().map(digest).transpose()?,
            target: digest(&body.target)?,
            preset: preset_of(&body.preset).ok_or_else(|| wrong("the preset is unknown"))?,
            worth: Share::per_mille(body.worth),
            frames: body.frames,
            priority: body.priority,
            repository: body.repository.parse()?,
            platform: body.platform,
            direction: body.direction,
            base_tag: body.base_tag,
            target_tag: body.target_tag,
        })
    }
}

/// Returns the short name of a task: the first digits of a hash of its key. It is the same in every
/// queue and for all time.
pub fn id(key: &str) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(key.as_bytes());
    let hash = hasher.finish_blob().to_string();
    let digits = hash.rsplit(':').next().unwrap_or_default();
    digits.chars().take(ID_DIGITS).collect()
}

/// Returns the key of the task in a repository from a base to a target.
pub(crate) fn key(
    repository: &RepositoryName,
    base: Option<&BlobDigest>,
    target: &BlobDigest,
) -> String {
    match base {
        Some(base) => format!("{repository} {base} {target}"),
        None => format!("{repository} {NO_BASE} {target}"),
    }
}

/// The base in the key of a task without one.
const NO_BASE: &str = "-";

/// Parses base and target of a repository's key.
pub(crate) fn parse_key(
    key: &str,
    repository: &RepositoryName,
) -> Option<(Option<BlobDigest>, BlobDigest)> {
    let (base, target) =
        key.strip_prefix(repository.as_str())?.strip_prefix(' ')?.split_once(' ')?;
    let base = if base == NO_BASE { None } else { Some(base.parse().ok()?) };
    Some((base, target.parse().ok()?))
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} for {}", self.repository, self.way(), self.platform)
    }
}

/// Digits of a short name: two of a million tasks have the same one with a chance of 1 to 500.
pub(crate) const ID_DIGITS: usize = 12;

/// Name and version of each JSON document that a job prints; a reader refuses another name.
pub const SCHEMA: &str = "imgdelta.job/1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_base_and_target() {
        let digest = |n: u64| -> BlobDigest { format!("sha256:{n:064x}").parse().unwrap() };
        let app: RepositoryName = "team/app".parse().unwrap();
        let first = key(&app, None, &digest(2));
        assert_eq!(parse_key(&first, &app), Some((None, digest(2))));
        let key = key(&app, Some(&digest(1)), &digest(2));
        assert_eq!(parse_key(&key, &app), Some((Some(digest(1)), digest(2))));
        for other in ["team", "team/ap", "team/app/x"] {
            assert_eq!(parse_key(&key, &other.parse().unwrap()), None, "{other:?}");
        }
        assert_eq!(id(&key), id(&key.clone()));
        assert!(id(&key) != id("team/app") && id(&key).len() == ID_DIGITS);
        assert_eq!(parse_key("team/app x y", &app), None);
        assert_eq!(parse_key("team/app", &app), None);
    }
}
