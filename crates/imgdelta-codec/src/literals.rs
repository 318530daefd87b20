//! Literals of one member packed on their own, with its base and earlier literals as the prefix.
//! Never decides if that pays: the encoder compares.
//!
//! Libraries built by one tool have the same new code. So the literals that earlier members packed
//! this way may precede the base's part of the prefix. A member names the number of those bytes,
//! counted from the last. The number stays right when another group's members are put before it.

use crate::{
    error::{CodecError, PackError, Result},
    frame,
    group::StreamReader,
    prefix::LiteralPrefix,
    stream::StreamKind,
};

/// Most bytes that a member takes from earlier literals.
pub(crate) const MAX_HISTORY: usize = 1 << 20;

/// The literals packed so far: their last bytes, unpacked.
#[derive(Debug, Default)]
pub(crate) struct LiteralHistory(Vec<u8>);

impl LiteralHistory {
    /// Returns the bytes that the next member may take.
    pub(crate) fn usable(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(MAX_HISTORY)..]
    }

    /// Adds a member's literals.
    pub(crate) fn add(&mut self, literals: &[u8]) {
        self.0.extend_from_slice(literals);
        // Not each time: moving the bytes may take longer than decoding the member.
        if self.0.len() > 2 * MAX_HISTORY {
            let old = self.0.len() - MAX_HISTORY;
            self.0.drain(..old);
        }
    }

    /// Removes all literals: the next member does not refer to them.
    #[cfg(feature = "encode")]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Reads the next member's literals, which are `len` bytes.
pub(crate) fn read(
    reader: &mut StreamReader,
    history: &mut LiteralHistory,
    prefix: &LiteralPrefix<'_>,
    len: usize,
) -> Result<Vec<u8>> {
    let usable = history.usable();
    let taken = reader.number(StreamKind::PackedLiterals)?;
    let Some(start) = usize::try_from(taken).ok().and_then(|taken| usable.len().checked_sub(taken))
    else {
        let usable = usable.len() as u64;
        return Err(reader.malformed(StreamKind::PackedLiterals, "bytes before", usable, taken));
    };
    let packed_len = reader.number(StreamKind::PackedLiterals)?;
    let packed_len = usize::try_from(packed_len).unwrap_or(usize::MAX);
    let at = reader.at(StreamKind::PackedLiterals);
    let packed = reader.bytes(StreamKind::PackedLiterals, packed_len)?;
    let literals =
        frame::unpack(packed, &prefix.build(&usable[start..]), len as u64, at).map_err(of_frame)?;
    history.add(&literals);
    Ok(literals)
}

/// Moves an error in a frame to the stream that holds the frame.
#[cold]
fn of_frame(error: PackError) -> CodecError {
    match CodecError::from(error) {
        CodecError::Malformed { at, what, expected, found, .. } => {
            let stream = Some(StreamKind::PackedLiterals);
            CodecError::Malformed { stream, at, what, expected, found }
        }
        other => other,
    }
}

/// Packs a member's literals in the spelling of [`crate::spelling`].
#[cfg(feature = "encode")]
pub(crate) fn pack(
    writer: &mut crate::group::StreamWriter,
    history: &LiteralHistory,
    prefix: &LiteralPrefix<'_>,
    literals: &[u8],
    level: i32,
) {
    let usable = history.usable();
    let packed = frame::pack(literals, &prefix.build(usable), level);
    writer.number(StreamKind::PackedLiterals, usable.len() as u64);
    writer.number(StreamKind::PackedLiterals, packed.len() as u64);
    writer.bytes(StreamKind::PackedLiterals, &packed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_the_last_mebibyte_and_never_more_than_two() {
        let mut history = LiteralHistory::default();
        let mut all = Vec::new();
        for number in 0..50_u32 {
            let literals = vec![number as u8; 100_000];
            history.add(&literals);
            all.extend(literals);
            assert_eq!(history.usable(), &all[all.len().saturating_sub(MAX_HISTORY)..]);
            assert!(history.0.len() <= 2 * MAX_HISTORY, "{} bytes", history.0.len());
        }
    }
}
