//! Deltas in a registry, listed with their targets: found, uploaded, listed again.
//!
//! Changes deltas only: other artifacts of an image stay unchanged.

use imgdelta::{BlobDigest, Error, Result, delta::Delta};
use imgdelta_registry::{
    ManifestReference, PushOptions, PushReport, Referrer, Repository, RepositoryName,
    artifact::{ARTIFACT_TYPE, Artifact, BASE_ANNOTATION},
};
use std::collections::{BTreeSet, HashMap};

/// A delta in the list of a target's referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedDelta {
    pub artifact: BlobDigest,
    /// Its base, if the delta names one.
    pub base: Option<BlobDigest>,
}

/// Returns the deltas to a target.
pub(crate) async fn deltas_to(
    repository: &Repository,
    target: &BlobDigest,
) -> Result<Vec<ListedDelta>> {
    let mut deltas = Vec::new();
    for referrer in repository.referrers(target, ARTIFACT_TYPE).await? {
        let artifact = referrer.descriptor.digest;
        let base = match annotated_base(&referrer) {
            Some(base) => Some(base),
            // Some lists lack annotations; the manifest has them.
            None => match repository.manifest(&ManifestReference::Digest(artifact)).await {
                Err(failure) if failure.is_not_found() => continue,
                Err(failure) => return Err(failure.into()),
                Ok(manifest) => match Artifact::parse(&manifest, &repository.place()) {
                    Ok(artifact) => artifact.base,
                    Err(error) => {
                        tracing::warn!(%artifact, %error, "listed as a delta, and is not one");
                        continue;
                    }
                },
            },
        };
        deltas.push(ListedDelta { artifact, base });
    }
    Ok(deltas)
}

/// Returns the delta from a base to a target, if the registry has it.
pub(crate) async fn find(
    repository: &Repository,
    base: &BlobDigest,
    target: &BlobDigest,
) -> Result<Option<BlobDigest>> {
    for delta in deltas_to(repository, target).await? {
        // A list may contain deleted artifacts.
        if delta.base == Some(*base)
            && repository.head(&ManifestReference::Digest(delta.artifact)).await?.is_some()
        {
            return Ok(Some(delta.artifact));
        }
    }
    Ok(None)
}

/// Uploads a delta; blobs in other repositories are mounted from there. Equal deltas are one
/// artifact, so that two workers may upload the same one (test
/// `two_racing_workers_publish_one_delta`).
pub(crate) async fn upload(
    repository: &Repository,
    delta: &Delta,
    blob_repositories: HashMap<BlobDigest, RepositoryName>,
) -> Result<PushReport> {
    let options = PushOptions::default().elsewhere(blob_repositories);
    repository.push(delta, &options).await.map_err(Error::from)
}

/// Lists those artifacts of a target again that exist and are no longer listed. In a registry
/// without referrers, clients that write a list at the same moment may drop each other's entries.
pub(crate) async fn list_again(
    repository: &Repository,
    target: &BlobDigest,
    artifacts: &BTreeSet<BlobDigest>,
) -> Result<()> {
    let listed = repository.referrers(target, ARTIFACT_TYPE).await?;
    let listed: BTreeSet<_> = listed.iter().map(|referrer| referrer.descriptor.digest).collect();
    for artifact in artifacts.difference(&listed) {
        match repository.manifest(&ManifestReference::Digest(*artifact)).await {
            Err(failure) if failure.is_not_found() => {}
            outcome => {
                repository.attach(&outcome?, target).await?;
                tracing::warn!(%artifact, %target, "listed again: another client dropped it");
            }
        }
    }
    Ok(())
}

fn annotated_base(referrer: &Referrer) -> Option<BlobDigest> {
    referrer.annotations.get(BASE_ANNOTATION)?.parse().ok()
}
