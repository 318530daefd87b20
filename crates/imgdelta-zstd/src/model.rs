//! The encoders that this crate can replay, with their parameters.
//!
//! Never runs an encoder, and never detects the encoder of a stream: see `detect`.

use crate::frame::{FrameHeader, MAGIC};
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

    /// Estimates the nanoseconds of remaking one plain byte on one core.
    pub fn nanoseconds_per_byte(self) -> u64 {
        match self {
            Self::Klauspost { level, .. } => match level {
                KlauspostLevel::Fastest => 5,
                KlauspostLevel::Default => 8,
                KlauspostLevel::Better => 14,
                KlauspostLevel::Best => 60,
            },
            Self::Libzstd(call) => {
                let per_byte = match call.level {
                    ..=3 => 8,
                    4..=6 => 20,
                    7..=9 => 35,
                    10..=12 => 60,
                    13..=15 => 120,
                    16..=18 => 300,
                    19 => 370,
                    20.. => 1000,
                };
                // Matches far away are looked for by a hash of each position.
                per_byte + if call.long_window > 0 { 8 } else { 0 }
            }
        }
    }

    /// Estimates the nanoseconds of preparing the encoder for its first frame.
    pub fn nanoseconds_to_start(self) -> u64 {
        match self {
            Self::Klauspost { level: KlauspostLevel::Best, .. } => 30_000_000,
            Self::Klauspost { .. } => 5_000_000,
            // The tables of high levels have up to 200 MB.
            Self::Libzstd(call) if call.level >= 10 || call.long_window > 0 => 150_000_000,
            Self::Libzstd(_) => 2_000_000,
        }
    }

    /// Estimates the nanoseconds of starting another frame with this header.
    pub fn nanoseconds_per_frame(self, header: &[u8]) -> u64 {
        let knows_size = FrameHeader::read(header).is_some_and(|read| read.plain_bytes.is_some());
        match self {
            Self::Klauspost { .. } => 2_000,
            Self::Libzstd(_) if knows_size => 4_000,
            // Frames of known and of unknown size in turn make the encoder give its tables back.
            Self::Libzstd(call) if call.level >= 10 => 1_000_000,
            Self::Libzstd(_) => 100_000,
        }
    }
}
