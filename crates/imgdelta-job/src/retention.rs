//! Deltas that lead from or to an image that is no longer there.
//!
//! Finds them, and removes them if asked to. Whatever is not certainly a delta of such an image
//! stays: a doubt keeps it.

use crate::{
    job::Job,
    publish::{self, Published},
    queue::Queue,
    report, work,
};
use imgdelta_core::{BlobDigest, Result, path::escaped};
use imgdelta_registry::{Named, Repository, artifact::Artifact};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A delta that leads from or to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stray {
    /// Its repository.
    pub repository: String,
    /// The delta.
    pub artifact: BlobDigest,
    /// What it was made against.
    pub base: Option<BlobDigest>,
    /// What it makes.
    pub target: BlobDigest,
    /// Which of both is gone.
    pub gone: Gone,
}

/// Which image of a delta is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The one that receivers have.
    Base,
    /// The one that they want.
    Target,
}

impl Gone {
    fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Target => "target",
        }
    }
}

impl Stray {
    /// Returns it for machines.
    pub fn json(&self, is_removed: bool) -> Value {
        json!({
            "schema": work::SCHEMA,
            "event": if is_removed { "removed" } else { "stray" },
            "repository": self.repository,
            "artifact": self.artifact.to_string(),
            "base": self.base.map(|base| base.to_string()),
            "target": self.target.to_string(),
            "gone": self.gone.word(),
        })
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, artifact, gone, .. } = self;
        let repository = escaped(repository.as_bytes());
        write!(f, "{repository}: delta {artifact}, its {} is no longer there", gone.word())
    }
}

/// What is no longer of use in a repository.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Deltas that lead from or to nothing.
    pub strays: Vec<Stray>,
    /// The keys of works that are done, between images of which one is gone, and of which no delta
    /// is left: should both come again, they are to be wanted again.
    pub over: Vec<String>,
}

/// Finds what is no longer of use in a repository. `targets` are images to look beside, besides
/// those that the queue and the registry's own lists name.
pub(crate) async fn look(
    job: &Job,
    name: &str,
    targets: impl IntoIterator<Item = BlobDigest>,
) -> Result<Found> {
    let repository = job.looker.repository(name);
    let tags = match repository.tags().await {
        // A repository that shows nothing at all may be a registry that is ill.
        Err(failure) if failure.is_not_found() => return Ok(Found::default()),
        outcome => outcome?,
    };
    let done = done_in(&*job.queue, name).await?;
    let mut targets: BTreeSet<BlobDigest> = targets.into_iter().collect();
    targets.extend(tags.iter().filter_map(|tag| subject_of(tag)));
    targets.extend(done.iter().map(|(_, target)| *target));
    let stray = |artifact, base, target, gone| {
        let repository = name.to_owned();
        Stray { repository, artifact, base, target, gone }
    };
    let mut images = Images { repository: &repository, known: BTreeMap::new() };
    let mut found = Found::default();
    let mut met = BTreeSet::new();
    for target in targets {
        for Published { artifact, base } in publish::beside(&repository, &target).await? {
            if let Some(gone) = images.gone(base, target).await?
                && is_delta_of(&repository, &artifact, &target).await?
            {
                met.insert((base, target));
                found.strays.push(stray(artifact, base, target, gone));
            }
        }
    }
    let mut unlisted = Vec::new();
    for (base, target) in done {
        // What is listed without its base may be of any. Its work goes when it has gone.
        let is_met = [Some(base), None].into_iter().any(|it| met.contains(&(it, target)));
        if !is_met && let Some(gone) = images.gone(Some(base), target).await? {
            unlisted.push((base, target, gone));
        }
    }
    let key = |(base, target, _): &(BlobDigest, BlobDigest, Gone)| work::key(name, base, target);
    let keys: Vec<String> = unlisted.iter().map(key).collect();
    let outcomes = job.queue.outcomes(&keys).await?;
    for ((base, target, gone), key) in unlisted.into_iter().zip(keys) {
        match outcomes.get(&key).and_then(|told| report::artifact_in(told)) {
            // Another's entry in the same list may have driven it out, and nobody listed it again.
            Some(artifact) if is_delta_of(&repository, &artifact, &target).await? => {
                found.strays.push(stray(artifact, Some(base), target, gone));
            }
            _ => found.over.push(key),
        }
    }
    Ok(found)
}

/// Returns the base and the target of each work of a repository that is done.
async fn done_in(queue: &dyn Queue, name: &str) -> Result<Vec<(BlobDigest, BlobDigest)>> {
    let mut done = Vec::new();
    let mut after = String::new();
    loop {
        let mut keys = queue.done_in(name, &after, KEYS_AT_ONCE).await?;
        done.extend(keys.iter().filter_map(|key| work::ends(key, name)));
        match keys.pop() {
            Some(last) if keys.len() + 1 == KEYS_AT_ONCE as usize => after = last,
            _ => return Ok(done),
        }
    }
}

/// Removes a delta, and lets it be wanted again.
pub(crate) async fn remove(job: &Job, stray: &Stray) -> Result<()> {
    let repository = job.looker.repository(&stray.repository);
    repository.detach(&stray.artifact, &stray.target).await?;
    if let Some(base) = stray.base {
        let key = work::key(&stray.repository, &base, &stray.target);
        job.queue.forget(&[key]).await?;
    }
    Ok(())
}

/// Which images of a repository are there, each asked for once.
struct Images<'a> {
    repository: &'a Repository,
    known: BTreeMap<BlobDigest, bool>,
}

impl Images<'_> {
    /// Returns which image of a delta is gone, if one is.
    async fn gone(&mut self, base: Option<BlobDigest>, target: BlobDigest) -> Result<Option<Gone>> {
        if self.is_gone(target).await? {
            return Ok(Some(Gone::Target));
        }
        match base {
            Some(base) if self.is_gone(base).await? => Ok(Some(Gone::Base)),
            _ => Ok(None),
        }
    }

    /// Whether a manifest is not there, asked in both ways: registries err in either.
    async fn is_gone(&mut self, digest: BlobDigest) -> Result<bool> {
        if let Some(is_gone) = self.known.get(&digest) {
            return Ok(*is_gone);
        }
        let named = Named::Digest(digest);
        let is_gone = self.repository.head(&named).await?.is_none()
            && match self.repository.manifest(&named).await {
                Ok(_) => false,
                Err(failure) if failure.is_not_found() => true,
                Err(failure) => return Err(failure.into()),
            };
        self.known.insert(digest, is_gone);
        Ok(is_gone)
    }
}

/// Whether an artifact is a delta, and its subject is this.
async fn is_delta_of(
    repository: &Repository,
    artifact: &BlobDigest,
    target: &BlobDigest,
) -> Result<bool> {
    let manifest = match repository.manifest(&Named::Digest(*artifact)).await {
        Err(failure) if failure.is_not_found() => return Ok(false),
        outcome => outcome?,
    };
    let document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let is_beside = document["subject"]["digest"] == target.to_string();
    Ok(is_beside && Artifact::parse(&manifest, &repository.place()).is_ok())
}

/// Returns the image that a tag keeps a list of referrers for.
fn subject_of(tag: &str) -> Option<BlobDigest> {
    let (algorithm, hex) = tag.split_once('-')?;
    if algorithm == "sha256" { format!("{algorithm}:{hex}").parse().ok() } else { None }
}

/// Some hundred kilobytes an answer.
const KEYS_AT_ONCE: u32 = 1000;
