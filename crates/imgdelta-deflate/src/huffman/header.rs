//! The header of a dynamic block: the code lengths as runs, which have a code of their own.
//!
//! A header can be planned by either of two run rules, priced and written. A header from a stream
//! can be written again. Never chooses the code lengths of the block.

use super::{canonical_codes, package_merge};
use crate::alphabet::{CODELEN_ORDER, CODELEN_SYMBOLS};
use crate::bits::BitWriter;
use crate::inflate::DynamicBlock;

/// A dynamic header before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DynamicHeader {
    litlen_count: usize,
    distance_count: usize,
    /// Lengths of the code-length code, by symbol.
    codelen_lengths: [u8; CODELEN_SYMBOLS],
    codelen_count: usize,
    symbols: Vec<(u8, u8)>,
}

/// The rule that cuts code lengths into runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunRule {
    /// The Go family: one list for both alphabets, and greedy runs.
    Joined,
    /// zlib: a list for each alphabet, and changing limits.
    Apart,
}

/// Most code lengths in a header.
const MAX_SYMBOLS: usize = 286 + 32;

impl DynamicHeader {
    /// Plans the header of the Go family: joined runs, with a code by package-merge.
    pub(crate) fn plan(litlen: &[u8], distance: &[u8]) -> Self {
        let mut header = Self::with_runs(litlen, distance, RunRule::Joined);
        let counts = header.symbol_counts();
        package_merge(&counts, 7, &mut header.codelen_lengths);
        // The Go family trims by counts. With package-merge that is the same as by lengths.
        header.trim();
        header
    }

    /// Plans the header of zlib. `lengths_of` chooses the code-length code.
    pub(crate) fn plan_apart(
        litlen: &[u8],
        distance: &[u8],
        lengths_of: impl FnOnce(&[u32; CODELEN_SYMBOLS], &mut [u8; CODELEN_SYMBOLS]),
    ) -> Self {
        let mut header = Self::with_runs(litlen, distance, RunRule::Apart);
        let counts = header.symbol_counts();
        lengths_of(&counts, &mut header.codelen_lengths);
        header.trim();
        header
    }

    /// Plans a header with joined runs. `lengths_of` chooses the code-length code.
    pub(crate) fn plan_joined(
        litlen: &[u8],
        distance: &[u8],
        lengths_of: impl FnOnce(&[u32; CODELEN_SYMBOLS], &mut [u8; CODELEN_SYMBOLS]),
    ) -> Self {
        let mut header = Self::with_runs(litlen, distance, RunRule::Joined);
        let counts = header.symbol_counts();
        lengths_of(&counts, &mut header.codelen_lengths);
        header.trim();
        header
    }

    /// Makes the header of a block from a stream.
    pub(crate) fn from_stream(dynamic: &DynamicBlock<'_>) -> Self {
        let mut codelen_lengths = [0; CODELEN_SYMBOLS];
        for (&symbol, &length) in CODELEN_ORDER.iter().zip(dynamic.codelen_lengths) {
            codelen_lengths[usize::from(symbol)] = length;
        }
        Self {
            litlen_count: dynamic.litlen_lengths.len(),
            distance_count: dynamic.distance_lengths.len(),
            codelen_lengths,
            codelen_count: dynamic.codelen_lengths.len(),
            symbols: dynamic.codelen_symbols.to_vec(),
        }
    }

    /// Makes a header from the given run symbols.
    pub(crate) fn of_symbols(
        litlen: &[u8],
        distance: &[u8],
        symbols: Vec<(u8, u8)>,
        lengths_of: impl FnOnce(&[u32; CODELEN_SYMBOLS], &mut [u8; CODELEN_SYMBOLS]),
    ) -> Self {
        let mut header = Self {
            litlen_count: litlen.len(),
            distance_count: distance.len(),
            symbols,
            ..Self::default()
        };
        let counts = header.symbol_counts();
        lengths_of(&counts, &mut header.codelen_lengths);
        header.trim();
        header
    }

    /// Replaces the code-length code. `None` if the count cannot be written.
    pub(crate) fn with_code(
        mut self,
        lengths: [u8; CODELEN_SYMBOLS],
        count: usize,
    ) -> Option<Self> {
        self.codelen_lengths = lengths;
        self.codelen_count = count;
        (4..=CODELEN_SYMBOLS).contains(&count).then_some(self)
    }

    /// Returns the code-length code and the number of its lengths in the header.
    pub(crate) fn code(&self) -> ([u8; CODELEN_SYMBOLS], usize) {
        (self.codelen_lengths, self.codelen_count)
    }

    /// Returns the run symbols with their extra bits.
    pub(crate) fn symbols(&self) -> &[(u8, u8)] {
        &self.symbols
    }

    /// True if both headers have the same runs.
    pub(crate) fn has_runs_of(&self, other: &Self) -> bool {
        self.symbols == other.symbols
    }

    /// Returns the bits of the header, including its three type bits.
    pub(crate) fn bits(&self) -> u64 {
        let symbols: u64 = self
            .symbols
            .iter()
            .map(|&(symbol, _)| {
                u64::from(self.codelen_lengths[usize::from(symbol)]) + extra_bits(symbol)
            })
            .sum();
        3 + 14 + 3 * self.codelen_count as u64 + symbols
    }

    /// Writes the header, including its type bits.
    pub(crate) fn write(&self, bits: &mut BitWriter, is_final: bool) {
        bits.put(4 | u32::from(is_final), 3);
        bits.put((self.litlen_count - 257) as u32, 5);
        bits.put((self.distance_count - 1) as u32, 5);
        bits.put((self.codelen_count - 4) as u32, 4);
        for &symbol in &CODELEN_ORDER[..self.codelen_count] {
            bits.put(u32::from(self.codelen_lengths[usize::from(symbol)]), 3);
        }
        let mut codes = [0u16; CODELEN_SYMBOLS];
        canonical_codes(&self.codelen_lengths, |symbol, code| codes[symbol] = code);
        for &(symbol, extra) in &self.symbols {
            let index = usize::from(symbol);
            bits.put(u32::from(codes[index]), u32::from(self.codelen_lengths[index]));
            bits.put(u32::from(extra), extra_bits(symbol) as u32);
        }
    }

    fn with_runs(litlen: &[u8], distance: &[u8], rle: RunRule) -> Self {
        let mut symbols = Vec::with_capacity(MAX_SYMBOLS);
        match rle {
            RunRule::Joined => joined_runs(litlen, distance, &mut symbols),
            RunRule::Apart => {
                limited_runs(litlen, &mut symbols);
                limited_runs(distance, &mut symbols);
            }
        }
        Self {
            litlen_count: litlen.len(),
            distance_count: distance.len(),
            symbols,
            ..Self::default()
        }
    }

    fn symbol_counts(&self) -> [u32; CODELEN_SYMBOLS] {
        let mut counts = [0; CODELEN_SYMBOLS];
        for &(symbol, _) in &self.symbols {
            counts[usize::from(symbol)] += 1;
        }
        counts
    }

    fn trim(&mut self) {
        let unused = |&&symbol: &&u8| self.codelen_lengths[usize::from(symbol)] == 0;
        let trailing = CODELEN_ORDER.iter().rev().take_while(unused).count();
        self.codelen_count = (CODELEN_SYMBOLS - trailing).max(4);
    }
}

fn extra_bits(codelen_symbol: u8) -> u64 {
    match codelen_symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

fn joined_runs(litlen: &[u8], distance: &[u8], symbols: &mut Vec<(u8, u8)>) {
    let mut lengths = litlen.iter().chain(distance).copied().peekable();
    while let Some(value) = lengths.next() {
        let mut run = 1usize;
        while lengths.next_if_eq(&value).is_some() {
            run += 1;
        }
        if value == 0 {
            while run >= 11 {
                let piece = run.min(138);
                symbols.push((18, (piece - 11) as u8));
                run -= piece;
            }
            if run >= 3 {
                symbols.push((17, (run - 3) as u8));
                run = 0;
            }
        } else {
            symbols.push((value, 0));
            run -= 1;
            while run >= 3 {
                let piece = run.min(6);
                symbols.push((16, (piece - 3) as u8));
                run -= piece;
            }
        }
        symbols.extend(std::iter::repeat_n((value, 0), run));
    }
}

/// Cuts runs by zlib's rule. The longest run depends on the value before it, and each run becomes a
/// repeat symbol if it is long enough.
fn limited_runs(lengths: &[u8], symbols: &mut Vec<(u8, u8)>) {
    let limits = |next: Option<&u8>, previous: Option<u8>| match next {
        Some(0) => (138, 3),
        next if next.copied() == previous => (6, 3),
        _ => (7, 4),
    };
    let mut previous: Option<u8> = None;
    let (mut longest, mut shortest) = limits(lengths.first(), None);
    let mut run = 0usize;
    for (index, &value) in lengths.iter().enumerate() {
        run += 1;
        let next = lengths.get(index + 1);
        if run < longest && next == Some(&value) {
            continue;
        }
        if run < shortest {
            symbols.extend(std::iter::repeat_n((value, 0), run));
        } else if value != 0 {
            if Some(value) != previous {
                symbols.push((value, 0));
                run -= 1;
            }
            symbols.push((16, (run - 3) as u8));
        } else if run <= 10 {
            symbols.push((17, (run - 3) as u8));
        } else {
            symbols.push((18, (run - 11) as u8));
        }
        run = 0;
        previous = Some(value);
        (longest, shortest) = limits(next, previous);
    }
}
