//! Runtime images of Java (`lib/modules`): one part for the list of their resources, and one for the
//! resources themselves.
//! Holds the index in memory, never the resources.
//!
//! The index of such a file is a hash table over the names of all resources, with the offset of each.
//! One resource more moves every row. Its part lists the resources in order instead, each with its name and
//! length; closing computes the index from the list, as the linker of Java does. A file whose index is not
//! what closing makes stays closed.

mod index;
mod list;
mod slots;

use super::{
    ArchiveBytes, ArchiveOutput, ArchivePart, InnerCoding, InnerPayloads, OpenedArchive,
    PartCompression, bytes::length, pieces,
};
use imgdelta_core::{Error, Result, progress::Progress};
use index::FileHeader;
use list::{MOST_LIST_BYTES, ResourceList};

/// First bytes of a runtime image whose numbers are little-endian.
pub(super) const START: &[u8] = &index::MAGIC.to_le_bytes();

/// Reads the index of a runtime image; `None` if closing would make another one.
pub(super) fn read(slice: &ArchiveBytes<'_>) -> Result<Option<OpenedArchive>> {
    let Some((index, list)) = index_and_list(slice)? else { return Ok(None) };
    if index_of(&list).is_none_or(|made| made != index) {
        return Ok(None);
    }
    let end = index.len() as u64;
    let part =
        |name: &[u8], stored, compression| ArchivePart { name: name.to_vec(), stored, compression };
    let parts = vec![
        part(LIST_NAME, 0..end, PartCompression::Index),
        part(RESOURCES_NAME, end..slice.bytes(), PartCompression::Plain),
    ];
    Ok(Some(OpenedArchive { parts, structure: Vec::new() }))
}

/// Passes the list of the resources to `sink`, and returns its length.
pub(super) fn list(
    slice: &ArchiveBytes<'_>,
    most_bytes: u64,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let Some((_, list)) = index_and_list(slice)? else { return Ok(None) };
    let bytes = list.len() as u64;
    if bytes > most_bytes {
        return Ok(None);
    }
    sink(&list)?;
    Ok(Some(bytes))
}

/// Returns the index of a file, and the list of its resources; `None` if it is not valid.
fn index_and_list(slice: &ArchiveBytes<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let Some(header) = slice.read(0, FileHeader::BYTES as u64)? else { return Ok(None) };
    let header = FileHeader::read(&header);
    let Some(end) = header.index_bytes().filter(|end| *end < slice.bytes()) else {
        return Ok(None);
    };
    let Some(index) = slice.read(0, end)? else { return Ok(None) };
    let list = index::resources(&header, &index).map(|resources| resources.to_bytes());
    // The strings at the end of a list may make it longer than its resources alone.
    let list = list.filter(|list| list.len() <= MOST_LIST_BYTES);
    Ok(list.map(|list| (index, list)))
}

/// Returns the index of the resources in a list; `None` if it is not valid.
fn index_of(list: &[u8]) -> Option<Vec<u8>> {
    index::write(&ResourceList::read(list)?)
}

/// Writes a runtime image from the list of its resources and from these.
pub(super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let wrong = |what: &str| Error::bad_input(inner.place(), what);
    let is_plain = |ordinal| matches!(inner.coding(ordinal), InnerCoding::Plain);
    if inner.count() != 2 || !is_plain(0) || !is_plain(1) {
        return Err(wrong("it is not made of two inner payloads without a compression"));
    }
    if inner.bytes(0) > MOST_LIST_BYTES as u64 {
        return Err(wrong("the list of its resources is too long"));
    }
    let mut list = vec![0; length(inner.bytes(0))];
    inner.read_exact_at(0, 0, &mut list)?;
    progress.check()?;
    let index = index_of(&list).ok_or_else(|| wrong("the list of its resources is not valid"))?;
    out(0, &index)?;
    let mut at = index.len() as u64;
    pieces(inner, 1, progress, &mut |piece| {
        out(at, piece)?;
        at += piece.len() as u64;
        Ok(())
    })?;
    Ok(at)
}

/// Names of the parts.
const LIST_NAME: &[u8] = b"list";
const RESOURCES_NAME: &[u8] = b"resources";

#[cfg(test)]
mod tests;
