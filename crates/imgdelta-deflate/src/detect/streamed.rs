//! Detection of streams that are too long for memory. The caller reads them in pieces.
//!
//! [`ModelCandidates`] takes the first bytes of a member and proposes models that make these bytes.
//! [`MemberScan`] then takes the member piece by piece. It finds the end and the restart points, or
//! records the member. Neither verifies the whole stream: the caller remakes it from the recipe and
//! compares. Never holds more than the first bytes, an inflater and the result.

use super::budget::TrialCredit;
use super::survey::{StreamSurvey, WrapperHint};
use super::trial::PrefixTrials;
use super::warm::WarmStartFinder;
use crate::divided::{LAST_SPAN_BYTES, MAX_LITERALS, MIN_SPAN_BYTES, RestartPoint};
use crate::encoders::EncoderCache;
use crate::fallback::BoundedRecorder;
use crate::gzip::{GZIP_TRAILER_BYTES, GzipChecksum, GzipHeader};
use crate::inflate::{BlockHeader, BlockKind, InflateObserver, InflateStream};
use crate::model::{EncoderModel, RestartKind};
use crate::token::Token;

/// Iterator over the models that make the first bytes of a gzip member, the likeliest first.
pub struct ModelCandidates<'a> {
    body: &'a [u8],
    header_bytes: usize,
    survey: StreamSurvey,
    models: std::vec::IntoIter<EncoderModel>,
    trials: PrefixTrials,
    encoders: EncoderCache,
}

impl<'a> ModelCandidates<'a> {
    /// Takes the first bytes of a member. `None` if they are not a gzip member.
    ///
    /// `is_whole` is true if no bytes follow. Eight megabytes are enough: they contain the end of
    /// pgzip's first segment. `before` is the model of the member before, which is tried first. It is
    /// the only one if no credit is left.
    pub fn of(
        start: &'a [u8],
        is_whole: bool,
        before: Option<&EncoderModel>,
        credit: &TrialCredit,
    ) -> Option<Self> {
        let header = GzipHeader::parse(start).ok()?;
        let body = &start[header.header_bytes..];
        let survey = StreamSurvey::of_start(body, is_whole, &mut InflateStream::new(), Vec::new())?;
        let first = before.filter(|model| !matches!(model, EncoderModel::Tokens(_))).cloned();
        let mut models: Vec<EncoderModel> = first.into_iter().collect();
        if credit.is_left() {
            models.extend(survey.candidates(WrapperHint::of(&header)));
        }
        Some(Self {
            body,
            header_bytes: header.header_bytes,
            survey,
            models: models.into_iter(),
            trials: PrefixTrials::default(),
            encoders: EncoderCache::new(),
        })
    }

    /// Returns the bytes of the member's header.
    pub fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Returns the number of plain bytes that candidates compress.
    pub fn plain_bytes(&self) -> u64 {
        self.survey.plain.len() as u64
    }

    /// Returns the work of all candidates so far, in plain bytes.
    pub fn work_bytes(&self) -> u64 {
        self.trials.work_bytes
    }

    /// True if the bytes contain the whole member. A proposed model then makes all of it.
    pub fn is_whole(&self) -> bool {
        self.survey.stream_bytes.is_some()
    }
}

impl Iterator for ModelCandidates<'_> {
    type Item = EncoderModel;

    fn next(&mut self) -> Option<EncoderModel> {
        let Self { body, survey, models, trials, encoders, .. } = self;
        models.find(|model| trials.matches(model, survey, body, encoders))
    }
}

/// Inflates the deflate stream of one member, to find its restart points or to record it.
pub struct MemberScan {
    kind: ScanMode,
    check: GzipChecksum,
}

enum ScanMode {
    Marking(Box<(InflateStream, BlockStartFinder)>),
    Warm(Box<WarmStartFinder>),
    Recording(Box<BoundedRecorder>),
}

/// The result of a scan.
#[non_exhaustive]
pub struct MemberScanResult {
    /// Plain bytes in the member.
    pub plain_bytes: u64,
    /// The trailer that a gzip member of these plain bytes has.
    pub trailer: [u8; GZIP_TRAILER_BYTES],
    /// The restart points of the stream, with member index 0.
    pub points: Vec<RestartPoint>,
    /// The record. `None` if the scan did not record, or if the record is too long.
    pub record: Option<EncoderModel>,
}

impl MemberScan {
    /// Finds restart points in a stream of `model`. They are at least `span_bytes` apart, and there
    /// are none if the model cannot restart.
    pub fn with_points(model: &EncoderModel, span_bytes: u64) -> Self {
        let check = GzipChecksum::new();
        if model.restart() == RestartKind::Warm && span_bytes < u64::MAX {
            let places = WarmStartFinder::new(model.clone(), span_bytes);
            return Self { kind: ScanMode::Warm(Box::new(places)), check };
        }
        let is_block = model.restart() == RestartKind::AtBlocks;
        let places = BlockStartFinder {
            span_bytes: is_block.then_some(span_bytes.max(MIN_SPAN_BYTES)),
            searches_afresh: matches!(model, EncoderModel::Golang { .. }),
            ..BlockStartFinder::default()
        };
        let kind = ScanMode::Marking(Box::new((InflateStream::new(), places)));
        Self { kind, check }
    }

    /// Records a stream of an unknown encoder. `sample` has the first bytes of the stream, and the
    /// record may have at most `most_bytes`. `before` is the model of the member before: if that was
    /// recorded, its search profile is used again.
    pub fn recording(sample: &[u8], most_bytes: usize, before: Option<&EncoderModel>) -> Self {
        let profile = match before {
            Some(EncoderModel::Tokens(record)) => record.first().copied(),
            _ => None,
        };
        let recording = BoundedRecorder::new(sample, most_bytes, profile);
        Self { kind: ScanMode::Recording(Box::new(recording)), check: GzipChecksum::new() }
    }

    /// Takes the next compressed bytes. Returns the number of bytes in the stream, and true at its
    /// end. `None` if the stream is damaged or its record grows too long.
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

    /// Ends the scan behind the last byte of the stream. The record is `None` if it is too long.
    pub fn finish(self) -> MemberScanResult {
        let plain_bytes = self.check.plain_bytes();
        let (points, record) = match self.kind {
            ScanMode::Marking(marking) => (before_end(marking.1.points, plain_bytes), None),
            ScanMode::Warm(places) => (before_end(places.points, plain_bytes), None),
            ScanMode::Recording(recording) => {
                (Vec::new(), recording.finish().map(EncoderModel::Tokens))
            }
        };
        MemberScanResult { plain_bytes, trailer: self.check.trailer(), points, record }
    }
}

/// Collects the starts of blocks, with the literals since the last copy.
#[derive(Default)]
struct BlockStartFinder {
    /// Fewest plain bytes between points. `None` to collect no points.
    span_bytes: Option<u64>,
    /// True if the search at the start of a block depends on nothing before it.
    searches_afresh: bool,
    points: Vec<RestartPoint>,
    plain_bytes: u64,
    last_copy: u64,
}

impl InflateObserver for BlockStartFinder {
    const TOKENS: bool = true;

    fn block(&mut self, block: &BlockHeader<'_>) {
        if let BlockKind::Stored { plain_bytes, .. } = block.kind {
            // A stored block does not have the tokens of the parse. Such blocks have few copies, so
            // this counts none of the literals.
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
        self.points.push(RestartPoint {
            member: 0,
            plain: plain_bytes,
            literals: if self.searches_afresh { 0 } else { literals as u8 },
            phase: (bit % 8) as u8,
        });
    }
}

/// Drops the points that are too close to the end of a member of `total` bytes.
fn before_end(mut points: Vec<RestartPoint>, total: u64) -> Vec<RestartPoint> {
    while points.last().is_some_and(|last| total - last.plain < LAST_SPAN_BYTES) {
        points.pop();
    }
    points
}
