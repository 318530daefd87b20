//! The wrapper of zlib around a deflate stream: two bytes before it and a checksum behind it.
//! Never inflates.

/// Bytes before the deflate stream.
pub(super) const HEADER_BYTES: u64 = 2;
/// Bytes behind the deflate stream.
pub(super) const TRAILER_BYTES: u64 = 4;

/// True if the bytes begin a zlib stream without a preset dictionary.
pub(super) fn is_header(start: [u8; 2]) -> bool {
    let [method, flags] = start;
    let has_dictionary = flags & 0x20 != 0;
    method & 15 == 8
        && method >> 4 <= 7
        && !has_dictionary
        && u16::from_be_bytes(start).is_multiple_of(31)
}

/// The checksum behind the stream, Adler-32.
pub(super) struct Adler32 {
    low: u32,
    high: u32,
}

impl Adler32 {
    /// Starts without bytes.
    pub(super) fn new() -> Self {
        Self { low: 1, high: 0 }
    }

    /// Takes the next plain bytes.
    pub(super) fn update(&mut self, plain: &[u8]) {
        for piece in plain.chunks(MOST_SUMMED_BYTES) {
            for &byte in piece {
                self.low += u32::from(byte);
                self.high += self.low;
            }
            self.low %= PRIME;
            self.high %= PRIME;
        }
    }

    /// Returns the trailer of the bytes so far.
    pub(super) fn trailer(&self) -> [u8; 4] {
        (self.high << 16 | self.low).to_be_bytes()
    }
}

const PRIME: u32 = 65_521;
/// The most bytes whose sums cannot overflow.
const MOST_SUMMED_BYTES: usize = 5552;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zlib() {
        let sum = |plain: &[u8]| {
            let mut sum = Adler32::new();
            plain.chunks(7000).for_each(|piece| sum.update(piece));
            u32::from_be_bytes(sum.trailer())
        };
        assert_eq!(sum(b""), 1);
        assert_eq!(sum(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(sum(&vec![255; 100_000]), 0x149a_302c);
    }

    #[test]
    fn headers_of_all_levels_are_known_and_others_are_not() {
        for header in [[0x78, 0x01], [0x78, 0x5e], [0x78, 0x9c], [0x78, 0xda], [0x68, 0xde]] {
            assert!(is_header(header), "{header:x?}");
        }
        for header in [[0x78, 0x02], [0x79, 0x9c], [0x88, 0x1c], [0x78, 0xbb], [0, 0]] {
            assert!(!is_header(header), "{header:x?}");
        }
    }
}
