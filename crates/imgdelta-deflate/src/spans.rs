//! A recipe's plain bytes cut into spans that are remade each by itself.
//!
//! Segments of pgzip and blocks of pigz know a little of what is before them; a span between two
//! restart points knows the buffer's content, at most 64 KiB, or some chunks that it parses in
//! advance; a small member is a span whole.
//! What cannot be cut is told as serial. A span of segments is about [`SPAN_BYTES`] long. Never
//! starts threads: who remakes spans side by side joins them with [`Joiner`](crate::Joiner).

use crate::bits::BitWriter;
use crate::divided::{Divided, Point};
use crate::fallback::ReplayError;
use crate::klauspost::PGZIP_HISTORY_BYTES;
use crate::mid_stream::{self, MidStream, warm_from};
use crate::model::{Model, Restart};
use crate::remake::{RemakeError, pgzip_segment};
use crate::window::{LOOKAHEAD_BYTES, base_of};
use crate::zlib::{PIGZ_HISTORY_BYTES, Pigz, PigzBlocks, Place};
use std::ops::Range;

/// Plain bytes in a span of segments.
pub const SPAN_BYTES: u64 = 1 << 20;
/// Largest member that is a span whole.
const WHOLE_BYTES: u64 = 4 << 20;
/// Largest segment that is a span: others are remade as they come, in the model's own memory.
const MAX_SEGMENT_BYTES: u64 = 4 << 20;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A span, remade by itself.
    Span(Span),
    /// A member that is remade as its bytes come.
    Serial {
        /// Its plain bytes, in the whole of the plain bytes.
        plain: Range<u64>,
    },
}

/// Plain bytes that are remade without the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The bytes it stands for, in the whole of the plain bytes.
    pub plain: Range<u64>,
    /// The bytes that must be known to remake it.
    pub reads: Range<u64>,
    pub(crate) member: usize,
    kind: Kind,
    /// Bits of its first byte that belong to the span before.
    phase: u8,
    /// Whether it ends its member.
    pub(crate) is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Whole,
    Segments { bytes: usize },
    Blocks { bytes: usize },
    Points { literals: usize, has_slid: bool },
    Warm,
}

/// A span remade: its bits, and what the trailer needs.
pub struct Made {
    pub(crate) bytes: Vec<u8>,
    pub(crate) phase: u8,
    /// Bits of the last byte that are used, 0 for all.
    pub(crate) end_phase: u8,
    pub(crate) crc: crc32fast::Hasher,
}

/// The steps of a recipe, in order.
pub struct Steps<'a> {
    divided: &'a Divided,
    member: usize,
    /// Where the member starts in the whole of the plain bytes.
    start: u64,
    /// How much of the member is behind.
    done: u64,
    begun: bool,
    points: &'a [Point],
}

impl Divided {
    /// Returns the steps that remake the stream.
    pub fn steps(&self) -> Steps<'_> {
        Steps { divided: self, member: 0, start: 0, done: 0, begun: false, points: self.points() }
    }
}

/// Where steps end, and what they read.
impl Steps<'_> {
    fn segments(&self, bytes: u64, total: u64) -> u64 {
        // As many whole segments as fit; the last span has the rest.
        let group = (SPAN_BYTES / bytes).max(1) * bytes;
        total.min(self.done.saturating_add(group))
    }

    /// Returns what a span from `point` to `end` reads of its member, where all is indexed.
    fn from_block(done: u64, end: u64, total: u64, point: Point) -> (Range<u64>, Kind) {
        let literals = u64::from(point.literals).min(done);
        let from = base_of(done - literals);
        let until = if end == total { end } else { end + LOOKAHEAD_BYTES as u64 };
        (from..until, Kind::Points { literals: literals as usize, has_slid: from > 0 })
    }

    fn points(&mut self, total: u64) -> (u64, Point) {
        let mine = |point: &Point| point.member as usize == self.member;
        let start = match self.points.split_first() {
            Some((&point, rest)) if self.done > 0 => {
                self.points = rest;
                point
            }
            _ => Point { member: 0, plain: 0, literals: 0, phase: 0 },
        };
        let end = self.points.first().filter(|point| mine(point)).map_or(total, |next| next.plain);
        (end, start)
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
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
            Model::Pgzip { segment_bytes, .. } if u64::from(segment_bytes) <= MAX_SEGMENT_BYTES => {
                let bytes = u64::from(segment_bytes);
                let end = self.segments(bytes, total);
                let from = done.saturating_sub(PGZIP_HISTORY_BYTES as u64);
                (end, from..end, Kind::Segments { bytes: bytes as usize }, 0)
            }
            Model::Pigz { block_bytes, blocks, .. }
                if u64::from(block_bytes) <= MAX_SEGMENT_BYTES
                    && blocks != PigzBlocks::Continued =>
            {
                let bytes = u64::from(block_bytes);
                let end = self.segments(bytes, total);
                let from = done.saturating_sub(PIGZ_HISTORY_BYTES as u64);
                (end, from..end, Kind::Blocks { bytes: bytes as usize }, 0)
            }
            _ if has_points => {
                let (end, point) = self.points(total);
                let (reads, kind) = match member.model.restart() {
                    Restart::Warm => (warm_from(done)..end, Kind::Warm),
                    _ => Self::from_block(done, end, total, point),
                };
                (end, reads, kind, point.phase)
            }
            _ if total <= WHOLE_BYTES => (total, 0..total, Kind::Whole, 0),
            _ => {
                self.done = total;
                return Some(Step::Serial { plain: start..start.saturating_add(total) });
            }
        };
        self.done = end;
        // Lengths that overflow are no stream's: they end in an error, as the bytes do not come.
        let absolute =
            |range: Range<u64>| start.saturating_add(range.start)..start.saturating_add(range.end);
        Some(Step::Span(Span {
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
    pub fn remake(&self, divided: &Divided, plain: &[u8]) -> Result<Made, RemakeError> {
        let lead = usize::try_from(self.plain.start - self.reads.start);
        let own = usize::try_from(self.plain.end - self.plain.start);
        let (Ok(lead), Ok(own)) = (lead, own) else { return Err(RemakeError::TooLong) };
        let Some(bytes) = plain.get(lead..).and_then(|rest| rest.get(..own)) else {
            return Err(RemakeError::TooShort);
        };
        if plain.len() as u64 != self.reads.end - self.reads.start {
            return Err(RemakeError::TooShort);
        }
        let member = divided.recipe().members.get(self.member).ok_or(RemakeError::NoSuchModel)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(bytes);
        let mut out = Vec::new();
        let end_phase = match self.kind {
            Kind::Whole => {
                let mut encoder = member.model.start().ok_or(RemakeError::NoSuchModel)?;
                encoder.write(plain, &mut out).map_err(RemakeError::Tokens)?;
                encoder.finish(&mut out).map_err(RemakeError::Tokens)?;
                0
            }
            Kind::Segments { bytes } => {
                self.segments(&member.model, plain, lead, bytes, &mut out)?;
                0
            }
            Kind::Blocks { bytes } => {
                self.blocks(&member.model, plain, lead, bytes, &mut out)?;
                0
            }
            Kind::Points { literals, has_slid } => {
                let place = Place { index: lead, literals, has_slid };
                self.behind_block(&member.model, plain, place, &mut out)?
            }
            Kind::Warm => {
                let (encoder, _) = mid_stream::warm(&member.model, &plain[..lead])
                    .ok_or(RemakeError::NoSuchModel)?;
                self.encode(encoder, bytes, &mut out)?
            }
        };
        Ok(Made { bytes: out, phase: self.phase, end_phase, crc })
    }

    fn segments(
        &self,
        model: &Model,
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
            // The last of a stream is one that is not full, and may be empty.
            if !is_full || at == plain.len() && !self.is_last {
                return Ok(());
            }
        }
    }

    fn blocks(
        &self,
        model: &Model,
        plain: &[u8],
        lead: usize,
        block_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let Model::Pigz { level, blocks, .. } = *model else {
            return Err(RemakeError::NoSuchModel);
        };
        let mut stream = match lead {
            0 => Pigz::new(level, block_bytes, blocks),
            _ => Pigz::resume(level, block_bytes, blocks, &plain[..lead]),
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
        model: &Model,
        plain: &[u8],
        place: Place,
        out: &mut Vec<u8>,
    ) -> Result<u8, RemakeError> {
        // Hashing needs bytes behind the position.
        if !place.is_start() && plain.len() < place.index + LOOKAHEAD_BYTES {
            return Err(RemakeError::TooShort);
        }
        let (encoder, from) =
            mid_stream::at_block(model, plain, place).ok_or(RemakeError::NoSuchModel)?;
        self.encode(encoder, &plain[from..], out)
    }

    /// Writes the span, whose end must be a block's; returns how many bits of its last byte it took.
    fn encode(
        &self,
        mut encoder: Box<dyn MidStream + '_>,
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
