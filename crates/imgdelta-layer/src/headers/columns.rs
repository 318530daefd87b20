//! The columns of header facts, their writer and their reader.
//! Never interprets the values: `encode` and `decode` do.

use imgdelta_coding::{PackError, pack};
use imgdelta_core::{Error, LimitName, Limits, Result};
use imgdelta_wire::{Columns, varint};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// One number per item: its kind and the mask of its facts.
    Items,
    /// Addresses of base entries, as distances from the expected ones.
    Addresses,
    /// Times that were not predicted, as positions in the list of recent ones.
    Times,
    /// Times that are not in that list.
    NewTimes,
    /// Sizes.
    Sizes,
    /// Modes, owners, devices.
    Numbers,
    /// Type flags.
    Flags,
    /// Candidates that texts are edited from.
    Choices,
    /// Numbers of bytes kept at a text's front.
    Fronts,
    /// Numbers of bytes kept at a text's end.
    Backs,
    /// Numbers of new bytes between front and end.
    Middles,
    /// The new bytes of texts.
    Text,
    /// Extension headers: their number, and the mask of each one's facts.
    Extensions,
    /// Ranges of patched bytes.
    Patches,
    /// Lengths of literal bytes, zeros and payloads.
    Lengths,
    /// Literal bytes.
    Bytes,
    /// For base entries in order of directories: their number, then the jumps.
    Jumps,
    /// Positions among the remaining entries of a directory, as bits.
    Picks,
}

/// Number of columns.
pub(super) const COLUMNS: usize = Column::Picks as usize + 1;

/// Number of low bits of [`Column::Items`] that hold an item's kind; the others hold its mask.
pub(super) const KIND_BITS: u32 = 3;
pub(super) const ALONE: u64 = 0;
pub(super) const BASED: u64 = 1;
pub(super) const LITERAL: u64 = 2;
pub(super) const ZEROS: u64 = 3;
pub(super) const PAYLOAD: u64 = 4;

/// Facts of a header, as bits of its mask; the most frequent first.
pub(super) mod fact {
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

/// Facts of an extension header, as bits of its mask.
pub(super) mod extension_fact {
    pub const NAME: u64 = 1;
    pub const BODY: u64 = 1 << 1;
    pub const RECORDS: u64 = 1 << 2;
    pub const PATCH: u64 = 1 << 3;
    pub const CHECKSUM: u64 = 1 << 4;
    pub const ALL: u64 = (1 << 5) - 1;
}

/// Reader of all columns, with a position in each.
#[derive(Debug)]
pub(super) struct ColumnReader<C> {
    columns: [C; COLUMNS],
    at: [usize; COLUMNS],
}

impl ColumnReader<Vec<u8>> {
    /// Unpacks columns.
    pub(super) fn open(packed: &[u8], limits: &Limits) -> Result<Self> {
        let columns = match packed {
            [] => Vec::new(),
            _ => pack::unpack(packed, COLUMNS, limits.layer_text_bytes).map_err(|source| {
                match source {
                    PackError::TooLarge { limit, found, .. } => Error::OverLimit {
                        place: PLACE.into(),
                        what: "number of bytes",
                        name: Some(LimitName::LayerTextBytes),
                        found,
                        limit,
                    },
                    other @ PackError::Malformed { .. } => {
                        Error::bad_input_because(PLACE, "they do not unpack", other)
                    }
                }
            })?,
        };
        let mut columns = columns.into_iter();
        Ok(Self::new(std::array::from_fn(|_| columns.next().unwrap_or_default())))
    }
}

impl<C: AsRef<[u8]>> ColumnReader<C> {
    /// Starts at the front of every column.
    pub(super) fn new(columns: [C; COLUMNS]) -> Self {
        Self { columns, at: [0; COLUMNS] }
    }

    /// Starts at a position in each column.
    #[cfg(debug_assertions)]
    pub(super) fn from_places(columns: [C; COLUMNS], at: [usize; COLUMNS]) -> Self {
        Self { columns, at }
    }

    /// True if nothing is left in a column.
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
                format_args!("column {left} continues behind the last item"),
            )),
        }
    }

    /// Reads a number.
    pub(super) fn number(&mut self, column: Column) -> Result<u64> {
        let i = column as usize;
        let (value, len) = varint::read(&self.columns[i].as_ref()[self.at[i]..])
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
        let bytes = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let bytes = bytes.ok_or_else(|| broken(column, "ends early"))?;
        self.at[i] += bytes.len();
        Ok(bytes)
    }
}

/// Returns the error for a column with an invalid value.
#[cold]
pub(super) fn broken(column: Column, what: &str) -> Error {
    Error::bad_input(PLACE, format_args!("column {} {what}", column as usize))
}

/// Name of the columns in errors.
const PLACE: &str = "header columns";

/// Writer of all columns.
#[derive(Debug, Default)]
pub(super) struct ColumnWriter(Columns<COLUMNS>);

impl ColumnWriter {
    pub(super) fn number(&mut self, column: Column, value: u64) {
        self.0.varint(column as usize, value);
    }

    pub(super) fn signed(&mut self, column: Column, value: i64) {
        self.0.signed(column as usize, value);
    }

    pub(super) fn bytes(&mut self, column: Column, bytes: &[u8]) {
        self.0.bytes(column as usize, bytes);
    }

    /// Appends all columns of `other`.
    pub(super) fn append(&mut self, other: &Self) {
        self.0.append(&other.0);
    }

    /// Returns all columns.
    pub(super) fn all(&self) -> &[Vec<u8>; COLUMNS] {
        self.0.all()
    }

    /// Returns the length of each column.
    #[cfg(debug_assertions)]
    pub(super) fn places(&self) -> [usize; COLUMNS] {
        self.all().each_ref().map(Vec::len)
    }
}
