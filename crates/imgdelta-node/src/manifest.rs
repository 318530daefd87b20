//! The manifest that a registry answered: is it an image whose layers may be rebuilt?

use imgdelta_core::{Algorithm, BlobDigest, verify::Hasher};
use serde::Deserialize;

/// Returns the digest of an image's manifest; `None` for an index, for an artifact, and for bytes
/// that do not have the `requested` digest.
pub(crate) fn image_digest(bytes: &[u8], requested: Option<&BlobDigest>) -> Option<BlobDigest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ImageManifest {
        config: ManifestConfig,
        layers: Vec<serde::de::IgnoredAny>,
        #[serde(default)]
        artifact_type: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ManifestConfig {
        media_type: String,
    }
    let manifest: ImageManifest = serde_json::from_slice(bytes).ok()?;
    let is_image = CONFIG_TYPES.contains(&manifest.config.media_type.as_str())
        && manifest.artifact_type.is_none()
        && !manifest.layers.is_empty();
    if !is_image {
        return None;
    }
    let mut hasher = Hasher::new(requested.map_or(Algorithm::Sha256, BlobDigest::algorithm));
    hasher.update(bytes);
    let digest = hasher.finish_blob();
    requested.is_none_or(|requested| *requested == digest).then_some(digest)
}

/// Configs of images that runtimes run.
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

#[cfg(test)]
mod tests {
    use super::*;

    fn image(config: &str, extra: &str) -> Vec<u8> {
        format!(
            "{{\"schemaVersion\":2,{extra}\"config\":{{\"mediaType\":\"{config}\"}},\"layers\":[{{}}]}}"
        )
        .into_bytes()
    }

    #[test]
    fn only_images_are_rebuilt() {
        for config in CONFIG_TYPES {
            assert!(image_digest(&image(config, ""), None).is_some());
        }
        let oci = CONFIG_TYPES[0];
        assert_eq!(image_digest(&image(oci, "\"artifactType\":\"a/b\","), None), None);
        assert_eq!(image_digest(&image("application/vnd.oci.empty.v1+json", ""), None), None);
        assert_eq!(image_digest(b"{\"manifests\":[]}", None), None);
        assert_eq!(image_digest(b"<html>", None), None);
    }

    #[test]
    fn bytes_with_another_digest_are_only_passed_on() {
        let bytes = image(CONFIG_TYPES[0], "");
        let digest = image_digest(&bytes, None).unwrap();
        assert_eq!(image_digest(&bytes, Some(&digest)), Some(digest));
        let other = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        assert_eq!(image_digest(&bytes, Some(&other)), None);
    }
}
