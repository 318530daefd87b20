//! Starts encoders in the middle of a stream.
//!
//! The lazy levels index every position in their buffer, so they can start at any block. Other
//! encoders index only some of the positions, which depend on the parse. They start *warm*: they
//! parse a few chunks of 65535 bytes before the start, with an empty index.
//! If one whole chunk then has the same tokens as in the stream, so has everything behind it.
//! Older positions are out of reach, and within the chunk both parses index the same positions.
//! `detect` tries if that is the case. Never searches for restart points.

use crate::bits::BitWriter;
use crate::golang::GoEncoder;
use crate::klauspost::KlauspostEncoder;
use crate::model::{EncoderModel, RestartKind};
use crate::token::Token;
use crate::zlib::{GnuGzipEncoder, ResumePoint, ZlibEncoder};

/// Bytes in a chunk of klauspost's levels 1 to 6 and of Go's old level 1.
pub(crate) const CHUNK_BYTES: u64 = 65_535;
/// Least number of chunks that are parsed in advance. On a Debian layer, four chunks gave
/// klauspost's level 5 the right tokens everywhere, and two chunks at two thirds of all places.
/// Level 1, which has few entries, got them at half of the places.
pub(crate) const WARM_CHUNKS: u64 = 5;
/// klauspost drops old history at its sixth chunk and at every fourth chunk from there on. The
/// start of the history changes the output of level 4.
const CUT_CHUNKS: u64 = 4;
/// Fewest plain bytes between two warm starts, so that less is parsed twice than once.
pub(crate) const WARM_SPAN_BYTES: u64 = 1 << 20;

/// Returns the first byte to parse for a warm start at `plain`. From there, the history is cut at
/// the same positions as in the whole stream.
pub(crate) fn warm_from(plain: u64) -> u64 {
    const CUT: u64 = CUT_CHUNKS * CHUNK_BYTES;
    plain.saturating_sub(WARM_CHUNKS * CHUNK_BYTES) / CUT * CUT
}

/// An encoder in the middle of a stream.
pub(crate) trait MidStreamEncoder {
    fn bits(&mut self) -> &mut BitWriter;
    fn write(&mut self, plain: &[u8]);
    /// Ends the data and the stream.
    fn finish(&mut self);
    /// Ends before the end of the data. True if a block ends at the same place.
    fn end_span(&mut self) -> bool;
}

macro_rules! mid_stream {
    ($($name:ty),*) => {$(
        impl MidStreamEncoder for $name {
            fn bits(&mut self) -> &mut BitWriter {
                Self::bits(self)
            }
            fn write(&mut self, plain: &[u8]) {
                Self::write(self, plain);
            }
            fn finish(&mut self) {
                Self::finish(self);
            }
            fn end_span(&mut self) -> bool {
                Self::end_span(self)
            }
        }
    )*};
}

mid_stream!(GoEncoder, KlauspostEncoder, ZlibEncoder, GnuGzipEncoder);

fn boxed<'a>(encoder: impl MidStreamEncoder + 'a) -> Box<dyn MidStreamEncoder + 'a> {
    Box::new(encoder)
}

/// Starts an encoder at the first byte of a block. Returns the encoder, and the index in `plain`
/// of its next byte. `None` if the encoder cannot start at blocks.
pub(crate) fn at_block<'a>(
    model: &EncoderModel,
    plain: &[u8],
    place: ResumePoint,
) -> Option<(Box<dyn MidStreamEncoder + 'a>, usize)> {
    if model.restart() != RestartKind::AtBlocks {
        return None;
    }
    if place.is_start() {
        let encoder = match *model {
            EncoderModel::Golang { level } => boxed(GoEncoder::new(level)?),
            EncoderModel::Zlib { level, mem_level, window_bits, strategy } => {
                boxed(ZlibEncoder::new(level, mem_level, window_bits, strategy)?)
            }
            EncoderModel::ChromiumZlib { hash, level, mem_level } => {
                boxed(ZlibEncoder::chromium(hash, level, mem_level)?)
            }
            EncoderModel::GnuGzip { level } => boxed(GnuGzipEncoder::new(level)?),
            _ => return None,
        };
        return Some((encoder, 0));
    }
    let ResumePoint { index, literals, has_slid } = place;
    let from = index - literals;
    Some(match *model {
        EncoderModel::Golang { level } => {
            (boxed(GoEncoder::resume(level, plain, index, has_slid)?), index)
        }
        EncoderModel::Zlib { level, mem_level, strategy, .. } => {
            (boxed(ZlibEncoder::resume((level, mem_level, strategy), plain, place)?), from)
        }
        EncoderModel::ChromiumZlib { hash, level, mem_level } => {
            (boxed(ZlibEncoder::resume_chromium((hash, level, mem_level), plain, place)?), from)
        }
        EncoderModel::GnuGzip { level } => {
            (boxed(GnuGzipEncoder::resume(level, plain, place)?), from)
        }
        _ => return None,
    })
}

/// Starts an encoder behind whole chunks, which are parsed and not written. Returns the encoder,
/// and the tokens of the last chunk. `None` if the encoder cannot start warm.
pub(crate) fn warm<'a>(
    model: &EncoderModel,
    before: &[u8],
) -> Option<(Box<dyn MidStreamEncoder + 'a>, Vec<Token>)> {
    if model.restart() != RestartKind::Warm {
        return None;
    }
    let mut last = Vec::new();
    let encoder = match *model {
        EncoderModel::Golang { level } => {
            let mut encoder = GoEncoder::new(level)?;
            encoder.warm_up(before, &mut last);
            boxed(encoder)
        }
        EncoderModel::Klauspost { version, level } => {
            let mut encoder = KlauspostEncoder::new(version, level, &[])?;
            encoder.warm_up(before, &mut last);
            boxed(encoder)
        }
        _ => return None,
    };
    Some((encoder, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_to_eight_chunks_are_parsed_in_advance() {
        assert_eq!(warm_from(0), 0);
        assert_eq!(warm_from(8 * CHUNK_BYTES), 0);
        for chunk in 5..40 {
            let start = warm_from(chunk * CHUNK_BYTES);
            assert_eq!(start % (4 * CHUNK_BYTES), 0);
            assert!((5..9).contains(&(chunk - start / CHUNK_BYTES)), "chunk {chunk}");
        }
    }
}
