//! Tar files inside other archives, and the structure that ar files share: a part for each member's content, then the structure.
//!
//! The structure is all gaps in order: the header blocks and padding between contents.
//!
//! The parser is simpler than `tarscan`, since nothing depends on the meaning of members. Where an
//! extension header overrules a length, the rest of the file becomes structure. That costs bytes,
//! but is never wrong.

use super::{
    ArchiveBytes, ArchiveOutput, ArchivePart, InnerPayloads, OpenedArchive, PartCompression,
    bytes::length, pieces,
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_wire::{Cursor, varint};
use std::ops::Range;

/// Reads all blocks; `None` if no member has content.
pub(super) fn read(slice: &ArchiveBytes<'_>) -> Result<Option<OpenedArchive>> {
    let (mut parts, mut gaps) = (Vec::new(), Vec::new());
    let (mut at, mut gap_start) = (0, 0);
    while let Some(block) = slice.read(at, BLOCK_BYTES)? {
        if block.iter().all(|&byte| byte == 0) {
            at += BLOCK_BYTES;
            continue;
        }
        let Some(size) = stated_size(&block) else { break };
        let body = at + BLOCK_BYTES;
        let Some(end) = body.checked_add(size).filter(|end| *end <= slice.bytes()) else { break };
        let has_content = match block[FLAG] {
            // Links, devices, directories: nothing follows, even if the size is not 0.
            b'1'..=b'6' => {
                at = body;
                continue;
            }
            // Extensions of the next header.
            b'x' | b'g' | b'L' | b'K' => false,
            _ => size > 0,
        };
        if has_content {
            gaps.push(gap_start..body);
            parts.push(ArchivePart {
                name: name(&block),
                stored: body..end,
                compression: PartCompression::Plain,
            });
            gap_start = end;
        }
        at = end.next_multiple_of(BLOCK_BYTES);
    }
    gaps.push(gap_start..slice.bytes());
    if parts.len() > MOST_MEMBERS {
        return Ok(None);
    }
    Ok(structure(slice, gaps)?.map(|structure| OpenedArchive { parts, structure }))
}

/// Returns the structure of an archive, which is the gaps around its contents; `None` if there are
/// no contents, or if the gaps are too long.
pub(super) fn structure(
    slice: &ArchiveBytes<'_>,
    gaps: Vec<Range<u64>>,
) -> Result<Option<Vec<u8>>> {
    let gap_bytes: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
    if gaps.len() < 2 || gap_bytes > MOST_GAP_BYTES {
        return Ok(None);
    }
    let mut structure = Vec::new();
    varint::write(&mut structure, gaps.len() as u64 - 1);
    for gap in &gaps {
        varint::write(&mut structure, gap.end - gap.start);
    }
    for gap in gaps {
        let Some(bytes) = slice.read(gap.start, gap.end - gap.start)? else {
            return Ok(None);
        };
        structure.extend(bytes);
    }
    Ok(Some(structure))
}

/// Returns the size that a header block states; `None` if the block is not a header.
fn stated_size(block: &[u8]) -> Option<u64> {
    let sum = |sum: u64, (at, &byte): (usize, &u8)| {
        sum + u64::from(if CHECKSUM.contains(&at) { b' ' } else { byte })
    };
    let found = block.iter().enumerate().fold(0, sum);
    (octal(&block[CHECKSUM])? == found).then_some(())?;
    let field = &block[SIZE];
    match field[0] {
        // Binary, as GNU tar writes numbers that octal digits cannot hold.
        0x80 => Some(u64::from_be_bytes(*field.last_chunk()?)),
        _ => octal(field),
    }
}

/// Parses octal digits, with spaces before and any other bytes behind.
fn octal(field: &[u8]) -> Option<u64> {
    number(field.trim_ascii_start(), 8)
}

/// Parses up to 20 digits with any other bytes behind. The base is at most ten.
pub(super) fn number(field: &[u8], base: u8) -> Option<u64> {
    let is_digit = |byte: &&u8| byte.wrapping_sub(b'0') < base;
    let count = field.iter().take_while(is_digit).count();
    let add =
        |sum: u64, digit: &u8| sum.wrapping_mul(base.into()).wrapping_add(u64::from(digit - b'0'));
    (0 < count && count <= 20).then(|| field[..count].iter().fold(0, add))
}

/// Returns the member's name, by which a similar file is found.
fn name(block: &[u8]) -> Vec<u8> {
    let until_zero = |field: &[u8]| {
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        field[..end].to_vec()
    };
    let name = until_zero(&block[..100]);
    match until_zero(&block[345..500]) {
        prefix if !prefix.is_empty() => [prefix, name].join(&b'/'),
        _ => name,
    }
}

/// True if a file begins with a header block of the ustar, PAX or GNU format.
pub(super) fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// Writes a tar file: contents and gaps in turn. The last inner payload is the structure.
pub(super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let wrong = |what: &str| Error::bad_input(inner.place(), what);
    let last = inner.count().checked_sub(1).ok_or_else(|| wrong("it has no structure"))?;
    let bytes = inner.bytes(last);
    if bytes > MOST_GAP_BYTES + 10 * (MOST_MEMBERS as u64 + 2) {
        return Err(wrong("its structure is too large"));
    }
    let mut structure = vec![0; length(bytes)];
    inner.read_exact_at(last, 0, &mut structure)?;
    let mut cursor = Cursor::new(&structure);
    if cursor.varint().ok() != Some(last as u64) {
        return Err(wrong("its structure has another number of contents"));
    }
    let lengths: Option<Vec<u64>> = (0..=last).map(|_| cursor.varint().ok()).collect();
    let lengths = lengths.ok_or_else(|| wrong("its structure ends early"))?;
    let mut at = 0;
    for (content, count) in lengths.into_iter().enumerate() {
        let gap = cursor.take(count).map_err(|_| wrong("its structure ends early"))?;
        out(at, gap)?;
        at += gap.len() as u64;
        if content < last {
            pieces(inner, content, progress, &mut |piece| {
                out(at, piece)?;
                at += piece.len() as u64;
                Ok(())
            })?;
        }
    }
    if !cursor.is_empty() {
        return Err(wrong("bytes follow its structure"));
    }
    Ok(at)
}

const BLOCK_BYTES: u64 = 512;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
const FLAG: usize = 156;
/// The same limit as for zip files.
const MOST_MEMBERS: usize = 200_000;
/// The structure is held whole.
const MOST_GAP_BYTES: u64 = 128 << 20;
