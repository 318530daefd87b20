//! Reads the header of a dynamic block, which may arrive in several pieces.
//!
//! Each field is read when all its bits are available. The symbols are kept, so that the same
//! header can be written again. Never builds the decoding tables.

use super::fault::InflateFault;
use super::observer::{BlockHeader, BlockKind, DynamicBlock};
use super::reader::{BitReader, CallBuffers};
use super::table::{CODELEN_BITS, codelen_table};
use crate::alphabet::{CODELEN_ORDER, CODELEN_SYMBOLS, LITLEN_SYMBOLS};

/// The read part of a dynamic header. Also has the start of any block.
pub(super) struct HeaderReader {
    pub(super) start_bit: u64,
    pub(super) padding: u8,
    stage: HeaderStage,
    litlen_count: usize,
    distance_count: usize,
    codelen_wanted: usize,
    codelen_count: usize,
    codelen_lengths: [u8; CODELEN_SYMBOLS],
    codelen_table: [u32; 1 << CODELEN_BITS],
    symbols: [(u8, u8); MAX_LENGTHS],
    symbol_count: usize,
    lengths: [u8; MAX_LENGTHS + 138],
    length_count: usize,
}

const MAX_LENGTHS: usize = 286 + 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum HeaderStage {
    Counts,
    CodelenLengths,
    Lengths,
}

impl Default for HeaderReader {
    fn default() -> Self {
        Self {
            start_bit: 0,
            padding: 0,
            stage: HeaderStage::Counts,
            litlen_count: 0,
            distance_count: 0,
            codelen_wanted: 0,
            codelen_count: 0,
            codelen_lengths: [0; CODELEN_SYMBOLS],
            codelen_table: [0; 1 << CODELEN_BITS],
            symbols: [(0, 0); MAX_LENGTHS],
            symbol_count: 0,
            lengths: [0; MAX_LENGTHS + 138],
            length_count: 0,
        }
    }
}

impl HeaderReader {
    /// Starts a block at a bit position.
    pub(super) fn set_start(&mut self, start_bit: u64) {
        self.start_bit = start_bit;
        self.stage = HeaderStage::Counts;
    }

    /// Returns the literal/length and distance code lengths of a complete header.
    pub(super) fn lengths(&self) -> (&[u8], &[u8]) {
        self.lengths[..self.litlen_count + self.distance_count].split_at(self.litlen_count)
    }

    /// Returns a complete header in the form for observers.
    pub(super) fn block(&self, is_final: bool) -> BlockHeader<'_> {
        let (litlen_lengths, distance_lengths) = self.lengths();
        BlockHeader {
            start_bit: self.start_bit,
            is_final,
            kind: BlockKind::Dynamic(DynamicBlock {
                litlen_lengths,
                distance_lengths,
                codelen_lengths: &self.codelen_lengths[..self.codelen_count],
                codelen_symbols: &self.symbols[..self.symbol_count],
            }),
        }
    }

    /// Reads the rest of the header. False if the input ends first.
    pub(super) fn read(
        &mut self,
        bits: &mut BitReader,
        io: &mut CallBuffers<'_>,
    ) -> Result<bool, InflateFault> {
        loop {
            bits.refill(io);
            let complete = match self.stage {
                HeaderStage::Counts => self.read_counts(bits)?,
                HeaderStage::CodelenLengths => self.read_codelen_lengths(bits)?,
                HeaderStage::Lengths
                    if self.length_count == self.litlen_count + self.distance_count =>
                {
                    return Ok(true);
                }
                HeaderStage::Lengths => self.read_symbol(bits)?,
            };
            if !complete {
                return Ok(false);
            }
        }
    }

    fn read_counts(&mut self, bits: &mut BitReader) -> Result<bool, InflateFault> {
        if !bits.has(14) {
            return Ok(false);
        }
        self.litlen_count = bits.take(5) as usize + 257;
        self.distance_count = bits.take(5) as usize + 1;
        let codelen_count = bits.take(4) as usize + 4;
        // The field allows 31 and 32 distance codes, which zlib refuses.
        if self.litlen_count > LITLEN_SYMBOLS || self.distance_count > 30 {
            return Err(InflateFault::SymbolCount);
        }
        self.codelen_count = 0;
        self.symbol_count = 0;
        self.length_count = 0;
        self.codelen_lengths = [0; CODELEN_SYMBOLS];
        self.codelen_wanted = codelen_count;
        self.stage = HeaderStage::CodelenLengths;
        Ok(true)
    }

    fn read_codelen_lengths(&mut self, bits: &mut BitReader) -> Result<bool, InflateFault> {
        while self.codelen_count < self.codelen_wanted {
            if !bits.has(3) {
                return Ok(false);
            }
            self.codelen_lengths[self.codelen_count] = bits.take(3) as u8;
            self.codelen_count += 1;
            if self.codelen_count.is_multiple_of(16) {
                return Ok(true);
            }
        }
        let mut by_symbol = [0; CODELEN_SYMBOLS];
        for (&symbol, &length) in CODELEN_ORDER.iter().zip(&self.codelen_lengths) {
            by_symbol[usize::from(symbol)] = length;
        }
        self.codelen_table = codelen_table(&by_symbol).map_err(|_| InflateFault::CodelenCode)?;
        self.stage = HeaderStage::Lengths;
        Ok(true)
    }

    fn read_symbol(&mut self, bits: &mut BitReader) -> Result<bool, InflateFault> {
        let entry = self.codelen_table[(bits.buffer & ((1 << CODELEN_BITS) - 1)) as usize];
        let symbol = (entry >> 8) as u8;
        let extra_bits = match symbol {
            16 => 2,
            17 => 3,
            18 => 7,
            _ => 0,
        };
        if !bits.has((entry & 0xff) + extra_bits) {
            return Ok(false);
        }
        bits.drop(entry & 0xff);
        let extra = bits.take(extra_bits) as u8;
        let (value, count) = match symbol {
            16 => match self.length_count.checked_sub(1) {
                Some(last) => (self.lengths[last], 3 + usize::from(extra)),
                None => return Err(InflateFault::CodelenRun),
            },
            17 => (0, 3 + usize::from(extra)),
            18 => (0, 11 + usize::from(extra)),
            length => (length, 1),
        };
        let end = self.length_count + count;
        if end > self.litlen_count + self.distance_count {
            return Err(InflateFault::CodelenRun);
        }
        self.lengths[self.length_count..end].fill(value);
        self.length_count = end;
        self.symbols[self.symbol_count] = (symbol, extra);
        self.symbol_count += 1;
        Ok(true)
    }
}
