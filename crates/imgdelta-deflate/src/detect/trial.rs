//! Compresses with a candidate and compares, until the first byte that differs.
//!
//! Never keeps the output.

use super::survey::StreamSurvey;
use crate::encoders::EncoderCache;
use crate::gzip::GzipChecksum;
use crate::inflate::InflateStream;
use crate::model::{AnyEncoder, EncoderModel};

/// The size and checksum of a stream that was remade in full.
pub(super) struct VerifiedStream {
    /// Bytes of the stream.
    pub(super) stream_bytes: usize,
    /// Checksum and length of its plain bytes.
    pub(super) check: GzipChecksum,
}

const PIECE_BYTES: usize = 64 * 1024;

/// True if the model compresses the surveyed plain bytes to the start of `body`. If the survey has
/// the whole stream, the whole stream must match.
pub(super) fn prefix_matches(
    model: &EncoderModel,
    survey: &StreamSurvey,
    body: &[u8],
    encoders: &mut EncoderCache,
) -> bool {
    let Some(mut encoder) = encoders.start(model) else { return false };
    let is_same = compresses_to(&mut encoder, survey, body);
    encoders.keep(model, encoder);
    is_same
}

fn compresses_to(encoder: &mut AnyEncoder, survey: &StreamSurvey, body: &[u8]) -> bool {
    let mut compare = OutputComparison { body, compared: 0, out: Vec::new() };
    for piece in survey.plain.chunks(PIECE_BYTES) {
        if encoder.write(piece, &mut compare.out).is_err() || !compare.next() {
            return false;
        }
    }
    match survey.stream_bytes {
        Some(stream_bytes) => {
            encoder.finish(&mut compare.out).is_ok()
                && compare.next()
                && compare.compared == stream_bytes
        }
        None => true,
    }
}

/// Remakes the whole stream at the start of `body`. `None` if any byte differs.
pub(super) fn prove(model: &EncoderModel, body: &[u8]) -> Option<VerifiedStream> {
    let mut encoder = model.start()?;
    let mut compare = OutputComparison { body, compared: 0, out: Vec::new() };
    let mut stream = InflateStream::new();
    let mut check = GzipChecksum::new();
    let mut read = 0;
    loop {
        let piece = &body[read..body.len().min(read + PIECE_BYTES)];
        if piece.is_empty() {
            return None;
        }
        let mut is_same = true;
        let (taken, is_done) = stream
            .push(piece, &mut (), |plain| {
                check.update(plain);
                is_same =
                    is_same && encoder.write(plain, &mut compare.out).is_ok() && compare.next();
            })
            .ok()?;
        read += taken;
        if !is_same {
            return None;
        }
        if is_done {
            encoder.finish(&mut compare.out).ok()?;
            return (compare.next() && compare.compared == read)
                .then_some(VerifiedStream { stream_bytes: read, check });
        }
    }
}

/// The output of an encoder, and the stream that it should equal.
struct OutputComparison<'a> {
    body: &'a [u8],
    compared: usize,
    out: Vec<u8>,
}

impl OutputComparison<'_> {
    /// Compares the output since the last call.
    fn next(&mut self) -> bool {
        let end = self.compared + self.out.len();
        let is_same = self.body.get(self.compared..end) == Some(&self.out[..]);
        self.compared = end;
        self.out.clear();
        is_same
    }
}
