//! The copies that a member is laid out from, and their form in the control streams.
//! Never touches bytes of base or target.

#[cfg(feature = "encode")]
use crate::{group::StreamWriter, stream::StreamKind};

pub(crate) use imgdelta_wire::matcher::BaseCopy;

/// Returns the bytes of a target of `len` bytes that lie in none of `copies`.
pub(crate) fn literal_bytes(copies: &[BaseCopy], len: usize) -> usize {
    len - copies.iter().map(|copy| copy.len).sum::<usize>()
}

/// True if `copies` is one copy of a whole target of `len` bytes from the base's start.
#[cfg(feature = "encode")]
pub(crate) fn is_whole(copies: &[BaseCopy], len: usize) -> bool {
    matches!(copies, [only] if *only == BaseCopy { target: 0, base: 0, len })
}

/// Writes `copies` (in target order, not overlapping) and the lengths of the literals between them.
#[cfg(feature = "encode")]
pub(crate) fn write(writer: &mut StreamWriter, copies: &[BaseCopy], target_len: usize) {
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
