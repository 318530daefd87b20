//! One candidate tried: the blob remade and compared as it comes.
//!
//! Never goes on after the first byte that differs.

use super::survey::Survey;
use crate::libzstd::{Call, JOB_BYTES, Libzstd};
use crate::recipe::Recipe;
use crate::remake::Remaker;
use crate::source::{PIECE_BYTES, Reader, Source};

/// What a trial showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The recipe gives the blob.
    Proven,
    /// It gives another after so many plain bytes.
    Differs { plain_bytes: u64 },
    /// The encoder cannot be started so.
    Impossible,
}

/// Remakes `blob` from `plain`.
pub(super) fn run<B, P>(recipe: &Recipe, blob: &B, plain: &P) -> Result<Outcome, B::Error>
where
    B: Source + ?Sized,
    P: Source<Error = B::Error> + ?Sized,
{
    let mut remaker = Remaker::new(recipe);
    let mut expected = Reader::new(blob);
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
            return Ok(Outcome::Impossible);
        }
        if !compare(&mut expected, &mut compared, &mut out)? {
            return Ok(Outcome::Differs { plain_bytes: given });
        }
    }
    if remaker.finish(&mut out).is_err() {
        return Ok(Outcome::Impossible);
    }
    let same = compare(&mut expected, &mut compared, &mut out)? && compared == blob.bytes();
    Ok(if same { Outcome::Proven } else { Outcome::Differs { plain_bytes: given } })
}

/// Whether a call that works in jobs can have begun the first frame; true if that cannot be seen
/// without trying.
pub(super) fn probe<B, P>(
    call: Call,
    survey: &Survey,
    blob: &B,
    plain: &P,
) -> Result<bool, B::Error>
where
    B: Source + ?Sized,
    P: Source<Error = B::Error> + ?Sized,
{
    let Some(frame) = survey.frames().next() else { return Ok(false) };
    let plain_bytes = frame.plain_bytes.unwrap_or(0);
    if plain_bytes <= JOB_BYTES {
        return Ok(true);
    }
    let mut first = vec![0; JOB_BYTES as usize];
    plain.read(0, &mut first)?;
    let Some(mut made) = Libzstd::probe(call, &frame.header, plain_bytes, &first) else {
        return Ok(false);
    };
    compare(&mut Reader::new(blob), &mut frame.offset(), &mut made)
}

/// Compares what was made so far and forgets it.
fn compare<B: Source + ?Sized>(
    expected: &mut Reader<B>,
    compared: &mut u64,
    out: &mut Vec<u8>,
) -> Result<bool, B::Error> {
    for piece in out.chunks(PIECE_BYTES) {
        if expected.at(*compared, piece.len(), PIECE_BYTES)? != piece {
            return Ok(false);
        }
        *compared += piece.len() as u64;
    }
    out.clear();
    Ok(true)
}
