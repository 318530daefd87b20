//! What an inflater tells besides the plain bytes: blocks, their headers, their tokens.
//!
//! Never stores anything; with `()` as the sink every call compiles away.

use crate::token::Token;

/// Hears how a deflate stream was made while it is inflated.
pub trait Sink {
    /// Whether tokens are wanted; if not, [`Sink::token`] is never called and costs nothing.
    const TOKENS: bool;

    /// A block header was read.
    fn block(&mut self, block: &Block<'_>) {
        let _ = block;
    }

    /// A token was read. The bytes of stored blocks are not tokens.
    fn token(&mut self, token: Token) {
        let _ = token;
    }

    /// A block ended; `bit` is the position after it, `plain_bytes` the bytes inflated so far.
    fn block_end(&mut self, bit: u64, plain_bytes: u64) {
        let _ = (bit, plain_bytes);
    }
}

impl Sink for () {
    const TOKENS: bool = false;
}

/// The header of one block.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Position of the header's first bit in the stream.
    pub start_bit: u64,
    /// Whether the stream calls it the last block.
    pub is_final: bool,
    /// How its bytes are stored.
    pub kind: Kind<'a>,
}

/// How the bytes of a block are stored.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// As they are.
    Stored {
        /// The bits between the header and the byte boundary: zero from every sane encoder.
        padding: u8,
        /// Bytes in the block.
        plain_bytes: u16,
    },
    /// With the code of RFC 1951.
    Fixed,
    /// With its own code.
    Dynamic(Dynamic<'a>),
}

/// The header of a dynamic block, in full: it can be written again from this.
#[derive(Clone, Copy, Debug)]
pub struct Dynamic<'a> {
    /// Code lengths of the literal/length code, as many as the header gives (257 to 286).
    pub litlen_lengths: &'a [u8],
    /// Code lengths of the distance code, as many as the header gives (1 to 30).
    pub distance_lengths: &'a [u8],
    /// Code lengths of the code-length code in header order, as many as the header gives.
    pub codelen_lengths: &'a [u8],
    /// The code-length symbols as sent, each with its extra bits.
    pub codelen_symbols: &'a [(u8, u8)],
}
