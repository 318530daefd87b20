//! A blob as a manifest or index speaks of it: digest, size and what it is said to be.
//!
//! Read leniently: unknown fields are passed over, and of the annotations only those that decide
//! something are kept, so that a stranger's megabytes of them cost nothing.

use imgdelta_core::BlobDigest;
use serde::{Deserialize, Deserializer, de::Error as _};

/// A blob's digest and size, with what is said about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Descriptor {
    /// What it is said to be; often silent in old files.
    #[serde(rename = "mediaType", default)]
    pub media_type: Option<String>,
    /// Its name.
    #[serde(deserialize_with = "digest")]
    pub digest: BlobDigest,
    /// Its length.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// What an artifact is for.
    #[serde(rename = "artifactType", default)]
    pub artifact_type: Option<String>,
    /// What an image in an index runs on.
    #[serde(default)]
    pub platform: Option<PlatformFields>,
    /// The annotations that decide something.
    #[serde(default)]
    pub annotations: Option<Annotations>,
}

impl Descriptor {
    /// Makes a descriptor of bytes that nothing else is said about.
    pub fn new(media_type: Option<&str>, digest: BlobDigest, size_bytes: u64) -> Self {
        Self {
            media_type: media_type.map(str::to_owned),
            digest,
            size_bytes,
            artifact_type: None,
            platform: None,
            annotations: None,
        }
    }

    /// Returns the media type, empty if there is none.
    pub fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or_default()
    }
}

/// A platform as an index or config spells it, before its aliases are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PlatformFields {
    /// The operating system.
    #[serde(default)]
    pub os: Option<String>,
    /// The processor.
    #[serde(default)]
    pub architecture: Option<String>,
    /// The processor's variant.
    #[serde(default)]
    pub variant: Option<String>,
}

/// The annotations that decide which image is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Annotations {
    /// The tag in an OCI layout.
    #[serde(rename = "org.opencontainers.image.ref.name", default)]
    pub ref_name: Option<String>,
    /// The whole reference, written by containerd and Docker.
    #[serde(rename = "io.containerd.image.name", default)]
    pub containerd_name: Option<String>,
    /// `attestation-manifest` for what accompanies an image.
    #[serde(rename = "vnd.docker.reference.type", default)]
    pub reference_type: Option<String>,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlobDigest, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}
