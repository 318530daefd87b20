//! Bytes read front to back, value by value.
//! Never takes memory, never reads past the end; a read that fails does not move the cursor.

use crate::{
    error::WireError,
    varint::{self, unzigzag},
};

/// Largest position and length that a distance may lead to: the distance of two fits an `i64`.
pub const MAX_PLACE: u64 = i64::MAX.cast_unsigned();

/// A position in bytes that are being read.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the bytes that are left, without reading them.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Returns the number of bytes read so far.
    #[inline]
    pub fn at(&self) -> u64 {
        self.at as u64
    }

    /// Returns the number of bytes that are left.
    #[inline]
    pub fn left(&self) -> u64 {
        self.rest().len() as u64
    }

    /// True if nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Reads `count` bytes. No count is too large to ask for.
    #[inline]
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        let taken = usize::try_from(count).ok().and_then(|count| self.rest().get(..count));
        let Some(taken) = taken else { return Err(self.truncated(count)) };
        self.at += taken.len();
        Ok(taken)
    }

    /// Reads all that is left.
    #[inline]
    pub fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest();
        self.at = self.bytes.len();
        rest
    }

    /// Reads `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some(array) = self.rest().first_chunk() else { return Err(self.truncated(N as u64)) };
        self.at += N;
        Ok(*array)
    }

    /// Reads one byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    /// Reads a little-endian `u16`.
    #[inline]
    pub fn u16_le(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Reads a little-endian `u32`.
    #[inline]
    pub fn u32_le(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a little-endian `u64`.
    #[inline]
    pub fn u64_le(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads an unsigned integer of variable length.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match varint::read(self.rest()) {
            Some((value, len)) => {
                self.at += len;
                Ok(value)
            }
            None => Err(self.no_varint()),
        }
    }

    /// Reads an unsigned integer in any form; see [`varint::read_any_form`].
    #[inline]
    pub fn varint_any_form(&mut self) -> Result<u64, WireError> {
        if let Some((value, len)) = varint::read_any_form(self.rest()) {
            self.at += len;
            return Ok(value);
        }
        let most = varint::MAX_ANY_FORM_BYTES as u64;
        if self.left() < most {
            return Err(self.truncated(self.left() + 1));
        }
        Err(WireError::Overlong { at: self.at(), most, found: most + 1 })
    }

    /// Reads a signed integer of variable length.
    #[inline]
    pub fn signed(&mut self) -> Result<i64, WireError> {
        self.varint().map(unzigzag)
    }

    /// Reads a length and as many bytes; [`varint::write_prefixed`] writes them.
    #[inline]
    pub fn prefixed(&mut self) -> Result<&'a [u8], WireError> {
        let start = self.at;
        let count = self.varint()?;
        self.take(count).inspect_err(|_| self.at = start)
    }

    /// Reads a position as its distance from `expected`; [`varint::write_place`] writes it.
    ///
    /// `expected` is at most [`MAX_PLACE`], and so is the position.
    #[inline]
    pub fn place_near(&mut self, expected: u64) -> Result<u64, WireError> {
        let start = self.at;
        let distance = self.signed()?;
        let place = expected.checked_add_signed(distance).filter(|&place| place <= MAX_PLACE);
        place.ok_or_else(|| {
            self.at = start;
            WireError::OutOfRange { at: start as u64, expected, distance }
        })
    }

    /// Ends reading: nothing may be left.
    #[inline]
    pub fn finish(&self) -> Result<(), WireError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(WireError::TrailingBytes { at: self.at(), left: self.left() })
    }

    #[cold]
    fn truncated(&self, needed: u64) -> WireError {
        WireError::Truncated { at: self.at(), needed, left: self.left() }
    }

    /// Says why no integer starts here.
    #[cold]
    fn no_varint(&self) -> WireError {
        let (at, rest) = (self.at(), self.rest());
        let Some(last) = rest.iter().take(varint::MAX_BYTES).position(|byte| byte & 0x80 == 0)
        else {
            let most = varint::MAX_BYTES as u64;
            return if self.left() < most {
                self.truncated(self.left() + 1)
            } else {
                WireError::Overlong { at, most, found: most + 1 }
            };
        };
        // Zeros at the end add nothing to the value; a value beyond 64 bits has none there.
        let needed = rest[..=last].iter().rposition(|byte| byte & 0x7f != 0).map_or(1, |at| at + 1);
        let most = needed.min(varint::MAX_BYTES) as u64;
        WireError::Overlong { at, most, found: (last as u64 + 1).max(most + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_read_where_the_one_before_ended() {
        let bytes = [7, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 0xAC, 2, 3, 2, b'a', b'b', 9, 9];
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(cursor.u8(), Ok(7));
        assert_eq!(cursor.u16_le(), Ok(0x0201));
        assert_eq!(cursor.u32_le(), Ok(0x0403_0201));
        assert_eq!(cursor.u64_le(), Ok(0x0807_0605_0403_0201));
        assert_eq!(cursor.varint(), Ok(300));
        assert_eq!(cursor.signed(), Ok(-2));
        assert_eq!(cursor.prefixed(), Ok(&b"ab"[..]));
        assert_eq!((cursor.at(), cursor.left()), (21, 2));
        assert_eq!(cursor.finish(), Err(WireError::TrailingBytes { at: 21, left: 2 }));
        assert_eq!(cursor.take_rest(), [9, 9]);
        assert_eq!(cursor.finish(), Ok(()));
    }

    #[test]
    fn a_read_past_the_end_says_how_much_is_missing_and_moves_nothing() {
        let bytes = [0, 5, 1, 2, 3];
        let mut cursor = Cursor::new(&bytes);
        cursor.u8().unwrap();
        let cut = |needed, left| WireError::Truncated { at: 5 - left, needed, left };
        assert_eq!(cursor.take(5), Err(cut(5, 4)));
        assert_eq!(cursor.take(u64::MAX), Err(cut(u64::MAX, 4)));
        assert_eq!(cursor.u64_le(), Err(cut(8, 4)));
        assert_eq!(cursor.array::<6>(), Err(cut(6, 4)));
        assert_eq!(cursor.prefixed(), Err(cut(5, 3)));
        assert_eq!(cursor.at(), 1);
        assert_eq!(cursor.take(4), Ok(&[5, 1, 2, 3][..]));
        assert_eq!(cursor.u8(), Err(cut(1, 0)));
        assert_eq!(cursor.varint(), Err(cut(1, 0)));
    }

    #[test]
    fn integers_that_no_writer_writes_are_refused_with_their_lengths() {
        let error = |bytes: &[u8]| Cursor::new(bytes).varint().unwrap_err();
        let overlong = |most, found| WireError::Overlong { at: 0, most, found };
        assert_eq!(error(&[0x80]), WireError::Truncated { at: 0, needed: 2, left: 1 });
        assert_eq!(error(&[0x80, 0]), overlong(1, 2));
        assert_eq!(error(&[0x81, 0x80, 0]), overlong(1, 3));
        assert_eq!(error(&[0x81, 0x81, 0x80, 0]), overlong(2, 4));
        let wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(error(&wide), overlong(10, 11));
        assert_eq!(error(&[0xff; 12]), overlong(10, 11));
        assert_eq!(error(&[0xff; 10]), overlong(10, 11));
        assert_eq!(error(&[0xff; 9]), WireError::Truncated { at: 0, needed: 10, left: 9 });
        assert_eq!(overlong(1, 2).to_string(), "offset 0: an integer takes 2 bytes, should take 1");
    }

    #[test]
    fn an_integer_in_any_form_has_at_most_nine_bytes() {
        let mut cursor = Cursor::new(&[0x80, 0x80, 0, 5]);
        assert_eq!((cursor.varint_any_form(), cursor.at()), (Ok(0), 3));
        assert_eq!((cursor.varint_any_form(), cursor.at()), (Ok(5), 4));
        let error = |bytes: &[u8]| Cursor::new(bytes).varint_any_form().unwrap_err();
        assert_eq!(error(&[0x80; 8]), WireError::Truncated { at: 0, needed: 9, left: 8 });
        assert_eq!(error(&[0x80; 9]), WireError::Overlong { at: 0, most: 9, found: 10 });
    }

    #[test]
    fn places_stay_between_zero_and_63_bits() {
        let near = |expected: u64, distance: i64| {
            let mut out = Vec::new();
            varint::write_signed(&mut out, distance);
            let mut cursor = Cursor::new(&out);
            let place = cursor.place_near(expected);
            assert_eq!(cursor.is_empty(), place.is_ok());
            place.ok()
        };
        assert_eq!(near(100, -100), Some(0));
        assert_eq!(near(100, -101), None);
        assert_eq!(near(MAX_PLACE, 0), Some(MAX_PLACE));
        assert_eq!(near(MAX_PLACE, 1), None);
        assert_eq!(near(0, i64::MAX), Some(MAX_PLACE));
        assert_eq!(near(MAX_PLACE, i64::MIN), None);
        let mut out = Vec::new();
        varint::write_place(&mut out, 70, 9);
        let mut cursor = Cursor::new(&out);
        assert_eq!(cursor.place_near(70), Ok(9));
    }
}
