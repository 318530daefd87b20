//! Finds the encoder of a compressed stream.
//!
//! The gzip header and the blocks of the first two megabytes leave a list of possible encoders.
//! Each candidate compresses this prefix and is dropped at the first byte that differs, mostly
//! within one block. A candidate that passes remakes the whole stream and is compared with it. If
//! no model fits, the tokens are recorded.
//!
//! Cost: a few hundredths of a second for the prefix, and one compression of the whole stream.
//! Never returns a recipe that was not verified on the whole stream. The callers of
//! [`ModelCandidates`] and [`MemberScan`] verify it themselves.

mod streamed;
mod survey;
mod trial;
mod warm;

use crate::encoders::EncoderCache;
use crate::fallback::record;
use crate::gzip::{GZIP_TRAILER_BYTES, GzipChecksum, GzipHeader};
use crate::inflate::InflateStream;
use crate::model::EncoderModel;
use crate::recipe::{MemberTrailer, Recipe, RecipeMember};
pub use streamed::{MemberScan, MemberScanResult, ModelCandidates};
use survey::{StreamSurvey, WrapperHint};
use trial::{VerifiedStream, prefix_matches, prove};

/// Effort and limits of detection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DetectOptions {
    /// True to record the tokens if no model fits. True by default: a record is often only 3 % of
    /// the stream, and takes some seconds.
    pub record: bool,
    /// Most candidates that are tried on the whole stream. Two by default: levels that differ only
    /// after two megabytes are rare, and three of them were never seen.
    pub full_trials: usize,
    /// Most members. The bytes behind them are copied. A million by default, as in
    /// [`RecipeLimits`](crate::RecipeLimits).
    pub members: usize,
    /// The model to try first, `None` by default. Most members of an archive have the same encoder.
    pub first: Option<EncoderModel>,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { record: true, full_trials: 2, members: 1 << 20, first: None }
    }
}

impl DetectOptions {
    /// Sets if tokens are recorded when no model fits.
    #[must_use]
    pub fn record(mut self, record: bool) -> Self {
        self.record = record;
        self
    }

    /// Sets the most candidates that are tried on the whole stream.
    #[must_use]
    pub fn full_trials(mut self, full_trials: usize) -> Self {
        self.full_trials = full_trials;
        self
    }

    /// Sets the model that is tried first.
    #[must_use]
    pub fn first(mut self, first: EncoderModel) -> Self {
        self.first = Some(first);
        self
    }
}

/// Finds the recipe of a gzip file. `None` if the file does not start with a gzip member that can
/// be remade. The recipe is verified: it remakes these bytes.
pub fn detect_gzip(compressed: &[u8], options: DetectOptions) -> Option<Recipe> {
    Detector::new(options).gzip(compressed)
}

/// Finds the recipe of a raw deflate stream, as zip archives contain it. The bytes behind the
/// stream become the tail of the recipe.
pub fn detect_raw(compressed: &[u8], options: DetectOptions) -> Option<Recipe> {
    Detector::new(options).raw(compressed)
}

/// Finds the recipes of many streams, one after another, such as the members of an archive.
///
/// Tries the encoder of the last stream first and reuses its memory. If no model fits for many
/// streams in a row, it tries only some streams on all models.
pub struct Detector {
    options: DetectOptions,
    /// The encoder of the last stream that was not recorded.
    last_model: Option<EncoderModel>,
    /// Number of streams in a row without a model.
    misses: u32,
    stream: InflateStream,
    plain: Vec<u8>,
    encoders: EncoderCache,
}

/// Streams in a row without a model, after which only some streams are tried on all models.
const PATIENCE: u32 = 8;
/// From then on, one stream of this many is tried on all models.
const RETRY_INTERVAL: u32 = 32;

impl Detector {
    /// Makes a detector.
    pub fn new(mut options: DetectOptions) -> Self {
        let last_model = options.first.take();
        let (stream, plain, encoders) = (InflateStream::new(), Vec::new(), EncoderCache::new());
        Self { options, last_model, misses: 0, stream, plain, encoders }
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
            let trailer = &after[..after.len().min(GZIP_TRAILER_BYTES)];
            let plain_bytes = proved.check.plain_bytes();
            recipe.members.push(RecipeMember {
                header: rest[..header.header_bytes].to_vec(),
                model,
                trailer: if trailer == proved.check.trailer() {
                    MemberTrailer::Gzip
                } else {
                    MemberTrailer::Literal(trailer.to_vec())
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
        let member =
            RecipeMember { header: Vec::new(), model, trailer: MemberTrailer::None, plain_bytes };
        let tail = compressed[proved.stream_bytes..].to_vec();
        Some(Recipe { members: vec![member], tail })
    }

    fn find(&mut self, body: &[u8], hint: WrapperHint) -> Option<(EncoderModel, VerifiedStream)> {
        let survey = StreamSurvey::of(body, &mut self.stream, std::mem::take(&mut self.plain))?;
        let found = self.model(&survey, body, hint);
        self.plain = survey.plain;
        if let Some((model, proved)) = found {
            self.misses = 0;
            if self.last_model.as_ref() != Some(&model) {
                self.last_model = Some(model.clone());
            }
            return Some((model, proved));
        }
        self.misses += 1;
        if !self.options.record {
            return None;
        }
        let mut check = GzipChecksum::new();
        let record = record(body, |plain| check.update(plain))?;
        let proved = VerifiedStream { stream_bytes: record.stream_bytes, check };
        Some((EncoderModel::Tokens(record.bytes), proved))
    }

    /// Returns the first model that remakes the stream.
    fn model(
        &mut self,
        survey: &StreamSurvey,
        body: &[u8],
        hint: WrapperHint,
    ) -> Option<(EncoderModel, VerifiedStream)> {
        let mut trials = self.options.full_trials;
        let all = if self.misses < PATIENCE || self.misses.is_multiple_of(RETRY_INTERVAL) {
            survey.candidates(hint)
        } else {
            Vec::new()
        };
        for model in self.last_model.clone().into_iter().chain(all) {
            if !prefix_matches(&model, survey, body, &mut self.encoders) {
                continue;
            }
            if let Some(stream_bytes) = survey.stream_bytes {
                let mut check = GzipChecksum::new();
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
