//! Whole numbers as seven bits a byte, low bits first, and signed ones folded so that small stays short.
//! Never accepts two spellings of one number: what is not the shortest form is refused.

/// Longest spelling of a `u64`: nine bytes of seven bits and one of a single bit.
const MAX_LEN: usize = 10;

/// Appends `value` to `out`.
#[cfg(feature = "encode")]
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads one number from the front of `bytes`: the number and how many bytes it took.
///
/// `None` when the bytes end too early, the number does not fit 64 bits, or a shorter spelling
/// exists.
#[inline]
pub(crate) fn take(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (i, &byte) in bytes.iter().enumerate().take(MAX_LEN).skip(1) {
        let part = u64::from(byte & 0x7f);
        if i == MAX_LEN - 1 && byte > 1 {
            return None;
        }
        value |= part << (7 * i);
        if byte < 0x80 {
            return (byte != 0).then_some((value, i + 1));
        }
    }
    None
}

/// Folds the sign into the lowest bit: 0, -1, 1, -2 become 0, 1, 2, 3.
#[cfg(feature = "encode")]
pub(crate) fn fold(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Takes the sign out of the lowest bit again.
pub(crate) fn unfold(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_in_their_shortest_form() {
        for value in [0, 1, 127, 128, 300, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(take(&out), Some((value, out.len())));
            assert_eq!(take(&out[..out.len() - 1]), None, "cut short");
            assert_eq!(unfold(fold(value.cast_signed())), value.cast_signed());
        }
    }

    #[test]
    fn longer_spellings_and_overflow_are_refused() {
        assert_eq!(take(&[0x80, 0x00]), None);
        assert_eq!(take(&[0xff; 10]), None);
        assert_eq!(take(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
    }
}
