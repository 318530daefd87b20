//! Deltas that lead from or to an image that is no longer there.
//!
//! Finds them, and removes them if asked to. Whatever is not certainly a delta of such an image
//! stays: a doubt keeps it.

use crate::{
    job::Job,
    publish,
    queue::State,
    work::{self, Work},
};
use imgdelta::{BlobDigest, Result, path::escaped};
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

/// Finds the deltas of a repository that lead from or to nothing. `targets` are images to look
/// beside, besides those that the queue and the registry's own lists name.
pub(crate) async fn strays(
    job: &Job,
    name: &str,
    targets: impl IntoIterator<Item = BlobDigest>,
) -> Result<Vec<Stray>> {
    let repository = job.looker.repository(name);
    let tags = match repository.tags().await {
        // A repository that shows nothing at all may be a registry that is ill.
        Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let mut targets: BTreeSet<BlobDigest> = targets.into_iter().collect();
    targets.extend(tags.iter().filter_map(|tag| subject_of(tag)));
    for line in job.queue.list(State::Done).await? {
        if let Ok(work) = Work::parse(&line.body)
            && work.repository == name
        {
            targets.insert(work.target);
        }
    }
    let mut strays = Vec::new();
    let mut known = BTreeMap::new();
    for target in targets {
        for published in publish::beside(&repository, &target).await? {
            let gone = if is_gone(&repository, target, &mut known).await? {
                Gone::Target
            } else {
                match published.base {
                    Some(base) if is_gone(&repository, base, &mut known).await? => Gone::Base,
                    _ => continue,
                }
            };
            if is_delta_of(&repository, &published.artifact, &target).await? {
                let (repository, artifact) = (name.to_owned(), published.artifact);
                strays.push(Stray { repository, artifact, base: published.base, target, gone });
            }
        }
    }
    Ok(strays)
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

/// Whether a manifest is not there, asked in both ways: registries err in either.
async fn is_gone(
    repository: &Repository,
    digest: BlobDigest,
    known: &mut BTreeMap<BlobDigest, bool>,
) -> Result<bool> {
    if let Some(is_gone) = known.get(&digest) {
        return Ok(*is_gone);
    }
    let named = Named::Digest(digest);
    let is_gone = repository.head(&named).await?.is_none()
        && match repository.manifest(&named).await {
            Ok(_) => false,
            Err(failure) if failure.is_not_found() => true,
            Err(failure) => return Err(failure.into()),
        };
    known.insert(digest, is_gone);
    Ok(is_gone)
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
