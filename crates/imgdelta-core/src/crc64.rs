//! CRC-64/GO-ISO, the checksum of file contents in tar-split: of zstd:chunked layers, and of podman and docker.
//! Never holds the content.

/// The checksum of bytes that arrive in parts.
#[derive(Clone, Debug)]
pub struct Crc64(u64);

impl Default for Crc64 {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc64 {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self(u64::MAX)
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        let mut state = self.0;
        for block in blocks {
            // Each byte's effect on the state does not depend on the other bytes.
            let bytes = (state ^ u64::from_le_bytes(*block)).to_le_bytes();
            let effects = bytes.iter().zip(TABLES.iter().rev());
            state = effects.fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
        }
        for byte in rest {
            state = state >> 8 ^ TABLES[0][usize::from(*byte ^ state.to_le_bytes()[0])];
        }
        self.0 = state;
    }

    /// Returns the checksum of all bytes.
    pub fn finish(self) -> u64 {
        !self.0
    }
}

/// Bytes that one step of the fast loop takes.
const BLOCK_BYTES: usize = 8;

/// The polynomial of ISO 3309, x^64 + x^4 + x^3 + x + 1, with its bits reversed.
const POLYNOMIAL: u64 = 0xd800_0000_0000_0000;

/// Row 0 is the effect of a byte; row n is that effect n bytes later.
static TABLES: [[u64; 256]; BLOCK_BYTES] = tables();

const fn tables() -> [[u64; 256]; BLOCK_BYTES] {
    let mut tables = [[0; 256]; BLOCK_BYTES];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            state = if state & 1 == 1 { state >> 1 ^ POLYNOMIAL } else { state >> 1 };
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut row = 1;
    while row < BLOCK_BYTES {
        let mut byte = 0;
        while byte < 256 {
            let before: u64 = tables[row - 1][byte];
            tables[row][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc64(parts: &[&[u8]]) -> u64 {
        let mut crc = Crc64::new();
        for part in parts {
            crc.update(part);
        }
        crc.finish()
    }

    #[test]
    fn the_check_value_of_the_catalogue_is_met() {
        assert_eq!(crc64(&[b"123456789"]), 0xb909_56c7_75a4_1001);
        assert_eq!(crc64(&[]), 0);
    }

    #[test]
    fn parts_of_any_length_give_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| ((i * i) >> 3).to_le_bytes()[0]).collect();
        // One byte at a time takes the slow loop only.
        let singly: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = crc64(&singly);
        for length in [2, 7, 8, 9, 100, 1000] {
            let parts: Vec<&[u8]> = bytes.chunks(length).collect();
            assert_eq!(crc64(&parts), whole, "parts of {length}");
        }
    }
}
