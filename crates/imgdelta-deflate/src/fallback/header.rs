//! Codes the header of a dynamic block by its difference to a predicted header.
//!
//! The prediction is the header that zlib or Go writes for the same counts. If neither is exact,
//! the differences to zlib's code lengths are coded, and then the runs. Never sees tokens, only
//! their counts.

use super::coder::{BitCoder, BitProbability, NumberModel};
use crate::alphabet::{CODELEN_SYMBOLS, DISTANCE_SYMBOLS, END_OF_BLOCK, LITLEN_SYMBOLS};
use crate::huffman::{DynamicHeader, Histogram, package_merge};
use crate::zlib::heap_lengths;

/// The code lengths of a dynamic block and the header that has them.
#[derive(Clone)]
pub(super) struct DynamicCodes {
    pub(super) litlen: Vec<u8>,
    pub(super) distance: Vec<u8>,
    pub(super) header: DynamicHeader,
}

/// The adaptive probabilities for the headers of a stream.
pub(super) struct HeaderModel {
    source: [BitProbability; 4],
    difference: [[BitProbability; 16]; 4],
    raw_count: [BitProbability; 64],
    runs: [BitProbability; 4],
    run_symbol: [[BitProbability; 32]; 32],
    run_extra: NumberModel,
    code: [BitProbability; 2],
    code_length: [[BitProbability; 8]; CODELEN_SYMBOLS],
    code_count: [BitProbability; 32],
}

const ZLIB: usize = 0;
const GO: usize = 1;
const OTHER: usize = 2;

impl HeaderModel {
    pub(super) fn new() -> Self {
        Self {
            source: [BitProbability::EVEN; 4],
            difference: [[BitProbability::EVEN; 16]; 4],
            raw_count: [BitProbability::EVEN; 64],
            runs: [BitProbability::EVEN; 4],
            run_symbol: [[BitProbability::EVEN; 32]; 32],
            run_extra: NumberModel::new(),
            code: [BitProbability::EVEN; 2],
            code_length: [[BitProbability::EVEN; 8]; CODELEN_SYMBOLS],
            code_count: [BitProbability::EVEN; 32],
        }
    }

    /// Codes a header. A decoder passes `None`. Returns `None` if the record is not a valid header.
    pub(super) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        counts: &Histogram,
        wanted: Option<&DynamicCodes>,
    ) -> Option<DynamicCodes> {
        let mut counts = counts.clone();
        counts.litlen[END_OF_BLOCK] += 1;
        let zlib = zlib_tables(&counts);
        let is =
            |tables: &DynamicCodes| wanted.is_some_and(|wanted| wanted.header == tables.header);
        let source = if is(&zlib) {
            ZLIB
        } else if is(&go_tables(&counts)) {
            GO
        } else {
            OTHER
        };
        match coder.tree(&mut self.source, source) {
            ZLIB => Some(zlib),
            GO => Some(go_tables(&counts)),
            OTHER => self.other(coder, &zlib, wanted),
            _ => None,
        }
    }

    fn other<C: BitCoder>(
        &mut self,
        coder: &mut C,
        zlib: &DynamicCodes,
        wanted: Option<&DynamicCodes>,
    ) -> Option<DynamicCodes> {
        let (litlen, distance) = wanted.map_or((&[][..], &[][..]), |w| (&w.litlen, &w.distance));
        let litlen_count =
            coder.tree(&mut self.raw_count, litlen.len().wrapping_sub(257) & 63) + 257;
        let distance_count =
            coder.tree(&mut self.raw_count, distance.len().wrapping_sub(1) & 63) + 1;
        if litlen_count > LITLEN_SYMBOLS || distance_count > DISTANCE_SYMBOLS {
            return None;
        }
        let litlen = self.lengths(coder, &zlib.litlen, litlen, litlen_count);
        let distance = self.lengths(coder, &zlib.distance, distance, distance_count);

        let joined = DynamicHeader::plan(&litlen, &distance);
        let apart = plan_apart(&litlen, &distance);
        let runs = wanted.map_or(0, |wanted| {
            if wanted.header.has_runs_of(&joined) {
                0
            } else if wanted.header.has_runs_of(&apart) {
                1
            } else {
                2
            }
        });
        let mut header = match coder.tree(&mut self.runs, runs) {
            0 => joined,
            1 => apart,
            2 => {
                let symbols = self.run_symbols(
                    coder,
                    litlen_count + distance_count,
                    wanted.map(|wanted| wanted.header.symbols()),
                )?;
                DynamicHeader::of_symbols(&litlen, &distance, symbols, |counts, lengths| {
                    heap_lengths(counts, 7, lengths);
                })
            }
            _ => return None,
        };
        let differs = wanted.is_some_and(|wanted| wanted.header != header);
        if coder.bit(&mut self.code[0], differs) {
            let (lengths, count) = wanted.map_or(([0; CODELEN_SYMBOLS], 4), |w| w.header.code());
            let mut read = [0; CODELEN_SYMBOLS];
            for (symbol, slot) in read.iter_mut().enumerate() {
                let length = usize::from(lengths[symbol]);
                *slot = coder.tree(&mut self.code_length[symbol], length) as u8;
            }
            let count = coder.tree(&mut self.code_count, count);
            header = header.with_code(read, count)?;
        }
        Some(DynamicCodes { litlen, distance, header })
    }

    /// Codes lengths by their differences to `expected`.
    fn lengths<C: BitCoder>(
        &mut self,
        coder: &mut C,
        expected: &[u8],
        wanted: &[u8],
        count: usize,
    ) -> Vec<u8> {
        let mut before = 0;
        (0..count)
            .map(|symbol| {
                let expected = expected.get(symbol).copied().unwrap_or(0);
                let wanted = wanted.get(symbol).copied().unwrap_or(0);
                let context = usize::from(expected == 0) * 2 + usize::from(before != 0);
                let difference = usize::from(wanted.wrapping_sub(expected) & 15);
                before = coder.tree(&mut self.difference[context], difference);
                expected.wrapping_add(before as u8) & 15
            })
            .collect()
    }

    fn run_symbols<C: BitCoder>(
        &mut self,
        coder: &mut C,
        total: usize,
        wanted: Option<&[(u8, u8)]>,
    ) -> Option<Vec<(u8, u8)>> {
        let mut symbols = Vec::new();
        let mut covered = 0;
        let mut before = 31;
        while covered < total {
            let (symbol, extra) =
                wanted.and_then(|all| all.get(symbols.len())).copied().unwrap_or((0, 0));
            let symbol = coder.tree(&mut self.run_symbol[before], usize::from(symbol));
            let mut extra = u32::from(extra);
            if symbol > 15 {
                extra = coder.number(&mut self.run_extra, extra);
            }
            covered += match symbol {
                0..=15 => 1,
                16 if extra < 4 => 3 + extra as usize,
                17 if extra < 8 => 3 + extra as usize,
                18 if extra < 128 => 11 + extra as usize,
                _ => return None,
            };
            symbols.push((symbol as u8, extra as u8));
            before = symbol;
        }
        (covered == total).then_some(symbols)
    }
}

fn zlib_tables(counts: &Histogram) -> DynamicCodes {
    let mut litlen = vec![0; LITLEN_SYMBOLS];
    let mut distance = vec![0; DISTANCE_SYMBOLS];
    let count = heap_lengths(&counts.litlen, 15, &mut litlen);
    litlen.truncate(count);
    let count = heap_lengths(&counts.distance, 15, &mut distance);
    distance.truncate(count);
    let header = plan_apart(&litlen, &distance);
    DynamicCodes { litlen, distance, header }
}

fn plan_apart(litlen: &[u8], distance: &[u8]) -> DynamicHeader {
    DynamicHeader::plan_apart(litlen, distance, |counts, lengths| {
        heap_lengths(counts, 7, lengths);
    })
}

fn go_tables(counts: &Histogram) -> DynamicCodes {
    let mut counts = counts.clone();
    if counts.distance_count() == 0 {
        counts.distance[0] = 1;
    }
    let mut litlen = vec![0; LITLEN_SYMBOLS];
    let mut distance = vec![0; DISTANCE_SYMBOLS];
    package_merge(&counts.litlen, 15, &mut litlen);
    package_merge(&counts.distance, 15, &mut distance);
    litlen.truncate(counts.litlen_count());
    distance.truncate(counts.distance_count());
    let header = DynamicHeader::plan(&litlen, &distance);
    DynamicCodes { litlen, distance, header }
}
