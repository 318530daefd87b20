//! The observer of an inflater, which gets blocks, headers and tokens.
//!
//! Never stores anything: with `()` as the observer every call compiles to nothing.

use crate::token::Token;

/// Gets the structure of a deflate stream while it is inflated.
pub trait InflateObserver {
    /// True to get tokens. If false, [`InflateObserver::token`] is never called and costs nothing.
    const TOKENS: bool;

    /// Called after a block header.
    fn block(&mut self, block: &BlockHeader<'_>) {
        let _ = block;
    }

    /// Called after a token. The bytes of stored blocks are not tokens.
    fn token(&mut self, token: Token) {
        let _ = token;
    }

    /// Called after a block. `bit` is the position behind it, and `plain_bytes` are all so far.
    fn block_end(&mut self, bit: u64, plain_bytes: u64) {
        let _ = (bit, plain_bytes);
    }
}

impl InflateObserver for () {
    const TOKENS: bool = false;
}

/// The header of a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockHeader<'a> {
    /// Position of the header's first bit in the stream.
    pub start_bit: u64,
    /// True if the final bit is set.
    pub is_final: bool,
    /// The form of the block.
    pub kind: BlockKind<'a>,
}

/// The form of a block.
#[derive(Clone, Copy, Debug)]
pub enum BlockKind<'a> {
    /// The plain bytes, not compressed.
    Stored {
        /// The bits between the header and the byte boundary. All known encoders write zeros.
        padding: u8,
        /// Bytes in the block.
        plain_bytes: u16,
    },
    /// The fixed code of RFC 1951.
    Fixed,
    /// A code of the block's own.
    Dynamic(DynamicBlock<'a>),
}

/// The complete header of a dynamic block, from which it can be written again.
#[derive(Clone, Copy, Debug)]
pub struct DynamicBlock<'a> {
    /// Code lengths of the literal/length code: 257 to 286, as in the header.
    pub litlen_lengths: &'a [u8],
    /// Code lengths of the distance code: 1 to 30, as in the header.
    pub distance_lengths: &'a [u8],
    /// Code lengths of the code-length code, in the order of the header.
    pub codelen_lengths: &'a [u8],
    /// The code-length symbols in the header, each with its extra bits.
    pub codelen_symbols: &'a [(u8, u8)],
}
