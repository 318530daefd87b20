//! Finds the encoder of a compressed stream.
//!
//! The gzip header and the blocks of the first two megabytes leave a list of possible encoders.
//! Each candidate compresses this prefix and is dropped at the first byte that differs, mostly
//! within one block. A candidate that passes remakes the rest of the stream and is dropped at the
//! first byte that differs, too. If no model fits, the tokens are recorded.
//!
//! Cost: a few hundredths of a second for the prefix, and one compression of the whole stream.
//! Never returns a recipe that was not verified on the whole stream. The callers of
//! [`ModelCandidates`] and [`MemberScan`] verify it themselves.

mod budget;
mod quick;
mod streamed;
mod survey;
mod trial;
mod warm;

use crate::encoders::EncoderCache;
use crate::fallback::Recorder;
use crate::gzip::{GZIP_TRAILER_BYTES, GzipChecksum, GzipHeader};
use crate::inflate::InflateStream;
use crate::model::EncoderModel;
use crate::recipe::{MemberTrailer, Recipe, RecipeMember};
pub use budget::{TrialBudget, TrialCredit};
pub use streamed::{MemberScan, MemberScanResult, ModelCandidates};
use survey::{StreamSurvey, WrapperHint};
pub use trial::{MemberTrial, TrialProgress};
use trial::{PrefixTrials, VerifiedStream, prove};

/// Effort and limits of detection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DetectOptions {
    /// True to record the tokens if no model fits. True by default: a record is often only 3 % of
    /// the stream, and takes some seconds.
    pub record: bool,
    /// Most members. The bytes behind them are copied. A million by default, as in
    /// [`RecipeLimits`](crate::RecipeLimits).
    pub members: usize,
    /// The model to try first, `None` by default. Most members of an archive have the same encoder.
    pub first: Option<EncoderModel>,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { record: true, members: 1 << 20, first: None }
    }
}

impl DetectOptions {
    /// Sets if tokens are recorded when no model fits.
    #[must_use]
    pub fn record(mut self, record: bool) -> Self {
        self.record = record;
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
/// Tries the encoders of the last streams first and reuses their memory. All models are tried as long
/// as the work of wrong ones is in proportion to the plain bytes, so that streams of unknown
/// encoders are recorded soon.
pub struct Detector {
    options: DetectOptions,
    /// The encoders of the last streams that were not recorded, the latest first.
    recent: Vec<EncoderModel>,
    /// Streams without a model; a stream with a model halves them.
    misses: usize,
    credit: TrialCredit,
    work: DetectWork,
    stream: InflateStream,
    plain: Vec<u8>,
    encoders: EncoderCache,
    recorder: Recorder,
}

/// Work of a detector, in plain bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DetectWork {
    /// Bytes that candidates compressed within the first megabytes of streams. Starting a candidate
    /// counts as 2 KiB.
    pub trial_bytes: u64,
    /// Compressed bytes of samples that were recorded to find the best record.
    pub sample_bytes: u64,
}

/// Models of the last streams that are tried first.
const RECENT_MODELS: usize = 4;
/// Streams without a model that halve the number of models tried first, down to one.
const MISSES: usize = 32;
/// Most streams without a model that are counted: a few streams with models outweigh them.
const MOST_MISSES: usize = 8 * MISSES;

impl Detector {
    /// Makes a detector.
    pub fn new(mut options: DetectOptions) -> Self {
        let recent = options.first.take().into_iter().collect();
        Self {
            options,
            recent,
            misses: 0,
            credit: TrialCredit::new(),
            work: DetectWork::default(),
            stream: InflateStream::new(),
            plain: Vec::new(),
            encoders: EncoderCache::new(),
            recorder: Recorder::new(),
        }
    }

    /// Returns the work so far.
    pub fn work(&self) -> DetectWork {
        DetectWork { sample_bytes: self.recorder.sample_bytes(), ..self.work }
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
        let body = &body[..survey.stream_bytes.unwrap_or(body.len())];
        self.plain = survey.plain;
        if let Some((model, proved)) = found {
            let place = self.recent.iter().position(|recent| *recent == model);
            match place {
                Some(place) => self.recent[..=place].rotate_right(1),
                None => self.recent.insert(0, model.clone()),
            }
            self.recent.truncate(RECENT_MODELS);
            return Some((model, proved));
        }
        if !self.options.record {
            return None;
        }
        let mut check = GzipChecksum::new();
        let record = self.recorder.record(body, |plain| check.update(plain))?;
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
        let mut trials = PrefixTrials::default();
        let mut budget = TrialBudget::of(body.len() as u64);
        let all = if self.credit.is_left() { survey.candidates(hint) } else { Vec::new() };
        let tried = (RECENT_MODELS >> (self.misses / MISSES).min(RECENT_MODELS.ilog2() as usize))
            .min(self.recent.len());
        let recent = self.recent[..tried].to_vec();
        let mut found = None;
        for (place, model) in recent.iter().cloned().chain(all).enumerate() {
            // A candidate that was tried as a recent model fails again.
            if place >= tried && recent.contains(&model) {
                continue;
            }
            if !trials.matches(&model, survey, body, &mut self.encoders) {
                continue;
            }
            if let Some(stream_bytes) = survey.stream_bytes {
                let mut check = GzipChecksum::new();
                check.update(&survey.plain);
                found = Some((model, VerifiedStream { stream_bytes, check }));
                break;
            }
            if budget.is_spent() {
                break;
            }
            match prove(&model, body) {
                Ok(proved) => {
                    found = Some((model, proved));
                    break;
                }
                Err(plain_bytes) => budget.charge(&model, plain_bytes),
            }
        }
        self.misses =
            if found.is_some() { self.misses / 2 } else { (self.misses + 1).min(MOST_MISSES) };
        self.work.trial_bytes += trials.work_bytes;
        let plain_bytes = survey.plain.len() as u64;
        self.credit.settle(plain_bytes, trials.work_bytes, found.is_some());
        found
    }
}
