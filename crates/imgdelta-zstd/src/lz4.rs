//! LZ4 blocks: a decoder, and encoders whose output is that of the LZ4 library.
//! Never reads LZ4 frames; uses no dictionary.
//!
//! Programs for graphics processors are stored as such blocks. A block does not say which encoder
//! made it, so [`Lz4Encoder::find`] tries them all and compares. An encoder that is wrong usually
//! differs within the first kilobyte, and then stops.
//!
//! The encoders reproduce LZ4 by Yann Collet (<https://github.com/lz4/lz4>): the rules, constants
//! and the format that their output follows are its author's work. `docs/format-lz4.md` is
//! normative.

mod block;
mod chain;
mod compare;
mod decode;
mod middle;
#[cfg(test)]
mod tests;

pub use decode::decode;

use block::SequenceWriter;

/// An encoder of LZ4 blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lz4Encoder {
    /// Levels 1 and 2 of high compression, releases since 1.10.
    Middle,
    /// Levels 1 and 2 of high compression, releases 1.9.
    Chain2,
    /// Level 3 of high compression, releases 1.9.
    Chain4,
    /// Level 4 of high compression, releases 1.9.
    Chain8,
    /// Level 5 of high compression, releases 1.9.
    Chain16,
}

impl Lz4Encoder {
    /// All encoders; those that are seen most come first.
    pub const ALL: [Self; 5] =
        [Self::Middle, Self::Chain2, Self::Chain4, Self::Chain8, Self::Chain16];

    /// Returns the number in recipes.
    pub fn number(self) -> u8 {
        match self {
            Self::Middle => 0,
            Self::Chain2 => 1,
            Self::Chain4 => 2,
            Self::Chain8 => 3,
            Self::Chain16 => 4,
        }
    }

    /// Returns the encoder with a number in recipes.
    pub fn with_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|encoder| encoder.number() == number)
    }

    /// Compresses `plain`. Fails if that takes too much work, or if `plain` is longer than
    /// [`MOST_PLAIN_BYTES`].
    pub fn encode(self, plain: &[u8]) -> Result<Vec<u8>, Lz4Error> {
        self.write(plain, SequenceWriter::new())
    }

    /// Returns the encoder that compresses `plain` to `block`, if there is one.
    pub fn find(plain: &[u8], block: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|encoder| {
            let made = encoder.write(plain, SequenceWriter::comparing(block));
            made.is_ok_and(|made| made == block)
        })
    }

    fn write(self, plain: &[u8], writer: SequenceWriter<'_>) -> Result<Vec<u8>, Lz4Error> {
        if plain.len() as u64 > MOST_PLAIN_BYTES {
            return Err(Lz4Error::TooLong);
        }
        match self.attempts() {
            None => middle::encode(plain, writer),
            Some(attempts) => chain::encode(plain, attempts, writer),
        }
    }

    /// Returns the candidates that a search of hash chains compares.
    fn attempts(self) -> Option<usize> {
        match self {
            Self::Middle => None,
            Self::Chain2 => Some(2),
            Self::Chain4 => Some(4),
            Self::Chain8 => Some(8),
            Self::Chain16 => Some(16),
        }
    }

    /// Returns the nanoseconds for a byte of the content, on one core.
    pub fn nanoseconds_per_byte(self) -> u32 {
        match self.attempts() {
            None => MIDDLE_BYTE,
            Some(attempts) => CHAIN_BYTE + ATTEMPT_BYTE * u32::try_from(attempts).unwrap_or(16),
        }
    }

    /// Returns the most memory that compressing `plain_bytes` takes: content, block and tables.
    pub fn memory_bytes(self, plain_bytes: u64) -> u64 {
        plain_bytes.saturating_mul(2).saturating_add(TABLE_BYTES)
    }
}

/// Reason why a block cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lz4Error {
    /// The content is longer than [`MOST_PLAIN_BYTES`].
    TooLong,
    /// The content compares equal in so many places that the search takes too long.
    TooMuchWork,
    /// The block differs from the one that it is compared with.
    Differs,
}

impl std::fmt::Display for Lz4Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::TooLong => "the content of an LZ4 block is too long",
            Self::TooMuchWork => "an LZ4 block takes too much work",
            Self::Differs => "an LZ4 block differs",
        })
    }
}

impl std::error::Error for Lz4Error {}

/// Most bytes of a block's content, which is held in memory. The largest program for a graphics
/// processor that was seen has a few megabytes.
pub const MOST_PLAIN_BYTES: u64 = 32 << 20;

/// Shortest match.
const LEAST_MATCH: usize = 4;
/// Longest distance of a match.
const MOST_DISTANCE: usize = 65_535;
/// Bytes at the end that are literals.
const LAST_LITERALS: usize = 5;
/// Bytes at the end in which no match begins.
const LAST_START: usize = 12;

/// Nanoseconds for a byte, and for a candidate of a search.
const MIDDLE_BYTE: u32 = 10;
const CHAIN_BYTE: u32 = 20;
const ATTEMPT_BYTE: u32 = 10;
const TABLE_BYTES: u64 = 1 << 20;
