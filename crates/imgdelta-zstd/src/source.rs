//! Random access to bytes of any size, which detection reads piece by piece.
//!
//! Never does I/O itself: callers implement the trait, and their errors pass through.

/// Bytes that can be read from any offset.
pub trait ByteSource {
    /// The error of a failed read.
    type Error;

    /// Returns the total number of bytes.
    fn bytes(&self) -> u64;

    /// Fills `buffer` with the bytes at `offset`. The caller asks only for bytes that exist.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

impl ByteSource for [u8] {
    type Error = std::convert::Infallible;

    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        buffer.copy_from_slice(&self[offset as usize..][..buffer.len()]);
        Ok(())
    }
}

/// Reads a source through one buffer, mostly forward and in small pieces.
pub(crate) struct SourceReader<'a, S: ByteSource + ?Sized> {
    source: &'a S,
    from: u64,
    held: Vec<u8>,
}

/// Most bytes of one read.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

impl<'a, S: ByteSource + ?Sized> SourceReader<'a, S> {
    pub(crate) fn new(source: &'a S) -> Self {
        Self { source, from: 0, held: Vec::new() }
    }

    /// Returns `bytes` bytes at `offset`, or fewer at the end of the source. `bytes` is at most
    /// [`PIECE_BYTES`]. A read of the source fetches at least `ahead` bytes.
    pub(crate) fn at(
        &mut self,
        offset: u64,
        bytes: usize,
        ahead: usize,
    ) -> Result<&[u8], S::Error> {
        let end = self.source.bytes();
        let wanted = end.saturating_sub(offset).min(bytes as u64) as usize;
        if wanted == 0 {
            return Ok(&[]);
        }
        let start = usize::try_from(offset.wrapping_sub(self.from)).unwrap_or(usize::MAX);
        if start.checked_add(wanted).is_none_or(|last| last > self.held.len()) {
            let piece = end.saturating_sub(offset).min(bytes.max(ahead) as u64) as usize;
            self.held.resize(piece, 0);
            self.from = offset;
            self.source.read(offset, &mut self.held)?;
            return Ok(&self.held[..wanted]);
        }
        Ok(&self.held[start..start + wanted])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_past_the_end_are_short() {
        let bytes: Vec<u8> = (0..200u8).collect();
        let mut reader = SourceReader::new(&bytes[..]);
        for (offset, count, expected) in [
            (0, 10, 0..10),
            (5, 10, 5..15),
            (150, 100, 150..200),
            (3, 2, 3..5),
            (200, 5, 200..200),
            (900, 5, 200..200),
        ] {
            assert_eq!(reader.at(offset, count, 20), Ok(&bytes[expected]), "{count} at {offset}");
        }
    }
}
