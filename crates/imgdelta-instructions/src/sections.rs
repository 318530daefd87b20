//! Sections of a program without an older version, in a form that compresses, and back.
//! Never knows a file: the caller says which bytes are code, unwind records or tables.
//!
//! One function is called over another distance from each place. As an address it is the same four
//! bytes everywhere. Records and tables hold addresses in ascending order: as differences, most of
//! them are small. Each change here has an inverse for any bytes. A walk reads only bytes that both
//! directions have alike at that point: the start of an instruction, or the length of a record.

use crate::scan;

/// The direction of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the bytes of the program.
    #[cfg(feature = "encode")]
    Pack,
    /// Back to the bytes of the program.
    Unpack,
}

impl Direction {
    /// Adds `more` in one direction and subtracts it in the other one.
    #[inline]
    fn shift(self, number: u32, more: u32) -> u32 {
        match self {
            #[cfg(feature = "encode")]
            Self::Pack => number.wrapping_add(more),
            Self::Unpack => number.wrapping_sub(more),
        }
    }
}

/// Changes x86-64 code whose first byte has this address: distances of calls, of long jumps and of
/// operands become addresses.
pub fn x86_64(code: &mut [u8], address: u32, direction: Direction) {
    let mut at = 0;
    while at < code.len() {
        let Some(parts) = scan::parts(&code[at..]) else {
            at += 1;
            continue;
        };
        let end = at + parts.len();
        let place = if parts.modrm > 0 && code[at + parts.modrm] & 0xC7 == 5 {
            Some(at + parts.displacement)
        } else {
            (parts.letter == b'J').then_some(at + parts.immediate)
        };
        let field = place.and_then(|place| code[place..].first_chunk_mut::<4>());
        if let Some(field) = field {
            let number = u32::from_le_bytes(*field);
            *field = direction.shift(number, address.wrapping_add(end as u32)).to_le_bytes();
        }
        at = end;
    }
}

/// Changes unwind records whose first byte has this address.
///
/// The distance to a common record becomes 1 if it leads to the last one that was used. The start of
/// a function becomes its distance from the end of the function before.
pub fn unwind_records(bytes: &mut [u8], address: u32, direction: Direction) {
    let (mut at, mut common, mut function_end) = (0_usize, 0_u32, 0_u32);
    while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let word = |place: usize| {
            u32::from_le_bytes([head[place], head[place + 1], head[place + 2], head[place + 3]])
        };
        let (len, id, start, range) = (word(0) as usize, word(4), word(8), word(12));
        if len < 12 || len > bytes.len() - at - 4 {
            break;
        }
        let here = at as u32 + 4;
        if id == 0 {
            common = at as u32;
        } else {
            let expected = here.wrapping_sub(common);
            let changed = match id {
                _ if expected == 0 => id,
                1 => expected,
                _ if id == expected => 1,
                _ => id,
            };
            let more = address.wrapping_add(here + 4).wrapping_sub(function_end);
            let moved = direction.shift(start, more);
            bytes[at + 4..at + 8].copy_from_slice(&changed.to_le_bytes());
            bytes[at + 8..at + 12].copy_from_slice(&moved.to_le_bytes());
            let (id, start) = match direction {
                #[cfg(feature = "encode")]
                Direction::Pack => (id, start),
                Direction::Unpack => (changed, moved),
            };
            common = here.wrapping_sub(id);
            function_end = address.wrapping_add(here + 4).wrapping_add(start).wrapping_add(range);
        }
        at += 4 + len;
    }
}

/// Widths of the columns of a table: relocations, symbols, pairs.
pub type ColumnWidths = &'static [usize];

/// Calls `put` for each number of a table, column by column: the difference from the row above.
#[cfg(feature = "encode")]
pub fn take_table(bytes: &[u8], widths: ColumnWidths, mut put: impl FnMut(i64)) {
    let row: usize = widths.iter().sum();
    let mut start = 0;
    for &width in widths {
        let mut above = 0;
        for cells in bytes.chunks_exact(row) {
            let mut cell = [0; 8];
            cell[..width].copy_from_slice(&cells[start..start + width]);
            let cell = i64::from_le_bytes(cell);
            let unused = 64 - 8 * width as u32;
            put(cell.wrapping_sub(above) << unused >> unused);
            above = cell;
        }
        start += width;
    }
}

/// Fills a table of whole rows with the numbers that `next` returns, the inverse of [`take_table`].
pub fn fill_table<E>(
    bytes: &mut [u8],
    widths: ColumnWidths,
    mut next: impl FnMut() -> Result<i64, E>,
) -> Result<(), E> {
    let row: usize = widths.iter().sum();
    let mut start = 0;
    for &width in widths {
        let mut above = 0_i64;
        for cells in bytes.chunks_exact_mut(row) {
            above = above.wrapping_add(next()?);
            cells[start..start + width].copy_from_slice(&above.to_le_bytes()[..width]);
        }
        start += width;
    }
    Ok(())
}

/// Fills the rows of an unwind table, as a linker writes it for these records: start of a function and
/// place of its record, both counted from `origin`, in ascending order.
///
/// Returns false, and leaves some rows as they are, if there are fewer functions than rows.
pub fn fill_unwind_table(rows: &mut [u8], origin: u32, records: &[u8], address: u32) -> bool {
    let mut functions = Vec::new();
    let mut at = 0;
    while let Some(head) = records.get(at..).and_then(|rest| rest.first_chunk::<12>()) {
        let word = |place: usize| {
            u32::from_le_bytes([head[place], head[place + 1], head[place + 2], head[place + 3]])
        };
        let (len, id, start) = (word(0) as usize, word(4), word(8));
        if len < 8 || len > records.len() - at - 4 {
            break;
        }
        let here = address.wrapping_add(at as u32);
        if id != 0 {
            let start = here.wrapping_add(8).wrapping_add(start).wrapping_sub(origin);
            functions.push((start.cast_signed(), here.wrapping_sub(origin)));
        }
        at += 4 + len;
    }
    functions.sort_unstable();
    let rows = rows.as_chunks_mut::<8>().0;
    let is_filled = functions.len() >= rows.len();
    for (row, (start, record)) in rows.iter_mut().zip(functions) {
        row[..4].copy_from_slice(&start.to_le_bytes());
        row[4..].copy_from_slice(&record.to_le_bytes());
    }
    is_filled
}

/// Fills a table of hashes of symbol names behind its first 16 bytes, as a linker writes it in the
/// format of GNU: filter, buckets and chains.
///
/// Returns false, and leaves the rest as it is, if a number in the first bytes does not suit.
pub fn fill_hash_table(table: &mut [u8], symbols: &[u8], names: &[u8]) -> bool {
    let (Some(head), symbols) = (table.first_chunk::<16>(), symbols.as_chunks::<24>().0) else {
        return false;
    };
    let word = |place: usize| {
        u32::from_le_bytes([head[place], head[place + 1], head[place + 2], head[place + 3]])
    };
    let (buckets, first) = (word(0) as usize, word(4) as usize);
    let (words, shift) = (word(8) as usize, word(12));
    let hashed = symbols.get(first..).unwrap_or_default();
    let len = buckets.checked_add(hashed.len()).and_then(|sum| sum.checked_mul(4));
    let len = len.and_then(|len| words.checked_mul(8)?.checked_add(len));
    if buckets == 0 || words == 0 || shift > 31 || len != Some(table.len() - 16) {
        return false;
    }
    let table = &mut table[16..];
    table.fill(0);
    let (filter, rest) = table.split_at_mut(words * 8);
    let (bucket_words, chain) = rest.split_at_mut(buckets * 4);
    let filter = filter.as_chunks_mut::<8>().0;
    let bucket_words = bucket_words.as_chunks_mut::<4>().0;
    let chain = chain.as_chunks_mut::<4>().0;
    let mut before = None;
    for (number, symbol) in hashed.iter().enumerate() {
        let name = u32::from_le_bytes([symbol[0], symbol[1], symbol[2], symbol[3]]) as usize;
        let name = names.get(name..).unwrap_or_default();
        let mut hash = 5381_u32;
        // A hostile table may name one long text for each symbol.
        for &byte in name.iter().take(MAX_NAME).take_while(|&&byte| byte != 0) {
            hash = hash.wrapping_mul(33).wrapping_add(byte.into());
        }
        let word = &mut filter[(hash / 64) as usize % words];
        let bits = 1 << (hash % 64) | 1 << ((hash >> shift) % 64);
        *word = (u64::from_le_bytes(*word) | bits).to_le_bytes();
        let bucket = hash as usize % buckets;
        if before != Some(bucket) {
            bucket_words[bucket] = ((first + number) as u32).to_le_bytes();
            if number > 0 {
                chain[number - 1][0] |= 1;
            }
            before = Some(bucket);
        }
        chain[number] = (hash & !1).to_le_bytes();
    }
    if let Some(last) = chain.last_mut() {
        last[0] |= 1;
    }
    true
}

/// Longest name that is hashed.
const MAX_NAME: usize = 1024;
