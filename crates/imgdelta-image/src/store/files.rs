//! Files of layouts and archives: their names, opening them, reading small ones.
//!
//! Never interprets the content of a file.

use super::{members::Members, source::ReadAt, spool};
use crate::envelope::{PEEKED_BYTES, is_compressed};
use imgdelta_core::{
    Error, Limits, Result, limits::Ceiling, regular::open_regular, scratch::Scratch,
};
use std::{io::Read, path::Path, sync::Arc};

pub(super) fn open_file(transport: &str, path: &Path) -> Result<(Arc<dyn ReadAt>, String)> {
    let place = format!("{transport}{}", path.display());
    if path.join(INDEX_FILE).is_file() {
        let what = format!("a directory, not an archive; name it oci:{}", path.display());
        return Err(Error::bad_input(place, what));
    }
    match open_regular(path)? {
        Some(file) => Ok((Arc::new(file), place)),
        None => Err(Error::bad_input(place, "no such file")),
    }
}

/// Opens an archive: in place, or from a copy in `scratch` if that is impossible.
pub(super) fn open_archive(
    transport: &str,
    path: &Path,
    scratch: Option<&Scratch>,
) -> Result<(Arc<dyn ReadAt>, String)> {
    let copy = scratch.map(|scratch| spool::open(path, scratch)).transpose()?.flatten();
    match copy {
        Some(file) => Ok((Arc::new(file), format!("{transport}{}", path.display()))),
        None => open_file(transport, path),
    }
}

/// Returns the transport of an archive of images, or `None` if the file is not one.
pub(super) fn archive_transport(path: &Path, limits: &Limits) -> Option<&'static str> {
    let (source, place) = open_file("", path).ok()?;
    let members = Members::read(source, &place, limits).ok()?;
    if members.contains(MANIFEST_FILE) {
        Some("docker-archive:")
    } else {
        members.contains(INDEX_FILE).then_some("oci-archive:")
    }
}

/// Returns a blob that is a stream itself; `None` if it is compressed.
pub(super) fn uncompressed(blob: Arc<dyn ReadAt>, place: &str) -> Result<Option<Arc<dyn ReadAt>>> {
    let mut start = [0; PEEKED_BYTES];
    let count = blob.read_at(&mut start, 0).map_err(Error::io(place))?;
    Ok((!is_compressed(&start[..count])).then_some(blob))
}

/// Reads a small file of a layout or archive; refuses a large one before it takes memory.
pub(super) fn read_small(
    reader: impl Read,
    place: &str,
    ceiling: Ceiling,
    what: &'static str,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .take(ceiling.value.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Error::io(place))?;
    ceiling.admit(bytes.len() as u64, what, place)?;
    Ok(bytes)
}

/// The list of images in an OCI layout.
pub(super) const INDEX_FILE: &str = "index.json";
/// The version of an OCI layout.
pub(super) const LAYOUT_FILE: &str = "oci-layout";
/// The list of images in a docker archive.
pub(super) const MANIFEST_FILE: &str = "manifest.json";
