//! The writer of an LZ4 block, which compares while it writes.
//! Never searches for matches.

use super::{LEAST_MATCH, Lz4Error};

/// A match: `bytes` bytes at `start` are those `distance` bytes before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) bytes: usize,
    pub(super) distance: usize,
}

impl Match {
    /// Returns the offset behind the match.
    pub(super) fn end(&self) -> usize {
        self.start + self.bytes
    }

    /// Takes bytes away at the start; all of them if there are fewer.
    pub(super) fn cut_front(&mut self, bytes: usize) {
        self.start += bytes;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Writer of a block.
pub(super) struct SequenceWriter<'a> {
    block: Vec<u8>,
    /// The block that is expected.
    expected: Option<&'a [u8]>,
    /// Bytes that are compared already.
    compared: usize,
    /// Bytes of the content that are written.
    anchor: usize,
}

impl<'a> SequenceWriter<'a> {
    pub(super) fn new() -> Self {
        Self { block: Vec::new(), expected: None, compared: 0, anchor: 0 }
    }

    /// Returns a writer that fails where the block begins to differ from `expected`.
    pub(super) fn comparing(expected: &'a [u8]) -> Self {
        Self { expected: Some(expected), ..Self::new() }
    }

    /// Returns the offset of the first byte of the content that is not written.
    pub(super) fn anchor(&self) -> usize {
        self.anchor
    }

    /// Writes the literals before a match, and the match.
    pub(super) fn write(&mut self, plain: &[u8], found: Match) -> Result<(), Lz4Error> {
        let match_bytes = found.bytes.checked_sub(LEAST_MATCH).ok_or(Lz4Error::TooLong)?;
        self.literals(&plain[self.anchor..found.start], match_bytes.min(LONG));
        let distance = u16::try_from(found.distance).map_err(|_| Lz4Error::TooLong)?;
        self.block.extend_from_slice(&distance.to_le_bytes());
        self.rest(match_bytes);
        self.anchor = found.end();
        self.compare()
    }

    /// Writes the literals at the end.
    pub(super) fn finish(mut self, plain: &[u8]) -> Result<Vec<u8>, Lz4Error> {
        self.literals(&plain[self.anchor..], 0);
        self.compare()?;
        Ok(self.block)
    }

    fn literals(&mut self, literals: &[u8], match_bits: usize) {
        let token = literals.len().min(LONG) << 4 | match_bits;
        self.block.push(token.to_le_bytes()[0]);
        self.rest(literals.len());
        self.block.extend_from_slice(literals);
    }

    /// Writes what a length has over 15.
    fn rest(&mut self, length: usize) {
        if let Some(rest) = length.checked_sub(LONG) {
            self.block.resize(self.block.len() + rest / 255, 255);
            self.block.push((rest % 255).to_le_bytes()[0]);
        }
    }

    fn compare(&mut self) -> Result<(), Lz4Error> {
        let Some(expected) = self.expected else { return Ok(()) };
        let range = self.compared..self.block.len();
        self.compared = range.end;
        let is_same = expected.get(range.clone()).is_some_and(|bytes| *bytes == self.block[range]);
        if is_same { Ok(()) } else { Err(Lz4Error::Differs) }
    }
}

/// A length in a token that has more bytes behind it.
const LONG: usize = 15;
