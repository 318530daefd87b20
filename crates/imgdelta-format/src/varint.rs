//! Whole numbers in as few bytes as they need: seven bits a byte, lowest first.
//!
//! Numbers that may be negative go through [`zigzag`]. A reader refuses what a writer would not
//! have written (more bytes than needed, more than 64 bits), so that equal values have equal bytes.

/// Appends `value` to `out`.
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Takes a number from the front of `input`, or returns `None` if it is cut or not in shortest form.
pub fn read(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (place, &byte) in input.iter().take(MAX_BYTES).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if place == MAX_BYTES - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte < 0x80 {
            if byte == 0 && place > 0 {
                return None;
            }
            *input = &input[place + 1..];
            return Some(value);
        }
    }
    None
}

/// Maps signed to unsigned so that small magnitudes stay small: 0, -1, 1, -2, …
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
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
