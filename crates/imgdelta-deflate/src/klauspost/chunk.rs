//! The chunk, history and hashes of klauspost's one-pass parsers, which are levels 1 to 6.
//!
//! A parser takes a chunk of at most 65535 bytes at a time. Positions in the tables are 32-bit and
//! count over the whole stream. The first position is so high that an empty entry is always too far
//! away. Parsers reach back 32 KiB. Never keeps more than 320 KiB of history.

use crate::alphabet::MAX_COPY;
use crate::token::Token;
use crate::window::{common, long, word};

/// Most bytes of a chunk.
pub(super) const CHUNK_BYTES: usize = 65_535;
/// Bytes of the shortest chunk that is searched.
pub(super) const MIN_CHUNK_BYTES: usize = 13;
/// Bytes at the end of a chunk that are not searched.
const MARGIN: usize = 11;
/// Most bytes of the history. A longer one is cut to its last 32 KiB, which changes the output of
/// level 4.
const HISTORY_BYTES: usize = 5 * CHUNK_BYTES;
const KEPT_BYTES: usize = 32_768;
/// The first position. An empty table entry, which is 0, is then never near.
pub(super) const FIRST: u32 = 1 << 17;
/// Positions above this are lowered.
const REBASE: u32 = 1 << 31;

/// The bytes of the chunks before, and of the current chunk.
pub(super) struct ChunkHistory {
    bytes: Vec<u8>,
    base: u32,
}

/// A chunk with its history.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    /// Index of the chunk's start in `bytes`.
    pub(super) start: usize,
    /// Position of `bytes[0]`.
    pub(super) base: u32,
}

impl ChunkHistory {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(HISTORY_BYTES), base: FIRST }
    }

    /// Drops all bytes. The indexed positions are too far away from now on.
    pub(super) fn restart(&mut self) {
        self.base += self.bytes.len() as u32 + NEARLY + 1;
        self.bytes.clear();
    }

    /// Appends a chunk. Returns the amount by which all tables must lower their positions, if any.
    pub(super) fn push(&mut self, plain: &[u8]) -> Option<u32> {
        if self.bytes.len() + plain.len() > HISTORY_BYTES {
            let cut = self.bytes.len() - KEPT_BYTES;
            self.bytes.drain(..cut);
            self.base += cut as u32;
        }
        self.bytes.extend_from_slice(plain);
        if self.base > REBASE {
            let down = self.base - FIRST;
            self.base = FIRST;
            return Some(down);
        }
        None
    }

    /// Returns the last `bytes` bytes as a chunk.
    pub(super) fn chunk(&self, bytes: usize) -> Chunk<'_> {
        Chunk { bytes: &self.bytes, start: self.bytes.len() - bytes, base: self.base }
    }
}

impl Chunk<'_> {
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the end of the searched bytes.
    pub(super) fn limit(&self) -> usize {
        self.bytes.len() - MARGIN
    }

    #[inline]
    pub(super) fn position(&self, index: usize) -> u32 {
        self.base + index as u32
    }

    #[inline]
    pub(super) fn long(&self, index: usize) -> u64 {
        long(self.bytes, index)
    }

    /// Returns the index of `position` if it is at most `farthest` bytes before `at` and has the
    /// same four bytes.
    #[inline]
    pub(super) fn matches(&self, position: u32, at: usize, farthest: u32) -> Option<usize> {
        let (index, is_match) = self.candidate(position, at, farthest);
        is_match.then_some(index)
    }

    /// Like [`Chunk::matches`] without a branch. About half of the entries in a full table are too
    /// far away, which a processor cannot predict.
    #[inline]
    pub(super) fn candidate(&self, position: u32, at: usize, farthest: u32) -> (usize, bool) {
        let is_near = self.position(at).wrapping_sub(position) <= farthest;
        let index = if is_near { position.wrapping_sub(self.base) as usize } else { 0 };
        (index, is_near & (word(self.bytes, index) == word(self.bytes, at)))
    }

    /// Returns the number of equal bytes, up to the end of the chunk.
    #[inline]
    pub(super) fn common(&self, a: usize, b: usize) -> usize {
        common(self.bytes, a, b, self.bytes.len() - a.max(b))
    }

    /// Returns the number of equal bytes, at most 258.
    #[inline]
    pub(super) fn common_258(&self, at: usize, candidate: usize) -> usize {
        common(self.bytes, candidate, at, (self.bytes.len() - at).min(MAX_COPY))
    }
}

/// The farthest distance of most comparisons.
pub(super) const NEAR: u32 = 32_767;
/// The farthest distance of a comparison that accepts one more.
pub(super) const NEARLY: u32 = 32_768;

/// An entry of a table with two positions.
#[derive(Clone, Copy, Default)]
pub(super) struct PositionPair {
    pub(super) newest: u32,
    pub(super) before: u32,
}

impl PositionPair {
    #[inline]
    pub(super) fn push(&mut self, position: u32) {
        *self = Self { newest: position, before: self.newest };
    }

    pub(super) fn lower(&mut self, down: u32) {
        self.newest = self.newest.saturating_sub(down);
        self.before = self.before.saturating_sub(down);
    }
}

#[inline]
pub(super) fn hash4<const BITS: u32>(bytes: u64) -> usize {
    ((bytes as u32).wrapping_mul(2_654_435_761) >> (32 - BITS)) as usize
}

#[inline]
pub(super) fn hash5<const BITS: u32>(bytes: u64) -> usize {
    ((bytes << 24).wrapping_mul(889_523_592_379) >> (64 - BITS)) as usize
}

#[inline]
pub(super) fn hash7<const BITS: u32>(bytes: u64) -> usize {
    ((bytes << 8).wrapping_mul(58_295_818_150_454_627) >> (64 - BITS)) as usize
}

/// Writes the tokens of a chunk.
pub(super) struct TokenEmitter<'a> {
    chunk: Chunk<'a>,
    tokens: &'a mut Vec<Token>,
    /// End of the bytes that are in tokens.
    pub(super) emitted: usize,
}

/// A copy of `length` bytes at `at` from `from`.
#[derive(Clone, Copy)]
pub(super) struct ChunkMatch {
    pub(super) at: usize,
    pub(super) from: usize,
    pub(super) length: usize,
}

impl<'a> TokenEmitter<'a> {
    pub(super) fn new(chunk: Chunk<'a>, tokens: &'a mut Vec<Token>) -> Self {
        Self { chunk, tokens, emitted: chunk.start }
    }

    fn literals(&mut self, end: usize) {
        let bytes = &self.chunk.bytes[self.emitted..end];
        self.tokens.extend(bytes.iter().map(|&byte| Token::literal(byte)));
        self.emitted = end;
    }

    /// Extends a copy backwards, and writes it with the literals before it. Returns the extended
    /// copy.
    #[inline]
    pub(super) fn copy(&mut self, mut found: ChunkMatch) -> ChunkMatch {
        let bytes = self.chunk.bytes;
        while found.from > 0
            && found.at > self.emitted
            && bytes[found.from - 1] == bytes[found.at - 1]
        {
            found.from -= 1;
            found.at -= 1;
            found.length += 1;
        }
        self.literals(found.at);
        let distance = found.at - found.from;
        let mut left = found.length;
        while left > 0 {
            let piece = match left {
                0..=258 => left,
                // A copy of 258 would leave a rest of less than four bytes.
                259..=261 => 255,
                _ => MAX_COPY,
            };
            self.tokens.push(Token::copy(piece, distance));
            left -= piece;
        }
        self.emitted = found.at + found.length;
        found
    }

    /// Writes the rest of the chunk. A chunk without copies gets no tokens at all.
    pub(super) fn finish(mut self) {
        if !self.tokens.is_empty() {
            self.literals(self.chunk.end());
        }
    }
}
