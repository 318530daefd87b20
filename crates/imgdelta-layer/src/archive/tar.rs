//! Tar files inside other archives: a part for each member's content, and the structure behind
//! them: all blocks between the contents, in order.
//!
//! The walk is simpler than `tarscan`'s, since nothing depends on what members mean: a length that
//! an extension header would overrule makes the rest of the file one stretch of structure, which
//! is dear but never wrong.

use super::{
    Inner, Opening, Out, Packing, Part, Slice,
    bytes::{Front, length},
    pieces,
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_format::varint;

/// Walks the blocks; `None` if there is no content between them.
pub(super) fn read(slice: &Slice<'_>) -> Result<Option<Opening>> {
    let (mut parts, mut frames) = (Vec::new(), Vec::new());
    let (mut at, mut frame_start) = (0, 0);
    while let Some(block) = slice.read(at, BLOCK_BYTES)? {
        if block.iter().all(|&byte| byte == 0) {
            at += BLOCK_BYTES;
            continue;
        }
        let Some(size) = stated_size(&block) else { break };
        let body = at + BLOCK_BYTES;
        let Some(end) = body.checked_add(size).filter(|end| *end <= slice.bytes()) else { break };
        let has_content = match block[FLAG] {
            // Links, devices, directories: whatever their size says, nothing follows.
            b'1'..=b'6' => {
                at = body;
                continue;
            }
            // What only extends the next header.
            b'x' | b'g' | b'L' | b'K' => false,
            _ => size > 0,
        };
        if has_content {
            frames.push(frame_start..body);
            parts.push(Part { name: name(&block), stored: body..end, packing: Packing::Plain });
            frame_start = end;
        }
        at = end.next_multiple_of(BLOCK_BYTES);
    }
    frames.push(frame_start..slice.bytes());
    let frame_bytes: u64 = frames.iter().map(|frame| frame.end - frame.start).sum();
    if parts.is_empty() || parts.len() > MOST_MEMBERS || frame_bytes > MOST_FRAME_BYTES {
        return Ok(None);
    }
    let mut structure = Vec::new();
    varint::write(&mut structure, parts.len() as u64);
    for frame in &frames {
        varint::write(&mut structure, frame.end - frame.start);
    }
    for frame in frames {
        let Some(bytes) = slice.read(frame.start, frame.end - frame.start)? else {
            return Ok(None);
        };
        structure.extend(bytes);
    }
    Ok(Some(Opening { parts, structure }))
}

/// What a header block says of the bytes behind it; `None` if it is none.
fn stated_size(block: &[u8]) -> Option<u64> {
    let sum = |sum: u64, (at, &byte): (usize, &u8)| {
        sum + u64::from(if CHECKSUM.contains(&at) { b' ' } else { byte })
    };
    let found = block.iter().enumerate().fold(0, sum);
    (octal(&block[CHECKSUM])? == found).then_some(())?;
    let field = &block[SIZE];
    match field[0] {
        // The number itself, as GNU tar writes what octal digits cannot.
        0x80 => Some(u64::from_be_bytes(*field.last_chunk()?)),
        _ => octal(field),
    }
}

/// Octal digits, with spaces before and anything that is no digit behind.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start();
    let count = digits.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let add = |sum: u64, digit: &u8| sum << 3 | u64::from(digit - b'0');
    (0 < count && count <= 20).then(|| digits[..count].iter().fold(0, add))
}

/// What the header calls its member, for finding its like.
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

/// Whether a file begins with a header block of today's tar formats.
pub(super) fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// Makes a tar file: its contents between the blocks of its structure, the last inner payload.
pub(super) fn close(inner: &dyn Inner, progress: &dyn Progress, out: &mut Out<'_>) -> Result<u64> {
    let wrong = |what: &str| Error::bad_input(inner.place(), what);
    let last = inner.count().checked_sub(1).ok_or_else(|| wrong("a tar file has a structure"))?;
    let bytes = inner.bytes(last);
    if bytes > MOST_FRAME_BYTES + 10 * (MOST_MEMBERS as u64 + 2) {
        return Err(wrong("its structure is too large"));
    }
    let mut structure = vec![0; length(bytes)];
    inner.read_exact_at(last, 0, &mut structure)?;
    let mut front = Front(&structure);
    if front.number() != Some(last as u64) {
        return Err(wrong("its structure is of another number of contents"));
    }
    let lengths: Option<Vec<u64>> = (0..=last).map(|_| front.number()).collect();
    let lengths = lengths.ok_or_else(|| wrong("its structure ends early"))?;
    let mut at = 0;
    for (content, count) in lengths.into_iter().enumerate() {
        let frame = front.bytes(length(count)).ok_or_else(|| wrong("its structure ends early"))?;
        out(at, frame)?;
        at += frame.len() as u64;
        if content < last {
            pieces(inner, content, progress, &mut |piece| {
                out(at, piece)?;
                at += piece.len() as u64;
                Ok(())
            })?;
        }
    }
    if !front.0.is_empty() {
        return Err(wrong("its structure goes on"));
    }
    Ok(at)
}

const BLOCK_BYTES: u64 = 512;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const FLAG: usize = 156;
/// As of zip files.
const MOST_MEMBERS: usize = 200_000;
/// The blocks between contents are held whole.
const MOST_FRAME_BYTES: u64 = 128 << 20;
