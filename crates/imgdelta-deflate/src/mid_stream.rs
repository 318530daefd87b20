//! Encoders started in mid-stream.
//!
//! The lazy levels index every position of the buffer, whatever their parse was, and start at any
//! block. Encoders that index only what their parse touches start *warm*: they parse chunks of
//! 65535 bytes, and begun a few chunks early with nothing indexed they soon find the copies that
//! they would have found anyway. Once a whole chunk has come out the same, so does all that
//! follows: what was indexed before it is out of reach, and within it both touched the same.
//! Whether a chunk comes out so is for `detect` to try. Never looks for places to start at.

use crate::bits::BitWriter;
use crate::golang::Golang;
use crate::klauspost::Klauspost;
use crate::model::{Model, Restart};
use crate::token::Token;
use crate::zlib::{GnuGzip, Place, Zlib};

/// Bytes in a chunk of klauspost's levels 1 to 6 and of Go's old level 1.
pub(crate) const CHUNK_BYTES: u64 = 65_535;
/// Chunks parsed in advance, at least. On a Debian layer two bring klauspost's level 5 to the same
/// tokens at two thirds of all chunks and four at all; level 1 with its few entries at half.
pub(crate) const WARM_CHUNKS: u64 = 5;
/// klauspost cuts its history at its sixth chunk and at every fourth after it; level 4 sees where.
const CUT_CHUNKS: u64 = 4;
/// Plain bytes between two warm starts at least: what is parsed twice is never more than is gained.
pub(crate) const WARM_SPAN_BYTES: u64 = 1 << 20;

/// Returns where parsing for a warm start at `plain` begins: there, too, that from `plain` on the
/// history is cut where it would have been.
pub(crate) fn warm_from(plain: u64) -> u64 {
    const CUT: u64 = CUT_CHUNKS * CHUNK_BYTES;
    plain.saturating_sub(WARM_CHUNKS * CHUNK_BYTES) / CUT * CUT
}

/// An encoder that stands in mid-stream.
pub(crate) trait MidStream {
    fn bits(&mut self) -> &mut BitWriter;
    fn write(&mut self, plain: &[u8]);
    /// Ends the data and the stream.
    fn finish(&mut self);
    /// Ends before more data; returns whether a block ends just there.
    fn end_span(&mut self) -> bool;
}

macro_rules! mid_stream {
    ($($name:ty),*) => {$(
        impl MidStream for $name {
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

mid_stream!(Golang, Klauspost, Zlib, GnuGzip);

fn boxed<'a>(encoder: impl MidStream + 'a) -> Box<dyn MidStream + 'a> {
    Box::new(encoder)
}

/// Starts an encoder at a block's first byte, at `place` of `plain`; returns it and where it takes
/// bytes from. `None` if it does not start at blocks.
pub(crate) fn at_block<'a>(
    model: &Model,
    plain: &[u8],
    place: Place,
) -> Option<(Box<dyn MidStream + 'a>, usize)> {
    if model.restart() != Restart::AtBlocks {
        return None;
    }
    if place.is_start() {
        let encoder = match *model {
            Model::Golang { level } => boxed(Golang::new(level)?),
            Model::Zlib { level, mem_level, window_bits, strategy } => {
                boxed(Zlib::new(level, mem_level, window_bits, strategy)?)
            }
            Model::GnuGzip { level } => boxed(GnuGzip::new(level)?),
            _ => return None,
        };
        return Some((encoder, 0));
    }
    let Place { index, literals, has_slid } = place;
    let from = index - literals;
    Some(match *model {
        Model::Golang { level } => (boxed(Golang::resume(level, plain, index, has_slid)?), index),
        Model::Zlib { level, mem_level, strategy, .. } => {
            (boxed(Zlib::resume((level, mem_level, strategy), plain, place)?), from)
        }
        Model::GnuGzip { level } => (boxed(GnuGzip::resume(level, plain, place)?), from),
        _ => return None,
    })
}

/// Starts an encoder behind whole chunks, which are parsed and not written; returns the tokens of
/// the last one too. `None` if it does not start warm.
pub(crate) fn warm<'a>(
    model: &Model,
    before: &[u8],
) -> Option<(Box<dyn MidStream + 'a>, Vec<Token>)> {
    if model.restart() != Restart::Warm {
        return None;
    }
    let mut last = Vec::new();
    let encoder = match *model {
        Model::Golang { level } => {
            let mut encoder = Golang::new(level)?;
            encoder.warm_up(before, &mut last);
            boxed(encoder)
        }
        Model::Klauspost { behaviour, level } => {
            let mut encoder = Klauspost::new(behaviour, level, &[])?;
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
