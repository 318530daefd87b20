//! Errors in a deflate stream, with their positions.
//!
//! Never about the caller's buffers: a full or empty buffer is a status, not an error.

use std::fmt;

/// An error in a deflate stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflateError {
    /// Position of the first invalid bit.
    pub bit: u64,
    /// The kind of the error.
    pub fault: InflateFault,
}

/// The kind of an error in a deflate stream.
///
/// Callers treat all kinds alike: the bytes are not deflate. The kinds make the message precise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InflateFault {
    /// The type of a block is reserved.
    BlockType,
    /// The length of a stored block and its complement differ.
    StoredLength,
    /// A dynamic header has more symbols than exist.
    SymbolCount,
    /// A code-length code is not a complete prefix code.
    CodelenCode,
    /// A run of code lengths repeats nothing, or passes the end.
    CodelenRun,
    /// A literal/length code is not a prefix code, or has no end of block.
    LitlenCode,
    /// A distance code is not a prefix code.
    DistanceCode,
    /// The bits are not a literal/length symbol.
    LitlenSymbol,
    /// The bits are not a distance symbol.
    DistanceSymbol,
    /// A copy starts before the start of the data.
    Distance,
    /// The stream ends before its last block.
    Truncated,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            InflateFault::BlockType => "block of the reserved type",
            InflateFault::StoredLength => "stored block's length does not match its complement",
            InflateFault::SymbolCount => "dynamic header has too many symbols",
            InflateFault::CodelenCode => "code-length code is not a complete prefix code",
            InflateFault::CodelenRun => "run of code lengths is out of place",
            InflateFault::LitlenCode => "literal/length code is not a usable prefix code",
            InflateFault::DistanceCode => "distance code is not a usable prefix code",
            InflateFault::LitlenSymbol => "bits are not a literal/length symbol",
            InflateFault::DistanceSymbol => "bits are not a distance symbol",
            InflateFault::Distance => "copy reaches before the start of the data",
            InflateFault::Truncated => "stream ends within a block",
        };
        write!(f, "deflate stream, bit {}: {what}", self.bit)
    }
}

impl std::error::Error for InflateError {}
