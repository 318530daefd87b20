//! The deltas that lie next to an image.
//!
//! Downloads documents only. Never trusts an annotation for more than what it shows.

use crate::signature::{self, SignatureKind};
use imgdelta::{Reference, Session};
use imgdelta_core::{BlobDigest, Error, Note, Result, sort::SharedSort};
use imgdelta_image::{image::Image, reference::TagName, store::Descriptor};
use imgdelta_registry::{
    Manifest, ManifestReference, Registries, Repository,
    artifact::{ARTIFACT_TYPE, Artifact},
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// An image in a registry, and the deltas that make it.
#[derive(Debug)]
pub struct ImageDeltas {
    pub(crate) registries: Registries,
    pub(crate) repository: Repository,
    /// The image.
    pub image: Image,
    /// Deltas that make it, the smallest first.
    pub deltas: Vec<ListedDelta>,
    /// Remarks about artifacts that are not readable.
    pub notes: Vec<Note>,
}

/// One delta of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListedDelta {
    /// The delta's manifest.
    pub artifact: Artifact,
    /// Bytes of its parts, which a receiver without any of them fetches.
    pub bytes: u64,
    /// The image that it was made from.
    pub base: Option<DeltaBase>,
    /// Kinds of the signatures next to it. They are not verified.
    pub signatures: BTreeSet<SignatureKind>,
}

/// The image that a delta was made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeltaBase {
    /// Digest of its manifest.
    pub digest: BlobDigest,
    /// Tags that name it; empty if there are none, or too many to look at.
    pub tags: Vec<String>,
    /// Bytes of a plain pull by a node that has that image; `None` if the repository no longer has it.
    pub pull_bytes: Option<u64>,
}

impl ImageDeltas {
    /// Finds the deltas that make an image. Blocks.
    pub fn find(registries: &Registries, session: &Session, image: &Reference) -> Result<Self> {
        let repository = registries.repository(image)?;
        let image = session.open(image)?;
        let (of, subject) = (repository.clone(), image.digest);
        let referrers =
            registries.wait(async move { of.referrers(&subject, ARTIFACT_TYPE).await })?;
        let TagList { versions, signed } = TagList::of(registries, &repository);
        let (mut deltas, mut notes) = (Vec::new(), Vec::new());
        let mut bases = BTreeMap::new();
        for referrer in referrers.into_iter().take(MAX_DELTAS) {
            let digest = referrer.descriptor.digest;
            let parsed = manifest(registries, &repository, digest)
                .and_then(|manifest| Artifact::parse(&manifest, &repository.place()));
            let artifact = match parsed {
                Ok(artifact) => artifact,
                Err(error) => {
                    notes.push(Note::new("skipped", error));
                    continue;
                }
            };
            let base = artifact.base.map(|digest| {
                let pull_bytes = *bases.entry(digest).or_insert_with(|| {
                    pull_bytes(&image, &manifest(registries, &repository, digest).ok()?)
                });
                let tags = versions.get(&digest).cloned().unwrap_or_default();
                DeltaBase { digest, tags, pull_bytes }
            });
            let mut signatures = BTreeSet::new();
            if deltas.len() < MAX_SIGNED {
                signatures = signature::referring(registries, &repository, digest);
            }
            if signed.contains(&signature::cosign_tag(&digest)) {
                signatures.insert(SignatureKind::Cosign);
            }
            deltas.push(ListedDelta { bytes: bytes(&artifact), artifact, base, signatures });
        }
        deltas.shared_sort_by_key(|delta| (delta.bytes, delta.artifact.descriptor.digest));
        let registries = registries.clone();
        Ok(Self { registries, repository, image, deltas, notes })
    }

    /// Returns the delta whose digest begins with these digits, or the only one.
    pub fn choose(&self, digits: Option<&str>) -> Result<&ListedDelta> {
        let digits = digits.map(|text| text.strip_prefix("sha256:").unwrap_or(text));
        let is_chosen = |delta: &&ListedDelta| {
            digits.is_none_or(|digits| delta.digest().hex().starts_with(digits))
        };
        let mut chosen = self.deltas.iter().filter(is_chosen);
        match (chosen.next(), chosen.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(self.missing(digits.map_or("a delta".into(), |digits| {
                format!("a delta whose digest begins with {:?}", digits.escape_debug().to_string())
            }))),
            (Some(_), Some(_)) => {
                Err(self.missing("a single delta, to be taken without its digest,".into()))
            }
        }
    }

    /// Deletes a delta. The image and other deltas stay. Blocks.
    pub fn delete(&self, delta: &ListedDelta) -> Result<()> {
        let (repository, subject) = (self.repository.clone(), self.image.digest);
        let artifact = *delta.digest();
        let deleted = async move { repository.detach(&artifact, &subject).await };
        Ok(self.registries.wait(deleted)?)
    }

    fn missing(&self, what: String) -> Error {
        let present = self.deltas.iter().map(ListedDelta::short_name).collect();
        Error::NotFound { place: self.image.name.clone(), what, present }
    }
}

impl ListedDelta {
    /// Returns the digest of the delta's manifest, which names it.
    pub fn digest(&self) -> &BlobDigest {
        &self.artifact.descriptor.digest
    }

    /// Returns enough of its digest to distinguish deltas.
    pub fn short_name(&self) -> String {
        self.digest().hex()[..12].to_owned()
    }
}

/// The tags of a repository. Without an answer, none.
#[derive(Default)]
struct TagList {
    /// Tags of each image; none if there are too many to look at.
    versions: BTreeMap<BlobDigest, Vec<String>>,
    /// Tags that are derived from digests, as those of signatures.
    signed: HashSet<String>,
}

impl TagList {
    fn of(registries: &Registries, repository: &Repository) -> Self {
        let of = repository.clone();
        registries.wait(async move {
            let mut list = Self::default();
            let tags = of.tags().await.unwrap_or_default();
            let is_derived = |tag: &TagName| imgdelta_registry::is_digest_tag(tag.as_str());
            let (derived, tags): (Vec<_>, Vec<_>) = tags.into_iter().partition(is_derived);
            list.signed = derived.iter().map(ToString::to_string).collect();
            if tags.len() > MAX_TAGS {
                return list;
            }
            for tag in tags {
                if let Ok(Some(found)) = of.head(&ManifestReference::Tag(tag.clone())).await {
                    list.versions.entry(found.digest).or_default().push(tag.to_string());
                }
            }
            list
        })
    }
}

fn manifest(
    registries: &Registries,
    repository: &Repository,
    digest: BlobDigest,
) -> Result<Manifest> {
    let of = repository.clone();
    let reference = ManifestReference::Digest(digest);
    Ok(registries.wait(async move { of.manifest(&reference).await })?)
}

/// Returns the bytes of the image's layers that a base does not have.
fn pull_bytes(image: &Image, base: &Manifest) -> Option<u64> {
    #[derive(Deserialize)]
    struct LayerList {
        layers: Vec<Descriptor>,
    }
    let base: LayerList = serde_json::from_slice(&base.bytes).ok()?;
    let mut present: HashSet<BlobDigest> = base.layers.iter().map(|layer| layer.digest).collect();
    let layers = image.layers.iter().map(|layer| &layer.descriptor);
    let missing = layers.filter(|layer| present.insert(layer.digest));
    Some(missing.fold(0, |sum, layer| sum.saturating_add(layer.size_bytes)))
}

fn bytes(artifact: &Artifact) -> u64 {
    let parts = artifact.recipes.iter().map(|recipe| &recipe.blob).chain(&artifact.carried);
    let parts = parts.chain([&artifact.front]);
    parts.fold(0, |sum, part| sum.saturating_add(part.size_bytes))
}

/// An image has deltas from its last versions, a few dozen at most.
const MAX_DELTAS: usize = 1000;
/// Each tag takes a request.
const MAX_TAGS: usize = 100;
/// The referrers of each delta take a request.
const MAX_SIGNED: usize = 100;
