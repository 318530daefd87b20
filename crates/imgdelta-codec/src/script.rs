//! The copies and literals that a member is laid out from, and their form in the control streams.
//! Never touches bytes outside base or target: every range is checked where it is read.

use crate::{
    error::{CodecError, Result},
    group::StreamReader,
    member::MemberHead,
    stream::StreamKind,
};

/// `len` bytes of the target, at `target`, that are similar to the base's at `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BaseCopy {
    pub(crate) target: usize,
    pub(crate) base: usize,
    pub(crate) len: usize,
}

impl BaseCopy {
    pub(crate) fn target_end(&self) -> usize {
        self.target + self.len
    }

    pub(crate) fn base_end(&self) -> usize {
        self.base + self.len
    }
}

/// Reads the copies of a target of `target_len` bytes, in target order.
///
/// All other bytes are literals, which are read later.
pub(crate) fn read(
    reader: &mut StreamReader,
    head: MemberHead,
    base: &[u8],
    target_len: usize,
) -> Result<Vec<BaseCopy>> {
    let mut copies = Vec::new();
    if head.is_whole {
        if target_len > base.len() {
            return Err(past_the_base(target_len as u64, base));
        }
        if target_len > 0 {
            copies.push(BaseCopy { target: 0, base: 0, len: target_len });
        }
        return Ok(copies);
    }
    let (mut at, mut base_end) = (0, 0_u64);
    while at < target_len {
        let literal =
            bounded(reader, StreamKind::LiteralLengths, "literal length", target_len - at)?;
        at += literal;
        if at == target_len {
            break;
        }
        let len = bounded(reader, StreamKind::CopyLengths, "copy length", target_len - at)?;
        if len == 0 {
            // An empty copy does nothing, and a run of them would cost time for nothing.
            return Err(reader.malformed(StreamKind::CopyLengths, "copy length", 1, 0));
        }
        let expected = base_end.saturating_add(literal as u64);
        let start = expected.checked_add_signed(reader.signed(StreamKind::BaseOffsets)?);
        let end = start.and_then(|start| start.checked_add(len as u64));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(past_the_base(u64::MAX, base));
        };
        if end > base.len() as u64 {
            return Err(past_the_base(end, base));
        }
        // It fits `usize`: it lies within a slice.
        copies.push(BaseCopy { target: at, base: usize::try_from(start).unwrap_or(0), len });
        (at, base_end) = (at + len, end);
    }
    Ok(copies)
}

/// Returns the bytes of a target of `len` bytes that lie in none of `copies`.
pub(crate) fn literal_bytes(copies: &[BaseCopy], len: usize) -> usize {
    len - copies.iter().map(|copy| copy.len).sum::<usize>()
}

/// Reads a length of at most `left`.
fn bounded(
    reader: &mut StreamReader,
    stream: StreamKind,
    what: &'static str,
    left: usize,
) -> Result<usize> {
    let found = reader.number(stream)?;
    match usize::try_from(found) {
        Ok(len) if len <= left => Ok(len),
        _ => Err(reader.malformed(stream, what, left as u64, found)),
    }
}

/// Returns the error for a group that reads bytes which this base does not have.
#[cold]
fn past_the_base(expected: u64, base: &[u8]) -> CodecError {
    CodecError::BaseUnlike { what: "length in bytes", expected, found: base.len() as u64 }
}

/// True if `copies` is one copy of a whole target of `len` bytes from the base's start.
#[cfg(feature = "encode")]
pub(crate) fn is_whole(copies: &[BaseCopy], len: usize) -> bool {
    matches!(copies, [only] if *only == BaseCopy { target: 0, base: 0, len })
}

/// Writes `copies` (in target order, not overlapping) and the lengths of the literals between them.
#[cfg(feature = "encode")]
pub(crate) fn write(
    writer: &mut crate::group::StreamWriter,
    copies: &[BaseCopy],
    target_len: usize,
) {
    if is_whole(copies, target_len) {
        return;
    }
    let (mut at, mut base_end) = (0, 0_usize);
    for copy in copies {
        let literal_len = copy.target - at;
        writer.number(StreamKind::LiteralLengths, literal_len as u64);
        writer.number(StreamKind::CopyLengths, copy.len as u64);
        let expected = (base_end + literal_len) as u64;
        writer.signed(
            StreamKind::BaseOffsets,
            (copy.base as u64).cast_signed() - expected.cast_signed(),
        );
        (at, base_end) = (copy.target_end(), copy.base_end());
    }
    if at < target_len {
        writer.number(StreamKind::LiteralLengths, (target_len - at) as u64);
    }
}
