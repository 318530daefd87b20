//! Decoding tables: from the next bits of the stream to a symbol, in one or two lookups.
//!
//! Eleven bits (eight for distances) index a table. An entry has the bits of the symbol with its
//! extra bits, and its base value or up to two literals. Longer codes go on in a second table
//! behind the first. Building the tables costs about two microseconds per block.
//! Never reads the stream.

use crate::alphabet::{
    DISTANCE_BASE, DISTANCE_EXTRA, DISTANCE_SYMBOLS, END_OF_BLOCK, LENGTH_BASE, LENGTH_EXTRA,
    LITLEN_SYMBOLS,
};
use crate::token::Token;

/// Bits that index the first literal/length table.
pub(super) const LITLEN_BITS: u32 = 11;
/// Bits that index the first distance table.
pub(super) const DISTANCE_BITS: u32 = 8;
/// Bits that index the table of the code-length code. No such code is longer.
pub(super) const CODELEN_BITS: u32 = 7;

/// Flag of an entry with one or two literals.
pub(super) const LITERAL: u32 = 1 << 31;
/// Flag of an entry without literals and value. Another flag below may be set as well.
pub(super) const SPECIAL: u32 = 1 << 30;
/// Flag of an entry that points to a second table.
pub(super) const SECOND: u32 = 1 << 29;
/// Flag of the entry that ends the block.
pub(super) const BLOCK_END: u32 = 1 << 28;

// Layout of an entry, from the low end:
//   bits 0..8    bits to drop: the code, and its extra bits
//   literals:    8..16 first byte, 16..24 second byte, 24..26 count, 26..30 bits of the first
//   values:      8..12 bits of the code alone, 12..28 base value
//   second:      8..12 bits that index the second table, 12..28 start of the second table
//   SPECIAL without another flag: no code has these bits

/// Returns an entry for the first literal of a pair.
#[inline]
pub(super) fn first_of_pair(pair: u32) -> u32 {
    LITERAL | 1 << 24 | pair & (0xff00 | 15 << 26) | pair >> 26 & 15
}

/// Returns the length or distance of an entry with its extra bits. `bits` starts with the code.
#[inline]
pub(super) fn value(entry: u32, bits: u64) -> usize {
    let code_bits = entry >> 8 & 15;
    let with_extra = bits & ((1u64 << (entry & 0x3f)) - 1);
    (entry >> 12 & 0xffff) as usize + (with_extra >> code_bits) as usize
}

/// Makes the token of a copy. `entry` is the entry of its length.
#[inline]
pub(super) fn copy_token(entry: u32, length: usize, distance: usize) -> Token {
    if length == 258 && (entry & 0xff) != (entry >> 8 & 15) {
        Token::copy_long_form(distance)
    } else {
        Token::copy(length, distance)
    }
}

const MAX_CODE_BITS: usize = 15;
/// Entries of the first and second literal/length tables. The worst code needs 2342. With a power
/// of two, a mask replaces the bounds check.
pub(super) const LITLEN_ENTRIES: usize = 4096;
/// Entries of the first and second distance tables. The worst code needs 402.
pub(super) const DISTANCE_ENTRIES: usize = 512;

/// The two tables of a block.
pub(super) struct DecodeTables {
    pub(super) litlen: Box<[u32; LITLEN_ENTRIES]>,
    pub(super) distance: Box<[u32; DISTANCE_ENTRIES]>,
}

/// The code lengths are not a usable prefix code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidCode;

impl DecodeTables {
    pub(super) fn new() -> Self {
        Self { litlen: Box::new([0; LITLEN_ENTRIES]), distance: Box::new([0; DISTANCE_ENTRIES]) }
    }

    /// Returns the literal/length entry of the next bits, which may point to a second table.
    #[inline]
    pub(super) fn litlen_first(&self, bits: u64) -> u32 {
        self.litlen[(bits & ((1 << LITLEN_BITS) - 1)) as usize]
    }

    /// Returns the literal/length entry of the next bits.
    #[inline]
    pub(super) fn litlen_entry(&self, bits: u64) -> u32 {
        let entry = self.litlen[(bits & ((1 << LITLEN_BITS) - 1)) as usize];
        if entry & (SPECIAL | SECOND | LITERAL) != SPECIAL | SECOND {
            return entry;
        }
        let index = bits >> LITLEN_BITS & ((1 << (entry >> 8 & 15)) - 1);
        self.litlen[((entry >> 12 & 0xffff) as usize + index as usize) % LITLEN_ENTRIES]
    }

    /// Returns the distance entry of the next bits.
    #[inline]
    pub(super) fn distance_entry(&self, bits: u64) -> u32 {
        let entry = self.distance[(bits & ((1 << DISTANCE_BITS) - 1)) as usize];
        if entry & SECOND == 0 {
            return entry;
        }
        let index = bits >> DISTANCE_BITS & ((1 << (entry >> 8 & 15)) - 1);
        self.distance[((entry >> 12 & 0xffff) as usize + index as usize) % DISTANCE_ENTRIES]
    }

    /// Fills the literal/length table. The end-of-block symbol must have a code.
    pub(super) fn set_litlen(&mut self, lengths: &[u8]) -> Result<(), InvalidCode> {
        if lengths.get(END_OF_BLOCK).is_none_or(|&length| length == 0) {
            return Err(InvalidCode);
        }
        fill(&mut self.litlen[..], LITLEN_BITS, lengths, litlen_payload)?;
        pair_literals(&mut self.litlen[..1 << LITLEN_BITS]);
        Ok(())
    }

    /// Fills the distance table. A block without copies may have no distance code.
    pub(super) fn set_distance(&mut self, lengths: &[u8]) -> Result<(), InvalidCode> {
        fill(&mut self.distance[..], DISTANCE_BITS, lengths, distance_payload)
    }
}

/// Returns the table of the code-length code. Its entries have symbols in place of literals.
pub(super) fn codelen_table(lengths: &[u8; 19]) -> Result<[u32; 1 << CODELEN_BITS], InvalidCode> {
    let mut table = [0; 1 << CODELEN_BITS];
    if lengths.iter().map(|&n| u32::from(n != 0)).sum::<u32>() < 2 {
        return Err(InvalidCode);
    }
    fill(&mut table, CODELEN_BITS, lengths, |symbol| (LITERAL | (symbol as u32) << 8, 0))?;
    Ok(table)
}

/// Returns the entry of a symbol without its bit counts, and the number of its extra bits.
fn litlen_payload(symbol: usize) -> (u32, u32) {
    if symbol < END_OF_BLOCK {
        (LITERAL | (1 << 24) | (symbol as u32) << 8, 0)
    } else if symbol == END_OF_BLOCK {
        (SPECIAL | BLOCK_END, 0)
    } else if symbol < LITLEN_SYMBOLS {
        let code = symbol - END_OF_BLOCK - 1;
        (u32::from(LENGTH_BASE[code]) << 12, u32::from(LENGTH_EXTRA[code]))
    } else {
        (SPECIAL, 0)
    }
}

fn distance_payload(symbol: usize) -> (u32, u32) {
    if symbol < DISTANCE_SYMBOLS {
        (u32::from(DISTANCE_BASE[symbol]) << 12, u32::from(DISTANCE_EXTRA[symbol]))
    } else {
        (SPECIAL, 0)
    }
}

fn entry(payload: (u32, u32), code_bits: u32) -> u32 {
    let (value, extra_bits) = payload;
    if value & LITERAL != 0 {
        value | (code_bits & 15) << 26 | code_bits
    } else if value & SPECIAL != 0 {
        value | code_bits
    } else {
        value | code_bits << 8 | (code_bits + extra_bits)
    }
}

fn fill(
    table: &mut [u32],
    first_bits: u32,
    lengths: &[u8],
    payload: impl Fn(usize) -> (u32, u32),
) -> Result<(), InvalidCode> {
    let mut counts = [0u32; MAX_CODE_BITS + 1];
    for &length in lengths {
        counts[usize::from(length & 15)] += 1;
    }
    let used = lengths.len() as u32 - counts[0];
    counts[0] = 0;
    let mut next_code = [0u32; MAX_CODE_BITS + 2];
    let mut room = 1u32;
    for bits in 1..=MAX_CODE_BITS {
        room <<= 1;
        if counts[bits] > room {
            return Err(InvalidCode);
        }
        room -= counts[bits];
        next_code[bits + 1] = (next_code[bits] + counts[bits]) << 1;
    }
    table[..1 << first_bits].fill(SPECIAL);
    if used == 0 {
        return Ok(());
    }
    // An incomplete code is accepted only in the form that encoders write: one symbol of one bit.
    if room != 0 && !(used == 1 && counts[1] == 1) {
        return Err(InvalidCode);
    }

    // The canonical order: symbols by code length, then by number.
    let mut starts = [0u16; MAX_CODE_BITS + 2];
    for bits in 1..=MAX_CODE_BITS {
        starts[bits + 1] = starts[bits] + counts[bits] as u16;
    }
    let mut sorted = [0u16; 320];
    for (symbol, &length) in lengths.iter().enumerate() {
        if length != 0 {
            let start = &mut starts[usize::from(length)];
            sorted[usize::from(*start)] = symbol as u16;
            *start += 1;
        }
    }

    let mut sorted = sorted[..used as usize].iter();
    for bits in 1..=first_bits.min(MAX_CODE_BITS as u32) {
        let first_code = next_code[bits as usize];
        for code in first_code..first_code + counts[bits as usize] {
            let symbol = usize::from(*sorted.next().expect("counts sum to used"));
            let entry = entry(payload(symbol), bits);
            let first = (code.reverse_bits() >> (32 - bits)) as usize;
            for slot in table[first..1 << first_bits].iter_mut().step_by(1 << bits) {
                *slot = entry;
            }
        }
    }
    fill_second(table, first_bits, &counts, &next_code, sorted, payload)
}

/// Fills the second tables with the longer codes, one table for each prefix.
fn fill_second<'a>(
    table: &mut [u32],
    first_bits: u32,
    counts: &[u32; MAX_CODE_BITS + 1],
    next_code: &[u32; MAX_CODE_BITS + 2],
    mut sorted: impl Iterator<Item = &'a u16>,
    payload: impl Fn(usize) -> (u32, u32),
) -> Result<(), InvalidCode> {
    let mut end = 1usize << first_bits;
    let mut prefix = usize::MAX;
    let mut start = 0usize;
    for bits in first_bits + 1..=MAX_CODE_BITS as u32 {
        let first_code = next_code[bits as usize];
        for code in first_code..first_code + counts[bits as usize] {
            let symbol = usize::from(*sorted.next().ok_or(InvalidCode)?);
            let reversed = (code.reverse_bits() >> (32 - bits)) as usize;
            if reversed & ((1 << first_bits) - 1) != prefix {
                prefix = reversed & ((1 << first_bits) - 1);
                // The table must have room for the longest code with this prefix, so it grows until
                // the following codes fill it.
                let mut second_bits = bits - first_bits;
                let mut filled = first_code + counts[bits as usize] - code;
                while filled < 1 << second_bits && first_bits + second_bits < MAX_CODE_BITS as u32 {
                    second_bits += 1;
                    filled = (filled << 1) + counts[(first_bits + second_bits) as usize];
                }
                start = end;
                end += 1 << second_bits;
                let area = table.get_mut(start..end).ok_or(InvalidCode)?;
                area.fill(SPECIAL);
                table[prefix] =
                    SPECIAL | SECOND | (start as u32) << 12 | second_bits << 8 | first_bits;
            }
            let entry = entry(payload(symbol), bits);
            let first = start + (reversed >> first_bits);
            for slot in table[first..end].iter_mut().step_by(1 << (bits - first_bits)) {
                *slot = entry;
            }
        }
    }
    Ok(())
}

/// Joins two literals in one entry if both codes fit into the index.
fn pair_literals(table: &mut [u32]) {
    // The loop goes down: an entry reads one at a smaller index, which must not be a pair yet.
    for index in (0..table.len()).rev() {
        let one = table[index];
        if one & LITERAL == 0 {
            continue;
        }
        let bits = one & 0xff;
        let two = table[index >> bits];
        if two & LITERAL != 0 && two >> 24 & 3 == 1 && bits + (two & 0xff) <= LITLEN_BITS {
            table[index] = LITERAL
                | 2 << 24
                | (two & 0xff00) << 8
                | one & (0xff00 | 15 << 26)
                | (bits + (two & 0xff));
        }
    }
}
