//! Whole numbers in as few bytes as they need: seven bits a byte, lowest first.
//!
//! Numbers that may be negative go through [`zigzag`]. A reader refuses what a writer would not
//! have written (more bytes than needed, more than 64 bits), so that equal values have equal bytes.

/// Appends `value` to `out`.
#[inline]
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a number from the front of `bytes`: the number and how many bytes it took, or `None` if it
/// is cut or not in shortest form.
#[inline]
pub fn take(bytes: &[u8]) -> Option<(u64, usize)> {
    // Most numbers are one byte.
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

/// Takes a number off the front of `input`, as [`take`] reads it.
pub fn read(input: &mut &[u8]) -> Option<u64> {
    let (value, len) = take(input)?;
    *input = &input[len..];
    Some(value)
}

/// Maps signed to unsigned so that small magnitudes stay small: 0, -1, 1, -2, …
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// 64 bits at seven a byte.
const MAX_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_take_the_bytes_they_need() {
        for (value, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out.len(), len);
            out.push(9);
            let mut input = &out[..];
            assert_eq!(read(&mut input), Some(value));
            assert_eq!(input, [9]);
        }
    }

    #[test]
    fn long_forms_and_cut_ones_are_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(read(&mut &bytes[..]), None, "{bytes:?}");
        }
    }

    #[test]
    fn signs_survive() {
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!(zigzag(-1), 1);
    }
}
