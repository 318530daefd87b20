//! Gzip files: one part, all that their members inflate to.
//!
//! Headers, trailers and what follows the last member are the recipe's that closes one; opening
//! passes over them.

use super::{Coder, Inner, Opening, Out, Packing, Part, Slice, compress};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_deflate::{Encoders, GzipHeader, NoHeader, TRAILER_BYTES, inflate::Stream};

/// A gzip file has no directory: whether it is one, inflating it tells.
pub(super) fn read(slice: &Slice<'_>) -> Opening {
    let part = Part { name: Vec::new(), stored: 0..slice.bytes(), packing: Packing::Gzip };
    Opening { parts: vec![part], structure: Vec::new() }
}

/// Hands on what all members inflate to, and returns its length; `None` if the first is damaged,
/// or any comes out as more than `most_bytes` with those before. What follows the last member is
/// passed over, as gzip(1) does.
pub(super) fn inflate(
    slice: &Slice<'_>,
    most_bytes: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let mut state = State::Header(Vec::new());
    let mut stream = Stream::new();
    let (mut plain_bytes, mut members, mut is_damaged) = (0_u64, 0_u64, false);
    let mut outcome = Ok(());
    slice.pieces(0..slice.bytes(), progress, &mut |mut piece| {
        while !piece.is_empty() {
            match &mut state {
                State::Header(seen) => {
                    seen.extend_from_slice(piece);
                    match GzipHeader::parse(seen) {
                        Ok(header) => {
                            let left = seen.len() - header.header_bytes;
                            piece = &piece[piece.len() - left..];
                            stream.reset();
                            state = State::Body;
                        }
                        Err(NoHeader::Short) if seen.len() < MOST_HEADER_BYTES => break,
                        Err(_) => {
                            is_damaged = members == 0;
                            return Ok(false);
                        }
                    }
                }
                State::Body => {
                    let pushed = stream.push(piece, &mut (), |plain| {
                        plain_bytes += plain.len() as u64;
                        if plain_bytes <= most_bytes && outcome.is_ok() {
                            outcome = sink(plain);
                        }
                    });
                    std::mem::replace(&mut outcome, Ok(()))?;
                    let (count, ended) = match pushed {
                        Ok(pushed) if plain_bytes <= most_bytes => pushed,
                        _ => {
                            is_damaged = true;
                            return Ok(false);
                        }
                    };
                    piece = &piece[count..];
                    if ended {
                        members += 1;
                        state = State::Trailer(TRAILER_BYTES);
                    }
                }
                State::Trailer(left) => {
                    let count = piece.len().min(*left);
                    piece = &piece[count..];
                    *left -= count;
                    if *left == 0 {
                        state = State::Header(Vec::new());
                    }
                }
            }
        }
        Ok(true)
    })?;
    let is_whole = members > 0 && !is_damaged && !matches!(state, State::Body);
    Ok(is_whole.then_some(plain_bytes))
}

enum State {
    /// What was seen of a header.
    Header(Vec<u8>),
    Body,
    /// Bytes of the trailer that are still to come.
    Trailer(usize),
}

/// Makes a gzip file of its one inner payload, or of none.
pub(super) fn close(inner: &dyn Inner, progress: &dyn Progress, out: &mut Out<'_>) -> Result<u64> {
    let (1, Coder::Deflate(recipe)) = (inner.count(), inner.coder(0)) else {
        let what = "a gzip file is made of one inner payload with a compression";
        return Err(Error::bad_input(inner.place(), what));
    };
    let mut at = 0;
    let mut encoders = Encoders::new();
    compress(inner, 0, (recipe, &mut encoders), progress, &mut |_| {}, &mut |packed| {
        out(at, packed)?;
        at += packed.len() as u64;
        Ok(())
    })?;
    Ok(at)
}

/// Far more than names and comments take; headers are gathered before they are read.
const MOST_HEADER_BYTES: usize = 64 << 10;
