//! Kinds of content by media type: images, other artifacts, indexes, layers that may not be
//! redistributed.
//!
//! Reads media types only, never content.

use super::manifest::Manifest;
use imgdelta_core::path::escaped;

/// Returns a description of an artifact, or `None` if the manifest is that of an image.
pub(super) fn not_an_image(manifest: &Manifest) -> Option<String> {
    let config = manifest.config.media_type();
    if matches!(config, "" | OCI_CONFIG | DOCKER_CONFIG) {
        // A wasm module may have the config of an image.
        let is_wasm = manifest.layers.iter().any(|layer| layer.media_type().ends_with("+wasm"));
        return is_wasm.then(|| "a WebAssembly module".to_owned());
    }
    let named = KINDS.iter().find(|(part, _)| config.contains(part));
    let kind = match (named, &manifest.artifact_type) {
        (Some((_, kind)), _) => return Some(format!("{kind} (config media type {config})")),
        (None, Some(kind)) => kind.as_str(),
        (None, None) => config,
    };
    let shown: String = kind.chars().take(MAX_SHOWN_CHARS).collect();
    Some(format!("an artifact of type {:?}", escaped(shown.as_bytes())))
}

/// Returns true if a layer's media type allows redistribution.
pub(super) fn is_distributable(media_type: &str) -> bool {
    !media_type.contains(".nondistributable.") && !media_type.contains(".foreign.")
}

/// Returns true if a media type is that of an index.
pub(super) fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const KINDS: &[(&str, &str)] = &[
    ("vnd.cncf.helm.", "a Helm chart"),
    ("vnd.wasm.", "a WebAssembly module"),
    ("vnd.docker.plugin.", "a Docker plugin"),
    ("vnd.buildkit.cacheconfig", "a BuildKit cache"),
    ("vnd.dev.cosign", "a Sigstore signature"),
    ("vnd.cncf.notary.signature", "a Notary signature"),
];
/// Long enough to recognise a mistake, short enough for a terminal line.
const MAX_SHOWN_CHARS: usize = 120;
