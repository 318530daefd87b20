//! The encoders that can be replayed, by name, and one running.
//!
//! Never guesses which one it was: that is `detect`.

use crate::frame::{Header, MAGIC};
use crate::klauspost::{Behaviour, Klauspost, Level};
use crate::libzstd::{Call, Libzstd};
use crate::recipe::Frame;
use crate::remake::RemakeError;

/// What made the frames of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// klauspost/compress: podman, skopeo, buildah, `BuildKit`.
    Klauspost {
        /// Its generation.
        behaviour: Behaviour,
        /// How hard it searched.
        level: Level,
    },
    /// The reference encoder, in the version that is built in.
    Libzstd(Call),
}

/// A frame in the making.
pub(crate) enum Encoder {
    Klauspost { encoder: Box<Klauspost>, cuts: Cuts, at: u64, checksum: bool },
    Libzstd(Box<Libzstd>),
}

/// Where blocks end that are not full, still to come.
pub(crate) type Cuts = std::iter::Peekable<std::vec::IntoIter<u64>>;

/// Largest window that is replayed: what readers of layers accept.
const LARGEST_WINDOW: u64 = 128 << 20;
/// Reach of copies in a frame whose header tells no window; it is one block then.
const DEFAULT_WINDOW: u64 = 8 << 20;

impl Model {
    /// Returns the plain bytes of a full block, where all blocks but the last of a frame are full.
    pub fn block_bytes(self) -> Option<u64> {
        match self {
            Self::Klauspost { level, .. } => Some(level.block_bytes() as u64),
            Self::Libzstd(_) => None,
        }
    }

    /// Returns the header of a frame that ends within its first block, where that follows from its
    /// plain bytes.
    pub fn short_header(self, plain_bytes: u64) -> Option<Vec<u8>> {
        let full = self.block_bytes()?;
        let small = |bytes: u64| u16::try_from(bytes).ok().map(u16::to_le_bytes);
        let mut header = MAGIC.to_vec();
        match plain_bytes {
            0 => return None,
            1..256 => header.extend([0x04, 0]),
            256..=1024 => {
                // The window is a power of two above the length: 1 KiB at least.
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

    /// Starts a frame and writes its header; `None` if the encoder makes no such frames.
    /// `spare` is an encoder that made one before.
    pub(crate) fn start(
        self,
        frame: &Frame,
        spare: Option<Box<Klauspost>>,
        out: &mut Vec<u8>,
    ) -> Option<Encoder> {
        let header = Header::read(&frame.header)
            .filter(|header| header.bytes == frame.header.len() && !header.dictionary)?;
        match self {
            Self::Klauspost { behaviour, level } => {
                let window = header.window.unwrap_or(DEFAULT_WINDOW);
                let window = u32::try_from(window.min(LARGEST_WINDOW + 1)).ok()?;
                if u64::from(window) > LARGEST_WINDOW || !level.exists(behaviour) {
                    return None;
                }
                out.extend_from_slice(&frame.header);
                let encoder = match spare {
                    Some(mut encoder) => {
                        encoder.restart(window);
                        encoder
                    }
                    None => Box::new(Klauspost::new(behaviour, level, window)),
                };
                let cuts = frame.cuts.clone().into_iter().peekable();
                Some(Encoder::Klauspost { encoder, cuts, at: 0, checksum: header.checksum })
            }
            Self::Libzstd(call) => {
                let encoder = Libzstd::new(call, &header, frame.plain_bytes)?;
                Some(Encoder::Libzstd(Box::new(encoder)))
            }
        }
    }
}

impl Encoder {
    /// Takes plain bytes; `None` if the encoder fails.
    pub(crate) fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Klauspost { encoder, cuts, at, .. } => {
                while !plain.is_empty() {
                    let to_cut = cuts.peek().map_or(u64::MAX, |cut| cut.saturating_sub(*at));
                    let taken = plain.len().min(usize::try_from(to_cut).unwrap_or(usize::MAX));
                    encoder.write(&plain[..taken], out);
                    plain = &plain[taken..];
                    *at += taken as u64;
                    if taken as u64 == to_cut {
                        encoder.flush(out);
                        cuts.next();
                    }
                }
                Some(())
            }
            Self::Libzstd(encoder) => encoder.write(plain, out),
        }
    }

    /// Ends the block at hand; `None` if the encoder was never asked to.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let Self::Klauspost { encoder, .. } = self else { return None };
        encoder.flush(out);
        Some(())
    }

    /// Ends the frame; gives back what can make another.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> Result<Option<Box<Klauspost>>, RemakeError> {
        match self {
            Self::Klauspost { mut encoder, checksum, .. } => {
                encoder.finish(checksum, out);
                Ok(Some(encoder))
            }
            Self::Libzstd(encoder) => {
                encoder.finish(out).ok_or(RemakeError::Encoder)?;
                Ok(None)
            }
        }
    }
}
