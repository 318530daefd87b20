//! Deltas in a registry, listed with their targets: found, uploaded, listed again.
//!
//! Changes deltas only: other artifacts of an image stay unchanged.

use imgdelta::{BlobDigest, Error, Result, delta::Delta};
use imgdelta_registry::{
    FRAMES_TYPE, ManifestReference, PushOptions, PushReport, Referrer, Repository, RepositoryName,
    artifact::{ARTIFACT_TYPE, Artifact, BASE_ANNOTATION, BYTES_ANNOTATION},
};
use std::collections::{BTreeSet, HashMap};

/// A delta in the list of a target's referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedDelta {
    pub artifact: BlobDigest,
    /// Its base, if the delta names one.
    pub base: Option<BlobDigest>,
    /// Its length, if the list states it.
    pub bytes: Option<u64>,
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
        let bytes = referrer.annotations.get(BYTES_ANNOTATION).and_then(|text| text.parse().ok());
        deltas.push(ListedDelta { artifact, base, bytes });
    }
    Ok(deltas)
}

/// Returns the delta from a base to a target, or the one without a base, if the registry has it.
pub(crate) async fn find(
    repository: &Repository,
    base: Option<&BlobDigest>,
    target: &BlobDigest,
) -> Result<Option<BlobDigest>> {
    Ok(find_listed(repository, base, target).await?.map(|delta| delta.artifact))
}

/// Returns the delta of [`find`] as the registry lists it.
pub(crate) async fn find_listed(
    repository: &Repository,
    base: Option<&BlobDigest>,
    target: &BlobDigest,
) -> Result<Option<ListedDelta>> {
    for delta in deltas_to(repository, target).await? {
        // A list may contain deleted artifacts.
        if delta.base.as_ref() == base
            && repository.head(&ManifestReference::Digest(delta.artifact)).await?.is_some()
        {
            return Ok(Some(delta));
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
    let options = PushOptions::default().elsewhere(blob_repositories).creator(CREATOR);
    repository.push(delta, &options).await.map_err(Error::from)
}

/// Lists those artifacts of an image again that exist and are no longer listed, or whose entries lack
/// their type. In a registry without referrers, clients that write a list at the same moment may drop
/// each other's entries, and tools that copy a repository may drop types.
pub(crate) async fn list_again(
    repository: &Repository,
    image: &BlobDigest,
    artifacts: &BTreeSet<BlobDigest>,
) -> Result<()> {
    let mut listed = repository.referrers(image, ARTIFACT_TYPE).await?;
    if artifacts.iter().any(|artifact| !is_listed(&listed, artifact)) {
        listed.extend(repository.referrers(image, FRAMES_TYPE).await?);
    }
    for artifact in artifacts.iter().filter(|artifact| !is_listed(&listed, artifact)) {
        match repository.manifest(&ManifestReference::Digest(*artifact)).await {
            Err(failure) if failure.is_not_found() => {}
            outcome => {
                repository.attach(&outcome?, image).await?;
                tracing::warn!(%artifact, %image, "listed again: another client changed its entry");
            }
        }
    }
    Ok(())
}

/// Returns true if an artifact is listed with its type.
fn is_listed(listed: &[Referrer], artifact: &BlobDigest) -> bool {
    let entry = listed.iter().find(|referrer| referrer.descriptor.digest == *artifact);
    entry.is_some_and(Referrer::states_type)
}

fn annotated_base(referrer: &Referrer) -> Option<BlobDigest> {
    referrer.annotations.get(BASE_ANNOTATION)?.parse().ok()
}

/// The program, in the annotations of the deltas that it pushes.
const CREATOR: &str = concat!("imgdelta job ", env!("CARGO_PKG_VERSION"));
