//! Compresses with a candidate and compares, until the first byte that differs.
//!
//! Never keeps the output.

use super::quick::QuickTests;
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
/// Bytes of a block's header that an encoder may write before its first token.
const AHEAD_BYTES: usize = 512;

/// The comparison of candidates with the start of one stream.
#[derive(Default)]
pub(super) struct PrefixTrials {
    quick: QuickTests,
    /// Plain bytes that candidates have compressed, and those that starting them is worth.
    pub(super) work_bytes: u64,
}

/// Plain bytes that an encoder compresses in the time of starting it.
const START_BYTES: u64 = 2 << 10;

impl PrefixTrials {
    /// True if the model compresses the surveyed plain bytes to the start of `body`. If the survey
    /// has the whole stream, the whole stream must match.
    pub(super) fn matches(
        &mut self,
        model: &EncoderModel,
        survey: &StreamSurvey,
        body: &[u8],
        encoders: &mut EncoderCache,
    ) -> bool {
        if self.quick.has_refuted(model) {
            return false;
        }
        let Some(mut encoder) = encoders.start(model) else { return false };
        let parsed_before = self.quick.parsed_bytes;
        let may_match = self.quick.may_match(model, survey, &mut encoder);
        self.work_bytes += START_BYTES + self.quick.parsed_bytes - parsed_before;
        encoders.keep(model, encoder);
        if !may_match {
            return false;
        }
        let Some(mut encoder) = encoders.start(model) else { return false };
        let (is_same, plain_bytes) = compresses_to(&mut encoder, survey, body);
        self.work_bytes += plain_bytes;
        encoders.keep(model, encoder);
        is_same
    }
}

/// Returns true if the encoder makes the surveyed bytes, and the plain bytes that it compressed.
fn compresses_to(encoder: &mut AnyEncoder, survey: &StreamSurvey, body: &[u8]) -> (bool, u64) {
    let mut compare = OutputComparison { body, compared: 0, out: Vec::new() };
    let mut plain_bytes = 0;
    for piece in survey.plain.chunks(PIECE_BYTES) {
        plain_bytes += piece.len() as u64;
        if encoder.write(piece, &mut compare.out).is_err() || !compare.next() {
            return (false, plain_bytes);
        }
    }
    let is_same = match survey.stream_bytes {
        Some(stream_bytes) => {
            encoder.finish(&mut compare.out).is_ok()
                && compare.next()
                && compare.compared == stream_bytes
        }
        None => true,
    };
    (is_same, plain_bytes)
}

/// Remakes the whole stream at the start of `body`. If a byte differs, returns the plain bytes
/// that were compressed until then.
pub(super) fn prove(model: &EncoderModel, body: &[u8]) -> Result<VerifiedStream, u64> {
    let mut trial = MemberTrial::new(model).ok_or(0_u64)?;
    for piece in body.chunks(PIECE_BYTES) {
        match trial.push(piece) {
            TrialProgress::Equal => {}
            TrialProgress::Remade => {
                let stream_bytes = trial.read_bytes as usize;
                return Ok(VerifiedStream { stream_bytes, check: trial.check });
            }
            TrialProgress::Different => break,
        }
    }
    Err(trial.check.plain_bytes())
}

/// The comparison of a member's deflate stream with the output of one model, piece by piece.
///
/// Holds the bytes that the encoder has not written yet: a block, or a segment of pgzip.
pub struct MemberTrial {
    stream: InflateStream,
    encoder: AnyEncoder,
    check: GzipChecksum,
    read_bytes: u64,
    /// Compressed bytes that were not compared yet.
    expected: Vec<u8>,
    /// Bytes of the encoder that were not compared yet.
    made: Vec<u8>,
}

/// The state of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialProgress {
    /// All bytes are equal so far.
    Equal,
    /// The stream has ended, and the model remakes it.
    Remade,
    /// A byte differs, or the stream is damaged.
    Different,
}

impl MemberTrial {
    /// Starts a comparison at the first byte of a deflate stream. `None` if the model does not
    /// exist.
    pub fn new(model: &EncoderModel) -> Option<Self> {
        Some(Self {
            stream: InflateStream::new(),
            encoder: model.start()?,
            check: GzipChecksum::new(),
            read_bytes: 0,
            expected: Vec::new(),
            made: Vec::new(),
        })
    }

    /// Returns the number of plain bytes so far.
    pub fn plain_bytes(&self) -> u64 {
        self.check.plain_bytes()
    }

    /// Takes the next compressed bytes. Bytes behind the end of the stream are ignored.
    pub fn push(&mut self, compressed: &[u8]) -> TrialProgress {
        let Self { stream, encoder, check, made, .. } = self;
        let mut is_written = true;
        // No right model is ahead of the stream by more than the bits of a header.
        let most_bytes = self.expected.len() + compressed.len() + AHEAD_BYTES;
        let pushed = stream.push(compressed, &mut (), |plain| {
            check.update(plain);
            is_written =
                is_written && encoder.write(plain, made).is_ok() && made.len() <= most_bytes;
        });
        let Ok((taken, is_done)) = pushed else { return TrialProgress::Different };
        if is_done {
            is_written = is_written && encoder.finish(made).is_ok();
        }
        self.read_bytes += taken as u64;
        self.expected.extend_from_slice(&compressed[..taken]);
        let count = self.expected.len().min(self.made.len());
        if !is_written || self.expected[..count] != self.made[..count] {
            return TrialProgress::Different;
        }
        self.expected.drain(..count);
        self.made.drain(..count);
        match (is_done, self.expected.is_empty() && self.made.is_empty()) {
            (false, _) => TrialProgress::Equal,
            (true, true) => TrialProgress::Remade,
            (true, false) => TrialProgress::Different,
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
