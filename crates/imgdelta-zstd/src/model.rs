//! The encoders that this crate can replay, with their parameters.
//!
//! Never runs an encoder, and never detects the encoder of a stream: see `detect`.

use crate::frame::MAGIC;
use crate::klauspost::{KlauspostLevel, KlauspostVersion};
use crate::libzstd::LibzstdCall;

/// The encoder of a stream, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncoderModel {
    /// klauspost/compress, which podman, skopeo, buildah and `BuildKit` use.
    Klauspost {
        /// The version of klauspost/compress.
        version: KlauspostVersion,
        /// The compression level.
        level: KlauspostLevel,
    },
    /// The reference encoder, in the version that this crate builds.
    Libzstd(LibzstdCall),
}

impl EncoderModel {
    /// Returns the plain bytes of a full block. `None` if the encoder also ends blocks early.
    pub fn block_bytes(self) -> Option<u64> {
        match self {
            Self::Klauspost { level, .. } => Some(level.block_bytes() as u64),
            Self::Libzstd(_) => None,
        }
    }

    /// Returns the header of a frame of less than one block. `None` for an empty or longer frame,
    /// and where the header does not follow from the plain bytes.
    pub fn short_header(self, plain_bytes: u64) -> Option<Vec<u8>> {
        let full = self.block_bytes()?;
        let small = |bytes: u64| u16::try_from(bytes).ok().map(u16::to_le_bytes);
        let mut header = MAGIC.to_vec();
        match plain_bytes {
            0 => return None,
            1..256 => header.extend([0x04, 0]),
            256..=1024 => {
                // The window is the next power of two above the length, at least 1 KiB.
                header.extend([0x44, if plain_bytes < 1024 { 0 } else { 8 }]);
                header.extend(small(plain_bytes - 256)?);
            }
            1025..0x1_0100 if plain_bytes < full => {
                header.push(0x64);
                header.extend(small(plain_bytes - 256)?);
            }
            _ if plain_bytes < full => {
                header.push(0xa4);
                header.extend(u32::try_from(plain_bytes).ok()?.to_le_bytes());
            }
            _ => return None,
        }
        Some(header)
    }
}
