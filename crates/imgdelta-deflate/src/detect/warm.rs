//! Finds the places where an encoder can start warm: see `mid_stream`.
//!
//! A place is the first byte of a chunk where a new dynamic block begins. Such a block has its own
//! codes, so the open codes before it do not matter. The encoder is started some chunks earlier,
//! as a span would start it. The place is taken if the last of these chunks gets the same tokens
//! as in the stream.
//! Cost: parsing five to eight chunks for each place. Holds these chunks and the plain bytes of one
//! piece. Never looks at places that are closer than the caller's spans.

use crate::divided::RestartPoint;
use crate::inflate::{BlockHeader, BlockKind, InflateError, InflateObserver, InflateStream};
use crate::mid_stream::{CHUNK_BYTES, WARM_CHUNKS, WARM_SPAN_BYTES, warm, warm_from};
use crate::model::EncoderModel;
use crate::token::Token;

/// Finds warm starts while a stream is inflated.
pub(super) struct WarmStartFinder {
    model: EncoderModel,
    span_bytes: u64,
    stream: InflateStream,
    marks: ChunkTracker,
    /// Plain bytes of the last chunks, and the position of their start.
    held: Vec<u8>,
    start: u64,
    pub(super) points: Vec<RestartPoint>,
}

/// Compressed bytes inflated at a time. They can make up to 4 MB of zeros.
const PIECE_BYTES: usize = 4096;

impl WarmStartFinder {
    pub(super) fn new(model: EncoderModel, span_bytes: u64) -> Self {
        let span_bytes = span_bytes.max(WARM_SPAN_BYTES);
        let marks = ChunkTracker { next: span_bytes, ..ChunkTracker::default() };
        let (stream, held, points) = (InflateStream::new(), Vec::new(), Vec::new());
        Self { model, span_bytes, stream, marks, held, start: 0, points }
    }

    /// Inflates compressed bytes and passes the plain bytes to `each`. Returns the number of bytes
    /// in the stream, and true at its end.
    pub(super) fn push(
        &mut self,
        compressed: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), InflateError> {
        let mut read = 0;
        loop {
            let rest = &compressed[read..];
            let piece = &rest[..rest.len().min(PIECE_BYTES)];
            let held = &mut self.held;
            let (taken, is_done) = self.stream.push(piece, &mut self.marks, |plain| {
                held.extend_from_slice(plain);
                each(plain);
            })?;
            read += taken;
            self.settle();
            if is_done || piece.len() == rest.len() {
                return Ok((read, is_done));
            }
        }
    }

    /// Tries the place that was seen, and drops the plain bytes that no later place needs.
    fn settle(&mut self) {
        if let Some(place) = self.marks.place.take() {
            let is_good = self.comes_out_right(&place);
            if is_good {
                let WarmStart { plain, phase, .. } = place;
                self.points.push(RestartPoint { member: 0, plain, literals: 0, phase });
            }
            // After a failure, the pause is twice the parsed chunks, to limit the cost.
            let pause = if is_good { self.span_bytes } else { 2 * WARM_CHUNKS * CHUNK_BYTES };
            self.marks.next = place.plain + pause;
        }
        let chunk = self.marks.plain_bytes / CHUNK_BYTES * CHUNK_BYTES;
        let from = warm_from(self.marks.next.max(chunk));
        let end = self.start + self.held.len() as u64;
        let unused = from.clamp(self.start, end) - self.start;
        self.held.drain(..unused as usize);
        self.start += unused;
    }

    fn comes_out_right(&self, place: &WarmStart) -> bool {
        let index = |at: u64| at.checked_sub(self.start).map(|index| index as usize);
        let (from, to) = (index(warm_from(place.plain)), index(place.plain));
        let (Some(from), Some(to)) = (from, to) else { return false };
        let Some(before) = self.held.get(from..to) else { return false };
        warm(&self.model, before).is_some_and(|(_, last)| last == place.tokens)
    }
}

/// The first byte of a chunk where a dynamic block starts.
struct WarmStart {
    plain: u64,
    phase: u8,
    /// The tokens of the chunk before. Empty if it was stored, as a chunk without copies is.
    tokens: Vec<Token>,
}

/// Collects the tokens of the current chunk and of the chunk before.
#[derive(Default)]
struct ChunkTracker {
    /// Position of the next place that is wanted.
    next: u64,
    place: Option<WarmStart>,
    plain_bytes: u64,
    /// Tokens of the current chunk.
    tokens: Vec<Token>,
    before: Vec<Token>,
}

impl ChunkTracker {
    fn ends_chunk(&self) -> bool {
        self.plain_bytes.is_multiple_of(CHUNK_BYTES)
    }

    fn end_chunk(&mut self) {
        std::mem::swap(&mut self.tokens, &mut self.before);
        self.tokens.clear();
    }
}

impl InflateObserver for ChunkTracker {
    const TOKENS: bool = true;

    fn block(&mut self, block: &BlockHeader<'_>) {
        match block.kind {
            BlockKind::Stored { plain_bytes, .. } => {
                self.tokens.clear();
                self.plain_bytes += u64::from(plain_bytes);
                if plain_bytes > 0 && self.ends_chunk() {
                    self.end_chunk();
                }
            }
            // A block with one distance code has only literals. Its form depends on the codes of
            // the block before, so an encoder cannot start there.
            BlockKind::Dynamic(dynamic) if dynamic.distance_lengths.len() > 1 => {
                if self.place.is_none() && self.plain_bytes >= self.next && self.ends_chunk() {
                    let (plain, phase) = (self.plain_bytes, (block.start_bit % 8) as u8);
                    self.place = Some(WarmStart { plain, phase, tokens: self.before.clone() });
                }
            }
            BlockKind::Dynamic(_) | BlockKind::Fixed => {}
        }
    }

    #[inline]
    fn token(&mut self, token: Token) {
        self.plain_bytes += token.plain_bytes() as u64;
        if self.plain_bytes + CHUNK_BYTES >= self.next {
            self.tokens.push(token);
            if self.ends_chunk() {
                self.end_chunk();
            } else if self.tokens.len() as u64 > CHUNK_BYTES {
                // No encoder that parses in chunks wrote this stream.
                self.tokens.clear();
            }
        }
    }
}
