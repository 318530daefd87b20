//! The hash that processors with an instruction for CRC-32C give for four bytes.
//!
//! Chromium's zlib and zlib-ng before 2.2 index positions by it on x86-64 and arm64. Only the lowest
//! sixteen bits are kept. Never is a checksum of a stream.

/// Returns the lowest sixteen bits of the CRC-32C of a word, which starts at zero.
#[inline]
pub(crate) fn castagnoli(word: u32) -> usize {
    let [a, b, c, d] = word.to_le_bytes().map(usize::from);
    usize::from(TABLES[3][a] ^ TABLES[2][b] ^ TABLES[1][c] ^ TABLES[0][d])
}

/// The reversed polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// For each byte, its share of the checksum when no, one, two or three bytes follow.
static TABLES: [[u16; 256]; 4] = {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut behind = 0;
        while behind < 4 {
            let mut bit = 0;
            while bit < 8 {
                sum = sum >> 1 ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 };
                bit += 1;
            }
            tables[behind][byte] = sum as u16;
            behind += 1;
        }
        byte += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::castagnoli;

    #[test]
    fn words_have_the_sums_of_the_instruction() {
        // Bit by bit, as the instruction is defined.
        let slow = |word: u32| {
            let shift = |sum: u32, _| sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
            (0..32).fold(word, shift) as usize & 0xffff
        };
        for word in [0, 1, 0x80, 0x0061_6263, 0x1234_5678, u32::MAX, 0xdead_beef] {
            assert_eq!(castagnoli(word), slow(word), "{word:#x}");
        }
    }
}
