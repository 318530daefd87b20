//! What can be wrong with a deflate stream, and where it showed.
//!
//! Never about the caller's buffers: running out of those is a status, not an error.

use std::fmt;

/// A stream that is not deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflateError {
    /// Position of the bit from which on the stream makes no sense.
    pub bit: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a deflate stream. A caller does the same for all of them: it treats the
/// bytes as bytes; the kinds are for the reader of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A block of the reserved type.
    BlockType,
    /// A stored block whose length and its complement disagree.
    StoredLength,
    /// A dynamic header that announces more symbols than exist.
    SymbolCount,
    /// A code-length code that is no complete prefix code.
    CodelenCode,
    /// Code lengths that repeat nothing or run over the end.
    CodelenRun,
    /// A literal/length code that is no prefix code, or has no end of block.
    LitlenCode,
    /// A distance code that is no prefix code.
    DistanceCode,
    /// Bits that are no literal/length symbol.
    LitlenSymbol,
    /// Bits that are no distance symbol.
    DistanceSymbol,
    /// A copy from before the start of the data.
    Distance,
    /// The stream ends before its last block does.
    Truncated,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::BlockType => "block of the reserved type",
            Fault::StoredLength => "stored block's length does not match its complement",
            Fault::SymbolCount => "dynamic header announces too many symbols",
            Fault::CodelenCode => "code-length code is not a complete prefix code",
            Fault::CodelenRun => "run of code lengths is out of place",
            Fault::LitlenCode => "literal/length code is not a usable prefix code",
            Fault::DistanceCode => "distance code is not a usable prefix code",
            Fault::LitlenSymbol => "bits are no literal/length symbol",
            Fault::DistanceSymbol => "bits are no distance symbol",
            Fault::Distance => "copy reaches before the start of the data",
            Fault::Truncated => "stream ends within a block",
        };
        write!(f, "deflate stream, bit {}: {what}", self.bit)
    }
}

impl std::error::Error for InflateError {}
