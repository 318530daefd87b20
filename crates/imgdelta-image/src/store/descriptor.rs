//! Descriptors: the digest, size and media type that a manifest or index states for a blob.
//!
//! Reading is lenient: unknown fields are ignored. Only annotations that decide something are kept,
//! so that megabytes of hostile annotations cost nothing.

use imgdelta_core::{BlobDigest, DiffId};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A blob's digest and size, with the statements about its content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Descriptor {
    /// Media type; often missing in old files.
    #[serde(rename = "mediaType", default)]
    pub media_type: Option<String>,
    /// Digest of its bytes.
    #[serde(deserialize_with = "digest")]
    pub digest: BlobDigest,
    /// Number of its bytes, at most [`MOST_BYTES`].
    #[serde(rename = "size", deserialize_with = "size")]
    pub size_bytes: u64,
    /// Type of an artifact; images have none.
    #[serde(rename = "artifactType", default)]
    pub artifact_type: Option<String>,
    /// Platform of an image in an index.
    #[serde(default)]
    pub platform: Option<PlatformFields>,
    /// Annotations that decide something.
    #[serde(default)]
    pub annotations: Option<Annotations>,
}

impl Descriptor {
    /// Returns a descriptor with a digest, a size, and perhaps a media type.
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

    /// Describes a layer's uncompressed stream as a blob of its own: both have one digest.
    pub fn of_stream(diff_id: &DiffId, size_bytes: u64) -> Self {
        let digest = BlobDigest::new(diff_id.algorithm(), diff_id.as_bytes());
        Self::new(Some(STREAM_TYPE), digest.expect("a digest of the same length"), size_bytes)
    }

    /// Returns the media type; empty if there is none.
    pub fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or_default()
    }
}

/// A platform as an index or config spells it; aliases are not resolved.
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

/// Annotations that decide between images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Annotations {
    /// The tag in an OCI layout.
    #[serde(rename = "org.opencontainers.image.ref.name", default)]
    pub ref_name: Option<String>,
    /// The whole reference, written by containerd and Docker.
    #[serde(rename = "io.containerd.image.name", default)]
    pub containerd_name: Option<String>,
    /// `attestation-manifest` for an image's attestations.
    #[serde(rename = "vnd.docker.reference.type", default)]
    pub reference_type: Option<String>,
}

/// Media type of an uncompressed layer.
const STREAM_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Most bytes of a blob: a pebibyte, so that sums over thousands of descriptors do not overflow.
pub const MOST_BYTES: u64 = 1 << 50;

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let bytes = u64::deserialize(deserializer)?;
    if bytes <= MOST_BYTES {
        return Ok(bytes);
    }
    Err(D::Error::custom(format_args!("size {bytes}, should be at most {MOST_BYTES}")))
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlobDigest, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}
