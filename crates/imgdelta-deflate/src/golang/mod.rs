//! Go's `compress/flate` up to Go 1.26.
//!
//! Re-created from its behaviour; credit: The Go Authors (BSD-3-Clause, see NOTICE). The output of
//! every level is the same since at least Go 1.19, and does not depend on the sizes of writes.
//! Levels 2 to 9 search hash chains ([`lazy`]), and level 1 tries one candidate per position
//! ([`fast`]). Level -2 has only literals, and level 0 stores. Each stream ends with an empty stored
//! block, its only final block. Go 1.27 replaced this encoder with klauspost's: see `klauspost`.
//!
//! Never flushes in the middle of a stream: no known writer of layers does.

mod blocks;
mod fast;
mod lazy;

use crate::bits::BitWriter;
use crate::token::Token;
use fast::FastParser;
use lazy::LazyParser;

/// The encoder while it writes a stream.
pub(crate) struct GoEncoder {
    parser: GoParser,
    bits: BitWriter,
}

enum GoParser {
    Lazy(Box<LazyParser>),
    Fast(Box<FastParser>),
    /// Levels 0 and -2: whole blocks, stored or Huffman-coded.
    Plain {
        buffer: Vec<u8>,
        huffman: bool,
    },
}

/// Bytes in a block of levels 1, 0 and -2.
const BLOCK_BYTES: usize = 65_535;

impl GoEncoder {
    /// Starts a stream. `None` if the level does not exist.
    pub(crate) fn new(level: i8) -> Option<Self> {
        let parser = match level {
            0 | -2 => GoParser::Plain { buffer: Vec::new(), huffman: level == -2 },
            1 => GoParser::Fast(Box::default()),
            -1 => GoParser::Lazy(Box::new(LazyParser::new(6)?)),
            _ => GoParser::Lazy(Box::new(LazyParser::new(level)?)),
        };
        Some(Self { parser, bits: BitWriter::new() })
    }

    /// Changes the level before the next stream. `None` if that takes another parser.
    pub(crate) fn retune(&mut self, level: i8) -> Option<()> {
        match &mut self.parser {
            GoParser::Lazy(lazy) => lazy.retune(if level == -1 { 6 } else { level }),
            GoParser::Fast(_) | GoParser::Plain { .. } => None,
        }
    }

    /// Returns the first tokens of a stream: see [`LazyParser::first_tokens`]. `None` for parsers
    /// that need a whole block.
    pub(crate) fn first_tokens(&mut self, plain: &[u8]) -> Option<&[Token]> {
        match &mut self.parser {
            GoParser::Lazy(lazy) => Some(lazy.first_tokens(plain, &mut self.bits)),
            GoParser::Fast(_) | GoParser::Plain { .. } => None,
        }
    }

    /// Starts at the first byte of a block in the middle of a stream: see [`LazyParser::resume`].
    pub(crate) fn resume(level: i8, plain: &[u8], index: usize, has_slid: bool) -> Option<Self> {
        let level = if level == -1 { 6 } else { level };
        let lazy = LazyParser::resume(level, plain, index, has_slid)?;
        Some(Self { parser: GoParser::Lazy(Box::new(lazy)), bits: BitWriter::new() })
    }

    /// Parses whole blocks without writing them, at level 1. `last` gets the last block's tokens.
    pub(crate) fn warm_up(&mut self, before: &[u8], last: &mut Vec<Token>) {
        if let GoParser::Fast(fast) = &mut self.parser {
            fast.warm_up(before, last);
        }
    }

    /// Parses all bytes except the lookahead. True if a block ends at the same place.
    pub(crate) fn end_span(&mut self) -> bool {
        match &mut self.parser {
            GoParser::Lazy(lazy) => lazy.end_span(&mut self.bits),
            GoParser::Fast(fast) => fast.end_span(&mut self.bits),
            GoParser::Plain { .. } => false,
        }
    }

    pub(crate) fn bits(&mut self) -> &mut BitWriter {
        &mut self.bits
    }

    /// Resets the encoder for another stream.
    pub(crate) fn restart(&mut self) {
        self.bits.clear();
        match &mut self.parser {
            GoParser::Lazy(lazy) => lazy.restart(),
            GoParser::Fast(fast) => fast.restart(),
            GoParser::Plain { buffer, .. } => buffer.clear(),
        }
    }

    pub(crate) fn write(&mut self, plain: &[u8]) {
        match &mut self.parser {
            GoParser::Lazy(lazy) => lazy.write(plain, &mut self.bits),
            GoParser::Fast(fast) => fast.write(plain, &mut self.bits),
            GoParser::Plain { buffer, huffman } => {
                let mut plain = plain;
                while !plain.is_empty() {
                    if buffer.len() == BLOCK_BYTES {
                        write_plain(&mut self.bits, buffer, *huffman);
                        buffer.clear();
                    }
                    let (now, later) = plain.split_at(plain.len().min(BLOCK_BYTES - buffer.len()));
                    buffer.extend_from_slice(now);
                    plain = later;
                }
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        match &mut self.parser {
            GoParser::Lazy(lazy) => lazy.finish(&mut self.bits),
            GoParser::Fast(fast) => fast.finish(&mut self.bits),
            GoParser::Plain { buffer, huffman } => {
                if !buffer.is_empty() {
                    write_plain(&mut self.bits, buffer, *huffman);
                }
            }
        }
        self.bits.stored_block(&[], true);
    }
}

fn write_plain(bits: &mut BitWriter, buffer: &[u8], huffman: bool) {
    if huffman {
        blocks::literals_only(bits, buffer);
    } else {
        bits.stored_block(buffer, false);
    }
}
