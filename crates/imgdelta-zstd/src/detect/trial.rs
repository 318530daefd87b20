//! Tries one candidate: remakes the blob and compares it piece by piece.
//!
//! Never goes on after the first byte that differs.

use super::survey::BlobSurvey;
use crate::libzstd::{BLOCK_BYTES, LibzstdCall, LibzstdEncoder};
use crate::recipe::Recipe;
use crate::remake::Remaker;
use crate::source::{ByteSource, PIECE_BYTES, SourceReader};

/// The result of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialOutcome {
    /// The recipe remakes the blob.
    Match,
    /// The recipe makes other bytes. `plain_bytes` were compressed before that showed, and the first
    /// `same_bytes` of the blob were right.
    Mismatch { plain_bytes: u64, same_bytes: u64 },
    /// The encoder does not make such frames.
    Unsupported,
}

/// Remakes `blob` from `plain` and compares.
pub(super) fn run<B, P>(recipe: &Recipe, blob: &B, plain: &P) -> Result<TrialOutcome, B::Error>
where
    B: ByteSource + ?Sized,
    P: ByteSource<Error = B::Error> + ?Sized,
{
    let mut remaker = Remaker::new(recipe);
    let mut expected = SourceReader::new(blob);
    let mut compared = 0;
    let mut out = Vec::new();
    let mut buffer = Vec::new();
    let mut given = 0;
    while given < plain.bytes() {
        let piece = (plain.bytes() - given).min(PIECE_BYTES as u64);
        buffer.resize(piece as usize, 0);
        plain.read(given, &mut buffer)?;
        given += piece;
        if remaker.write(&buffer, &mut out).is_err() {
            return Ok(TrialOutcome::Unsupported);
        }
        if !compare(&mut expected, &mut compared, &mut out)? {
            return Ok(TrialOutcome::Mismatch { plain_bytes: given, same_bytes: compared });
        }
    }
    if remaker.finish(&mut out).is_err() {
        return Ok(TrialOutcome::Unsupported);
    }
    let same = compare(&mut expected, &mut compared, &mut out)? && compared == blob.bytes();
    let mismatch = TrialOutcome::Mismatch { plain_bytes: given, same_bytes: compared };
    Ok(if same { TrialOutcome::Match } else { mismatch })
}

/// Returns false if a call cannot have written the first block of the first frame. True also where
/// only a full trial can find that out.
pub(super) fn may_start<B, P>(
    call: LibzstdCall,
    survey: &BlobSurvey,
    blob: &B,
    plain: &P,
) -> Result<bool, B::Error>
where
    B: ByteSource + ?Sized,
    P: ByteSource<Error = B::Error> + ?Sized,
{
    let Some(frame) = survey.frames().next() else { return Ok(false) };
    let plain_bytes = frame.plain_bytes.unwrap_or(0);
    if plain_bytes <= BLOCK_BYTES {
        return Ok(true);
    }
    let mut first = vec![0; BLOCK_BYTES as usize];
    plain.read(0, &mut first)?;
    let made = LibzstdEncoder::first_block(call, &frame.header, plain_bytes, &first);
    let Some(mut out) = made else { return Ok(false) };
    // Only the first block does not depend on what is behind it.
    out.truncate((frame.first_end() - frame.offset()) as usize);
    let is_whole = out.len() as u64 == frame.first_end() - frame.offset();
    Ok(is_whole && compare(&mut SourceReader::new(blob), &mut frame.offset(), &mut out)?)
}

/// Compares the output so far with the blob and clears it.
fn compare<B: ByteSource + ?Sized>(
    expected: &mut SourceReader<B>,
    compared: &mut u64,
    out: &mut Vec<u8>,
) -> Result<bool, B::Error> {
    for piece in out.chunks(PIECE_BYTES) {
        let found = expected.at(*compared, piece.len(), PIECE_BYTES)?;
        if found != piece {
            let same = found.iter().zip(piece).take_while(|(found, made)| found == made).count();
            *compared += same as u64;
            return Ok(false);
        }
        *compared += piece.len() as u64;
    }
    out.clear();
    Ok(true)
}
