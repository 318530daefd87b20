//! LEB128: unsigned integers of up to 64 bits at seven bits a byte, the lowest first.
//! Never accepts a longer form than the shortest one, so that equal values have equal bytes.
//!
//! Signed integers go through [`zigzag`], which keeps small magnitudes short.

/// Appends `value`.
#[inline]
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a signed `value` in zigzag.
#[inline]
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    write(out, zigzag(value));
}

/// Appends the distance from `expected` to `place`; [`Cursor::place_near`] reads it.
///
/// [`Cursor::place_near`]: crate::Cursor::place_near
#[inline]
pub fn write_place(out: &mut Vec<u8>, expected: u64, place: u64) {
    write_signed(out, place.wrapping_sub(expected).cast_signed());
}

/// Appends the length of `bytes` and then `bytes`; [`Cursor::prefixed`] reads them.
///
/// [`Cursor::prefixed`]: crate::Cursor::prefixed
#[inline]
pub fn write_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads an integer from the front of `bytes`: the value and its length in bytes.
///
/// Returns `None` if the integer is cut, longer than it needs to be, or beyond 64 bits.
#[inline]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    // Most integers are one byte.
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (place, &byte) in bytes.iter().enumerate().take(MAX_BYTES).skip(1) {
        if place == MAX_BYTES - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return (byte != 0).then_some((value, place + 1));
        }
    }
    None
}

/// Reads an integer of at most nine bytes from the front of `bytes`, in any form.
///
/// It accepts forms longer than the shortest, as the envelope recipes of imgdelta do. New formats
/// use [`read`].
#[inline]
pub fn read_any_form(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().enumerate().take(MAX_ANY_FORM_BYTES) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some((value, place + 1));
        }
    }
    None
}

/// Takes an integer off the front of `input`; leaves `input` as it is where [`read`] finds none.
#[inline]
pub fn take(input: &mut &[u8]) -> Option<u64> {
    let (value, len) = read(input)?;
    *input = &input[len..];
    Some(value)
}

/// Maps signed to unsigned: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Most bytes of an integer: 64 bits at seven a byte.
pub const MAX_BYTES: usize = 10;

/// Most bytes of an integer in any form: 63 bits at seven a byte.
pub const MAX_ANY_FORM_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_and_take_the_bytes_they_need() {
        for (value, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out.len(), len);
            out.push(9);
            let mut input = &out[..];
            assert_eq!(take(&mut input), Some(value));
            assert_eq!(input, [9]);
        }
    }

    #[test]
    fn long_forms_and_cut_ones_are_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(read(bytes), None, "{bytes:?}");
            let mut input = bytes;
            assert_eq!(take(&mut input), None, "{bytes:?}");
            assert_eq!(input, bytes, "a refused integer is not taken");
        }
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(read(&most), Some((u64::MAX, 10)));
    }

    #[test]
    fn any_form_is_read_up_to_nine_bytes() {
        assert_eq!(read_any_form(&[0x80, 0]), Some((0, 2)));
        assert_eq!(read_any_form(&[0xAC, 2, 7]), Some((300, 2)));
        let nine = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1];
        assert_eq!(read_any_form(&nine), Some((u64::MAX >> 1, 9)));
        assert_eq!(
            read_any_form(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
            Some((0, 9))
        );
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 20]] {
            assert_eq!(read_any_form(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn signs_survive() {
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }
}
