//! Debian packages, which are ar files: a part for each member, then the structure.
//! Never opens a static library: programs are compared as a whole.
//!
//! The structure is that of a tar file: all gaps in order, which are headers and padding.

use super::{
    ArchiveBytes, ArchivePart, OpenedArchive, PartCompression,
    tar::{number, structure},
};
use imgdelta_core::Result;

/// First bytes of a Debian package: those of an ar file, and its first member's name.
pub(super) const PACKAGE_START: &[u8] = b"!<arch>\ndebian-binary";

/// Reads all headers; `None` if the file is not valid or no member has content.
pub(super) fn read(slice: &ArchiveBytes<'_>) -> Result<Option<OpenedArchive>> {
    let (mut parts, mut gaps) = (Vec::new(), Vec::new());
    let (mut at, mut gap_start) = (MAGIC_BYTES, 0);
    while at < slice.bytes() {
        let Some(header) = slice.read(at, HEADER_BYTES)? else { return Ok(None) };
        let (Some(size), b"`\n") = (number(&header[SIZE], 10), &header[MAGIC]) else {
            return Ok(None);
        };
        let body = at + HEADER_BYTES;
        let Some(end) = body.checked_add(size).filter(|end| *end <= slice.bytes()) else {
            return Ok(None);
        };
        if size > 0 {
            gaps.push(gap_start..body);
            parts.push(ArchivePart {
                name: header[NAME].trim_ascii_end().to_vec(),
                stored: body..end,
                compression: PartCompression::Plain,
            });
            gap_start = end;
        }
        if parts.len() > MOST_MEMBERS {
            return Ok(None);
        }
        at = end.next_multiple_of(2);
    }
    gaps.push(gap_start..slice.bytes());
    Ok(structure(slice, gaps)?.map(|structure| OpenedArchive { parts, structure }))
}

const MAGIC_BYTES: u64 = 8;
const HEADER_BYTES: u64 = 60;
const NAME: std::ops::Range<usize> = 0..16;
const SIZE: std::ops::Range<usize> = 48..58;
const MAGIC: std::ops::Range<usize> = 58..60;
/// Packages have three members, and rarely one or two more.
const MOST_MEMBERS: usize = 64;
