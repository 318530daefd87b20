//! A running encoder of any kind, which writes one frame after another.
//!
//! Never detects the encoder of a stream: see `detect`.

use crate::error::RemakeError;
use crate::frame::FrameHeader;
use crate::klauspost::KlauspostEncoder;
use crate::libzstd::LibzstdEncoder;
use crate::model::EncoderModel;
use crate::recipe::FrameRecipe;

/// An encoder while it writes a frame.
pub(crate) enum FrameEncoder {
    Klauspost { encoder: Box<KlauspostEncoder>, cuts: PendingCuts, at: u64, checksum: bool },
    Libzstd(Box<LibzstdEncoder>),
}

/// An encoder between two frames. A new one would have to clear tables of up to 100 MB.
pub(crate) enum SpareEncoder {
    Klauspost(Box<KlauspostEncoder>),
    Libzstd(Box<LibzstdEncoder>),
}

/// The coming ends of blocks that are not full, in plain bytes of the frame.
pub(crate) type PendingCuts = std::iter::Peekable<std::vec::IntoIter<u64>>;

/// Largest window that is replayed: readers of layers accept no larger one.
const LARGEST_WINDOW: u64 = 128 << 20;
/// Reach of copies in a frame without a window in its header. Such a frame is one block.
pub(crate) const DEFAULT_WINDOW: u64 = 8 << 20;

impl FrameEncoder {
    /// Starts a frame and writes its header. `None` if the encoder does not make such frames.
    /// `spare` is an encoder of the same model that is free.
    pub(crate) fn start(
        model: EncoderModel,
        frame: &FrameRecipe,
        spare: Option<SpareEncoder>,
        out: &mut Vec<u8>,
    ) -> Option<Self> {
        let header = FrameHeader::read(&frame.header)
            .filter(|header| header.bytes == frame.header.len() && !header.dictionary)?;
        match model {
            EncoderModel::Klauspost { version, level } => {
                let window = header.window.unwrap_or(DEFAULT_WINDOW);
                let window = u32::try_from(window.min(LARGEST_WINDOW + 1)).ok()?;
                if u64::from(window) > LARGEST_WINDOW || !level.exists(version) {
                    return None;
                }
                out.extend_from_slice(&frame.header);
                let encoder = match spare {
                    Some(SpareEncoder::Klauspost(mut encoder)) => {
                        encoder.restart(window);
                        encoder
                    }
                    _ => Box::new(KlauspostEncoder::new(version, level, window)),
                };
                let cuts = frame.cuts.clone().into_iter().peekable();
                Some(Self::Klauspost { encoder, cuts, at: 0, checksum: header.checksum })
            }
            EncoderModel::Libzstd(call) => {
                let encoder = match spare {
                    Some(SpareEncoder::Libzstd(mut encoder)) => {
                        encoder.restart(call, &header, frame.plain_bytes)?;
                        encoder
                    }
                    _ => Box::new(LibzstdEncoder::new(call, &header, frame.plain_bytes)?),
                };
                Some(Self::Libzstd(encoder))
            }
        }
    }

    /// Compresses plain bytes. `None` if the encoder fails.
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

    /// Ends the current block. `None` for the reference encoder, which this crate never flushes.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let Self::Klauspost { encoder, .. } = self else { return None };
        encoder.flush(out);
        Some(())
    }

    /// Ends the frame. Returns the encoder, which can write another one.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> Result<SpareEncoder, RemakeError> {
        match self {
            Self::Klauspost { mut encoder, checksum, .. } => {
                encoder.finish(checksum, out);
                Ok(SpareEncoder::Klauspost(encoder))
            }
            Self::Libzstd(mut encoder) => {
                encoder.finish(out).ok_or(RemakeError::Encoder)?;
                Ok(SpareEncoder::Libzstd(encoder))
            }
        }
    }
}
