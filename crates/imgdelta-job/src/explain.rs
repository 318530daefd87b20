//! The reasons of a repository's deltas: the rule, the verdict on each tag, the pairs and their states.
//!
//! Asks the registry and the queue, and adds no task.

mod text;

use crate::{
    admin::TaskRow,
    config::{Rule, VersionOrder},
    job::Job,
    policy::{self, TagVerdict, Version},
    publish,
    queue::ListedTask,
    scan::ScanScope,
    task::Task,
};
use imgdelta::{BlobDigest, Error, Result};
use imgdelta_core::sort::SharedSort;
use imgdelta_registry::RepositoryName;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    fmt,
};

/// The reasons of a repository's deltas.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Host of the registry.
    pub registry: String,
    /// The repository.
    pub repository: RepositoryName,
    /// The rule that applies; none if no rule matches.
    pub rule: Option<AppliedRule>,
    /// Patterns of all rules, in their order.
    pub patterns: Vec<Vec<String>>,
    /// All tags, or the one that was asked for.
    pub tags: Vec<ExplainedTag>,
    /// The wanted pairs, or those with the tag that was asked for.
    pub pairs: Vec<ExplainedPair>,
}

/// The rule that applies to a repository.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedRule {
    /// Its place among the rules, from 1.
    pub number: usize,
    /// The pattern that matches the repository.
    pub pattern: String,
    /// The order of versions, as in the configuration.
    pub order: &'static str,
    /// Number of versions to make deltas from.
    pub keep: usize,
}

/// A tag and the reason for which deltas lead from and to it, or do not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExplainedTag {
    /// The tag.
    pub tag: String,
    /// The digest of its manifest or index; none if it was not asked for.
    pub digest: Option<BlobDigest>,
    /// Platforms of its images.
    pub platforms: Vec<String>,
    /// One word for the reason.
    pub role: TagRole,
}

/// The reason for which a tag has deltas, or has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagRole {
    /// A version of a pair.
    Paired,
    /// A version without a pair: the only one, or without a platform in common with others.
    Alone,
    /// An image that another tag names.
    SameImage(String),
    /// A version that is older than those that the rule keeps.
    Older,
    /// A version without a date, and the order is by date.
    Undated,
    /// It names no image: an artifact, or an index without images, or it was deleted meanwhile.
    NotAnImage,
    /// Not a version.
    Ignored(TagVerdict),
}

impl TagRole {
    /// Returns one word for the role.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Paired => "paired",
            Self::Alone => "alone",
            Self::SameImage(_) => "same-image",
            Self::Older => "older",
            Self::Undated => "undated",
            Self::NotAnImage => "not-an-image",
            Self::Ignored(verdict) => match verdict {
                TagVerdict::OfDigest => "of-digest",
                TagVerdict::NotInTags => "not-in-tags",
                TagVerdict::Excepted(_) => "excepted",
                TagVerdict::NotANumber | TagVerdict::Version => "not-a-number",
            },
        }
    }
}

/// A wanted delta and its state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExplainedPair {
    /// The pair.
    pub task: Task,
    /// Its task in the queue; none before the next scan.
    pub row: Option<TaskRow>,
    /// The delta in the registry.
    pub artifact: Option<BlobDigest>,
}

impl Job {
    /// Returns the reasons of a repository's deltas, or those of one tag.
    pub async fn explain(&self, name: &RepositoryName, tag: Option<&str>) -> Result<Explanation> {
        let rules = self.config.rules.get_ref();
        let patterns = rules.iter().map(|rule| {
            rule.repositories.get_ref().iter().map(|pattern| pattern.text().to_owned()).collect()
        });
        let mut explanation = Explanation {
            registry: self.config.registry.host.get_ref().clone(),
            repository: name.clone(),
            rule: None,
            patterns: patterns.collect(),
            tags: Vec::new(),
            pairs: Vec::new(),
        };
        let Some((rule, applied)) = applied_rule(rules, name) else { return Ok(explanation) };
        explanation.rule = Some(applied);
        let repository = self.scanner.repository(name);
        let tags: Vec<String> =
            repository.tags().await.map_err(Error::from)?.iter().map(ToString::to_string).collect();
        let versions = self.scanner.versions(rule, name, ScanScope::All, &*self.queue).await?;
        let versions = versions.unwrap_or_default();
        let tasks = policy::wanted_tasks(rule, name, &versions);
        explanation.tags = explained_tags(rule, tags, &versions, &tasks);
        if let Some(tag) = tag {
            let present = explanation.tags.iter().map(|known| known.tag.clone()).collect();
            explanation.tags.retain(|known| known.tag == tag);
            if explanation.tags.is_empty() {
                let (place, what) = (repository.place(), format!("tag {tag}"));
                return Err(Error::NotFound { place, what, present });
            }
        }
        let is_wanted =
            |task: &Task| tag.is_none_or(|tag| task.base_tag == tag || task.target_tag == tag);
        let tasks: Vec<Task> = tasks.into_iter().filter(is_wanted).collect();
        let keys: Vec<String> = tasks.iter().map(Task::key).collect();
        let listed: HashMap<String, ListedTask> = self
            .queue
            .tasks(&keys)
            .await?
            .into_iter()
            .map(|task| (task.key.clone(), task))
            .collect();
        let mut deltas: HashMap<BlobDigest, BTreeMap<Option<BlobDigest>, BlobDigest>> =
            HashMap::new();
        for task in &tasks {
            if let Entry::Vacant(unread) = deltas.entry(task.target) {
                let found = publish::deltas_to(&repository, &task.target).await?;
                let by_base = found.into_iter().map(|delta| (delta.base, delta.artifact));
                unread.insert(by_base.collect());
            }
        }
        let pairs = tasks.into_iter().zip(keys).map(|(task, key)| ExplainedPair {
            row: listed.get(&key).map(TaskRow::of),
            artifact: deltas[&task.target].get(&task.base).copied(),
            task,
        });
        explanation.pairs = pairs.collect();
        Ok(explanation)
    }
}

fn applied_rule<'a>(rules: &'a [Rule], name: &RepositoryName) -> Option<(&'a Rule, AppliedRule)> {
    rules.iter().zip(1..).find_map(|(rule, number)| {
        let mut patterns = rule.repositories.get_ref().iter();
        let pattern = patterns.find(|pattern| pattern.matches(name.as_str()))?;
        let order = match rule.order {
            VersionOrder::Semver => "semver",
            VersionOrder::Date => "date",
            VersionOrder::Push => "push",
        };
        let (pattern, keep) = (pattern.text().to_owned(), *rule.keep.get_ref());
        Some((rule, AppliedRule { number, pattern, order, keep }))
    })
}

/// Returns the reason of each tag: versions first, as the rule orders them, then other tags.
fn explained_tags(
    rule: &Rule,
    mut tags: Vec<String>,
    versions: &[Version],
    tasks: &[Task],
) -> Vec<ExplainedTag> {
    let paired: HashSet<&str> =
        tasks.iter().flat_map(|task| [task.base_tag.as_str(), &task.target_tag]).collect();
    let known: HashMap<&str, &Version> =
        versions.iter().map(|version| (version.tag.as_str(), version)).collect();
    tags.sort();
    if rule.order == VersionOrder::Semver {
        policy::sort_by_number(&mut tags);
    } else {
        let newest = |tag: &String| {
            let version = known.get(tag.as_str());
            let by = |version: &&Version| match rule.order {
                VersionOrder::Date => version.created.unwrap_or(i64::MIN),
                _ => i64::try_from(version.seen).unwrap_or(i64::MAX),
            };
            std::cmp::Reverse(version.map(by))
        };
        tags.shared_sort_by_key(newest);
    }
    // Older versions are not asked for.
    let last_known = tags.iter().rposition(|tag| known.contains_key(tag.as_str()));
    let mut explained: Vec<ExplainedTag> = Vec::new();
    let mut owners: HashMap<BlobDigest, String> = HashMap::new();
    for (at, tag) in tags.into_iter().enumerate() {
        let version = known.get(tag.as_str());
        let verdict = policy::verdict(rule, &tag);
        let role = match (verdict, version) {
            (TagVerdict::Version, Some(version)) => {
                if paired.contains(tag.as_str()) {
                    TagRole::Paired
                } else if let Some(owner) = owners.get(&version.digest) {
                    TagRole::SameImage(owner.clone())
                } else if rule.order == VersionOrder::Date && version.created.is_none() {
                    TagRole::Undated
                } else if tasks.is_empty() {
                    TagRole::Alone
                } else {
                    TagRole::Older
                }
            }
            (TagVerdict::Version, None) => {
                let is_older =
                    rule.order == VersionOrder::Semver && last_known.is_some_and(|last| at > last);
                if is_older { TagRole::Older } else { TagRole::NotAnImage }
            }
            (verdict, _) => TagRole::Ignored(verdict),
        };
        if let Some(version) = version {
            owners.entry(version.digest).or_insert_with(|| tag.clone());
        }
        let images = version.map_or(&[][..], |version| version.images.as_slice());
        explained.push(ExplainedTag {
            tag,
            digest: version.map(|version| version.digest),
            platforms: images.iter().map(|(platform, _)| platform.to_string()).collect(),
            role,
        });
    }
    explained.shared_sort_by_key(|tag| matches!(tag.role, TagRole::Ignored(_)));
    explained
}

impl Explanation {
    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        let rule = self.rule.as_ref().map(|rule| {
            json!({
                "number": rule.number, "pattern": rule.pattern, "order": rule.order, "keep": rule.keep,
            })
        });
        let tags = self.tags.iter().map(|tag| {
            json!({
                "tag": tag.tag,
                "role": tag.role.word(),
                "why": tag.role.to_string(),
                "digest": tag.digest.map(|digest| digest.to_string()),
                "platforms": tag.platforms,
            })
        });
        let pairs = self.pairs.iter().map(|pair| {
            json!({
                "base_tag": pair.task.base.map(|_| &pair.task.base_tag),
                "target_tag": pair.task.target_tag,
                "platform": pair.task.platform,
                "direction": pair.task.direction.word(),
                "base": pair.task.base.map(|base| base.to_string()),
                "target": pair.task.target.to_string(),
                "artifact": pair.artifact.map(|artifact| artifact.to_string()),
                "task": pair.row.as_ref().map(TaskRow::json),
            })
        });
        json!({
            "schema": SCHEMA,
            "registry": self.registry,
            "repository": self.repository.as_str(),
            "rule": rule,
            "patterns": self.patterns,
            "tags": tags.collect::<Vec<_>>(),
            "pairs": pairs.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::explanation(f, self)
    }
}

impl fmt::Display for TagRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paired => f.write_str("version"),
            Self::Alone => f.write_str("version; no other has an image for its platforms"),
            Self::SameImage(tag) => write!(f, "the same image as {tag}"),
            Self::Older => f.write_str("older than the versions that `keep` counts"),
            Self::Undated => f.write_str("no date in its config, and order = \"date\""),
            Self::NotAnImage => f.write_str("not an image"),
            Self::Ignored(verdict) => verdict.fmt(f),
        }
    }
}

/// Name and version of the document.
const SCHEMA: &str = "imgdelta.job-explain/1";
