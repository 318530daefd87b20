//! klauspost/compress with its gzip and pgzip, and Go's `compress/flate` from Go 1.27 on.
//!
//! Re-created from its behaviour; credit: Klaus Post and The Go Authors (BSD-3-Clause, see
//! NOTICE). Levels 1 to 6 parse chunks of 65535 bytes in one pass ([`probing`], [`level3`],
//! [`level4`], [`level5`]). Levels 7 to 9 search chains ([`chains`]). All share a block writer
//! ([`blocks`]). [`KlauspostVersion`] has the changes between versions. pgzip cuts its input into
//! segments that use only the last 16 KiB before them, so segments can be remade in any order.
//!
//! Never flushes in the middle of a stream, except between pgzip's segments.

mod blocks;
mod chains;
mod chunk;
mod estimate;
mod level3;
mod level4;
mod level5;
mod pgzip;
mod probing;

use crate::bits::BitWriter;
use blocks::BlockWriter;
use chains::ChainParser;
use chunk::{CHUNK_BYTES, ChunkHistory};
use level3::Level3Parser;
use level4::Level4Parser;
use level5::Level5Parser;
use probing::{Level1Parser, Level2Parser};

pub(crate) use pgzip::PgzipEncoder;

use crate::token::Token;

/// Plain bytes of history that a pgzip segment uses.
pub(crate) const PGZIP_HISTORY_BYTES: usize = 16_384;

/// Versions of klauspost/compress with the same output, named by the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KlauspostVersion {
    /// 1.15.10 to 1.15.14 (levels 1 to 3 from 1.15.11 on). Dynamic headers list all symbols, except
    /// at the end of a stream.
    V1_15_10,
    /// 1.15.15 to 1.17.11: new levels 7 to 9.
    V1_15_15,
    /// 1.18.0: level 4 compares at a wrong index.
    V1_18_0,
    /// 1.18.2 to at least 1.19.1: dynamic headers are trimmed.
    V1_18_2,
    /// 1.20.3 and Go 1.27: levels 7 to 9 have the right block start behind a dictionary, which
    /// changes only pgzip streams.
    V1_20,
}

impl KlauspostVersion {
    /// All versions, the newest first.
    pub const ALL: [Self; 5] =
        [Self::V1_20, Self::V1_18_2, Self::V1_18_0, Self::V1_15_15, Self::V1_15_10];

    fn trims_headers(self) -> bool {
        self >= Self::V1_18_2
    }

    fn owes_literals(self) -> bool {
        self >= Self::V1_15_15
    }

    fn weighs_a_window(self) -> bool {
        self >= Self::V1_18_2
    }

    /// Returns the least gain of a copy, and the assumed cost of its codes.
    fn weights(self) -> (i32, i32) {
        if self >= Self::V1_15_15 { (4, 3) } else { (0, 6) }
    }
}

/// The encoder while it writes a stream.
pub(crate) struct KlauspostEncoder {
    parser: KlauspostParser,
    blocks: BlockWriter,
    chunk: Vec<u8>,
}

enum KlauspostParser {
    Chunks(ChunkHistory, ChunkParser, Vec<Token>),
    Chains(Box<ChainParser>),
    Stored,
    Literals,
}

enum ChunkParser {
    One(Level1Parser),
    Two(Level2Parser),
    Three(Level3Parser),
    Four(Level4Parser),
    Five(Level5Parser<false>),
    Six(Level5Parser<true>),
}

/// Bytes in a chunk of level -2.
const LITERAL_CHUNK_BYTES: usize = 32_768;
/// Most bytes of a last chunk that is always stored.
const TINY_BYTES: usize = 32;
/// Bytes below which a last chunk has only literals.
const SMALL_BYTES: usize = 128;

impl KlauspostEncoder {
    /// Starts a stream behind `dictionary`. `None` if the level does not exist.
    pub(crate) fn new(version: KlauspostVersion, level: i8, dictionary: &[u8]) -> Option<Self> {
        let one_pass = match level {
            -2 | 0 | 7..=9 => None,
            1 => Some(ChunkParser::One(Level1Parser::new())),
            2 => Some(ChunkParser::Two(Level2Parser::new())),
            3 => Some(ChunkParser::Three(Level3Parser::new())),
            4 => Some(ChunkParser::Four(Level4Parser::new(version >= KlauspostVersion::V1_18_0))),
            5 => Some(ChunkParser::Five(Level5Parser::new())),
            6 => Some(ChunkParser::Six(Level5Parser::new())),
            _ => return None,
        };
        let penalty = match level {
            7..=9 => 8,
            -2 => 10,
            _ => 7,
        };
        let parser = match one_pass {
            Some(one_pass) => KlauspostParser::Chunks(
                ChunkHistory::new(),
                one_pass,
                Vec::with_capacity(CHUNK_BYTES),
            ),
            None if level == 0 => KlauspostParser::Stored,
            None if level == -2 => KlauspostParser::Literals,
            None => KlauspostParser::Chains(Box::new(ChainParser::new(version, level)?)),
        };
        let mut stream =
            Self { parser, blocks: BlockWriter::new(version, penalty), chunk: Vec::new() };
        stream.set_dictionary(dictionary);
        Some(stream)
    }

    /// Resets the encoder for another stream behind `dictionary`.
    pub(crate) fn restart(&mut self, dictionary: &[u8]) {
        self.chunk.clear();
        self.blocks.restart();
        match &mut self.parser {
            KlauspostParser::Chunks(history, ..) => history.restart(),
            KlauspostParser::Chains(chains) => chains.restart(),
            KlauspostParser::Stored | KlauspostParser::Literals => {}
        }
        self.set_dictionary(dictionary);
    }

    fn set_dictionary(&mut self, dictionary: &[u8]) {
        match &mut self.parser {
            _ if dictionary.is_empty() => {}
            KlauspostParser::Chunks(history, one_pass, tokens) => {
                parse(history, one_pass, dictionary, tokens);
                tokens.clear();
            }
            KlauspostParser::Chains(chains) => chains.set_dictionary(dictionary),
            KlauspostParser::Stored | KlauspostParser::Literals => {}
        }
    }

    /// Parses whole chunks without writing them. `last` gets the tokens of the last chunk.
    pub(crate) fn warm_up(&mut self, before: &[u8], last: &mut Vec<Token>) {
        if let KlauspostParser::Chunks(history, one_pass, _) = &mut self.parser {
            for chunk in before.chunks(CHUNK_BYTES) {
                last.clear();
                parse(history, one_pass, chunk, last);
            }
        }
    }

    /// Writes the current chunk and ends its block if the chunk is full. True if it was full.
    pub(crate) fn end_span(&mut self) -> bool {
        if self.chunk.len() != CHUNK_BYTES {
            return false;
        }
        self.process(false);
        self.blocks.end_open();
        true
    }

    pub(crate) fn bits(&mut self) -> &mut BitWriter {
        &mut self.blocks.bits
    }

    pub(crate) fn write(&mut self, mut plain: &[u8]) {
        let full = match &mut self.parser {
            KlauspostParser::Chains(chains) => return chains.write(plain, &mut self.blocks),
            KlauspostParser::Literals => LITERAL_CHUNK_BYTES,
            _ => CHUNK_BYTES,
        };
        while !plain.is_empty() {
            if self.chunk.len() == full {
                self.process(false);
            }
            let (now, later) = plain.split_at(plain.len().min(full - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            plain = later;
        }
    }

    /// Ends the data and the stream.
    pub(crate) fn finish(&mut self) {
        self.end_data();
        self.blocks.close();
    }

    /// Ends the data and writes an empty stored block, as pgzip does after each segment.
    pub(crate) fn flush(&mut self) {
        self.end_data();
        self.blocks.flush();
    }

    /// Writes the empty final block, after a flush.
    pub(crate) fn close(&mut self) {
        self.blocks.close();
    }

    fn end_data(&mut self) {
        if let KlauspostParser::Chains(chains) = &mut self.parser {
            chains.finish(&mut self.blocks);
        } else {
            self.process(true);
        }
    }

    fn process(&mut self, at_end: bool) {
        let Self { parser, blocks, chunk } = self;
        match parser {
            _ if chunk.is_empty() => return,
            KlauspostParser::Stored => blocks.stored(chunk),
            KlauspostParser::Literals => blocks.literals(chunk, at_end),
            KlauspostParser::Chunks(..) if at_end && chunk.len() <= TINY_BYTES => {
                blocks.stored(chunk);
            }
            KlauspostParser::Chunks(..) if at_end && chunk.len() < SMALL_BYTES => {
                blocks.literals(chunk, true);
            }
            KlauspostParser::Chunks(history, one_pass, tokens) => {
                parse(history, one_pass, chunk, tokens);
                if tokens.is_empty() {
                    blocks.stored(chunk);
                } else if tokens.len() > chunk.len() - (chunk.len() >> 4) {
                    blocks.literals(chunk, at_end);
                } else {
                    blocks.tokens(tokens, Some(chunk), at_end);
                }
                tokens.clear();
            }
            KlauspostParser::Chains(_) => {}
        }
        self.chunk.clear();
    }
}

fn parse(
    history: &mut ChunkHistory,
    one_pass: &mut ChunkParser,
    plain: &[u8],
    tokens: &mut Vec<Token>,
) {
    if let Some(down) = history.push(plain) {
        match one_pass {
            ChunkParser::One(parser) => parser.lower(down),
            ChunkParser::Two(parser) => parser.lower(down),
            ChunkParser::Three(parser) => parser.lower(down),
            ChunkParser::Four(parser) => parser.lower(down),
            ChunkParser::Five(parser) => parser.lower(down),
            ChunkParser::Six(parser) => parser.lower(down),
        }
    }
    let chunk = history.chunk(plain.len());
    match one_pass {
        ChunkParser::One(parser) => parser.parse(chunk, tokens),
        ChunkParser::Two(parser) => parser.parse(chunk, tokens),
        ChunkParser::Three(parser) => parser.parse(chunk, tokens),
        ChunkParser::Four(parser) => parser.parse(chunk, tokens),
        ChunkParser::Five(parser) => parser.parse(chunk, tokens),
        ChunkParser::Six(parser) => parser.parse(chunk, tokens),
    }
}
