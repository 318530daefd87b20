//! Which encoder made a blob: found by trial, returned only when the trial gave the very bytes.
//!
//! The frames' headers say which encoders are possible at all; each of those compresses the plain
//! bytes and is dropped at the first byte that differs, most of them within the first block. So a
//! search without success costs little, and memory never follows the blob's size.
//! Never guesses: a recipe that is returned is proven.

mod survey;
mod trial;

use crate::klauspost::{Behaviour, Level};
use crate::libzstd::{Call, JOB_BYTES};
use crate::model::Model;
use crate::recipe::{Frame, Part, Recipe};
use crate::source::Source;
use survey::{FrameSurvey, Piece, Survey};
use trial::Outcome;

/// What [`detect`] may spend.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DetectOptions {
    /// Bytes kept literally at most, skippable frames mostly: the table of contents of a
    /// zstd:chunked layer has some 150 bytes a file.
    pub literal_bytes: u64,
    /// Frames and literal pieces at most.
    pub parts: usize,
    /// Candidates that may get beyond the first [`FIRST_BYTES`] of plain bytes: generations of
    /// one encoder that differ late are tried one after the other.
    pub long_trials: usize,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self { literal_bytes: 32 << 20, parts: 1 << 20, long_trials: 8 }
    }
}

/// Where nearly all wrong candidates have been dropped.
pub const FIRST_BYTES: u64 = 1 << 20;

/// Finds out how `blob` was made from `plain`; `None` if no encoder that is known made it.
///
/// The error is that of reading; both sources have one.
pub fn detect<B, P>(blob: &B, plain: &P, options: DetectOptions) -> Result<Option<Recipe>, B::Error>
where
    B: Source + ?Sized,
    P: Source<Error = B::Error> + ?Sized,
{
    let Some(mut survey) = Survey::of(blob, &options)? else { return Ok(None) };
    if !survey.settle_sizes(blob, plain.bytes())? {
        return Ok(None);
    }
    let likely = try_all(Cuts::Likely, &mut survey, blob, plain, options)?;
    if likely.is_some() {
        return Ok(likely);
    }
    try_all(Cuts::Decoded, &mut survey, blob, plain, options)
}

/// Returns where in `blob` the frames end that [`detect`] would find encoders for: skippable and
/// empty ones are none. `None` if the blob is no zstd or exceeds the options.
pub fn frame_ends<B>(blob: &B, options: DetectOptions) -> Result<Option<Vec<u64>>, B::Error>
where
    B: Source + ?Sized,
{
    let survey = Survey::of(blob, &options)?;
    Ok(survey.map(|survey| survey.frames().map(FrameSurvey::end).collect()))
}

/// How it is known where an encoder was told to end a block early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cuts {
    /// From how many blocks there are, where that tells something.
    Likely,
    /// From the decoded blocks, and only where that is news.
    Decoded,
}

/// Tries every model that could have made the blob until one has.
fn try_all<B, P>(
    how: Cuts,
    survey: &mut Survey,
    blob: &B,
    plain: &P,
    options: DetectOptions,
) -> Result<Option<Recipe>, B::Error>
where
    B: Source + ?Sized,
    P: Source<Error = B::Error> + ?Sized,
{
    let mut long_trials = 0;
    // Calls that differ in how they end differ late: what is wrong early is wrong in both.
    let mut hopeless: Vec<(i32, bool)> = Vec::new();
    for model in candidates(survey) {
        if let Model::Libzstd(call) = model
            && hopeless.contains(&(call.level, call.jobs))
        {
            continue;
        }
        let Some(recipe) = recipe(model, how, survey, blob)? else { continue };
        if let Model::Libzstd(call) = model
            && call.jobs
            && !trial::probe(call, survey, blob, plain)?
        {
            hopeless.push((call.level, true));
            continue;
        }
        match trial::run(&recipe, blob, plain)? {
            Outcome::Proven => return Ok(Some(recipe)),
            Outcome::Impossible => {}
            Outcome::Differs { plain_bytes } => {
                if plain_bytes > FIRST_BYTES {
                    long_trials += 1;
                } else if let Model::Libzstd(call) = model {
                    hopeless.push((call.level, call.jobs));
                }
                if long_trials >= options.long_trials {
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}

/// All models that could have written the first frame's header, the likeliest first.
fn candidates(survey: &Survey) -> Vec<Model> {
    let Some(first) = survey.frames().next() else { return Vec::new() };
    let header = first.header;
    let plain_bytes = first.plain_bytes.unwrap_or(0);
    let mut models = Vec::new();
    let levels: &[Level] = match header.window.map(|window| window >> 20) {
        // A small frame has no window, or one after its size.
        None | Some(0..4) => &[Level::Default, Level::Best, Level::Fastest, Level::Better],
        Some(4) => &[Level::Fastest],
        Some(8) => &[Level::Default, Level::Best, Level::Better],
        Some(16) => &[Level::Better],
        Some(32) => &[Level::Best],
        Some(_) => &[],
    };
    for &level in levels {
        // Streams have no size; what has one is a single block.
        if header.plain_bytes.is_some_and(|plain| plain >= level.block_bytes() as u64) {
            continue;
        }
        // Today's first, then that of Debian 12.
        for behaviour in [
            Behaviour::V1_17_8,
            Behaviour::V1_15,
            Behaviour::V1_17_3,
            Behaviour::V1_17_0,
            Behaviour::V1_16_4,
        ] {
            let is_twin = level != Level::Better && behaviour == Behaviour::V1_17_3;
            if !is_twin && level.exists(behaviour) {
                models.push(Model::Klauspost { behaviour, level });
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
                models.push(Model::Libzstd(Call { level, jobs, ends_with_data }));
            }
        }
    }
    models
}

/// What people write, and what commands take when nobody writes anything.
const LIKELY_LEVELS: [i32; 3] = [3, 19, 9];

/// The reference encoder's window for plain bytes of unknown size.
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

/// Returns what a model would be asked to remake; `None` if it makes no such blocks, or if
/// decoding them told nothing that was not tried.
fn recipe<B: Source + ?Sized>(
    model: Model,
    how: Cuts,
    survey: &mut Survey,
    blob: &B,
) -> Result<Option<Recipe>, B::Error> {
    let mut parts = Vec::with_capacity(survey.pieces.len());
    let mut is_news = how == Cuts::Likely;
    for piece in &mut survey.pieces {
        let part = match piece {
            Piece::Literal(bytes) => Part::Literal(bytes.clone()),
            Piece::Frame(frame) => {
                let Some(plain_bytes) = frame.plain_bytes else { return Ok(None) };
                let header = frame.header_bytes.clone();
                let cuts = match model {
                    Model::Klauspost { level, .. } => {
                        let full = level.block_bytes() as u64;
                        let likely = frame.likely_cuts(full);
                        let known = match (how, &likely) {
                            (Cuts::Likely, Some(_)) => likely.clone(),
                            _ => frame.cuts(full, blob)?,
                        };
                        is_news |= likely.is_some() && known != likely;
                        let Some(cuts) = known else { return Ok(None) };
                        cuts
                    }
                    Model::Libzstd(_) => Vec::new(),
                };
                Part::Frame(Frame { header, plain_bytes, cuts })
            }
        };
        parts.push(part);
    }
    Ok(is_news.then_some(Recipe { model, parts }))
}
