//! Pushing a delta into the repository of its target.
//!
//! Sends only the parts that the repository lacks. Never sends an image: the target must be there,
//! so that every delta in a repository can be checked.

use crate::{
    artifact::{
        ARTIFACT_TYPE, BYTES_ANNOTATION, CONFIG, CREATOR_ANNOTATION, SplitDelta, config_blob,
    },
    error::{DELTA_TARGET, RequestError, RequestErrorKind, Result},
    repository::{Manifest, ManifestReference, Repository},
    upload::UploadOutcome,
};
use imgdelta_apply::delta::Delta;
use imgdelta_core::{
    BlobDigest, Error,
    size::{Exact, Human},
    sort::SharedSort,
};
use imgdelta_image::{
    reference::{RepositoryName, TagName},
    store::{Descriptor, source::ReadAt},
};
use serde_json::{Value, json};
use std::{collections::HashMap, fmt, sync::Arc};
use tokio::task::JoinSet;

/// Result of pushing a delta.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PushReport {
    /// The repository.
    pub place: String,
    /// The artifact's manifest.
    pub artifact: BlobDigest,
    /// The target's manifest, which is the artifact's subject.
    pub target: BlobDigest,
    /// The parts, the front first.
    pub parts: Vec<PartUpload>,
}

/// One part of a pushed delta.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartUpload {
    /// The part's blob.
    pub blob: Descriptor,
    /// The outcome of its upload.
    pub outcome: UploadOutcome,
}

/// Options for pushing a delta.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PushOptions {
    /// A tag that must name the target, or an index that contains it. None.
    pub tag: Option<TagName>,
    /// Other repositories of the registry that may have a blob, by the blob's digest. The registry
    /// mounts it from there; otherwise it is sent. None.
    pub elsewhere: HashMap<BlobDigest, RepositoryName>,
    /// Name and version of the program that pushes, which `imgdelta deltas list` shows. None.
    pub creator: Option<String>,
}

impl PushOptions {
    /// Sets a tag that must name the target.
    #[must_use]
    pub fn tag(mut self, tag: Option<TagName>) -> Self {
        self.tag = tag;
        self
    }

    /// Sets the other repositories that may have a blob.
    #[must_use]
    pub fn elsewhere(mut self, elsewhere: HashMap<BlobDigest, RepositoryName>) -> Self {
        self.elsewhere = elsewhere;
        self
    }

    /// Sets the name and version of the program that pushes.
    #[must_use]
    pub fn creator(mut self, creator: impl Into<String>) -> Self {
        self.creator = Some(creator.into());
        self
    }
}

impl Repository {
    /// Pushes a delta. Its target must be in this repository.
    pub async fn push(&self, delta: &Delta, options: &PushOptions) -> Result<PushReport> {
        let target = delta.digest();
        let subject = self.head(&ManifestReference::Digest(target)).await?;
        let Some(mut subject) = subject else {
            let message = "it is not in this repository; push it first".into();
            return Err(RequestError::new(
                self.place(),
                format!("{DELTA_TARGET} ({target})"),
                RequestErrorKind::NotFound { message },
            ));
        };
        if subject.media_type().is_empty() {
            subject.media_type = Some(delta.media_type().to_owned());
        }
        if let Some(tag) = &options.tag {
            check_tag(self, tag, &target).await?;
        }
        let split = split(self, delta).await?;
        let mut uploads = upload(self, delta, &split, options).await?;
        // The config is the same for every delta and not worth a line.
        uploads.retain(|part| part.blob.digest != config_blob().digest);
        let manifest = split.manifest(delta, &subject, options.creator.as_deref());
        let mut artifact = manifest.descriptor.digest;
        if let Some(other) = self.same_delta(&manifest, delta, &target).await {
            artifact = other;
        } else {
            self.attach(&manifest, &target).await?;
        }
        Ok(PushReport { place: self.place(), artifact, target, parts: uploads })
    }

    /// Returns the artifact of the same delta that another program, or another version, has pushed.
    ///
    /// Returns `None` if the registry does not answer: it does no harm to list a delta twice.
    async fn same_delta(
        &self,
        manifest: &Manifest,
        delta: &Delta,
        target: &BlobDigest,
    ) -> Option<BlobDigest> {
        let bytes = delta.size_bytes().to_string();
        let listed = self.referrers(target, ARTIFACT_TYPE).await.ok()?;
        let candidates = listed.iter().filter(|referrer| {
            let size = referrer.annotations.get(BYTES_ANNOTATION);
            size.is_none_or(|size| *size == bytes)
                && referrer.descriptor.digest != manifest.descriptor.digest
        });
        let wanted = parts_of(manifest);
        for candidate in candidates.take(MAX_COMPARED) {
            let digest = candidate.descriptor.digest;
            if let Ok(other) = self.manifest(&ManifestReference::Digest(digest)).await
                && parts_of(&other) == wanted
            {
                return Some(digest);
            }
        }
        None
    }
}

/// Returns the image and the blobs of an artifact, and its annotations except for the creator.
fn parts_of(manifest: &Manifest) -> [Value; 3] {
    let mut document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    if let Some(annotations) = document["annotations"].as_object_mut() {
        annotations.remove(CREATOR_ANNOTATION);
    }
    ["subject", "layers", "annotations"].map(|field| document[field].take())
}

async fn split(repository: &Repository, delta: &Delta) -> Result<SplitDelta> {
    let delta = delta.clone();
    let place = delta.place().to_owned();
    let outcome = tokio::task::spawn_blocking(move || SplitDelta::of(&delta)).await;
    let outcome = outcome.map_err(|error| Error::io(place)(std::io::Error::other(error))).flatten();
    outcome.map_err(|error| {
        let kind = RequestErrorKind::Invalid(error);
        RequestError::new(repository.place(), "splitting the delta", kind)
    })
}

/// Uploads all parts at the same time and returns them in their order.
async fn upload(
    repository: &Repository,
    delta: &Delta,
    split: &SplitDelta,
    options: &PushOptions,
) -> Result<Vec<PartUpload>> {
    let source = delta.source();
    let front: Arc<dyn ReadAt> = Arc::new(split.front.clone());
    let config: Arc<dyn ReadAt> = Arc::new(CONFIG.to_vec());
    let mut blobs = vec![(split.front_blob(), front, 0), (config_blob(), config, 0)];
    for part in &split.parts {
        // A blob may be several parts; it is sent once.
        if blobs.iter().all(|(blob, ..)| blob.digest != part.blob.digest) {
            blobs.push((part.blob.clone(), Arc::clone(&source), part.offset));
        }
    }
    let mut transfers = JoinSet::new();
    for (ordinal, (blob, source, offset)) in blobs.into_iter().enumerate() {
        let repository = repository.clone();
        let from = options.elsewhere.get(&blob.digest).filter(|from| *from != repository.name());
        let from = from.cloned();
        transfers.spawn(async move {
            let outcome = repository.put_blob(&blob, source, offset, from.as_ref()).await;
            (ordinal, blob, outcome)
        });
    }
    let mut uploads = Vec::new();
    while let Some(joined) = transfers.join_next().await {
        let (ordinal, blob, outcome) = joined.map_err(|error| {
            let error = Error::io(delta.place())(std::io::Error::other(error));
            RequestError::new(repository.place(), "upload", RequestErrorKind::Invalid(error))
        })?;
        uploads.push((ordinal, PartUpload { blob, outcome: outcome? }));
    }
    uploads.shared_sort_by_key(|(ordinal, _)| *ordinal);
    Ok(uploads.into_iter().map(|(_, part)| part).collect())
}

/// Checks that a tag names the target, or an index that contains it.
async fn check_tag(repository: &Repository, tag: &TagName, target: &BlobDigest) -> Result<()> {
    let manifest = repository.manifest(&ManifestReference::Tag(tag.clone())).await?;
    if manifest.descriptor.digest == *target {
        return Ok(());
    }
    let document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let digest = target.to_string();
    let mut children = document["manifests"].as_array().into_iter().flatten();
    if children.any(|child| child["digest"] == digest) {
        return Ok(());
    }
    let what = format!(
        "tag {tag} is {}, and the delta makes {target}: push to the tag of its target, or without \
         a tag",
        manifest.descriptor.digest
    );
    let error = Error::bad_input(repository.place(), what);
    let kind = RequestErrorKind::Invalid(error);
    Err(RequestError::new(repository.place(), format!("tag {tag}"), kind))
}

impl PushReport {
    /// Returns the bytes of the parts that were sent.
    pub fn sent_bytes(&self) -> u64 {
        self.sent().map(|part| part.blob.size_bytes).sum()
    }

    /// Returns the report as the JSON document of docs/pull-json.md.
    pub fn json(&self) -> Value {
        json!({
            "schema": PUSH_SCHEMA,
            "place": self.place,
            "artifact": self.artifact.to_string(),
            "artifact_type": ARTIFACT_TYPE,
            "target": self.target.to_string(),
            "sent_bytes": self.sent_bytes(),
            "parts": self.parts.iter().map(|part| json!({
                "digest": part.blob.digest.to_string(),
                "media_type": part.blob.media_type(),
                "bytes": part.blob.size_bytes,
                "how": word(part.outcome),
            })).collect::<Vec<_>>(),
        })
    }

    fn sent(&self) -> impl Iterator<Item = &PartUpload> {
        self.parts.iter().filter(|part| part.outcome == UploadOutcome::Sent)
    }
}

impl fmt::Display for PushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "delta   {}", self.artifact)?;
        writeln!(f, "to      {}", self.place)?;
        writeln!(f, "image   {}", self.target)?;
        let all: u64 = self.parts.iter().map(|part| part.blob.size_bytes).sum();
        writeln!(
            f,
            "sent    {} in {} of {} parts; the registry had {}",
            Exact(self.sent_bytes()),
            self.sent().count(),
            self.parts.len(),
            Human(all - self.sent_bytes())
        )
    }
}

fn word(outcome: UploadOutcome) -> &'static str {
    match outcome {
        UploadOutcome::Present => "there",
        UploadOutcome::Mounted => "mounted",
        UploadOutcome::Sent => "sent",
    }
}

/// Name and version of the document; a reader refuses others.
const PUSH_SCHEMA: &str = "imgdelta.push/1";
/// Deltas that are compared with the pushed one. Few have the same length.
const MAX_COMPARED: usize = 20;
