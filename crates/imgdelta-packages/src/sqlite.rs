//! Reads the rows of one table from the bytes of an `SQLite` file.
//! Never writes; knows neither SQL nor indexes.
//!
//! The table's b-tree is walked. Each page is used once, as a node of the tree or in one overflow
//! chain, so that cycles end. Rows together take no more bytes than the file, even if cells overlap.
//! The format is described at <https://sqlite.org/fileformat2.html>.

use crate::blobs::PackageBlobs;
use std::{borrow::Cow, ops::Range};

/// An `SQLite` file's bytes.
pub(crate) struct SqliteFile<'a> {
    file: &'a [u8],
    page_size: usize,
    /// Page size without the bytes that extensions reserve at each page's end.
    usable: usize,
}

impl<'a> SqliteFile<'a> {
    /// Reads the file's header.
    pub(crate) fn open(file: &'a [u8]) -> Result<Self, &'static str> {
        if file.len() < HEADER_BYTES || !file.starts_with(b"SQLite format 3\0") {
            return Err("not an SQLite database");
        }
        let page_size = match be(file, 16, 2) {
            Some(1) => 65_536,
            Some(size) if size >= 512 && size.is_power_of_two() => size,
            _ => return Err("its header has an impossible page size"),
        };
        let usable = page_size - usize::from(file[20]);
        if usable < SMALLEST_USABLE {
            return Err("its header reserves too much of each page");
        }
        Ok(Self { file, page_size, usable })
    }

    /// Returns the first blob of each row of a table.
    pub(crate) fn blobs_of(&self, table: &str) -> PackageBlobs<'a> {
        let schema = TableWalk::new(self).records(SCHEMA_ROOT);
        let root = schema.blobs.iter().find_map(|record| table_root(record, table.as_bytes()));
        let Some(root) = root else {
            let flaw = schema.flaw.unwrap_or("the table of packages is missing");
            return PackageBlobs { blobs: Vec::new(), flaw: Some(flaw) };
        };
        let mut rows = TableWalk::new(self).records(root);
        let row_count = rows.blobs.len();
        let blobs: Vec<_> = rows.blobs.into_iter().filter_map(first_blob).collect();
        if blobs.len() < row_count {
            rows.flaw = Some("a row of the package table has no package");
        }
        PackageBlobs { blobs, flaw: rows.flaw }
    }

    /// Returns a page without its reserved bytes. Pages are numbered from 1.
    fn page(&self, number: usize) -> Option<&'a [u8]> {
        let start = number.checked_sub(1)?.checked_mul(self.page_size)?;
        self.file.get(start..start.checked_add(self.usable)?)
    }
}

/// Walk through one table's tree.
struct TableWalk<'a, 'b> {
    database: &'b SqliteFile<'a>,
    is_used: Vec<bool>,
    /// Pages of the tree that are to be read, the next one last.
    pending: Vec<usize>,
    /// Bytes that the remaining records may take.
    bytes_left: usize,
    flaw: Option<&'static str>,
}

impl<'a, 'b> TableWalk<'a, 'b> {
    fn new(database: &'b SqliteFile<'a>) -> Self {
        let page_count = database.file.len() / database.page_size;
        Self {
            database,
            is_used: vec![false; page_count + 1],
            pending: Vec::new(),
            bytes_left: database.file.len(),
            flaw: None,
        }
    }

    /// Returns each row's record, in the order of the table.
    fn records(mut self, root: usize) -> PackageBlobs<'a> {
        let mut blobs = Vec::new();
        self.expect(root);
        while let Some(number) = self.pending.pop() {
            if self.read_node(number, &mut blobs).is_none() {
                self.flaw = Some("a page of the table is not valid; packages are missing");
            }
        }
        PackageBlobs { blobs, flaw: self.flaw }
    }

    fn expect(&mut self, number: usize) {
        if self.claim(number) {
            self.pending.push(number);
        } else {
            self.flaw = Some("a page is missing or used twice; packages are missing");
        }
    }

    fn claim(&mut self, number: usize) -> bool {
        number > 0
            && self.is_used.get_mut(number).is_some_and(|used| !std::mem::replace(used, true))
    }

    fn read_node(&mut self, number: usize, blobs: &mut Vec<Cow<'a, [u8]>>) -> Option<()> {
        let page = self.database.page(number)?;
        // The first page begins with the file's header. Cell offsets count from the page's start.
        let header = if number == SCHEMA_ROOT { HEADER_BYTES } else { 0 };
        let cell_count = be(page, header + 3, 2)?;
        match be(page, header, 1)? {
            LEAF => {
                for cell in 0..cell_count {
                    let at = be(page, header + 8 + 2 * cell, 2)?;
                    blobs.push(self.read_cell(page.get(at..)?)?);
                }
            }
            INTERIOR => {
                let first = self.pending.len();
                for cell in 0..cell_count {
                    let at = be(page, header + 12 + 2 * cell, 2)?;
                    self.expect(be(page, at, 4)?);
                }
                self.expect(be(page, header + 8, 4)?);
                self.pending[first..].reverse();
            }
            _ => return None,
        }
        Some(())
    }

    /// Reads a leaf's cell: length, row number, payload and the number of the overflow page.
    fn read_cell(&mut self, mut cell: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let len = usize::try_from(varint(&mut cell)?).ok()?;
        varint(&mut cell)?;
        self.bytes_left = self.bytes_left.checked_sub(len.checked_add(SMALLEST_ROW)?)?;
        let usable = self.database.usable;
        let most = usable - 35;
        if len <= most {
            return Some(Cow::Borrowed(cell.get(..len)?));
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let local = match least + (len - least) % (usable - 4) {
            local if local <= most => local,
            _ => least,
        };
        let mut record = Vec::with_capacity(len);
        record.extend_from_slice(cell.get(..local)?);
        let mut next = be(cell, local, 4)?;
        while record.len() < len {
            if !self.claim(next) {
                return None;
            }
            let page = self.database.page(next)?;
            let part = (len - record.len()).min(usable - 4);
            record.extend_from_slice(&page[4..4 + part]);
            next = be(page, 0, 4)?;
        }
        Some(Cow::Owned(record))
    }
}

/// Returns the root page if a row of the schema describes the table of this name.
fn table_root(record: &[u8], table: &[u8]) -> Option<usize> {
    // type, name, tbl_name, rootpage, sql
    let mut columns = RecordColumns::new(record)?;
    let (_, kind) = columns.next()?;
    let (_, name) = columns.next()?;
    let (_, root) = columns.nth(1)?;
    (record[kind] == *b"table" && record[name] == *table)
        .then(|| be(record, root.start, root.len()))?
}

fn first_blob(record: Cow<'_, [u8]>) -> Option<Cow<'_, [u8]>> {
    let is_blob = |serial: u64| serial >= 12 && serial.is_multiple_of(2);
    let (_, range) = RecordColumns::new(&record)?.find(|&(serial, _)| is_blob(serial))?;
    Some(match record {
        Cow::Borrowed(record) => Cow::Borrowed(&record[range]),
        Cow::Owned(mut record) => {
            record.truncate(range.end);
            record.drain(..range.start);
            Cow::Owned(record)
        }
    })
}

/// A record's columns: each one's serial type, and its range in the record.
struct RecordColumns<'a> {
    serials: &'a [u8],
    at: usize,
    record_bytes: usize,
}

impl<'a> RecordColumns<'a> {
    fn new(record: &'a [u8]) -> Option<Self> {
        let mut serials = record;
        let header = usize::try_from(varint(&mut serials)?).ok()?;
        let before = record.len() - serials.len();
        Some(Self { serials: record.get(before..header)?, at: header, record_bytes: record.len() })
    }
}

impl Iterator for RecordColumns<'_> {
    type Item = (u64, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let serial = varint(&mut self.serials)?;
        let len = match serial {
            0 | 8 | 9 => 0,
            1..=4 => serial,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => (serial - 12) / 2,
        };
        let start = self.at;
        self.at = start.checked_add(usize::try_from(len).ok()?)?;
        (self.at <= self.record_bytes).then_some((serial, start..self.at))
    }
}

/// Removes a number from the front: seven bits per byte, the highest first; a ninth byte has eight.
fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for place in 0..9 {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        if place == 8 {
            return Some(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            break;
        }
    }
    Some(value)
}

/// Returns a number of up to four bytes, the highest first; no number of a page is longer.
fn be(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    (len <= 4).then(|| field.iter().fold(0, |value, &byte| value << 8 | usize::from(byte)))
}

/// The file's header, before that of the first page.
const HEADER_BYTES: usize = 100;
/// Root page of the table of tables.
const SCHEMA_ROOT: usize = 1;
/// A page with rows.
const LEAF: usize = 0x0d;
/// A page that points to pages.
const INTERIOR: usize = 0x05;
/// The format's minimum; the arithmetic of overflow depends on it.
const SMALLEST_USABLE: usize = 480;
/// Memory that a row costs besides its bytes; a package's header is never smaller.
const SMALLEST_ROW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &[u8] = include_bytes!("../../../testdata/packages/rpmdb.sqlite");

    #[test]
    fn every_row_of_the_table_is_found() {
        let blobs = SqliteFile::open(FILE).unwrap().blobs_of("Packages");
        assert_eq!((blobs.blobs.len(), blobs.flaw), (24, None));
        assert!(blobs.blobs.iter().any(|blob| blob.len() > 1024), "an overflow chain is walked");
        let none = SqliteFile::open(FILE).unwrap().blobs_of("Nothing");
        assert_eq!((none.blobs.len(), none.flaw), (0, Some("the table of packages is missing")));
    }

    #[test]
    fn a_page_that_points_to_itself_ends_the_walk() {
        let database = SqliteFile::open(FILE).unwrap();
        let schema = TableWalk::new(&database).records(SCHEMA_ROOT);
        let root = schema.blobs.iter().find_map(|record| table_root(record, b"Packages")).unwrap();
        let mut file = FILE.to_vec();
        let page = (root - 1) * database.page_size;
        assert_eq!(usize::from(file[page]), INTERIOR);
        file[page + 8..page + 12].copy_from_slice(&u32::try_from(root).unwrap().to_be_bytes());
        let blobs = SqliteFile::open(&file).unwrap().blobs_of("Packages");
        assert!(blobs.flaw.is_some() && blobs.blobs.len() < 24);
    }

    #[test]
    fn a_cut_file_is_flawed() {
        for cut in (0..FILE.len()).step_by(97) {
            let blobs = SqliteFile::open(&FILE[..cut]).map(|file| file.blobs_of("Packages"));
            assert!(blobs.is_err() || blobs.is_ok_and(|blobs| blobs.flaw.is_some()), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_takes_more_than_the_file(
            damage in prop::collection::vec((0..FILE.len(), any::<u8>()), 1..40),
        ) {
            let mut file = FILE.to_vec();
            for (at, byte) in damage {
                file[at] = byte;
            }
            if let Ok(database) = SqliteFile::open(&file) {
                let blobs = database.blobs_of("Packages");
                prop_assert!(blobs.blobs.iter().map(|blob| blob.len()).sum::<usize>() <= file.len());
            }
        }
    }
}
