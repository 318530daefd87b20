//! The columns: which there are, and a place in each of them.
//!
//! They hold numbers and bytes; what those mean is for `encode` and `decode`.

use imgdelta_core::{Error, Limits, Result};
use imgdelta_format::{FormatError, pack, varint};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// One number an item: what it is and which facts are told.
    Items,
    /// Where the base entry lies, against where it was expected.
    Addresses,
    /// Times that were not foreseen: how long ago they were last used.
    Times,
    /// Times never used before.
    NewTimes,
    /// Sizes.
    Sizes,
    /// Modes, owners, devices.
    Numbers,
    /// Type flags.
    Flags,
    /// What a text is made from.
    Choices,
    /// Bytes kept at a text's front.
    Fronts,
    /// Bytes kept at a text's end.
    Backs,
    /// Bytes between those.
    Middles,
    /// Those bytes.
    Text,
    /// Extension headers: how many, which facts are told.
    Extensions,
    /// Where bytes are replaced, and how many.
    Patches,
    /// Lengths of what travels as it is.
    Lengths,
    /// What travels as it is.
    Bytes,
    /// If base entries are walked by directory: how many, then where the walk jumps.
    Jumps,
    /// Which entry of a directory comes next, in bits.
    Picks,
}

/// How many there are.
pub(super) const COLUMNS: usize = Column::Picks as usize + 1;

/// Kinds of items, in the low bits of [`Column::Items`]; the rest is a mask or unused.
pub(super) const KIND_BITS: u32 = 3;
pub(super) const ALONE: u64 = 0;
pub(super) const BASED: u64 = 1;
pub(super) const LITERAL: u64 = 2;
pub(super) const ZEROS: u64 = 3;
pub(super) const PAYLOAD: u64 = 4;

/// What is told about a header, in the order of frequency.
pub(super) mod told {
    pub const MTIME: u64 = 1;
    pub const SIZE: u64 = 1 << 1;
    pub const PATH: u64 = 1 << 2;
    pub const LINK: u64 = 1 << 3;
    pub const EXTENSIONS: u64 = 1 << 4;
    pub const FLAG: u64 = 1 << 5;
    pub const MODE: u64 = 1 << 6;
    pub const UID: u64 = 1 << 7;
    pub const GID: u64 = 1 << 8;
    pub const USER: u64 = 1 << 9;
    pub const GROUP: u64 = 1 << 10;
    pub const MAJOR: u64 = 1 << 11;
    pub const MINOR: u64 = 1 << 12;
    pub const PATCH: u64 = 1 << 13;
    pub const CHECKSUM: u64 = 1 << 14;
    pub const MAP: u64 = 1 << 15;
    pub const PAYLOAD: u64 = 1 << 16;
    pub const NO_PADDING: u64 = 1 << 17;
    pub const ALL: u64 = (1 << 18) - 1;
}

/// What is told about an extension header.
pub(super) mod extension_told {
    pub const NAME: u64 = 1;
    pub const BODY: u64 = 1 << 1;
    pub const RECORDS: u64 = 1 << 2;
    pub const PATCH: u64 = 1 << 3;
    pub const CHECKSUM: u64 = 1 << 4;
    pub const ALL: u64 = (1 << 5) - 1;
}

/// Columns being read.
#[derive(Debug)]
pub(super) struct Cursor<C> {
    columns: [C; COLUMNS],
    at: [usize; COLUMNS],
}

impl Cursor<Vec<u8>> {
    /// Unpacks columns.
    pub(super) fn open(packed: &[u8], limits: &Limits) -> Result<Self> {
        let columns = match packed {
            [] => Vec::new(),
            _ => pack::unpack(packed, COLUMNS, limits.layer_text_bytes).map_err(|source| {
                match source {
                    FormatError::TooLarge { limit, found, .. } => Error::OverLimit {
                        place: PLACE.into(),
                        what: "number of bytes",
                        found,
                        limit,
                    },
                    other @ FormatError::Malformed { .. } => {
                        Error::bad_input_because(PLACE, "they do not unpack", other)
                    }
                }
            })?,
        };
        let mut columns = columns.into_iter();
        Ok(Self::new(std::array::from_fn(|_| columns.next().unwrap_or_default())))
    }
}

impl<C: AsRef<[u8]>> Cursor<C> {
    /// Starts before the first item.
    pub(super) fn new(columns: [C; COLUMNS]) -> Self {
        Self { columns, at: [0; COLUMNS] }
    }

    /// Returns the same with another place in each column.
    #[cfg(debug_assertions)]
    pub(super) fn from_places(columns: [C; COLUMNS], at: [usize; COLUMNS]) -> Self {
        Self { columns, at }
    }

    /// Returns whether nothing is left in a column.
    pub(super) fn is_at_end(&self, column: Column) -> bool {
        self.at[column as usize] == self.columns[column as usize].as_ref().len()
    }

    /// Checks that nothing is left in any column.
    pub(super) fn finish(&self) -> Result<()> {
        match self.columns.iter().zip(self.at).position(|(column, at)| column.as_ref().len() != at)
        {
            None => Ok(()),
            Some(left) => Err(Error::bad_input(
                PLACE,
                format_args!("column {left} goes on behind the last item"),
            )),
        }
    }

    /// Reads a number.
    pub(super) fn number(&mut self, column: Column) -> Result<u64> {
        let i = column as usize;
        let (value, len) = varint::take(&self.columns[i].as_ref()[self.at[i]..])
            .ok_or_else(|| broken(column, "ends early"))?;
        self.at[i] += len;
        Ok(value)
    }

    /// Reads a number with a sign.
    pub(super) fn signed(&mut self, column: Column) -> Result<i64> {
        self.number(column).map(varint::unzigzag)
    }

    /// Reads one byte.
    pub(super) fn byte(&mut self, column: Column) -> Result<u8> {
        Ok(self.bytes(column, 1)?[0])
    }

    /// Reads bytes.
    pub(super) fn bytes(&mut self, column: Column, count: u64) -> Result<&[u8]> {
        let i = column as usize;
        let rest = &self.columns[i].as_ref()[self.at[i]..];
        let found = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let found = found.ok_or_else(|| broken(column, "ends early"))?;
        self.at[i] += found.len();
        Ok(found)
    }
}

/// Says that a column makes no sense.
#[cold]
pub(super) fn broken(column: Column, what: &str) -> Error {
    Error::bad_input(PLACE, format_args!("column {} {what}", column as usize))
}

/// What errors call the whole.
const PLACE: &str = "header columns";

/// Columns being written.
#[derive(Debug, Default)]
pub(super) struct Columns(pub(super) [Vec<u8>; COLUMNS]);

impl Columns {
    pub(super) fn number(&mut self, column: Column, value: u64) {
        varint::write(&mut self.0[column as usize], value);
    }

    pub(super) fn signed(&mut self, column: Column, value: i64) {
        self.number(column, varint::zigzag(value));
    }

    pub(super) fn bytes(&mut self, column: Column, bytes: &[u8]) {
        self.0[column as usize].extend_from_slice(bytes);
    }

    /// Appends to each column what another holds there.
    pub(super) fn append(&mut self, other: &Self) {
        for (column, more) in self.0.iter_mut().zip(&other.0) {
            column.extend_from_slice(more);
        }
    }

    /// Returns how long each column is.
    #[cfg(debug_assertions)]
    pub(super) fn places(&self) -> [usize; COLUMNS] {
        self.0.each_ref().map(Vec::len)
    }
}
