//! Cuts the plain bytes of a recipe into spans that are remade independently.
//!
//! A span of pgzip segments or pigz blocks reads a few KiB before its start. A span between restart
//! points reads the encoder's buffer, at most 64 KiB, or some chunks that it parses in advance. A
//! small member is one span, and a long member that cannot be cut is a serial step.
//! Never starts threads: callers remake spans in parallel and join them with
//! [`SpanJoiner`](crate::Joiner).

use crate::bits::BitWriter;
use crate::divided::{DividedRecipe, RestartPoint};
use crate::error::RemakeError;
use crate::fallback::ReplayError;
use crate::klauspost::PGZIP_HISTORY_BYTES;
use crate::mid_stream::{self, MidStreamEncoder, warm_from};
use crate::model::{EncoderModel, RestartKind};
use crate::remake::pgzip_segment;
use crate::window::{LOOKAHEAD_BYTES, base_of};
use crate::zlib::{PIGZ_HISTORY_BYTES, PigzBlocks, PigzEncoder, ResumePoint};
use std::ops::Range;
use zlib_rs::crc32::crc32;

/// Plain bytes of a span of segments, about.
const SPAN_BYTES: u64 = 1 << 20;
/// Plain bytes of the largest member that is a single span.
const WHOLE_BYTES: u64 = 4 << 20;
/// Plain bytes of the largest segment that is a span. Members of larger segments are serial steps,
/// which do not hold a segment in memory.
const MAX_SEGMENT_BYTES: u64 = 4 << 20;

/// A step of remaking a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemakeStep {
    /// A span, which is remade independently.
    Span(Span),
    /// A member that is remade in order, piece by piece.
    Serial {
        /// Range of the member in the plain bytes of the recipe.
        plain: Range<u64>,
    },
}

/// A range of plain bytes that is remade independently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Range of the span in the plain bytes of the recipe.
    pub plain: Range<u64>,
    /// Range of the plain bytes that remaking needs, including the span itself.
    pub reads: Range<u64>,
    pub(crate) member: usize,
    kind: SpanKind,
    /// Bits of the span before in the first byte.
    phase: u8,
    /// True if the span ends its member.
    pub(crate) is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpanKind {
    Whole,
    Segments { bytes: usize },
    Blocks { bytes: usize },
    Points { literals: usize, has_slid: bool },
    Warm,
}

/// The output of a span, and its part of the checksum.
pub struct SpanOutput {
    pub(crate) bytes: Vec<u8>,
    pub(crate) phase: u8,
    /// Used bits of the last byte. 0 if all are used.
    pub(crate) end_phase: u8,
    pub(crate) crc: u32,
}

/// Iterator over the steps of a recipe, in order.
pub struct RemakeSteps<'a> {
    divided: &'a DividedRecipe,
    member: usize,
    /// Start of the member in the plain bytes of the recipe.
    start: u64,
    /// Plain bytes of the member in the steps so far.
    done: u64,
    /// True after the first step of the member.
    begun: bool,
    points: &'a [RestartPoint],
}

impl DividedRecipe {
    /// Returns the steps that remake the stream.
    pub fn steps(&self) -> RemakeSteps<'_> {
        RemakeSteps {
            divided: self,
            member: 0,
            start: 0,
            done: 0,
            begun: false,
            points: self.points(),
        }
    }
}

/// The ends of steps, and the bytes that they read.
impl RemakeSteps<'_> {
    fn segments(&self, bytes: u64, total: u64) -> u64 {
        // The whole segments that fit. The last span has the rest.
        let group = (SPAN_BYTES / bytes).max(1) * bytes;
        total.min(self.done.saturating_add(group))
    }

    /// Returns the range that a span from `point` to `end` reads in its member, for encoders that
    /// index every position.
    fn from_block(done: u64, end: u64, total: u64, point: RestartPoint) -> (Range<u64>, SpanKind) {
        let literals = u64::from(point.literals).min(done);
        let from = base_of(done - literals);
        let until = if end == total { end } else { end + LOOKAHEAD_BYTES as u64 };
        (from..until, SpanKind::Points { literals: literals as usize, has_slid: from > 0 })
    }

    fn points(&mut self, total: u64) -> (u64, RestartPoint) {
        let is_own = |point: &RestartPoint| point.member as usize == self.member;
        let start = match self.points.split_first() {
            Some((&point, rest)) if self.done > 0 => {
                self.points = rest;
                point
            }
            _ => RestartPoint { member: 0, plain: 0, literals: 0, phase: 0 },
        };
        let next = self.points.first().filter(|point| is_own(point));
        let end = next.map_or(total, |next| next.plain);
        (end, start)
    }
}

impl Iterator for RemakeSteps<'_> {
    type Item = RemakeStep;

    fn next(&mut self) -> Option<RemakeStep> {
        let mut member = self.divided.recipe().members.get(self.member)?;
        let mut total = member.plain_bytes;
        if self.begun && self.done == total {
            self.start = self.start.saturating_add(total);
            self.member += 1;
            self.done = 0;
            self.begun = false;
            member = self.divided.recipe().members.get(self.member)?;
            total = member.plain_bytes;
        }
        self.begun = true;
        let (start, done) = (self.start, self.done);
        let has_points = done > 0
            || self.points.first().is_some_and(|point| point.member as usize == self.member);
        let (end, reads, kind, phase) = match member.model {
            EncoderModel::Pgzip { segment_bytes, .. }
                if u64::from(segment_bytes) <= MAX_SEGMENT_BYTES =>
            {
                let bytes = u64::from(segment_bytes);
                let end = self.segments(bytes, total);
                let from = done.saturating_sub(PGZIP_HISTORY_BYTES as u64);
                (end, from..end, SpanKind::Segments { bytes: bytes as usize }, 0)
            }
            EncoderModel::Pigz { block_bytes, blocks, .. }
                if u64::from(block_bytes) <= MAX_SEGMENT_BYTES
                    && blocks != PigzBlocks::Continued =>
            {
                let bytes = u64::from(block_bytes);
                let end = self.segments(bytes, total);
                let from = done.saturating_sub(PIGZ_HISTORY_BYTES as u64);
                (end, from..end, SpanKind::Blocks { bytes: bytes as usize }, 0)
            }
            _ if has_points => {
                let (end, point) = self.points(total);
                let (reads, kind) = match member.model.restart() {
                    RestartKind::Warm => (warm_from(done)..end, SpanKind::Warm),
                    _ => Self::from_block(done, end, total, point),
                };
                (end, reads, kind, point.phase)
            }
            _ if total <= WHOLE_BYTES => (total, 0..total, SpanKind::Whole, 0),
            _ => {
                self.done = total;
                return Some(RemakeStep::Serial { plain: start..start.saturating_add(total) });
            }
        };
        self.done = end;
        // No stream is so long that this overflows. Such a recipe fails for lack of plain bytes.
        let absolute =
            |range: Range<u64>| start.saturating_add(range.start)..start.saturating_add(range.end);
        Some(RemakeStep::Span(Span {
            plain: absolute(done..end),
            reads: absolute(reads),
            member: self.member,
            kind,
            phase,
            is_last: end == total,
        }))
    }
}

impl Span {
    /// Remakes the span from the bytes it reads.
    pub fn remake(&self, divided: &DividedRecipe, plain: &[u8]) -> Result<SpanOutput, RemakeError> {
        let lead = usize::try_from(self.plain.start - self.reads.start);
        let own = usize::try_from(self.plain.end - self.plain.start);
        let expected_bytes = self.reads.end - self.reads.start;
        let found_bytes = plain.len() as u64;
        let too_short = RemakeError::TooShort { expected_bytes, found_bytes };
        if found_bytes > expected_bytes {
            return Err(RemakeError::TooLong { expected_bytes, found_bytes });
        }
        if found_bytes < expected_bytes {
            return Err(too_short);
        }
        let (Ok(lead), Ok(own)) = (lead, own) else { return Err(too_short) };
        let bytes = plain.get(lead..).and_then(|rest| rest.get(..own)).ok_or(too_short)?;
        let member = divided.recipe().members.get(self.member).ok_or(RemakeError::NoSuchModel)?;
        let crc = crc32(0, bytes);
        let mut out = Vec::new();
        let end_phase = match self.kind {
            SpanKind::Whole => {
                let mut encoder = member.model.start().ok_or(RemakeError::NoSuchModel)?;
                encoder.write(plain, &mut out).map_err(RemakeError::Tokens)?;
                encoder.finish(&mut out).map_err(RemakeError::Tokens)?;
                0
            }
            SpanKind::Segments { bytes } => {
                self.segments(&member.model, plain, lead, bytes, &mut out)?;
                0
            }
            SpanKind::Blocks { bytes } => {
                self.blocks(&member.model, plain, lead, bytes, &mut out)?;
                0
            }
            SpanKind::Points { literals, has_slid } => {
                let place = ResumePoint { index: lead, literals, has_slid };
                self.behind_block(&member.model, plain, place, &mut out)?
            }
            SpanKind::Warm => {
                let (encoder, _) = mid_stream::warm(&member.model, &plain[..lead])
                    .ok_or(RemakeError::NoSuchModel)?;
                self.encode(encoder, bytes, &mut out)?
            }
        };
        Ok(SpanOutput { bytes: out, phase: self.phase, end_phase, crc })
    }

    fn segments(
        &self,
        model: &EncoderModel,
        plain: &[u8],
        lead: usize,
        segment_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let mut at = lead;
        loop {
            let end = plain.len().min(at + segment_bytes);
            let is_full = end - at == segment_bytes;
            if is_full || self.is_last {
                pgzip_segment(model, &plain[..at], &plain[at..end], !is_full, out)
                    .ok_or(RemakeError::NoSuchModel)?;
            }
            at = end;
            // The last segment of a stream is not full, and may be empty.
            if !is_full || at == plain.len() && !self.is_last {
                return Ok(());
            }
        }
    }

    fn blocks(
        &self,
        model: &EncoderModel,
        plain: &[u8],
        lead: usize,
        block_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let EncoderModel::Pigz { level, blocks, .. } = *model else {
            return Err(RemakeError::NoSuchModel);
        };
        let mut stream = match lead {
            0 => PigzEncoder::new(level, block_bytes, blocks),
            _ => PigzEncoder::resume(level, block_bytes, blocks, &plain[..lead]),
        }
        .ok_or(RemakeError::NoSuchModel)?;
        stream.write(&plain[lead..]);
        if self.is_last {
            stream.finish();
        } else {
            stream.end_span();
        }
        stream.take(out);
        Ok(())
    }

    fn behind_block(
        &self,
        model: &EncoderModel,
        plain: &[u8],
        place: ResumePoint,
        out: &mut Vec<u8>,
    ) -> Result<u8, RemakeError> {
        // The hash of a position reads the bytes behind it.
        if !place.is_start() && plain.len() < place.index + LOOKAHEAD_BYTES {
            let expected_bytes = (place.index + LOOKAHEAD_BYTES) as u64;
            let found_bytes = plain.len() as u64;
            return Err(RemakeError::TooShort { expected_bytes, found_bytes });
        }
        let (encoder, from) =
            mid_stream::at_block(model, plain, place).ok_or(RemakeError::NoSuchModel)?;
        self.encode(encoder, &plain[from..], out)
    }

    /// Writes the span, which must end with a block. Returns the used bits of the last byte.
    fn encode(
        &self,
        mut encoder: Box<dyn MidStreamEncoder + '_>,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u8, RemakeError> {
        *encoder.bits() = BitWriter::at_phase(u32::from(self.phase));
        encoder.write(plain);
        if self.is_last {
            encoder.finish();
        } else if !encoder.end_span() {
            let plain_bytes = self.plain.end;
            return Err(RemakeError::Tokens(ReplayError { plain_bytes }));
        }
        let bits = encoder.bits();
        let end_phase = bits.phase() as u8;
        bits.align();
        bits.take(out);
        Ok(end_phase)
    }
}
