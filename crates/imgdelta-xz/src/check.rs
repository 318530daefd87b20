//! Checksums of blocks.
//! Never compares one.

use sha2::{Digest, Sha256};
use zlib_rs::crc32::crc32;

/// Kind of the checksum behind each block of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// None.
    None,
    /// CRC-32, as in gzip.
    Crc32,
    /// CRC-64 of ECMA-182, which is the default.
    Crc64,
    /// SHA-256.
    Sha256,
}

impl CheckKind {
    /// Reads the number in a stream header; `None` if it is not one of these.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Crc32),
            4 => Some(Self::Crc64),
            10 => Some(Self::Sha256),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Crc32 => 1,
            Self::Crc64 => 4,
            Self::Sha256 => 10,
        }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32 => 4,
            Self::Crc64 => 8,
            Self::Sha256 => 32,
        }
    }
}

/// Computes the checksum of a block.
pub(crate) enum Check {
    None,
    Crc32(u32),
    Crc64(u64),
    Sha256(Box<Sha256>),
}

impl Check {
    pub(crate) fn new(kind: CheckKind) -> Self {
        match kind {
            CheckKind::None => Self::None,
            CheckKind::Crc32 => Self::Crc32(0),
            CheckKind::Crc64 => Self::Crc64(u64::MAX),
            CheckKind::Sha256 => Self::Sha256(Box::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(value) => *value = crc32(*value, bytes),
            Self::Crc64(value) => *value = crc64(*value, bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Crc32(value) => value.to_le_bytes().to_vec(),
            Self::Crc64(value) => (!value).to_le_bytes().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// Adds bytes to a CRC-64, four at a time.
fn crc64(mut value: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        let low = value as u32 ^ word;
        value = CRC64[3][(low & 0xff) as usize]
            ^ CRC64[2][(low >> 8 & 0xff) as usize]
            ^ CRC64[1][(low >> 16 & 0xff) as usize]
            ^ CRC64[0][(low >> 24) as usize]
            ^ value >> 32;
    }
    for byte in words.remainder() {
        value = CRC64[0][usize::from(value as u8 ^ byte)] ^ value >> 8;
    }
    value
}

/// For each byte, the change that it makes when 0 to 3 bytes follow it in a word.
static CRC64: [[u64; 256]; 4] = {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = value >> 1 ^ if value & 1 == 1 { 0xc96c_5795_d787_0f42 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut place = 1;
    while place < 4 {
        let mut byte = 0;
        while byte < 256 {
            let value = tables[place - 1][byte];
            tables[place][byte] = value >> 8 ^ tables[0][(value & 0xff) as usize];
            byte += 1;
        }
        place += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_usual_text() {
        let of = |kind| {
            let mut check = Check::new(kind);
            check.update(b"1234");
            check.update(b"56789");
            check.finish()
        };
        assert_eq!(of(CheckKind::None), []);
        assert_eq!(of(CheckKind::Crc32), 0xcbf4_3926_u32.to_le_bytes());
        assert_eq!(of(CheckKind::Crc64), 0x995d_c9bb_df19_39fa_u64.to_le_bytes());
        assert_eq!(of(CheckKind::Sha256)[..4], [0x15, 0xe2, 0xb0, 0xd3]);
    }
}
