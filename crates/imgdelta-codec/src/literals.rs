//! Literals of one member packed by themselves, against its base and the packed literals before.
//! Never chooses whether that pays: the encoder compares.
//!
//! Libraries built by one tool say the same new things. So what earlier members of the group said this way may stand
//! behind the prefix that the base gives. A member names how many of those bytes it takes, counted from the last:
//! that stays true when the members of another group are put before its own.

use crate::{
    error::{CodecError, PackError, Result},
    frame,
    group::Sources,
    prefix::Prefix,
    stream::Stream,
};

/// Most bytes that one member may take from those before it.
pub(crate) const MAX_HISTORY: usize = 1 << 20;

/// The packed literals of the members so far: their last bytes, unpacked.
#[derive(Debug, Default)]
pub(crate) struct History(Vec<u8>);

impl History {
    /// The bytes that the next member may take.
    pub(crate) fn usable(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(MAX_HISTORY)..]
    }

    /// Adds a member's literals.
    pub(crate) fn add(&mut self, literals: &[u8]) {
        self.0.extend_from_slice(literals);
        // Not each time: moving the bytes may take longer than the member did.
        if self.0.len() > 2 * MAX_HISTORY {
            let old = self.0.len() - MAX_HISTORY;
            self.0.drain(..old);
        }
    }

    /// Forgets everything: what follows will not refer to it.
    #[cfg(feature = "encode")]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Reads the next member's literals, which are `len` bytes.
pub(crate) fn read(
    sources: &mut Sources,
    history: &mut History,
    prefix: &Prefix<'_>,
    len: usize,
) -> Result<Vec<u8>> {
    let usable = history.usable();
    let taken = sources.number(Stream::PackedLiterals)?;
    let Some(start) = usize::try_from(taken).ok().and_then(|taken| usable.len().checked_sub(taken))
    else {
        let usable = usable.len() as u64;
        return Err(sources.malformed(Stream::PackedLiterals, "bytes before", usable, taken));
    };
    let packed_len = sources.number(Stream::PackedLiterals)?;
    let packed_len = usize::try_from(packed_len).unwrap_or(usize::MAX);
    let at = sources.left(Stream::PackedLiterals) as u64;
    let packed = sources.bytes(Stream::PackedLiterals, packed_len)?;
    let literals = frame::unpack(packed, &prefix.build(&usable[start..]), len)
        .map_err(|error| of_frame(error, at))?;
    history.add(&literals);
    Ok(literals)
}

/// Says of the stream what was found in a frame.
#[cold]
fn of_frame(error: PackError, at: u64) -> CodecError {
    match CodecError::from(error) {
        CodecError::Malformed { what, expected, found, .. } => {
            let stream = Some(Stream::PackedLiterals);
            CodecError::Malformed { stream, at, what, expected, found }
        }
        other => other,
    }
}

/// Packs a member's literals, as they are spelled.
#[cfg(feature = "encode")]
pub(crate) fn pack(
    sinks: &mut crate::group::Sinks,
    history: &History,
    prefix: &Prefix<'_>,
    literals: &[u8],
    level: i32,
) {
    let usable = history.usable();
    let packed = frame::pack(literals, &prefix.build(usable), level);
    sinks.number(Stream::PackedLiterals, usable.len() as u64);
    sinks.number(Stream::PackedLiterals, packed.len() as u64);
    sinks.bytes(Stream::PackedLiterals, &packed);
}
