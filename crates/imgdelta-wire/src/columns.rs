//! Values sorted by kind while they are written: one byte column for each kind.
//! Never interprets a column; a caller numbers its columns and packs them.
//!
//! Like compresses with like: paths next to paths, lengths next to lengths. A record's values go to
//! different columns, and a reader keeps one [`Cursor`] for each.

use crate::{cursor::Cursor, varint};

/// `N` byte columns that are being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns<const N: usize>([Vec<u8>; N]);

impl<const N: usize> Columns<N> {
    /// Starts with empty columns.
    pub fn new() -> Self {
        Self([const { Vec::new() }; N])
    }

    /// Completes columns that were read to `N`: those that are missing are empty.
    ///
    /// Columns beyond `N` are dropped: a later version of a format may have added them.
    pub fn of(mut columns: Vec<Vec<u8>>) -> Self {
        columns.resize_with(N, Vec::new);
        Self(columns.try_into().expect("resized to N"))
    }

    /// Appends one byte.
    #[inline]
    pub fn byte(&mut self, column: usize, byte: u8) {
        self.0[column].push(byte);
    }

    /// Appends bytes.
    #[inline]
    pub fn bytes(&mut self, column: usize, bytes: &[u8]) {
        self.0[column].extend_from_slice(bytes);
    }

    /// Appends an unsigned integer.
    #[inline]
    pub fn varint(&mut self, column: usize, value: u64) {
        varint::write(&mut self.0[column], value);
    }

    /// Appends a signed integer.
    #[inline]
    pub fn signed(&mut self, column: usize, value: i64) {
        varint::write_signed(&mut self.0[column], value);
    }

    /// Appends a length and as many bytes.
    #[inline]
    pub fn prefixed(&mut self, column: usize, bytes: &[u8]) {
        varint::write_prefixed(&mut self.0[column], bytes);
    }

    /// Appends the distance from `expected` to `place`.
    #[inline]
    pub fn place(&mut self, column: usize, expected: u64, place: u64) {
        varint::write_place(&mut self.0[column], expected, place);
    }

    /// Appends every column of `other` to the column of the same number.
    pub fn append(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(&other.0) {
            own.extend_from_slice(more);
        }
    }

    /// Removes and returns the bytes of one column.
    pub fn take(&mut self, column: usize) -> Vec<u8> {
        std::mem::take(&mut self.0[column])
    }

    /// Returns one column.
    #[inline]
    pub fn column(&self, column: usize) -> &[u8] {
        &self.0[column]
    }

    /// Returns all columns.
    pub fn all(&self) -> &[Vec<u8>; N] {
        &self.0
    }

    /// Returns the columns for reading, each from its front.
    pub fn cursors(&self) -> [Cursor<'_>; N] {
        self.0.each_ref().map(|column| Cursor::new(column))
    }

    /// Returns the length of all columns together.
    pub fn total_bytes(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

impl<const N: usize> Default for Columns<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_their_columns() {
        let mut columns = Columns::<3>::new();
        columns.byte(0, 9);
        columns.varint(1, 300);
        columns.signed(0, -1);
        columns.place(1, 50, 60);
        columns.prefixed(2, b"ab");
        columns.bytes(2, b"c");
        assert_eq!(columns.total_bytes(), 2 + 3 + 4);
        let [mut first, mut second, mut third] = columns.cursors();
        assert_eq!((first.u8(), first.signed()), (Ok(9), Ok(-1)));
        assert_eq!((second.varint(), second.place_near(50)), (Ok(300), Ok(60)));
        assert_eq!((third.prefixed(), third.take_rest()), (Ok(&b"ab"[..]), &b"c"[..]));
        assert!(first.is_empty() && second.is_empty());
    }

    #[test]
    fn columns_are_appended_taken_and_completed() {
        let mut columns = Columns::<3>::of(vec![vec![1], vec![2]]);
        columns.append(&Columns::of(vec![vec![3], Vec::new(), vec![4], vec![5]]));
        assert_eq!(columns.all(), &[vec![1, 3], vec![2], vec![4]]);
        assert_eq!(columns.column(0), [1, 3]);
        assert_eq!(columns.take(0), [1, 3]);
        assert_eq!(columns.column(0), [0_u8; 0]);
    }
}
