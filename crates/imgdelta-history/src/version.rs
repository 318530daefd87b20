//! One version of a repository, and the ways between versions.
//! Never sends anything.

use imgdelta_core::BlobDigest;
use imgdelta_image::image::Image;
use imgdelta_registry::TagName;
use std::collections::{BTreeMap, HashSet};

/// A version: an image with its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// Its tags, the first by number first. No list is empty.
    pub tags: Vec<TagName>,
    /// Digest of the image's manifest, for one platform.
    pub digest: BlobDigest,
    /// Creation time from the config, as spelled.
    pub created: Option<String>,
    /// Its layers in order: digest and size of the blobs.
    pub layers: Vec<(BlobDigest, u64)>,
    /// The change against the version before it; none for the first in the list.
    pub change: Option<VersionChange>,
    /// Deltas that make it.
    pub deltas: Vec<VersionDelta>,
}

/// The layers that a version has and the version before it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionChange {
    /// First tag of the version before it.
    pub from: TagName,
    /// Bytes of these layers.
    pub pull_bytes: u64,
    /// Number of these layers.
    pub pull_layers: usize,
}

/// A delta in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionDelta {
    /// Digest of its manifest.
    pub digest: BlobDigest,
    /// Digest of the base image's manifest, if an annotation names it.
    pub base: Option<BlobDigest>,
    /// First tag of the base, if it is in the list.
    pub from: Option<TagName>,
    /// Bytes of all its parts.
    pub bytes: u64,
}

/// The bytes from one version to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeWay {
    /// First tag of the version that a machine has.
    pub from: TagName,
    /// First tag of the version that it wants.
    pub to: TagName,
    /// Bytes of the layers that it lacks.
    pub pull_bytes: u64,
    /// Bytes of the smallest delta, if there is one.
    pub delta_bytes: Option<u64>,
}

impl Version {
    pub(crate) fn of(tags: Vec<TagName>, image: &Image) -> Self {
        let blobs = image.layers.iter().map(|layer| &layer.descriptor);
        Self {
            tags,
            digest: image.digest,
            created: image.config.created.clone(),
            layers: blobs.map(|blob| (blob.digest, blob.size_bytes)).collect(),
            change: None,
            deltas: Vec::new(),
        }
    }

    /// Returns the first tag.
    pub fn tag(&self) -> &TagName {
        &self.tags[0]
    }

    /// Returns the bytes of a pull from scratch; equal layers count once.
    pub fn bytes(&self) -> u64 {
        self.lacking(&[]).values().sum()
    }

    /// Returns the layers that a machine with `base` lacks, each once.
    pub(crate) fn lacking(&self, base: &[(BlobDigest, u64)]) -> BTreeMap<BlobDigest, u64> {
        let present: HashSet<BlobDigest> = base.iter().map(|(digest, _)| *digest).collect();
        self.layers.iter().filter(|(digest, _)| !present.contains(digest)).copied().collect()
    }

    /// Returns the way from another version to this one.
    pub(crate) fn way_from(&self, base: &Self) -> UpgradeWay {
        let deltas = self.deltas.iter().filter(|delta| delta.base == Some(base.digest));
        UpgradeWay {
            from: base.tag().clone(),
            to: self.tag().clone(),
            pull_bytes: self.lacking(&base.layers).values().sum(),
            delta_bytes: deltas.map(|delta| delta.bytes).min(),
        }
    }
}
