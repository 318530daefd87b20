//! Finds the encoder of a blob by trial.
//!
//! The headers of the frames leave a list of possible encoders. Each one compresses the plain
//! bytes and is dropped at the first byte that differs, mostly within the first block. So a search
//! without a result is cheap, and memory does not depend on the size of the blob. Plain bytes that
//! begin with incompressible ones look alike for many candidates; a budget limits their work.
//! Never returns a recipe that was not tried on the whole blob.

mod survey;
mod trial;

use crate::klauspost::{KlauspostLevel, KlauspostVersion};
use crate::libzstd::{JOB_BYTES, LibzstdCall};
use crate::model::EncoderModel;
use crate::recipe::{FrameRecipe, Recipe, RecipePart};
use crate::source::ByteSource;
use survey::{BlobPiece, BlobSurvey, FrameSurvey};
use trial::TrialOutcome;

/// Limits and effort of [`detect`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DetectOptions {
    /// Most bytes of literal parts, 32 MiB by default. These are mostly skippable frames: the table
    /// of contents of a zstd:chunked layer has about 150 bytes per file.
    pub literal_bytes: u64,
    /// Most frames and literal parts, a million by default: more than any layer has.
    pub parts: usize,
    /// Estimated nanoseconds that wrong candidates may take, besides 300 for each plain byte. Half a
    /// minute by default, which is enough for all candidates and a few megabytes.
    pub trial_nanoseconds: u64,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { literal_bytes: 32 << 20, parts: 1 << 20, trial_nanoseconds: 30_000_000_000 }
    }
}

/// Plain bytes at the end of a frame that may depend on its end directive: the longest usual job,
/// and the chunk that the encoder waits for.
const END_BYTES: u64 = 16 << 20;
/// Plain bytes within which nearly all wrong candidates differ.
const FIRST_BYTES: u64 = 1 << 20;
/// Nanoseconds that wrong candidates may take for each plain byte: those of a slow level.
const TRIAL_NANOSECONDS_PER_BYTE: u64 = 300;

/// Finds the encoder that compresses `plain` to `blob`. `None` if no modelled encoder does.
///
/// # Errors
/// An error of reading one of the sources.
pub fn detect<B, P>(blob: &B, plain: &P, options: DetectOptions) -> Result<Option<Recipe>, B::Error>
where
    B: ByteSource + ?Sized,
    P: ByteSource<Error = B::Error> + ?Sized,
{
    let Some(mut survey) = BlobSurvey::of(blob, &options)? else { return Ok(None) };
    if !survey.settle_sizes(blob, plain.bytes())? {
        return Ok(None);
    }
    let recipe = try_all(CutSource::BlockCount, &mut survey, blob, plain, options)?;
    if recipe.is_some() {
        return Ok(recipe);
    }
    try_all(CutSource::DecodedBlocks, &mut survey, blob, plain, options)
}

/// Returns the ends of all frames in `blob`, except skippable and empty frames. `None` if the blob
/// is not zstd or exceeds the options.
pub fn frame_ends<B>(blob: &B, options: DetectOptions) -> Result<Option<Vec<u64>>, B::Error>
where
    B: ByteSource + ?Sized,
{
    let survey = BlobSurvey::of(blob, &options)?;
    Ok(survey.map(|survey| survey.frames().map(FrameSurvey::end).collect()))
}

/// The source of the cuts: the places where the encoder was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutSource {
    /// The number of blocks. It is free, and right in most cases.
    BlockCount,
    /// The decoded blocks. They are tried only where they differ from the first source.
    DecodedBlocks,
}

/// Tries every candidate until one remakes the blob.
fn try_all<B, P>(
    cut_source: CutSource,
    survey: &mut BlobSurvey,
    blob: &B,
    plain: &P,
    options: DetectOptions,
) -> Result<Option<Recipe>, B::Error>
where
    B: ByteSource + ?Sized,
    P: ByteSource<Error = B::Error> + ?Sized,
{
    let for_bytes = plain.bytes().saturating_mul(TRIAL_NANOSECONDS_PER_BYTE);
    let mut left_nanoseconds = options.trial_nanoseconds.saturating_add(for_bytes);
    // Two calls that differ only in their end directive write the same bytes except at the end: if
    // one fails before, so does the other.
    let mut hopeless: Vec<(i32, bool)> = Vec::new();
    let is_one_frame = survey.frames().count() == 1;
    for model in candidates(survey) {
        if let EncoderModel::Libzstd(call) = model
            && hopeless.contains(&(call.level, call.jobs))
        {
            continue;
        }
        let Some(recipe) = recipe(model, cut_source, survey, blob)? else { continue };
        if let EncoderModel::Libzstd(call) = model
            && call.jobs
            && !trial::may_start(call, survey, blob, plain)?
        {
            hopeless.push((call.level, true));
            continue;
        }
        match trial::run(&recipe, blob, plain)? {
            TrialOutcome::Match => return Ok(Some(recipe)),
            TrialOutcome::Unsupported => {}
            TrialOutcome::Mismatch { plain_bytes } => {
                let is_before_end = is_one_frame && plain_bytes + END_BYTES <= plain.bytes();
                if let EncoderModel::Libzstd(call) = model
                    && (plain_bytes <= FIRST_BYTES || is_before_end)
                {
                    hopeless.push((call.level, call.jobs));
                }
                let work = plain_bytes.saturating_mul(model.nanoseconds_per_byte());
                left_nanoseconds = left_nanoseconds.saturating_sub(work);
                if left_nanoseconds == 0 {
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}

/// Returns all models that write the header of the first frame, the likeliest first.
fn candidates(survey: &BlobSurvey) -> Vec<EncoderModel> {
    let Some(first) = survey.frames().next() else { return Vec::new() };
    let header = first.header;
    let plain_bytes = first.plain_bytes.unwrap_or(0);
    let mut models = Vec::new();
    let levels: &[KlauspostLevel] = match header.window.map(|window| window >> 20) {
        // The window of a small frame follows from its size, or is missing.
        None | Some(0..4) => &[
            KlauspostLevel::Default,
            KlauspostLevel::Best,
            KlauspostLevel::Fastest,
            KlauspostLevel::Better,
        ],
        Some(4) => &[KlauspostLevel::Fastest],
        Some(8) => &[KlauspostLevel::Default, KlauspostLevel::Best, KlauspostLevel::Better],
        Some(16) => &[KlauspostLevel::Better],
        Some(32) => &[KlauspostLevel::Best],
        Some(_) => &[],
    };
    for &level in levels {
        // A stream has no size in its header. A frame with a size is a single block.
        if header.plain_bytes.is_some_and(|plain| plain >= level.block_bytes() as u64) {
            continue;
        }
        // The newest version first, then the version in Debian 12.
        for version in [
            KlauspostVersion::V1_17_8,
            KlauspostVersion::V1_15,
            KlauspostVersion::V1_17_3,
            KlauspostVersion::V1_17_0,
            KlauspostVersion::V1_16_4,
        ] {
            // Only level "better" changed in 1.17.3.
            let is_duplicate =
                level != KlauspostLevel::Better && version == KlauspostVersion::V1_17_3;
            if !is_duplicate && level.exists(version) {
                models.push(EncoderModel::Klauspost { version, level });
            }
        }
    }
    let levels = (LIKELY_LEVELS.into_iter().chain(1..=22).chain((-7..=-1).rev()))
        .enumerate()
        .filter(|(place, level)| *place < LIKELY_LEVELS.len() || !LIKELY_LEVELS.contains(level))
        .map(|(_, level)| level)
        .filter(|&level| match (header.window, header.plain_bytes) {
            (Some(window), None) => window == usual_window(level),
            (Some(window), Some(_)) => window <= usual_window(level),
            (None, _) => true,
        });
    for level in levels {
        let ends = if header.plain_bytes.is_some() { [true, false] } else { [false, true] };
        for jobs in [true, false] {
            if jobs && header.plain_bytes.is_some() && plain_bytes <= JOB_BYTES {
                continue;
            }
            for ends_with_data in ends {
                models.push(EncoderModel::Libzstd(LibzstdCall { level, jobs, ends_with_data }));
            }
        }
    }
    models
}

/// Levels that are most often used: the default, and what users choose.
const LIKELY_LEVELS: [i32; 3] = [3, 19, 9];

/// Returns the window of the reference encoder for plain bytes of unknown size.
fn usual_window(level: i32) -> u64 {
    1 << match level {
        ..=1 => 19,
        2 => 20,
        3..=8 => 21,
        9..=16 => 22,
        17..=19 => 23,
        20 => 25,
        21 => 26,
        _ => 27,
    }
}

/// Returns the recipe to try for a model. `None` if the model does not make such blocks, or if the
/// decoded blocks have the same cuts as the first source.
fn recipe<B: ByteSource + ?Sized>(
    model: EncoderModel,
    cut_source: CutSource,
    survey: &mut BlobSurvey,
    blob: &B,
) -> Result<Option<Recipe>, B::Error> {
    let mut parts = Vec::with_capacity(survey.pieces.len());
    let mut is_untried = cut_source == CutSource::BlockCount;
    for piece in &mut survey.pieces {
        let part = match piece {
            BlobPiece::Literal(bytes) => RecipePart::Literal(bytes.clone()),
            BlobPiece::Frame(frame) => {
                let Some(plain_bytes) = frame.plain_bytes else { return Ok(None) };
                let header = frame.header_bytes.clone();
                let cuts = match model {
                    EncoderModel::Klauspost { level, .. } => {
                        let full = level.block_bytes() as u64;
                        let likely = frame.likely_cuts(full);
                        let chosen = match (cut_source, &likely) {
                            (CutSource::BlockCount, Some(_)) => likely.clone(),
                            _ => frame.decoded_cuts(full, blob)?,
                        };
                        is_untried |= likely.is_some() && chosen != likely;
                        let Some(cuts) = chosen else { return Ok(None) };
                        cuts
                    }
                    EncoderModel::Libzstd(_) => Vec::new(),
                };
                RecipePart::Frame(FrameRecipe { header, plain_bytes, cuts })
            }
        };
        parts.push(part);
    }
    Ok(is_untried.then_some(Recipe { model, parts }))
}
