//! The copies and literals a member is laid out from, and their way through the control streams.
//! Never touches what lies outside the base or the target: every range is checked where it is read.

use crate::{
    error::{CodecError, Result},
    group::Sources,
    member::MemberHead,
    stream::Stream,
};

/// `len` bytes of the target, at `target`, that look like the base's at `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) target: usize,
    pub(crate) base: usize,
    pub(crate) len: usize,
}

impl Copy {
    pub(crate) fn target_end(&self) -> usize {
        self.target + self.len
    }

    pub(crate) fn base_end(&self) -> usize {
        self.base + self.len
    }
}

/// Lays out `target` from copies and literals, and leaves the copies in `copies`, in target order.
///
/// Literals that are packed on their own leave their places as they are, for [`fill`].
pub(crate) fn lay_out(
    sources: &mut Sources,
    head: MemberHead,
    base: &[u8],
    target: &mut [u8],
    copies: &mut Vec<Copy>,
) -> Result<()> {
    copies.clear();
    if head.is_whole {
        let Some(start) = base.get(..target.len()) else {
            return Err(past_the_base(target.len() as u64, base));
        };
        target.copy_from_slice(start);
        copies.push(Copy { target: 0, base: 0, len: target.len() });
        return Ok(());
    }
    let (mut at, mut base_end) = (0, 0_u64);
    while at < target.len() {
        let left = target.len() - at;
        let literal = bounded(sources, Stream::LiteralLengths, "literal length", left)?;
        if !head.is_packed {
            target[at..at + literal].copy_from_slice(sources.bytes(Stream::Literals, literal)?);
        }
        at += literal;
        if at == target.len() {
            break;
        }
        let left = target.len() - at;
        let len = bounded(sources, Stream::CopyLengths, "copy length", left)?;
        if len == 0 {
            // It would move nothing, and a run of such copies would cost time for free.
            return Err(sources.malformed(Stream::CopyLengths, "copy length", 1, 0));
        }
        let expected = base_end.saturating_add(literal as u64);
        let start = expected.checked_add_signed(sources.signed(Stream::BaseOffsets)?);
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
        copies.push(Copy { target: at, base: from, len });
        (at, base_end) = (at + len, end);
    }
    Ok(())
}

/// How many bytes of a target of `len` bytes lie in none of `copies`.
pub(crate) fn literal_bytes(copies: &[Copy], len: usize) -> usize {
    len - copies.iter().map(|copy| copy.len).sum::<usize>()
}

/// Puts `literals`, which are as many as there is room for, between `copies`.
pub(crate) fn fill(literals: &[u8], copies: &[Copy], target: &mut [u8]) {
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

/// Reads a length that may not exceed `left`.
fn bounded(
    sources: &mut Sources,
    stream: Stream,
    what: &'static str,
    left: usize,
) -> Result<usize> {
    let found = sources.number(stream)?;
    match usize::try_from(found) {
        Ok(len) if len <= left => Ok(len),
        _ => Err(sources.malformed(stream, what, left as u64, found)),
    }
}

/// The group reads bytes that this base does not have.
#[cold]
fn past_the_base(expected: u64, base: &[u8]) -> CodecError {
    CodecError::BaseUnlike { what: "length in bytes", expected, found: base.len() as u64 }
}

/// Whether `copies` lay out a target of `len` bytes by one copy from the base's start.
#[cfg(feature = "encode")]
pub(crate) fn is_whole(copies: &[Copy], len: usize) -> bool {
    matches!(copies, [only] if *only == Copy { target: 0, base: 0, len })
}

/// Writes `copies` (in target order, not overlapping) and the literals between them, as they are
/// spelled in `target`.
#[cfg(feature = "encode")]
pub(crate) fn write(sinks: &mut crate::group::Sinks, copies: &[Copy], target: &[u8]) {
    if is_whole(copies, target.len()) {
        return;
    }
    let (mut at, mut base_end) = (0, 0_usize);
    for copy in copies {
        let literal = &target[at..copy.target];
        sinks.number(Stream::LiteralLengths, literal.len() as u64);
        sinks.bytes(Stream::Literals, literal);
        sinks.number(Stream::CopyLengths, copy.len as u64);
        let expected = (base_end + literal.len()) as u64;
        sinks
            .signed(Stream::BaseOffsets, (copy.base as u64).cast_signed() - expected.cast_signed());
        (at, base_end) = (copy.target_end(), copy.base_end());
    }
    if at < target.len() {
        sinks.number(Stream::LiteralLengths, (target.len() - at) as u64);
        sinks.bytes(Stream::Literals, &target[at..]);
    }
}
