//! Bare paths: the transport is found by content, and other text gets an error that names the fix.
//!
//! Never opens a registry, and never guesses between two files that exist.

use super::{
    OpenStore, Store,
    directory::DirectoryImage,
    docker_archive::DockerArchive,
    files::{INDEX_FILE, LAYOUT_FILE, MANIFEST_FILE, open_archive},
    layout::OciLayout,
    members::Members,
    spool::STANDARD_INPUT,
};
use crate::reference::{ImageName, parse_name, parse_registry, split_digest};
use imgdelta_core::{Error, Limits, Result, path::escaped, scratch::Scratch};
use imgdelta_format::container::MAGIC;
use std::{path::Path, sync::Arc};

/// Opens a bare path: the whole text first, so that a path with colons wins; then without a digest
/// at its end; then without a name at its end, the longest path first.
pub(super) fn open(text: &str, limits: &Limits, scratch: Option<&Scratch>) -> Result<OpenStore> {
    let invalid = |what| Error::bad_input(quoted(text), what);
    if Path::new(text).exists() || text == STANDARD_INPUT {
        return Ok((recognise(Path::new(text), limits, scratch)?, None));
    }
    let (path, digest) = split_digest(text).map_err(invalid)?;
    if digest.is_some() && Path::new(path).exists() {
        return Ok((recognise(Path::new(path), limits, scratch)?, digest.map(ImageName::Digest)));
    }
    for (colon, _) in text.rmatch_indices(':') {
        let path = Path::new(&text[..colon]);
        if colon > 0 && path.exists() {
            let name = parse_name(&text[colon + 1..]).map_err(invalid)?;
            return Ok((recognise(path, limits, scratch)?, name));
        }
    }
    Err(invalid(not_a_path(text)))
}

fn recognise(path: &Path, limits: &Limits, scratch: Option<&Scratch>) -> Result<Arc<dyn Store>> {
    if path.is_dir() {
        if path.join(MANIFEST_FILE).exists() && !path.join(INDEX_FILE).exists() {
            return Ok(Arc::new(DirectoryImage::open(path, limits)?));
        }
        if !path.join(INDEX_FILE).exists() && !path.join(LAYOUT_FILE).exists() {
            return Err(Error::bad_input(
                path.display(),
                "a directory without oci-layout and index.json is not an image",
            ));
        }
        return Ok(Arc::new(OciLayout::open_directory(path, limits)?));
    }
    let (source, place) = open_archive("", path, scratch)?;
    let mut start = [0; MAGIC.len()];
    if source.fill_at(&mut start, 0).is_ok() && start == MAGIC {
        return Err(Error::bad_input(place, "a delta, not an image"));
    }
    let members = Members::read(Arc::clone(&source), &place, limits)?;
    if members.contains(MANIFEST_FILE) {
        return Ok(Arc::new(DockerArchive::from_members(members, place, limits)?));
    }
    if members.contains(INDEX_FILE) {
        return Ok(Arc::new(OciLayout::from_members(members, place, limits)?));
    }
    Err(Error::bad_input(place, "a tar file without index.json and manifest.json is not an image"))
}

/// Returns the error text for something that is not a path here, with the likely fix.
fn not_a_path(text: &str) -> String {
    let (transport, rest) = text.split_once(':').unwrap_or(("", text));
    if let Some((_, fix)) = UNSUPPORTED.iter().find(|(name, _)| *name == transport) {
        return format!("transport {transport} is not supported; {fix}; {TRANSPORTS}");
    }
    let is_docker = matches!(transport, "docker" | "podman" | "http" | "https");
    let name = if is_docker { rest.trim_start_matches('/') } else { text };
    let has_extension = Path::new(name).extension().is_some_and(|end| end == "tar");
    let is_path = !is_docker && (name.starts_with(['/', '.', '~']) || has_extension);
    if !is_path && parse_registry(name).is_ok() {
        let problem = if is_docker {
            format!("transport {transport} is not supported")
        } else {
            "no file or directory has this name".to_owned()
        };
        return format!(
            "{problem}; for an image in a registry write docker://{name}; {TRANSPORTS}"
        );
    }
    format!("no file or directory has this name; {TRANSPORTS}")
}

fn quoted(text: &str) -> String {
    format!("{:?}", escaped(text.as_bytes()))
}

/// Transports of other tools, and a way to bring their images here.
const UNSUPPORTED: [(&str, &str); 2] = [
    ("ostree", "copy the image with `skopeo copy ostree:IMAGE oci:DIR:TAG` and name oci:DIR:TAG"),
    ("sif", "copy the image with `skopeo copy sif:FILE oci:DIR:TAG` and name oci:DIR:TAG"),
];
const TRANSPORTS: &str = "images are named oci:DIR[:TAG], oci-archive:FILE[:TAG], \
                          docker-archive:FILE[:REF], dir:DIR, docker://HOST/REPO[:TAG], \
                          containerd:[NAMESPACE//]NAME, containers-storage:NAME, \
                          docker-daemon:NAME, rootfs:DIR[:FRAMES], or by the path of a layout or \
                          archive";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_transport_or_a_bare_registry_name_gets_its_fix() {
        let refused = |text: &str| {
            let text = open(text, &Limits::default(), None).unwrap_err().to_string();
            text.strip_suffix(TRANSPORTS).expect("the transports are listed last").to_owned()
        };
        assert_eq!(
            refused("debian:12"),
            "\"debian:12\": no file or directory has this name; for an image in a registry write \
             docker://debian:12; "
        );
        assert_eq!(
            refused("docker:debian"),
            "\"docker:debian\": transport docker is not supported; for an image in a registry \
             write docker://debian; "
        );
        assert!(refused("podman://quay.io/a/b").contains("write docker://quay.io/a/b; "));
        for path in ["./no/such/thing", "/no/such/thing:v1", "no-such-image.tar", "no such"] {
            assert_eq!(refused(path), format!("{path:?}: no file or directory has this name; "));
        }
    }
}
