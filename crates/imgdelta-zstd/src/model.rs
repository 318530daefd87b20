//! The encoders that can be replayed, by name, and one running.
//!
//! Never guesses which one it was: that is `detect`.

use crate::frame::Header;
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
