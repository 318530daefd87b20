//! Finds the encoder of a blob by trial.
//!
//! The headers of the frames leave a list of possible encoders. Each one compresses the plain
//! bytes and is dropped at the first byte that differs, mostly within the first block. So a search
//! without a result is cheap, and memory does not depend on the size of the blob. Plain bytes that
//! begin with incompressible ones look alike for many candidates; a budget limits their work.
//! Never returns a recipe that was not tried on the whole blob.

mod survey;
mod trial;

use crate::file::FileRecipe;
use crate::frame::FrameHeader;
use crate::klauspost::{KlauspostLevel, KlauspostVersion};
use crate::libzstd::{BLOCK_BYTES, JOB_BYTES, LibzstdCall, LibzstdInput, usual_logs};
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
    /// Estimated nanoseconds that wrong candidates may take, besides those for each plain byte. Half a
    /// minute by default, which is enough for all candidates and a few megabytes.
    pub trial_nanoseconds: u64,
    /// Estimated nanoseconds that wrong candidates may take for each plain byte: 300 by default, those
    /// of a slow level.
    pub trial_nanoseconds_per_byte: u64,
    /// Most nanoseconds for a plain byte, by [`EncoderModel::nanoseconds_per_byte`]; slower encoders
    /// are not tried. No limit by default.
    pub nanoseconds_per_byte: u64,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self {
            literal_bytes: 32 << 20,
            parts: 1 << 20,
            trial_nanoseconds: 30_000_000_000,
            trial_nanoseconds_per_byte: 300,
            nanoseconds_per_byte: u64::MAX,
        }
    }
}

/// Plain bytes at the end of a frame that may depend on its end directive: the longest usual job,
/// and the chunk that the encoder waits for.
const END_BYTES: u64 = 16 << 20;
/// Plain bytes within which nearly all wrong candidates differ.
const FIRST_BYTES: u64 = 1 << 20;

/// Finds the encoder that compresses `plain` to `blob`. `None` if no modelled encoder does.
///
/// # Errors
/// An error of reading one of the sources.
pub fn detect<B, P>(blob: &B, plain: &P, options: DetectOptions) -> Result<Option<Recipe>, B::Error>
where
    B: ByteSource + ?Sized,
    P: ByteSource<Error = B::Error> + ?Sized,
{
    let Some(mut survey) = settled(blob, plain, &options)? else { return Ok(None) };
    let models = candidates(&survey);
    for cut_source in [CutSource::BlockCount, CutSource::DecodedBlocks] {
        let recipe = try_all(&models, cut_source, &mut survey, blob, plain, options)?;
        if recipe.is_some() {
            return Ok(recipe);
        }
    }
    Ok(None)
}

/// Finds the encoder of a file: one of `likely` models, or any other within the options. `None` if no
/// modelled encoder makes the file.
///
/// # Errors
/// An error of reading one of the sources.
pub fn detect_file<B, P>(
    blob: &B,
    plain: &P,
    likely: &[EncoderModel],
    options: DetectOptions,
) -> Result<Option<FileRecipe>, B::Error>
where
    B: ByteSource + ?Sized,
    P: ByteSource<Error = B::Error> + ?Sized,
{
    let Some(mut survey) = settled(blob, plain, &options)? else { return Ok(None) };
    let mut models = candidates(&survey);
    let (mut first, mut rest): (Vec<_>, Vec<_>) =
        models.drain(..).partition(|model| likely.contains(model));
    first.sort_by_key(|model| likely.iter().position(|likely| likely == model));
    // Files of klauspost's encoder are rare, and it has many models.
    rest.sort_by_key(|model| matches!(model, EncoderModel::Klauspost { .. }));
    // Likely models may all be tried.
    let mut unbounded = options;
    unbounded.trial_nanoseconds = u64::MAX;
    for (models, options) in [(first, unbounded), (rest, options)] {
        let cuts = CutSource::BlockCount;
        if let Some(recipe) = try_all(&models, cuts, &mut survey, blob, plain, options)? {
            return Ok(Some(recipe.into()));
        }
    }
    Ok(None)
}

/// Reads the structure of a blob. `None` if it is not that of its plain bytes.
fn settled<B, P>(
    blob: &B,
    plain: &P,
    options: &DetectOptions,
) -> Result<Option<BlobSurvey>, B::Error>
where
    B: ByteSource + ?Sized,
    P: ByteSource<Error = B::Error> + ?Sized,
{
    let Some(mut survey) = BlobSurvey::of(blob, options)? else { return Ok(None) };
    Ok(survey.settle_sizes(blob, plain.bytes())?.then_some(survey))
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

/// Tries candidates until one remakes the blob.
fn try_all<B, P>(
    models: &[EncoderModel],
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
    let for_bytes = plain.bytes().saturating_mul(options.trial_nanoseconds_per_byte);
    let mut left_nanoseconds = options.trial_nanoseconds.saturating_add(for_bytes);
    let mut hopeless: Vec<CallGroup> = Vec::new();
    let is_one_frame = survey.frames().count() == 1;
    let Some(first) = survey.frames().next() else { return Ok(None) };
    let (first_end, first_plain) = (first.first_end(), first.plain_bytes.unwrap_or(0));
    let has_size = first.header.plain_bytes.is_some();
    for &model in models {
        let per_byte = model.nanoseconds_per_byte();
        if per_byte > options.nanoseconds_per_byte {
            continue;
        }
        let group = CallGroup::of(model);
        if group.is_some_and(|group| hopeless.contains(&group)) {
            continue;
        }
        let Some(recipe) = recipe(model, cut_source, survey, blob)? else { continue };
        if left_nanoseconds == 0 {
            return Ok(None);
        }
        let mut spend = |plain_bytes: u64| {
            left_nanoseconds =
                left_nanoseconds.saturating_sub(plain_bytes.saturating_mul(per_byte));
        };
        if let EncoderModel::Libzstd(call) = model
            && (call.jobs || call.input == LibzstdInput::OneCall)
            && !trial::may_start(call, survey, blob, plain)?
        {
            hopeless.extend(group);
            spend(BLOCK_BYTES);
            continue;
        }
        match trial::run(&recipe, blob, plain)? {
            TrialOutcome::Match => return Ok(Some(recipe)),
            TrialOutcome::Unsupported => {}
            TrialOutcome::Mismatch { plain_bytes, same_bytes } => {
                let is_before_end = is_one_frame && plain_bytes + END_BYTES <= plain.bytes();
                let is_first_block = same_bytes < first_end;
                let is_before_last = plain_bytes + BLOCK_BYTES < first_plain;
                if is_first_block && (has_size || first_plain > BLOCK_BYTES) {
                    let with_one_call = group.map(|group| CallGroup { one_call: true, ..group });
                    hopeless.extend(group.into_iter().chain(with_one_call));
                } else if is_before_last && (plain_bytes <= FIRST_BYTES || is_before_end) {
                    hopeless.extend(group);
                }
                spend(plain_bytes);
            }
        }
    }
    Ok(None)
}

/// Calls that differ only in their end directive. They write the same bytes except at the end: if one
/// fails before, so does the other. A call with all bytes at once cuts other blocks, except the first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CallGroup {
    level: i32,
    long_window: u8,
    jobs: bool,
    one_call: bool,
}

impl CallGroup {
    fn of(model: EncoderModel) -> Option<Self> {
        let EncoderModel::Libzstd(call) = model else { return None };
        let LibzstdCall { level, jobs, input, long_window } = call;
        Some(Self { level, long_window, jobs, one_call: input == LibzstdInput::OneCall })
    }
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
    models.extend(calls(header, plain_bytes).into_iter().map(EncoderModel::Libzstd));
    models
}

/// Returns the calls of the reference encoder that write a header, the likeliest first.
fn calls(header: FrameHeader, plain_bytes: u64) -> Vec<LibzstdCall> {
    let knows_size = header.plain_bytes.is_some();
    let levels = (LIKELY_LEVELS.into_iter().chain(1..=22).chain((-7..=-1).rev()))
        .enumerate()
        .filter(|(place, level)| *place < LIKELY_LEVELS.len() || !LIKELY_LEVELS.contains(level))
        .map(|(_, level)| level);
    let mut windows: Vec<(i32, u8)> = Vec::new();
    for level in levels.clone() {
        let usual = 1 << usual_logs(level).0;
        let is_usual = match (header.window, knows_size) {
            (Some(window), false) => window == usual,
            (Some(window), true) => window <= usual,
            (None, _) => true,
        };
        windows.extend(is_usual.then_some((level, 0)));
    }
    // No usual level has these windows. Where the window is that of a short frame, only the default
    // of `--long` and likely levels are tried, the default level before unlikely ones.
    match header.window {
        Some(window) if window >= LEAST_LONG && window.is_power_of_two() => {
            windows.extend(levels.map(|level| (level, window.ilog2() as u8)));
        }
        Some(_) => {}
        None => {
            let [default, others @ ..] = LIKELY_LEVELS.map(|level| (level, DEFAULT_LONG));
            windows.insert(LIKELY_LEVELS.len(), default);
            windows.extend(others);
        }
    }
    let (with, after) = (LibzstdInput::EndWithData, LibzstdInput::EndAfterData);
    let inputs = if knows_size { [with, after] } else { [after, with] };
    let mut calls = Vec::new();
    for (level, long_window) in windows {
        for jobs in [true, false] {
            if jobs && knows_size && plain_bytes <= JOB_BYTES {
                continue;
            }
            calls.extend(inputs.map(|input| LibzstdCall { level, jobs, input, long_window }));
        }
        if knows_size && plain_bytes > BLOCK_BYTES {
            let input = LibzstdInput::OneCall;
            calls.push(LibzstdCall { level, jobs: false, input, long_window });
        }
    }
    calls.retain(|call| call.fits(knows_size, plain_bytes));
    calls
}

/// Levels that are most often used: the default, and what users choose.
const LIKELY_LEVELS: [i32; 3] = [3, 19, 9];
/// Smallest window that shows `--long`.
const LEAST_LONG: u64 = 16 << 20;
/// Logarithm of the window that `--long` sets.
const DEFAULT_LONG: u8 = 27;

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
