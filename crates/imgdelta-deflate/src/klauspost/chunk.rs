//! What all of klauspost's one-pass parsers (levels 1 to 6) share: a chunk, its history, hashes.
//!
//! A chunk of at most 65535 bytes is parsed at a time. Positions in the tables are 32-bit and
//! count on over the whole stream, starting high enough that an empty entry is too far from
//! everything. Never keeps more than 320 KiB of history; what the parsers can reach is 32 KiB.

use crate::alphabet::MAX_COPY;
use crate::token::Token;
use crate::window::{common, long, word};

/// Bytes a chunk holds at most.
pub(super) const CHUNK_BYTES: usize = 65_535;
/// Chunks shorter than this are not looked at.
pub(super) const MIN_CHUNK_BYTES: usize = 13;
/// No search starts closer than this to the end of a chunk.
const MARGIN: usize = 11;
/// The history is cut to the last 32 KiB when it would grow beyond this: visible at level 4.
const HISTORY_BYTES: usize = 5 * CHUNK_BYTES;
const KEPT_BYTES: usize = 32_768;
/// First position; an empty table entry (0) is then never near.
pub(super) const FIRST: u32 = 1 << 17;
/// The stream's positions are lowered beyond this.
const REBASE: u32 = 1 << 31;

/// The bytes parsed before and the chunk to be parsed.
pub(super) struct ChunkHistory {
    bytes: Vec<u8>,
    base: u32,
}

/// One chunk with its history.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the chunk starts in `bytes`.
    pub(super) start: usize,
    /// Position of `bytes[0]`.
    pub(super) base: u32,
}

impl ChunkHistory {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(HISTORY_BYTES), base: FIRST }
    }

    /// Forgets all bytes; whatever was indexed is too far away afterwards.
    pub(super) fn restart(&mut self) {
        self.base += self.bytes.len() as u32 + NEARLY + 1;
        self.bytes.clear();
    }

    /// Appends a chunk. Returns by how much every position must be lowered first, if at all.
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

    /// Where searching stops.
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

    /// Returns the index of `position` if it is at most `farthest` before `at` and its first
    /// four bytes are the same.
    #[inline]
    pub(super) fn matches(&self, position: u32, at: usize, farthest: u32) -> Option<usize> {
        let (index, is_match) = self.candidate(position, at, farthest);
        is_match.then_some(index)
    }

    /// As [`Chunk::matches`], without a branch: of what a full table holds about half is too far
    /// away, which no processor foresees.
    #[inline]
    pub(super) fn candidate(&self, position: u32, at: usize, farthest: u32) -> (usize, bool) {
        let is_near = self.position(at).wrapping_sub(position) <= farthest;
        let index = if is_near { position.wrapping_sub(self.base) as usize } else { 0 };
        (index, is_near & (word(self.bytes, index) == word(self.bytes, at)))
    }

    /// Returns how many bytes agree, up to the end of the chunk.
    #[inline]
    pub(super) fn common(&self, a: usize, b: usize) -> usize {
        common(self.bytes, a, b, self.bytes.len() - a.max(b))
    }

    /// Returns how many bytes agree, at most 258.
    #[inline]
    pub(super) fn common_258(&self, at: usize, candidate: usize) -> usize {
        common(self.bytes, candidate, at, (self.bytes.len() - at).min(MAX_COPY))
    }
}

/// Distances all levels accept.
pub(super) const NEAR: u32 = 32_767;
/// The farthest distance where a level is generous.
pub(super) const NEARLY: u32 = 32_768;

/// An entry of a table that remembers two positions.
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

/// Tokens of a chunk and how far they reach.
pub(super) struct TokenEmitter<'a> {
    chunk: Chunk<'a>,
    tokens: &'a mut Vec<Token>,
    /// The bytes before this index are in tokens.
    pub(super) emitted: usize,
}

/// A copy that was found: where, from where, how long.
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

    /// Extends the match backwards, then writes the literals before it and the match.
    /// Returns the match as it was written.
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
                // A rest of less than four bytes would be left over.
                259..=261 => 255,
                _ => MAX_COPY,
            };
            self.tokens.push(Token::copy(piece, distance));
            left -= piece;
        }
        self.emitted = found.at + found.length;
        found
    }

    /// Writes the rest of the chunk; a chunk without any copy has no tokens at all.
    pub(super) fn finish(mut self) {
        if !self.tokens.is_empty() {
            self.literals(self.chunk.end());
        }
    }
}
