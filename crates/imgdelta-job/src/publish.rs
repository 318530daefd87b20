//! Deltas beside their targets: found, sent, removed.
//!
//! Touches nothing but deltas: every other artifact stays as it is, however it is called.

use imgdelta_apply::delta::Delta;
use imgdelta_core::{BlobDigest, Error, Result};
use imgdelta_image::store::source::ReadAt;
use imgdelta_registry::{
    Named, PushOptions, Pushed, Referrer, Repository,
    artifact::{ARTIFACT_TYPE, Artifact, BASE_ANNOTATION},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// A delta that lies in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub artifact: BlobDigest,
    /// What it was made against, if it says so.
    pub base: Option<BlobDigest>,
}

/// Returns the deltas beside a target.
pub(crate) async fn beside(repository: &Repository, target: &BlobDigest) -> Result<Vec<Published>> {
    let mut found = Vec::new();
    for referrer in repository.referrers(target, ARTIFACT_TYPE).await? {
        let artifact = referrer.descriptor.digest;
        let base = match told(&referrer) {
            Some(base) => Some(base),
            // Not every list repeats annotations.
            None => match repository.manifest(&Named::Digest(artifact)).await {
                Err(failure) if failure.is_not_found() => continue,
                Err(failure) => return Err(failure.into()),
                Ok(manifest) => match Artifact::parse(&manifest, &repository.place()) {
                    Ok(artifact) => artifact.base,
                    Err(error) => {
                        tracing::warn!(%artifact, %error, "no delta, whatever it says it is");
                        continue;
                    }
                },
            },
        };
        found.push(Published { artifact, base });
    }
    Ok(found)
}

/// Returns the delta from a base to a target, if it is there.
pub(crate) async fn there(
    repository: &Repository,
    base: &BlobDigest,
    target: &BlobDigest,
) -> Result<Option<BlobDigest>> {
    for published in beside(repository, target).await? {
        // A list may name what is gone.
        if published.base == Some(*base)
            && repository.head(&Named::Digest(published.artifact)).await?.is_some()
        {
            return Ok(Some(published.artifact));
        }
    }
    Ok(None)
}

/// Sends a delta; what lies in another repository is mounted from there. The same delta is the same
/// artifact, so that two who send it do no harm.
pub(crate) async fn publish(
    repository: &Repository,
    delta: &Delta,
    file: Arc<dyn ReadAt>,
    lies_in: HashMap<BlobDigest, String>,
) -> Result<Pushed> {
    let options = PushOptions::default().elsewhere(lies_in);
    imgdelta_registry::push(repository, delta, file, &options).await.map_err(Error::from)
}

/// Lists those artifacts beside a target again that are there, but no longer listed. Where the
/// registry keeps no list itself, whoever writes one at the same moment may drop another's entry.
pub(crate) async fn list_again(
    repository: &Repository,
    target: &BlobDigest,
    artifacts: &BTreeSet<BlobDigest>,
) -> Result<()> {
    let listed = repository.referrers(target, ARTIFACT_TYPE).await?;
    let listed: BTreeSet<_> = listed.iter().map(|referrer| referrer.descriptor.digest).collect();
    for artifact in artifacts.difference(&listed) {
        match repository.manifest(&Named::Digest(*artifact)).await {
            Err(failure) if failure.is_not_found() => {}
            outcome => {
                repository.attach(&outcome?, target).await?;
                tracing::warn!(%artifact, %target, "was no longer listed, and is again");
            }
        }
    }
    Ok(())
}

fn told(referrer: &Referrer) -> Option<BlobDigest> {
    referrer.annotations.get(BASE_ANNOTATION)?.parse().ok()
}
