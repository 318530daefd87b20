//! Reads the package blobs of rpm's own `Packages.db`, which SUSE uses.
//! Never checks checksums or free space.
//!
//! The layout is that of rpm's `lib/backend/ndb/rpmpkg.c`: a slot table that points to blobs.

use crate::blobs::PackageBlobs;
use std::borrow::Cow;

/// Returns the blobs in the order of their slots.
pub(crate) fn blobs(file: &[u8]) -> PackageBlobs<'_> {
    let flawed = |flaw| PackageBlobs { blobs: Vec::new(), flaw: Some(flaw) };
    if !file.starts_with(b"RpmP") || le(file, 4) != Some(0) {
        return flawed("not an rpm package database of a known version");
    }
    let slot_bytes = le(file, 12).and_then(|pages| pages.checked_mul(PAGE_BYTES));
    let Some(slots) = slot_bytes.and_then(|end| file.get(HEADER_BYTES..end)) else {
        return flawed("its slot table is cut off");
    };
    let mut blobs = PackageBlobs { blobs: Vec::new(), flaw: None };
    // Valid blobs do not overlap, so together they are at most as long as the file.
    let mut bytes_left = file.len();
    for slot in slots.chunks_exact(SLOT_BYTES) {
        if slot[4..8] == [0; 4] {
            continue;
        }
        match blob(file, slot).filter(|blob| blob.len() + BLOB_HEADER_BYTES <= bytes_left) {
            Some(blob) => {
                bytes_left -= blob.len() + BLOB_HEADER_BYTES;
                blobs.blobs.push(Cow::Borrowed(blob));
            }
            None => blobs.flaw = Some("a slot does not lead to a package; packages are missing"),
        }
    }
    blobs
}

fn blob<'a>(file: &'a [u8], slot: &[u8]) -> Option<&'a [u8]> {
    let start = le(slot, 8)?.checked_mul(BLOCK_BYTES)?;
    let header = file.get(start..start.checked_add(BLOB_HEADER_BYTES)?)?;
    let is_match =
        slot.starts_with(b"Slot") && header.starts_with(b"BlbS") && header[4..8] == slot[4..8];
    let body = start + BLOB_HEADER_BYTES;
    let blob = file.get(body..body.checked_add(le(header, 12)?)?)?;
    is_match.then_some(blob)
}

fn le(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(field)).ok()
}

/// Header and slots together fill whole pages.
const HEADER_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;
/// Magic, package number, first block, number of blocks.
const SLOT_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
/// Magic, package number, generation, length.
const BLOB_HEADER_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn database(bodies: &[&[u8]]) -> Vec<u8> {
        let word = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        let mut file = [&b"RpmP"[..], &word(0), &word(1), &word(1), &[0; 16]].concat();
        let mut block = PAGE_BYTES / BLOCK_BYTES;
        let mut tail = Vec::new();
        for (at, body) in bodies.iter().enumerate() {
            let blocks = (body.len() + BLOB_HEADER_BYTES).div_ceil(BLOCK_BYTES);
            file.extend([&b"Slot"[..], &word(at + 1), &word(block), &word(blocks)].concat());
            tail.extend([&b"BlbS"[..], &word(at + 1), &word(1), &word(body.len()), body].concat());
            tail.resize(tail.len().next_multiple_of(BLOCK_BYTES), 0);
            block += blocks;
        }
        for _ in bodies.len()..(PAGE_BYTES - HEADER_BYTES) / SLOT_BYTES {
            file.extend([&b"Slot"[..], &[0; 12]].concat());
        }
        file.extend(tail);
        file
    }

    #[test]
    fn slots_lead_to_blobs() {
        let file = database(&[b"one", b"", b"the third blob is longer than a block"]);
        let blobs = blobs(&file);
        let found: Vec<&[u8]> = blobs.blobs.iter().map(AsRef::as_ref).collect();
        assert_eq!(found, [&b"one"[..], b"", b"the third blob is longer than a block"]);
        assert_eq!(blobs.flaw, None);
    }

    #[test]
    fn cut_files_are_flawed() {
        let file = database(&[b"one", b"two"]);
        assert!(blobs(&file[..100]).flaw.is_some());
        let cut = blobs(&file[..file.len() - 16]);
        assert_eq!((cut.blobs.len(), cut.flaw.is_some()), (1, true));
    }
}
