//! Detection of streams that are too long to be held: pieces of it for a caller who reads.
//!
//! An [`Opening`] looks at a member's first bytes and proposes models, each compared with those
//! bytes. A [`Walk`] then goes through the member as it is read and tells where it ends, where it
//! can be restarted, or records it. Neither proves: the caller remakes the stream from the recipe,
//! as it will be remade later, and compares. Never holds more than the first bytes, an inflater,
//! and what it will return.

use super::survey::{StreamSurvey, WrapperHint};
use super::trial::prefix_matches;
use super::warm::WarmStartFinder;
use crate::divided::{LAST_SPAN_BYTES, MAX_LITERALS, MIN_SPAN_BYTES, Point};
use crate::encoders::Encoders;
use crate::fallback::BoundedRecorder;
use crate::gzip::{GzipCheck, GzipHeader, TRAILER_BYTES};
use crate::inflate::{Block, Kind, Sink, Stream};
use crate::model::{Model, RestartKind};
use crate::token::Token;

/// The first bytes of a gzip member: proposes the models that make them, the likeliest first.
pub struct Opening<'a> {
    body: &'a [u8],
    header_bytes: usize,
    survey: StreamSurvey,
    models: std::vec::IntoIter<Model>,
}

impl<'a> Opening<'a> {
    /// Looks at a member's first bytes; `is_whole` if nothing comes behind them. Eight megabytes
    /// are enough: a segment of pgzip must end within them to be seen. The model of the member
    /// before is tried first. `None` if it is no gzip member.
    pub fn of(start: &'a [u8], is_whole: bool, before: Option<&Model>) -> Option<Self> {
        let header = GzipHeader::parse(start).ok()?;
        let body = &start[header.header_bytes..];
        let survey = StreamSurvey::of_start(body, is_whole, &mut Stream::new(), Vec::new())?;
        let known = before.filter(|model| !matches!(model, Model::Tokens(_))).cloned();
        let mut models: Vec<Model> = known.into_iter().collect();
        models.extend(survey.candidates(WrapperHint::of(&header)));
        Some(Self { body, header_bytes: header.header_bytes, survey, models: models.into_iter() })
    }

    /// Returns how long the member's header is.
    pub fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Returns whether all of the member was there: a model that is proposed makes it then.
    pub fn is_whole(&self) -> bool {
        self.survey.stream_bytes.is_some()
    }
}

impl Iterator for Opening<'_> {
    type Item = Model;

    fn next(&mut self) -> Option<Model> {
        let Self { body, survey, models, .. } = self;
        let mut encoders = Encoders::new();
        models.find(|model| prefix_matches(model, survey, body, &mut encoders))
    }
}

/// Goes through the deflate stream of one member.
pub struct Walk {
    kind: ScanMode,
    check: GzipCheck,
}

enum ScanMode {
    Marking(Box<(Stream, BlockStartFinder)>),
    Warm(Box<WarmStartFinder>),
    Recording(Box<BoundedRecorder>),
}

/// What a walk found.
pub struct Walked {
    /// Plain bytes in the member.
    pub plain_bytes: u64,
    /// The trailer a gzip member of these bytes has.
    pub trailer: [u8; TRAILER_BYTES],
    /// Where the stream can be restarted, as of member 0.
    pub points: Vec<Point>,
    /// The record, if one was made.
    pub record: Option<Model>,
}

impl Walk {
    /// Goes through what `model` made, and marks a restart point every `span_bytes`, or whenever a
    /// block ends behind that; none if the model cannot be restarted.
    pub fn with_points(model: &Model, span_bytes: u64) -> Self {
        let check = GzipCheck::new();
        if model.restart() == RestartKind::Warm && span_bytes < u64::MAX {
            let places = WarmStartFinder::new(model.clone(), span_bytes);
            return Self { kind: ScanMode::Warm(Box::new(places)), check };
        }
        let is_block = model.restart() == RestartKind::AtBlocks;
        let places = BlockStartFinder {
            span_bytes: is_block.then_some(span_bytes.max(MIN_SPAN_BYTES)),
            searches_afresh: matches!(model, Model::Golang { .. }),
            ..BlockStartFinder::default()
        };
        let kind = ScanMode::Marking(Box::new((Stream::new(), places)));
        Self { kind, check }
    }

    /// Records a stream nobody models, which begins with `sample`; the record may have
    /// `most_bytes`.
    pub fn recording(sample: &[u8], most_bytes: usize) -> Option<Self> {
        let recording = BoundedRecorder::new(sample, most_bytes)?;
        Some(Self { kind: ScanMode::Recording(Box::new(recording)), check: GzipCheck::new() })
    }

    /// Takes the next compressed bytes; returns how many belong to the stream and whether it
    /// ended. `None` if it cannot be gone through.
    pub fn push(&mut self, compressed: &[u8]) -> Option<(usize, bool)> {
        let check = &mut self.check;
        match &mut self.kind {
            ScanMode::Marking(marking) => {
                let (stream, places) = &mut **marking;
                stream.push(compressed, places, |plain| check.update(plain)).ok()
            }
            ScanMode::Warm(places) => places.push(compressed, |plain| check.update(plain)).ok(),
            ScanMode::Recording(recording) => {
                recording.push(compressed, |plain| check.update(plain))
            }
        }
    }

    /// Ends behind the stream's last byte. A record that came out too long is missing.
    pub fn finish(self) -> Walked {
        let plain_bytes = self.check.plain_bytes();
        let (points, record) = match self.kind {
            ScanMode::Marking(marking) => (before_end(marking.1.points, plain_bytes), None),
            ScanMode::Warm(places) => (before_end(places.points, plain_bytes), None),
            ScanMode::Recording(recording) => (Vec::new(), recording.finish().map(Model::Tokens)),
        };
        Walked { plain_bytes, trailer: self.check.trailer(), points, record }
    }
}

/// Where blocks start, and how long ago the last copy ended.
#[derive(Default)]
struct BlockStartFinder {
    /// None if there are to be no points.
    span_bytes: Option<u64>,
    /// The search at a block's start depends on nothing before it.
    searches_afresh: bool,
    points: Vec<Point>,
    plain_bytes: u64,
    last_copy: u64,
}

impl Sink for BlockStartFinder {
    const TOKENS: bool = true;

    fn block(&mut self, block: &Block<'_>) {
        if let Kind::Stored { plain_bytes, .. } = block.kind {
            // Which copies were weighed is not told; where storing is best, there were hardly any.
            self.plain_bytes += u64::from(plain_bytes);
            self.last_copy = self.plain_bytes;
        }
    }

    #[inline]
    fn token(&mut self, token: Token) {
        self.plain_bytes += token.plain_bytes() as u64;
        if token.is_copy() {
            self.last_copy = self.plain_bytes;
        }
    }

    fn block_end(&mut self, bit: u64, plain_bytes: u64) {
        self.plain_bytes = plain_bytes;
        let Some(span_bytes) = self.span_bytes else { return };
        let before = self.points.last().map_or(0, |point| point.plain);
        if plain_bytes - before < span_bytes {
            return;
        }
        let literals = (plain_bytes - self.last_copy).min(MAX_LITERALS);
        self.points.push(Point {
            member: 0,
            plain: plain_bytes,
            literals: if self.searches_afresh { 0 } else { literals as u8 },
            phase: (bit % 8) as u8,
        });
    }
}

/// Leaves out what is too close to the end of a member of `total` bytes.
fn before_end(mut points: Vec<Point>, total: u64) -> Vec<Point> {
    while points.last().is_some_and(|last| total - last.plain < LAST_SPAN_BYTES) {
        points.pop();
    }
    points
}
