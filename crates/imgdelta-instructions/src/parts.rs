//! A program without an older version as parts: code, records, tables and other bytes.
//! Never finds the parts: the maker names them, and any division gives the bytes back.
//!
//! Each kind of part goes to a stream of its own, since like compresses with like. Two kinds of
//! tables follow from other parts and take no bytes at all.

use crate::{
    sections::{self, ColumnWidths, Direction},
    spelling::{self, Spelling},
};

/// The kind of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// Bytes as they are.
    Data,
    /// x86-64 code.
    X86_64,
    /// `AArch64` code.
    Aarch64,
    /// Unwind records.
    UnwindRecords,
    /// The rows of a table that lists the functions of the unwind records.
    UnwindTable,
    /// Rows of three words of eight bytes.
    Relocations,
    /// Symbols: rows of two words of four bytes and two of eight.
    Symbols,
    /// The names of the symbols.
    Names,
    /// A table of hashes of the symbols' names.
    HashTable,
    /// Rows of two words of four bytes.
    Pairs,
}

/// Most parts of a program. Programs have some thirty sections.
pub const MAX_PARTS: usize = 4096;

/// A part of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its kind.
    pub kind: PartKind,
    /// Its bytes.
    pub len: usize,
    /// Address of its first byte; of an unwind table, the address from which its rows count.
    pub address: u64,
}

/// A stream of a program's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartStream {
    /// The list of parts: numbers.
    Parts,
    /// Bytes as they are.
    Data,
    /// Changed code.
    Code,
    /// Changed unwind records.
    Records,
    /// Numbers of tables, signed.
    Numbers,
}

impl PartKind {
    const ALL: [Self; 10] = [
        Self::Data,
        Self::X86_64,
        Self::Aarch64,
        Self::UnwindRecords,
        Self::UnwindTable,
        Self::Relocations,
        Self::Symbols,
        Self::Names,
        Self::HashTable,
        Self::Pairs,
    ];

    fn has_address(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64 | Self::UnwindRecords | Self::UnwindTable)
    }

    /// The columns of a table.
    fn columns(self) -> ColumnWidths {
        match self {
            Self::Relocations => &[8, 8, 8],
            Self::Symbols => &[4, 4, 8, 8],
            Self::UnwindTable | Self::Pairs => &[4, 4],
            _ => &[1],
        }
    }
}

/// Reads the streams of parts.
pub trait PartSource {
    /// The error of a stream that ends, or of a value that is wrong.
    type Error;

    /// Reads an unsigned number of the list.
    fn number(&mut self) -> Result<u64, Self::Error>;

    /// Reads a signed number.
    fn signed(&mut self, stream: PartStream) -> Result<i64, Self::Error>;

    /// Reads as many bytes as `bytes` has.
    fn fill(&mut self, stream: PartStream, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// Returns the error for a part that is wrong.
    fn malformed(&self, what: &'static str, expected: u64, found: u64) -> Self::Error;
}

/// Rebuilds a program of `len` bytes.
pub fn rebuild<S: PartSource>(source: &mut S, len: usize) -> Result<Vec<u8>, S::Error> {
    let parts = read(source, len)?;
    let mut target = vec![0; len];
    let mut rest = &mut target[..];
    for part in &parts {
        let (bytes, behind) = rest.split_at_mut(part.len);
        rest = behind;
        match part.kind {
            PartKind::Data | PartKind::Names => source.fill(PartStream::Data, bytes)?,
            PartKind::X86_64 => {
                source.fill(PartStream::Code, bytes)?;
                sections::x86_64(bytes, part.address as u32, Direction::Unpack);
            }
            PartKind::Aarch64 => {
                source.fill(PartStream::Code, bytes)?;
                spelling::aarch64(bytes, part.address, Spelling::Distance);
            }
            PartKind::UnwindRecords => {
                source.fill(PartStream::Records, bytes)?;
                sections::unwind_records(bytes, part.address as u32, Direction::Unpack);
            }
            PartKind::Relocations | PartKind::Symbols | PartKind::Pairs => {
                sections::fill_table(bytes, part.kind.columns(), || {
                    source.signed(PartStream::Numbers)
                })?;
            }
            PartKind::HashTable => source.fill(PartStream::Data, &mut bytes[..HASH_HEAD])?,
            PartKind::UnwindTable => {}
        }
    }
    let mut at = 0;
    for part in &parts {
        let range = at..at + part.len;
        at = range.end;
        if !is_derived(part.kind) {
            continue;
        }
        let mut bytes = target[range.clone()].to_vec();
        if !derive(part, &mut bytes, &target, &parts) {
            return Err(source.malformed("parts that a table follows from", 1, 0));
        }
        target[range].copy_from_slice(&bytes);
    }
    Ok(target)
}

/// Reads the list of parts.
fn read<S: PartSource>(source: &mut S, len: usize) -> Result<Vec<Part>, S::Error> {
    let (mut parts, mut left, mut expected) = (Vec::new(), len, 0_u64);
    while left > 0 {
        let number = source.number()?;
        let kind = PartKind::ALL.get(number as usize & 15).copied();
        let Some(kind) = kind else {
            return Err(source.malformed("kind of a part", 9, number & 15));
        };
        let part_len = usize::try_from(number >> 4).unwrap_or(usize::MAX);
        let row: usize = kind.columns().iter().sum();
        let least = if kind == PartKind::HashTable { HASH_HEAD } else { 1 };
        if part_len > left || part_len < least || !part_len.is_multiple_of(row) {
            return Err(source.malformed("length of a part", left as u64, number >> 4));
        }
        if parts.len() == MAX_PARTS {
            let found = MAX_PARTS as u64 + 1;
            return Err(source.malformed("parts of a program", MAX_PARTS as u64, found));
        }
        if is_derived(kind) && parts.iter().any(|part: &Part| part.kind == kind) {
            return Err(source.malformed("tables of one kind", 1, 2));
        }
        let mut address = 0;
        if kind.has_address() {
            address = expected.wrapping_add_signed(source.signed(PartStream::Parts)?);
            expected = address.wrapping_add(part_len as u64);
        }
        parts.push(Part { kind, len: part_len, address });
        left -= part_len;
    }
    Ok(parts)
}

/// True for a part that follows from others, apart from its first bytes.
fn is_derived(kind: PartKind) -> bool {
    matches!(kind, PartKind::UnwindTable | PartKind::HashTable)
}

/// Fills a part from others; false if they do not suit.
fn derive(part: &Part, bytes: &mut [u8], target: &[u8], parts: &[Part]) -> bool {
    let find = |kind| {
        let number = parts.iter().position(|part| part.kind == kind)?;
        let start = parts[..number].iter().map(|part| part.len).sum::<usize>();
        Some((start..start + parts[number].len, parts[number].address))
    };
    if part.kind == PartKind::UnwindTable {
        let Some((records, address)) = find(PartKind::UnwindRecords) else { return false };
        let origin = part.address as u32;
        return sections::fill_unwind_table(bytes, origin, &target[records], address as u32);
    }
    let (Some((symbols, _)), Some((names, _))) = (find(PartKind::Symbols), find(PartKind::Names))
    else {
        return false;
    };
    sections::fill_hash_table(bytes, &target[symbols], &target[names])
}

/// Takes the streams of parts.
#[cfg(feature = "encode")]
pub trait PartSink {
    /// Takes an unsigned number of the list.
    fn number(&mut self, number: u64);
    /// Takes a signed number.
    fn signed(&mut self, stream: PartStream, number: i64);
    /// Takes bytes.
    fn bytes(&mut self, stream: PartStream, bytes: &[u8]);
}

/// Divides a program into the streams of its parts, which cover it. A table that does not follow from
/// other parts is written with its bytes.
#[cfg(feature = "encode")]
pub fn divide(target: &[u8], parts: &[Part], sink: &mut impl PartSink) {
    let mut parts = parts.to_vec();
    let mut at = 0;
    for number in 0..parts.len() {
        let part = parts[number];
        let bytes = &target[at..at + part.len];
        at += part.len;
        let row: usize = part.kind.columns().iter().sum();
        let mut is_right = part.len.is_multiple_of(row);
        if is_derived(part.kind) && is_right {
            let mut derived = bytes.to_vec();
            if let Some(rest) = derived.get_mut(HASH_HEAD..) {
                rest.fill(0);
            }
            is_right = derive(&part, &mut derived, target, &parts) && derived == bytes;
            is_right &= parts[..number].iter().all(|before| before.kind != part.kind);
        }
        if !is_right {
            let is_table = part.kind == PartKind::UnwindTable && part.len.is_multiple_of(8);
            parts[number].kind = if is_table { PartKind::Pairs } else { PartKind::Data };
        }
    }
    let (mut at, mut expected) = (0, 0_u64);
    for part in parts {
        let bytes = &target[at..at + part.len];
        at += part.len;
        let place = PartKind::ALL.iter().position(|kind| *kind == part.kind);
        sink.number((part.len as u64) << 4 | place.unwrap_or(0) as u64);
        if part.kind.has_address() {
            sink.signed(PartStream::Parts, part.address.wrapping_sub(expected) as i64);
            expected = part.address.wrapping_add(part.len as u64);
        }
        match part.kind {
            PartKind::Data | PartKind::Names => sink.bytes(PartStream::Data, bytes),
            PartKind::X86_64 => {
                let mut code = bytes.to_vec();
                sections::x86_64(&mut code, part.address as u32, Direction::Pack);
                sink.bytes(PartStream::Code, &code);
            }
            PartKind::Aarch64 => {
                let mut code = bytes.to_vec();
                spelling::aarch64(&mut code, part.address, Spelling::Address);
                sink.bytes(PartStream::Code, &code);
            }
            PartKind::UnwindRecords => {
                let mut records = bytes.to_vec();
                sections::unwind_records(&mut records, part.address as u32, Direction::Pack);
                sink.bytes(PartStream::Records, &records);
            }
            PartKind::Relocations | PartKind::Symbols | PartKind::Pairs => {
                sections::take_table(bytes, part.kind.columns(), |number| {
                    sink.signed(PartStream::Numbers, number);
                });
            }
            PartKind::HashTable => sink.bytes(PartStream::Data, &bytes[..HASH_HEAD]),
            PartKind::UnwindTable => {}
        }
    }
}

/// Bytes of a table of hashes that do not follow from the symbols.
const HASH_HEAD: usize = 16;
