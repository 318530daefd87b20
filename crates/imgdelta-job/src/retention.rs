//! Deltas from or to an image that is no longer in the registry.
//!
//! Finds them, and removes them on request. In doubt a delta stays (test
//! `only_deltas_of_missing_images_are_removed`).

use crate::{
    job::Job,
    publish::{self, ListedDelta},
    queue::Queue,
    report, task,
};
use imgdelta::{BlobDigest, Result};
use imgdelta_registry::{
    FRAMES_TYPE, ManifestReference, Repository, RepositoryName,
    artifact::{ARTIFACT_TYPE, Artifact},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A delta whose base or target is missing, or the frames of a missing image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StrayDelta {
    /// Its repository.
    pub repository: RepositoryName,
    /// The kind of the artifact.
    pub kind: StrayKind,
    /// The artifact.
    pub artifact: BlobDigest,
    /// The image a delta was made from.
    pub base: Option<BlobDigest>,
    /// The image that a delta makes, or whose frames these are.
    pub target: BlobDigest,
    /// The image that is missing.
    pub missing: MissingImage,
}

/// The kind of an artifact that serves no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrayKind {
    /// A delta.
    Delta,
    /// The frames of an image's layers.
    Frames,
}

impl StrayKind {
    fn word(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Frames => "frames",
        }
    }
}

/// The missing image of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingImage {
    /// The image that receivers have.
    Base,
    /// The image that receivers will get.
    Target,
}

impl MissingImage {
    fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Target => "target",
        }
    }
}

impl StrayDelta {
    /// Returns the JSON document of the delta.
    pub fn json(&self, is_removed: bool) -> Value {
        json!({
            "schema": task::SCHEMA,
            "event": if is_removed { "removed" } else { "stray" },
            "repository": self.repository.as_str(),
            "kind": self.kind.word(),
            "artifact": self.artifact.to_string(),
            "base": self.base.map(|base| base.to_string()),
            "target": self.target.to_string(),
            "gone": self.missing.word(),
        })
    }
}

impl fmt::Display for StrayDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, kind, artifact, missing, .. } = self;
        let missing = match kind {
            StrayKind::Delta => format!("its {}", missing.word()),
            StrayKind::Frames => "their image".to_owned(),
        };
        let kind = kind.word();
        write!(f, "{repository}: {kind} {artifact}; {missing} is no longer in the registry")
    }
}

/// Deltas and tasks of missing images in a repository.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Deltas to remove.
    pub strays: Vec<StrayDelta>,
    /// Keys of done tasks without a delta. If both images return, the tasks are wanted again.
    pub done_tasks: Vec<String>,
}

/// Finds the leftovers of a repository. Examines `targets`, the targets of done tasks, and the
/// images that have a list of referrers.
pub(crate) async fn scan(
    job: &Job,
    name: &RepositoryName,
    targets: impl IntoIterator<Item = BlobDigest>,
) -> Result<Leftovers> {
    let repository = job.scanner.repository(name);
    let tags = match repository.tags().await {
        // A repository without any tag may be a faulty registry.
        Err(failure) if failure.is_not_found() => return Ok(Leftovers::default()),
        outcome => outcome?,
    };
    let done = done_in(&*job.queue, name).await?;
    let mut targets: BTreeSet<BlobDigest> = targets.into_iter().collect();
    targets.extend(tags.iter().filter_map(|tag| subject_of(tag.as_str())));
    targets.extend(done.iter().map(|(_, target)| *target));
    let stray = |artifact, base, target, missing| {
        let (repository, kind) = (name.clone(), StrayKind::Delta);
        StrayDelta { repository, kind, artifact, base, target, missing }
    };
    let mut images = ImageCheck { repository: &repository, is_missing: BTreeMap::new() };
    let mut leftovers = Leftovers::default();
    let mut stray_pairs = BTreeSet::new();
    for image in targets.iter().copied().chain(done.iter().filter_map(|(base, _)| *base)) {
        if !images.is_missing(image).await? {
            continue;
        }
        for artifact in repository.frames_artifacts(&image).await? {
            if is_subject_of(&repository, &artifact, &image, FRAMES_TYPE).await?
                && leftovers.strays.iter().all(|stray| stray.artifact != artifact)
            {
                let found = stray(artifact, None, image, MissingImage::Target);
                leftovers.strays.push(StrayDelta { kind: StrayKind::Frames, ..found });
            }
        }
    }
    for target in targets {
        for ListedDelta { artifact, base, .. } in publish::deltas_to(&repository, &target).await? {
            if let Some(missing) = images.missing(base, target).await?
                && is_delta_of(&repository, &artifact, &target).await?
            {
                stray_pairs.insert((base, target));
                leftovers.strays.push(stray(artifact, base, target, missing));
            }
        }
    }
    let mut unlisted = Vec::new();
    for (base, target) in done {
        // A listed delta without a base may be the task's. The task goes once the delta is gone.
        let is_listed = [base, None].into_iter().any(|it| stray_pairs.contains(&(it, target)));
        if !is_listed && let Some(missing) = images.missing(base, target).await? {
            unlisted.push((base, target, missing));
        }
    }
    let keys: Vec<String> =
        unlisted.iter().map(|(base, target, _)| task::key(name, base.as_ref(), target)).collect();
    let outcomes = job.queue.outcomes(&keys).await?;
    for ((base, target, missing), key) in unlisted.into_iter().zip(keys) {
        match outcomes.get(&key).and_then(|report| report::artifact_in(report)) {
            // Another client may have dropped the delta from the list.
            Some(artifact) if is_delta_of(&repository, &artifact, &target).await? => {
                leftovers.strays.push(stray(artifact, base, target, missing));
            }
            _ => leftovers.done_tasks.push(key),
        }
    }
    Ok(leftovers)
}

/// Returns base and target of each done task of a repository.
async fn done_in(
    queue: &dyn Queue,
    name: &RepositoryName,
) -> Result<Vec<(Option<BlobDigest>, BlobDigest)>> {
    let mut done = Vec::new();
    let mut after = String::new();
    loop {
        let mut keys = queue.done_in(name.as_str(), &after, KEYS_AT_ONCE).await?;
        done.extend(keys.iter().filter_map(|key| task::parse_key(key, name)));
        match keys.pop() {
            Some(last) if keys.len() + 1 == KEYS_AT_ONCE as usize => after = last,
            _ => return Ok(done),
        }
    }
}

/// Removes a delta and its task, so that it can be wanted again.
pub(crate) async fn remove(job: &Job, stray: &StrayDelta) -> Result<()> {
    let repository = job.scanner.repository(&stray.repository);
    repository.detach(&stray.artifact, &stray.target).await?;
    if stray.kind == StrayKind::Delta {
        let key = task::key(&stray.repository, stray.base.as_ref(), &stray.target);
        job.queue.forget(&[key]).await?;
    }
    Ok(())
}

/// Existence of a repository's images, with one check per image.
struct ImageCheck<'a> {
    repository: &'a Repository,
    is_missing: BTreeMap<BlobDigest, bool>,
}

impl ImageCheck<'_> {
    /// Returns the missing image of a delta, if one is missing.
    async fn missing(
        &mut self,
        base: Option<BlobDigest>,
        target: BlobDigest,
    ) -> Result<Option<MissingImage>> {
        if self.is_missing(target).await? {
            return Ok(Some(MissingImage::Target));
        }
        match base {
            Some(base) if self.is_missing(base).await? => Ok(Some(MissingImage::Base)),
            _ => Ok(None),
        }
    }

    /// Returns true if both HEAD and GET find no manifest: registries err in either.
    async fn is_missing(&mut self, digest: BlobDigest) -> Result<bool> {
        if let Some(is_missing) = self.is_missing.get(&digest) {
            return Ok(*is_missing);
        }
        let named = ManifestReference::Digest(digest);
        let is_missing = self.repository.head(&named).await?.is_none()
            && match self.repository.manifest(&named).await {
                Ok(_) => false,
                Err(failure) if failure.is_not_found() => true,
                Err(failure) => return Err(failure.into()),
            };
        self.is_missing.insert(digest, is_missing);
        Ok(is_missing)
    }
}

/// Returns true if an artifact is a delta with this subject.
async fn is_delta_of(
    repository: &Repository,
    artifact: &BlobDigest,
    target: &BlobDigest,
) -> Result<bool> {
    is_subject_of(repository, artifact, target, ARTIFACT_TYPE).await
}

/// Returns true if an artifact has a type, and an image as its subject.
async fn is_subject_of(
    repository: &Repository,
    artifact: &BlobDigest,
    image: &BlobDigest,
    kind: &str,
) -> Result<bool> {
    let manifest = match repository.manifest(&ManifestReference::Digest(*artifact)).await {
        Err(failure) if failure.is_not_found() => return Ok(false),
        outcome => outcome?,
    };
    let document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let has_subject = document["subject"]["digest"] == image.to_string();
    let is_kind = match kind {
        ARTIFACT_TYPE => Artifact::parse(&manifest, &repository.place()).is_ok(),
        kind => document["config"]["mediaType"] == kind,
    };
    Ok(has_subject && is_kind)
}

/// Returns the image whose referrers a tag lists.
fn subject_of(tag: &str) -> Option<BlobDigest> {
    let (algorithm, hex) = tag.split_once('-')?;
    if algorithm == "sha256" { format!("{algorithm}:{hex}").parse().ok() } else { None }
}

/// Some hundred kilobytes per answer.
const KEYS_AT_ONCE: u32 = 1000;
