//! A delta into the repository that holds its target.
//!
//! Sends only what is not there. Never sends an image: the target must be there first, so that
//! nobody finds a delta to something that cannot be checked.

use crate::{
    artifact::{ARTIFACT_TYPE, CONFIG, Split, config_blob},
    failure::{Failure, Result, Why},
    repository::{Named, Repository},
    upload::Uploaded,
};
use imgdelta_apply::delta::Delta;
use imgdelta_core::{
    BlobDigest, Error,
    size::{Exact, Human},
};
use imgdelta_image::store::{Descriptor, source::ReadAt};
use serde_json::{Value, json};
use std::{collections::HashMap, fmt, sync::Arc};
use tokio::task::JoinSet;

/// What pushing a delta did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pushed {
    /// The repository.
    pub place: String,
    /// The artifact's manifest.
    pub artifact: BlobDigest,
    /// The target's manifest, its subject.
    pub target: BlobDigest,
    /// The parts, the front first, and how each came to be there.
    pub parts: Vec<(Descriptor, Uploaded)>,
}

/// How a delta is pushed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PushOptions {
    /// A tag that must be the target, or an index that has it. None.
    pub tag: Option<String>,
    /// Other repositories of the registry, by name, where blobs may lie already: those are mounted
    /// from there if the registry does so, else sent. None.
    pub elsewhere: HashMap<BlobDigest, String>,
}

impl PushOptions {
    /// Sets a tag that must be the target.
    pub fn tag(mut self, tag: Option<String>) -> Self {
        self.tag = tag;
        self
    }

    /// Sets where blobs may lie already.
    pub fn elsewhere(mut self, elsewhere: HashMap<BlobDigest, String>) -> Self {
        self.elsewhere = elsewhere;
        self
    }
}

/// Pushes a delta; `source` is the file that it was opened from.
pub async fn push(
    repository: &Repository,
    delta: &Delta,
    source: Arc<dyn ReadAt>,
    options: &PushOptions,
) -> Result<Pushed> {
    let target = delta.digest();
    let fault = |what: String, error: Error| Failure::wrong(repository.place(), what, error);
    let subject = repository.head(&Named::Digest(target)).await?;
    let Some(mut subject) = subject else {
        let said = "the image that the delta makes must be in the repository first".into();
        let asked = format!("manifest {target}").into();
        return Err(Failure {
            place: repository.place().into(),
            asked,
            why: Why::NotFound { said },
        });
    };
    if subject.media_type().is_empty() {
        subject.media_type = Some(delta.media_type().to_owned());
    }
    if let Some(tag) = &options.tag {
        check_tag(repository, tag, &target).await?;
    }
    let split_delta = delta.clone();
    let split_source = Arc::clone(&source);
    let split = tokio::task::spawn_blocking(move || Split::of(&split_delta, &split_source)).await;
    let split = match split {
        Ok(split) => split.map_err(|error| fault("taking the delta apart".into(), error))?,
        Err(error) => {
            let error = Error::io(delta.place())(std::io::Error::other(error));
            return Err(fault("taking the delta apart".into(), error));
        }
    };

    let front: Arc<dyn ReadAt> = Arc::new(split.front.clone());
    let config: Arc<dyn ReadAt> = Arc::new(CONFIG.to_vec());
    let mut works = vec![(split.front_blob(), front, 0), (config_blob(), config, 0)];
    for part in &split.parts {
        // One blob may be several parts; it is sent once.
        if works.iter().all(|(blob, ..)| blob.digest != part.blob.digest) {
            works.push((part.blob.clone(), Arc::clone(&source), part.offset));
        }
    }
    let mut transfers = JoinSet::new();
    for (at, (blob, source, offset)) in works.into_iter().enumerate() {
        let repository = repository.clone();
        let from = options.elsewhere.get(&blob.digest).filter(|from| *from != repository.name());
        let from = from.cloned();
        transfers.spawn(async move {
            let outcome = repository.put_blob(&blob, source, offset, from.as_deref()).await;
            (at, blob, outcome)
        });
    }
    let mut parts = Vec::new();
    while let Some(done) = transfers.join_next().await {
        let (at, blob, outcome) = done.map_err(|error| {
            fault("uploading".into(), Error::io(delta.place())(std::io::Error::other(error)))
        })?;
        parts.push((at, blob, outcome?));
    }
    parts.sort_by_key(|(at, ..)| *at);
    // The config is nothing to tell of.
    let parts = parts.into_iter().filter(|(at, ..)| *at != 1).map(|(_, blob, how)| (blob, how));
    let parts = parts.collect();
    let manifest = split.manifest(delta, &subject);
    repository.attach(&manifest, &target).await?;
    Ok(Pushed { place: repository.place(), artifact: manifest.descriptor.digest, target, parts })
}

async fn check_tag(repository: &Repository, tag: &str, target: &BlobDigest) -> Result<()> {
    let found = repository.manifest(&Named::Tag(tag.to_owned())).await?;
    if found.descriptor.digest == *target {
        return Ok(());
    }
    let document: Value = serde_json::from_slice(&found.bytes).unwrap_or_default();
    let digest = target.to_string();
    let mut children = document["manifests"].as_array().into_iter().flatten();
    if children.any(|child| child["digest"] == digest) {
        return Ok(());
    }
    let what = format!(
        "tag {tag:?} is {}, the delta makes {target}: push to the tag of its target, or to none",
        found.descriptor.digest
    );
    let error = Error::bad_input(repository.place(), what);
    Err(Failure::wrong(repository.place(), format!("tag {tag}"), error))
}

impl Pushed {
    /// Returns how many bytes of parts were sent.
    pub fn sent_bytes(&self) -> u64 {
        let sent = self.parts.iter().filter(|(_, how)| *how == Uploaded::Sent);
        sent.map(|(blob, _)| blob.size_bytes).sum()
    }

    /// Returns the result for machines.
    pub fn json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "place": self.place,
            "artifact": self.artifact.to_string(),
            "artifact_type": ARTIFACT_TYPE,
            "target": self.target.to_string(),
            "sent_bytes": self.sent_bytes(),
            "parts": self.parts.iter().map(|(blob, how)| json!({
                "digest": blob.digest.to_string(),
                "media_type": blob.media_type(),
                "bytes": blob.size_bytes,
                "how": word(*how),
            })).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "delta   {}", self.artifact)?;
        writeln!(f, "to      {}", self.place)?;
        writeln!(f, "beside  {}", self.target)?;
        let there: u64 = self.parts.iter().map(|(blob, _)| blob.size_bytes).sum();
        let there = there - self.sent_bytes();
        writeln!(
            f,
            "sent    {} in {} of {} parts; {} was there",
            Exact(self.sent_bytes()),
            self.parts.iter().filter(|(_, how)| *how == Uploaded::Sent).count(),
            self.parts.len(),
            Human(there)
        )
    }
}

fn word(how: Uploaded) -> &'static str {
    match how {
        Uploaded::There => "there",
        Uploaded::Mounted => "mounted",
        Uploaded::Sent => "sent",
    }
}

/// The name and version of the document; a reader refuses another.
const SCHEMA: &str = "imgdelta.push/1";
