//! The frames of an image's layers as an artifact in its repository: pushed, found, downloaded.
//!
//! Each layer's frames are a blob of their own, which all images with that layer share. Never looks
//! into frames: their user compares the stream that they give.

use crate::{
    artifact::{BYTES_ANNOTATION, CONFIG, MANIFEST_TYPE, TARGET_ANNOTATION, config_blob},
    error::{RequestError, RequestErrorKind, Result},
    referrers::ListLimit,
    repository::{Manifest, ManifestReference, Repository, digest_of},
    upload::UploadOutcome,
};
use imgdelta_core::{Algorithm, BlobDigest, DiffId, Error, limits::Ceiling};
use imgdelta_image::store::Descriptor;
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// Type of the artifact and of its config.
pub const FRAMES_TYPE: &str = "application/vnd.imgdelta.frames.v1";
/// Media type of the frames of one layer.
pub const LAYER_FRAMES_TYPE: &str = "application/vnd.imgdelta.frames.v1.layer";

/// The frames of one layer in a registry, by the annotations of their artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FramesBlob {
    /// The stream that they give with the files of the layer.
    pub diff_id: DiffId,
    /// The length of the stream.
    pub stream_bytes: u64,
    /// The frames.
    pub blob: Descriptor,
}

impl FramesBlob {
    /// Describes frames that are to be pushed.
    pub fn of(diff_id: DiffId, stream_bytes: u64, frames: &[u8]) -> Self {
        let digest = digest_of(Algorithm::Sha256, frames);
        let blob = Descriptor::new(Some(LAYER_FRAMES_TYPE), digest, frames.len() as u64);
        Self { diff_id, stream_bytes, blob }
    }
}

/// Result of pushing frames.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FramesReport {
    /// The artifact's manifest.
    pub artifact: BlobDigest,
    /// Bytes of frames that were sent; the registry had the others.
    pub sent_bytes: u64,
}

impl Repository {
    /// Pushes the frames of an image's layers. The image must be in this repository.
    pub async fn push_frames(
        &self,
        image: &BlobDigest,
        frames: Vec<(FramesBlob, Vec<u8>)>,
    ) -> Result<FramesReport> {
        let Some(subject) = self.head(&ManifestReference::Digest(*image)).await? else {
            let message = "it is not in this repository; push it first".into();
            let kind = RequestErrorKind::NotFound { message };
            return Err(RequestError::new(self.place(), format!("image {image}"), kind));
        };
        let config = Descriptor { media_type: Some(FRAMES_TYPE.into()), ..config_blob() };
        self.put_blob(&config, Arc::new(CONFIG.to_vec()), 0, None).await?;
        let blobs: Vec<FramesBlob> = frames.iter().map(|(blob, _)| blob.clone()).collect();
        let mut sent_bytes = 0;
        for (FramesBlob { blob, .. }, bytes) in frames {
            if self.put_blob(&blob, Arc::new(bytes), 0, None).await? == UploadOutcome::Sent {
                sent_bytes += blob.size_bytes;
            }
        }
        let manifest = manifest(&blobs, &config, &subject);
        self.attach(&manifest, image).await?;
        Ok(FramesReport { artifact: manifest.descriptor.digest, sent_bytes })
    }

    /// Returns the artifacts with frames that an image's list of referrers names.
    pub async fn frames_artifacts(&self, image: &BlobDigest) -> Result<Vec<BlobDigest>> {
        let listed = self.referrers(image, FRAMES_TYPE).await?.into_iter();
        Ok(listed.map(|referrer| referrer.descriptor.digest).collect())
    }

    /// Returns the frames that an artifact names, each layer once.
    pub async fn frames_in(&self, artifact: &BlobDigest) -> Result<Vec<FramesBlob>> {
        let manifest = self.manifest(&ManifestReference::Digest(*artifact)).await?;
        parse(&manifest.bytes, &self.place()).map_err(|error| {
            let kind = RequestErrorKind::Invalid(error);
            RequestError::new(self.place(), format!("frames {artifact}"), kind)
        })
    }

    /// Finds the frames of an image's layers, with at most `most_bytes` for the list and each
    /// manifest. Artifacts that cannot be read are skipped.
    pub async fn find_frames(
        &self,
        image: &BlobDigest,
        most_bytes: u64,
    ) -> Result<Vec<FramesBlob>> {
        let limit = ListLimit { pages: MAX_PAGES, bytes: most_bytes.min(MAX_LIST_BYTES) };
        let list = self.referrers_within(image, Some(FRAMES_TYPE), limit).await?;
        for referrer in list.entries.into_iter().take(MAX_ARTIFACTS) {
            let size = referrer.descriptor.size_bytes;
            if size > most_bytes {
                continue;
            }
            let named = ManifestReference::Digest(referrer.descriptor.digest);
            let Ok(manifest) = self.manifest_within(&named, size).await else { continue };
            if let Ok(frames) = parse(&manifest.bytes, &self.place()) {
                return Ok(frames);
            }
        }
        Ok(Vec::new())
    }
}

fn manifest(frames: &[FramesBlob], config: &Descriptor, subject: &Descriptor) -> Manifest {
    let described = |blob: &Descriptor| {
        json!({
            "mediaType": blob.media_type(),
            "digest": blob.digest.to_string(),
            "size": blob.size_bytes,
        })
    };
    let layers = frames.iter().map(|FramesBlob { diff_id, stream_bytes, blob }| {
        let mut layer = described(blob);
        layer["annotations"] = json!({
            TARGET_ANNOTATION: diff_id.to_string(),
            BYTES_ANNOTATION: stream_bytes.to_string(),
        });
        layer
    });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": FRAMES_TYPE,
        "config": described(config),
        "layers": layers.collect::<Vec<_>>(),
        "subject": described(subject),
    });
    let bytes = document.to_string().into_bytes();
    let digest = digest_of(Algorithm::Sha256, &bytes);
    Manifest { descriptor: Descriptor::new(Some(MANIFEST_TYPE), digest, bytes.len() as u64), bytes }
}

/// Parses an artifact's manifest, which was compared with its digest.
fn parse(manifest: &[u8], place: &str) -> imgdelta_core::Result<Vec<FramesBlob>> {
    #[derive(Deserialize)]
    struct FramesManifest {
        config: Descriptor,
        layers: Vec<FramesLayer>,
    }
    #[derive(Deserialize)]
    struct FramesLayer {
        #[serde(flatten)]
        blob: Descriptor,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let document: FramesManifest = serde_json::from_slice(manifest)
        .map_err(|error| Error::bad_input_because(place, "not a manifest of frames", error))?;
    if document.config.media_type() != FRAMES_TYPE {
        return Err(Error::bad_input(place, "the type of its config is not that of frames"));
    }
    Ceiling::fixed(MAX_LAYERS).admit(document.layers.len() as u64, "count of layers", place)?;
    let mut frames: BTreeMap<DiffId, FramesBlob> = BTreeMap::new();
    for FramesLayer { blob, annotations } in document.layers {
        let diff_id = annotations.get(TARGET_ANNOTATION).and_then(|text| text.parse().ok());
        let bytes = annotations.get(BYTES_ANNOTATION).and_then(|text| text.parse().ok());
        if let (LAYER_FRAMES_TYPE, Some(diff_id), Some(stream_bytes)) =
            (blob.media_type(), diff_id, bytes)
        {
            frames.entry(diff_id).or_insert(FramesBlob { diff_id, stream_bytes, blob });
        }
    }
    Ok(frames.into_values().collect())
}

/// Artifacts of an image that are tried.
const MAX_ARTIFACTS: usize = 4;
const MAX_PAGES: u64 = 4;
const MAX_LIST_BYTES: u64 = 4 << 20;
/// Layers of an image.
const MAX_LAYERS: u64 = 4096;
