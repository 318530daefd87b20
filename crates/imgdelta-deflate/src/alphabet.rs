//! The alphabets of RFC 1951: the values of all length and distance symbols.
//!
//! Never holds state: everything here is a constant or follows from one.

/// Bytes of the shortest copy.
pub const MIN_COPY: usize = 3;
/// Bytes of the longest copy.
pub const MAX_COPY: usize = 258;
/// The farthest distance, which is also the history that a decoder needs.
pub const WINDOW_BYTES: usize = 32_768;
/// The symbol that ends a block.
pub const END_OF_BLOCK: usize = 256;
/// Number of valid literal/length symbols (286 and 287 exist only in the fixed code).
pub const LITLEN_SYMBOLS: usize = 286;
/// Number of valid distance symbols.
pub const DISTANCE_SYMBOLS: usize = 30;
/// Number of symbols of the code-length code.
pub const CODELEN_SYMBOLS: usize = 19;

/// Order of the code-length code's lengths in a dynamic header.
pub(crate) const CODELEN_ORDER: [u8; CODELEN_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Shortest length of each length code, by symbol minus 257.
pub(crate) const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];

/// Extra bits of each length code, by symbol minus 257.
pub(crate) const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// Nearest distance of each distance code.
pub(crate) const DISTANCE_BASE: [u16; DISTANCE_SYMBOLS] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
    2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
];

/// Extra bits of each distance code.
pub(crate) const DISTANCE_EXTRA: [u8; DISTANCE_SYMBOLS] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
    13,
];

/// Length code (symbol minus 257) by length minus 3. Length 258 has its own code.
pub(crate) const LENGTH_CODE: [u8; 256] = length_codes();

/// Distance code by (distance minus 1) below 256, then by (distance minus 1) / 128.
const DISTANCE_CODE: [u8; 512] = distance_codes();

/// Returns the distance code of `distance`, which is 1 to 32768.
#[inline]
pub(crate) fn distance_code(distance: usize) -> usize {
    let zero_based = distance.wrapping_sub(1);
    let slot = if zero_based < 256 { zero_based } else { 256 + (zero_based >> 7) };
    usize::from(DISTANCE_CODE[slot & 511])
}

/// Returns the code length of a symbol in the fixed code, including the two invalid symbols.
pub(crate) const fn fixed_litlen_length(symbol: usize) -> u8 {
    match symbol {
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}

const fn length_codes() -> [u8; 256] {
    let mut codes = [0; 256];
    let mut code = 0;
    while code < 28 {
        let mut n = 0;
        while n < 1 << LENGTH_EXTRA[code] {
            let length = LENGTH_BASE[code] as usize + n;
            codes[length - MIN_COPY] = code as u8;
            n += 1;
        }
        code += 1;
    }
    codes[MAX_COPY - MIN_COPY] = 28;
    codes
}

const fn distance_codes() -> [u8; 512] {
    let mut codes = [0; 512];
    let mut code = 0;
    while code < DISTANCE_SYMBOLS {
        let mut n = 0;
        while n < 1usize << DISTANCE_EXTRA[code] {
            let zero_based = DISTANCE_BASE[code] as usize + n - 1;
            let slot = if zero_based < 256 { zero_based } else { 256 + (zero_based >> 7) };
            codes[slot] = code as u8;
            n += 1;
        }
        code += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distance_and_length_falls_into_its_code() {
        for distance in 1..=WINDOW_BYTES {
            let code = distance_code(distance);
            let base = usize::from(DISTANCE_BASE[code]);
            assert!(distance >= base && distance < base + (1 << DISTANCE_EXTRA[code]));
        }
        for length in MIN_COPY..=MAX_COPY {
            let code = usize::from(LENGTH_CODE[length - MIN_COPY]);
            let base = usize::from(LENGTH_BASE[code]);
            assert!(length >= base && length < base + (1 << LENGTH_EXTRA[code]));
        }
    }
}
