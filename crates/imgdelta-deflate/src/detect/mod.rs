//! Which encoder made a compressed stream.
//!
//! Cheap first: the gzip header and the blocks of the first two megabytes say which families
//! are possible and which levels are likely; each candidate then compresses that prefix and is
//! dropped at the first byte that differs, most of them within one block. Whoever is left
//! remakes the whole stream, compared as it goes. If nobody survives, the tokens are recorded.
//!
//! Cost: a few hundredths of a second for the prefix, one compression for the proof. Never
//! returns an unproved recipe unless asked to.

mod streamed;
mod survey;
mod trial;
mod warm;

use crate::encoders::Encoders;
use crate::fallback::record;
use crate::gzip::{GzipCheck, GzipHeader, TRAILER_BYTES};
use crate::inflate::Stream;
use crate::model::Model;
use crate::recipe::{Member, Recipe, Trailer};
pub use streamed::{Opening, Walk, Walked};
use survey::{StreamSurvey, WrapperHint};
use trial::{VerifiedStream, prefix_matches, prove};

/// What detection may spend, and what it may know already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DetectOptions {
    /// Whether tokens are recorded if no model fits. On: a record of 3 % is worth ten seconds.
    pub record: bool,
    /// Candidates that passed the prefix and may be tried on the whole stream. Two: levels that
    /// agree over two megabytes and part later are rare, three of them unheard of.
    pub full_trials: usize,
    /// Members beyond which the rest is kept as it is. A million, as when reading.
    pub members: usize,
    /// The model tried before all others: an archive's members mostly have one maker. None.
    pub first: Option<Model>,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { record: true, full_trials: 2, members: 1 << 20, first: None }
    }
}

impl DetectOptions {
    /// Sets whether tokens are recorded if no model fits.
    #[must_use]
    pub fn record(mut self, record: bool) -> Self {
        self.record = record;
        self
    }

    /// Sets how many candidates may be tried on the whole stream.
    #[must_use]
    pub fn full_trials(mut self, full_trials: usize) -> Self {
        self.full_trials = full_trials;
        self
    }

    /// Sets the model that is tried before all others.
    #[must_use]
    pub fn first(mut self, first: Model) -> Self {
        self.first = Some(first);
        self
    }
}

/// Finds the recipe of a gzip file; `None` if it does not start with a gzip member that can be
/// remade. The recipe was proved: remaking gives these bytes.
pub fn detect_gzip(compressed: &[u8], options: DetectOptions) -> Option<Recipe> {
    Detector::new(options).gzip(compressed)
}

/// Finds the recipe of a raw deflate stream, as it stands in zip archives; bytes behind the
/// stream become the recipe's tail.
pub fn detect_raw(compressed: &[u8], options: DetectOptions) -> Option<Recipe> {
    Detector::new(options).raw(compressed)
}

/// Returns the models that could have made a gzip file's first member, the likeliest first,
/// after comparing its first megabytes only. For callers that prove by remaking as they go.
pub fn candidates(compressed: &[u8]) -> Vec<Model> {
    let Ok(header) = GzipHeader::parse(compressed) else { return Vec::new() };
    let body = &compressed[header.header_bytes..];
    let Some(survey) = StreamSurvey::of(body, &mut Stream::new(), Vec::new()) else {
        return Vec::new();
    };
    let mut encoders = Encoders::new();
    survey
        .candidates(WrapperHint::of(&header))
        .into_iter()
        .filter(|model| prefix_matches(model, &survey, body, &mut encoders))
        .collect()
}

/// Finds recipes of many streams, one after another.
///
/// Tries first what made the stream before, keeps its memory from stream to stream, and tires of
/// trying all models where none ever fits: for the members of an archive.
pub struct Detector {
    options: DetectOptions,
    /// What made the last stream that was not recorded.
    known: Option<Model>,
    /// Streams in a row that no model made.
    misses: u32,
    stream: Stream,
    plain: Vec<u8>,
    encoders: Encoders,
}

/// Streams in a row without a model after which not every stream is tried on all of them.
const PATIENCE: u32 = 8;
/// One stream in so many is still tried, then.
const STILL_TRIED: u32 = 32;

impl Detector {
    /// Makes a detector that knows of no stream yet.
    pub fn new(mut options: DetectOptions) -> Self {
        let known = options.first.take();
        let (stream, plain, encoders) = (Stream::new(), Vec::new(), Encoders::new());
        Self { options, known, misses: 0, stream, plain, encoders }
    }

    /// Finds the recipe of a gzip file, as [`detect_gzip`] does.
    pub fn gzip(&mut self, compressed: &[u8]) -> Option<Recipe> {
        let mut recipe = Recipe::default();
        let mut rest = compressed;
        while recipe.members.len() < self.options.members {
            let Ok(header) = GzipHeader::parse(rest) else { break };
            let body = &rest[header.header_bytes..];
            let Some((model, proved)) = self.find(body, WrapperHint::of(&header)) else { break };
            let after = &body[proved.stream_bytes..];
            let trailer = &after[..after.len().min(TRAILER_BYTES)];
            let plain_bytes = proved.check.plain_bytes();
            recipe.members.push(Member {
                header: rest[..header.header_bytes].to_vec(),
                model,
                trailer: if trailer == proved.check.trailer() {
                    Trailer::Gzip
                } else {
                    Trailer::Literal(trailer.to_vec())
                },
                plain_bytes,
            });
            rest = &after[trailer.len()..];
        }
        recipe.tail = rest.to_vec();
        (!recipe.members.is_empty()).then_some(recipe)
    }

    /// Finds the recipe of a raw deflate stream, as [`detect_raw`] does.
    pub fn raw(&mut self, compressed: &[u8]) -> Option<Recipe> {
        let (model, proved) = self.find(compressed, WrapperHint::default())?;
        let plain_bytes = proved.check.plain_bytes();
        let member = Member { header: Vec::new(), model, trailer: Trailer::None, plain_bytes };
        let tail = compressed[proved.stream_bytes..].to_vec();
        Some(Recipe { members: vec![member], tail })
    }

    fn find(&mut self, body: &[u8], hint: WrapperHint) -> Option<(Model, VerifiedStream)> {
        let survey = StreamSurvey::of(body, &mut self.stream, std::mem::take(&mut self.plain))?;
        let found = self.model(&survey, body, hint);
        self.plain = survey.plain;
        if let Some((model, proved)) = found {
            self.misses = 0;
            if self.known.as_ref() != Some(&model) {
                self.known = Some(model.clone());
            }
            return Some((model, proved));
        }
        self.misses += 1;
        if !self.options.record {
            return None;
        }
        let mut check = GzipCheck::new();
        let record = record(body, |plain| check.update(plain))?;
        let proved = VerifiedStream { stream_bytes: record.stream_bytes, check };
        Some((Model::Tokens(record.bytes), proved))
    }

    /// Returns the first model that makes the stream.
    fn model(
        &mut self,
        survey: &StreamSurvey,
        body: &[u8],
        hint: WrapperHint,
    ) -> Option<(Model, VerifiedStream)> {
        let mut trials = self.options.full_trials;
        let all = if self.misses < PATIENCE || self.misses.is_multiple_of(STILL_TRIED) {
            survey.candidates(hint)
        } else {
            Vec::new()
        };
        for model in self.known.clone().into_iter().chain(all) {
            if !prefix_matches(&model, survey, body, &mut self.encoders) {
                continue;
            }
            if let Some(stream_bytes) = survey.stream_bytes {
                let mut check = GzipCheck::new();
                check.update(&survey.plain);
                return Some((model, VerifiedStream { stream_bytes, check }));
            }
            if trials == 0 {
                break;
            }
            trials -= 1;
            if let Some(proved) = prove(&model, body) {
                return Some((model, proved));
            }
        }
        None
    }
}
