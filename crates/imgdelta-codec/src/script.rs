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

/// Lays out `target` from copies and literals, and puts the copies into `copies`, in target order.
///
/// Places of literals that are packed on their own stay as they are, for [`fill`].
pub(crate) fn lay_out(
    reader: &mut StreamReader,
    head: MemberHead,
    base: &[u8],
    target: &mut [u8],
    copies: &mut Vec<BaseCopy>,
) -> Result<()> {
    copies.clear();
    if head.is_whole {
        let Some(start) = base.get(..target.len()) else {
            return Err(past_the_base(target.len() as u64, base));
        };
        target.copy_from_slice(start);
        copies.push(BaseCopy { target: 0, base: 0, len: target.len() });
        return Ok(());
    }
    let (mut at, mut base_end) = (0, 0_u64);
    while at < target.len() {
        let left = target.len() - at;
        let literal = bounded(reader, StreamKind::LiteralLengths, "literal length", left)?;
        if !head.is_packed {
            target[at..at + literal].copy_from_slice(reader.bytes(StreamKind::Literals, literal)?);
        }
        at += literal;
        if at == target.len() {
            break;
        }
        let left = target.len() - at;
        let len = bounded(reader, StreamKind::CopyLengths, "copy length", left)?;
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
        // Both fit `usize`: they lie within a slice.
        let (from, to) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
        target[at..at + len].copy_from_slice(&base[from..to]);
        copies.push(BaseCopy { target: at, base: from, len });
        (at, base_end) = (at + len, end);
    }
    Ok(())
}

/// Returns the bytes of a target of `len` bytes that lie in none of `copies`.
pub(crate) fn literal_bytes(copies: &[BaseCopy], len: usize) -> usize {
    len - copies.iter().map(|copy| copy.len).sum::<usize>()
}

/// Puts `literals`, which fit exactly, between `copies`.
pub(crate) fn fill(literals: &[u8], copies: &[BaseCopy], target: &mut [u8]) {
    let (mut rest, mut at) = (literals, 0);
    let mut put = |place: &mut [u8]| {
        let (own, more) = rest.split_at(place.len());
        place.copy_from_slice(own);
        rest = more;
    };
    for copy in copies {
        put(&mut target[at..copy.target]);
        at = copy.target_end();
    }
    put(&mut target[at..]);
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

/// Writes `copies` (in target order, not overlapping) and the literals between them from `target`.
#[cfg(feature = "encode")]
pub(crate) fn write(writer: &mut crate::group::StreamWriter, copies: &[BaseCopy], target: &[u8]) {
    if is_whole(copies, target.len()) {
        return;
    }
    let (mut at, mut base_end) = (0, 0_usize);
    for copy in copies {
        let literal = &target[at..copy.target];
        writer.number(StreamKind::LiteralLengths, literal.len() as u64);
        writer.bytes(StreamKind::Literals, literal);
        writer.number(StreamKind::CopyLengths, copy.len as u64);
        let expected = (base_end + literal.len()) as u64;
        writer.signed(
            StreamKind::BaseOffsets,
            (copy.base as u64).cast_signed() - expected.cast_signed(),
        );
        (at, base_end) = (copy.target_end(), copy.base_end());
    }
    if at < target.len() {
        writer.number(StreamKind::LiteralLengths, (target.len() - at) as u64);
        writer.bytes(StreamKind::Literals, &target[at..]);
    }
}
