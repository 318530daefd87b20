//! The LZMA2 encoder of liblzma, re-created.
//! Never writes the container around LZMA2.
//!
//! After Lasse Collin's liblzma and Igor Pavlov's LZMA SDK, whose choices it repeats; nothing of
//! their source is contained. A stream is cut into chunks of at most 2 MiB plain and 64 KiB packed.
//! A chunk that does not become smaller is stored, and the model starts afresh behind it.

mod fast;
mod finder;
mod lookahead;
mod optimal;
mod prices;
mod range;
mod settings;
mod symbols;

pub use settings::{EncoderSettings, Finder, SearchEffort};

use crate::state::{MAX_CHUNK_PACKED, MAX_CHUNK_PLAIN, MAX_MATCH};
use fast::FastParser;
use lookahead::Lookahead;
use optimal::{OptimalParser, PLACES};
use symbols::SymbolWriter;

/// Writes an LZMA2 stream.
pub(crate) struct Lzma2Encoder {
    settings: EncoderSettings,
    source: Lookahead,
    writer: Box<SymbolWriter>,
    parser: Parser,
    /// Position at which the chunk starts; `None` between chunks.
    chunk: Option<u64>,
    /// Facts that the next chunk must state.
    needs: ChunkNeeds,
    is_started: bool,
}

enum Parser {
    Fast(FastParser),
    Optimal(OptimalParser),
}

/// Facts that a chunk must state besides its lengths.
#[derive(Clone, Copy)]
struct ChunkNeeds {
    properties: bool,
    fresh_state: bool,
    fresh_window: bool,
}

impl Lzma2Encoder {
    pub(crate) fn new(settings: EncoderSettings) -> Self {
        let parser = if settings.effort.is_optimal {
            Parser::Optimal(OptimalParser::new())
        } else {
            Parser::Fast(FastParser::default())
        };
        Self {
            settings,
            source: Lookahead::new(&settings),
            writer: Box::new(SymbolWriter::new(&settings)),
            parser,
            chunk: None,
            needs: ChunkNeeds { properties: true, fresh_state: false, fresh_window: true },
            is_started: false,
        }
    }

    /// Adds bytes of the stream, and appends the finished chunks to `out`.
    pub(crate) fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.source.push(plain);
        self.run(out, AHEAD);
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(out, 0);
        self.end_chunk(out);
        out.push(0);
    }

    /// Returns the bytes of the unfinished chunk, without its header.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.writer.range.out
    }

    /// Encodes until at most `ahead` bytes are left.
    fn run(&mut self, out: &mut Vec<u8>, ahead: usize) {
        loop {
            let start = match self.chunk {
                Some(start) => start,
                None if self.source.left() + self.source.ahead == 0 => return,
                None => {
                    if self.needs.fresh_state {
                        *self.writer = SymbolWriter::new(&self.settings);
                        if let Parser::Optimal(parser) = &mut self.parser {
                            parser.clear();
                        }
                    }
                    let start = self.source.position();
                    self.chunk = Some(start);
                    start
                }
            };
            if !self.is_started {
                if self.source.left() <= ahead {
                    return;
                }
                // The first byte of a stream is a literal, whatever follows.
                self.source.skip(1);
                self.source.ahead = 0;
                self.writer.write_first(self.source.buffer[0]);
                self.is_started = true;
            }
            loop {
                let plain = (self.source.position() - start) as usize;
                if plain >= MAX_CHUNK_PLAIN - MAX_MATCH
                    || self.writer.range.bytes_at_end() >= MAX_CHUNK_PACKED - PLACES - 1
                {
                    self.end_chunk(out);
                    break;
                }
                if self.source.left() <= ahead && (ahead > 0 || self.source.ahead == 0) {
                    return;
                }
                let symbol = match &mut self.parser {
                    Parser::Fast(parser) => parser.next(&mut self.source, &self.writer),
                    Parser::Optimal(parser) => parser.next(&mut self.source, &mut self.writer),
                };
                let (at, position) = (self.source.next(), self.source.position() as usize);
                self.writer.write(symbol, &self.source.buffer, at, position);
                self.source.ahead -= symbol.len();
            }
        }
    }

    /// Writes the chunk, packed or stored.
    fn end_chunk(&mut self, out: &mut Vec<u8>) {
        let Some(start) = self.chunk.take() else { return };
        self.writer.range.finish();
        let packed = self.writer.range.out.len();
        let plain = (self.source.position() - start) as usize;
        if packed >= plain {
            let plain = plain + self.source.ahead;
            self.source.ahead = 0;
            out.push(if self.needs.fresh_window { 1 } else { 2 });
            out.extend_from_slice(&((plain - 1) as u16).to_be_bytes());
            let end = self.source.at;
            out.extend_from_slice(&self.source.buffer[end - plain..end]);
            self.needs.fresh_state = true;
        } else {
            let kind = match self.needs {
                ChunkNeeds { properties: true, fresh_window: true, .. } => 3,
                ChunkNeeds { properties: true, .. } => 2,
                ChunkNeeds { fresh_state: true, .. } => 1,
                _ => 0,
            };
            let size = (plain - 1) as u32;
            out.push(0x80 | kind << 5 | (size >> 16) as u8);
            out.extend_from_slice(&(size as u16).to_be_bytes());
            out.extend_from_slice(&((packed - 1) as u16).to_be_bytes());
            if self.needs.properties {
                out.push(self.settings.properties.to_byte());
            }
            out.extend_from_slice(&self.writer.range.out);
            (self.needs.properties, self.needs.fresh_state) = (false, false);
        }
        self.needs.fresh_window = false;
        self.writer.range.clear();
    }
}

/// Bytes that are left until the stream ends, so that every search sees what it needs.
const AHEAD: usize = PLACES + 1 + MAX_MATCH;
