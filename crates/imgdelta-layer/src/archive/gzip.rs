//! Gzip files: one part, which is the inflated content of all members.
//!
//! Opening skips headers, trailers and the bytes behind the last member; the recipe that closes the
//! file has them.

use super::{ArchiveBytes, ArchiveOutput, InnerCoding, InnerPayloads, compress};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_deflate::{
    EncoderCache, GZIP_TRAILER_BYTES, GzipHeader, GzipHeaderError, inflate::InflateStream,
};

/// Inflates all members, and returns the length of the content.
///
/// Returns `None` if a member is damaged or the content exceeds `most_bytes`. Bytes behind the last
/// member that do not start another one are skipped, as gzip(1) does.
pub(super) fn inflate(
    slice: &ArchiveBytes<'_>,
    most_bytes: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let mut state = GzipState::Header(Vec::new());
    let mut stream = InflateStream::new();
    let (mut plain_bytes, mut members, mut is_damaged) = (0_u64, 0_u64, false);
    let mut outcome = Ok(());
    slice.pieces(0..slice.bytes(), progress, &mut |mut piece| {
        while !piece.is_empty() {
            match &mut state {
                GzipState::Header(seen) => {
                    seen.extend_from_slice(piece);
                    match GzipHeader::parse(seen) {
                        Ok(header) => {
                            let left = seen.len() - header.header_bytes;
                            piece = &piece[piece.len() - left..];
                            stream.reset();
                            state = GzipState::Body;
                        }
                        Err(GzipHeaderError::Truncated) if seen.len() < MOST_HEADER_BYTES => break,
                        Err(_) => {
                            is_damaged = members == 0;
                            return Ok(false);
                        }
                    }
                }
                GzipState::Body => {
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
                        state = GzipState::Trailer(GZIP_TRAILER_BYTES);
                    }
                }
                GzipState::Trailer(left) => {
                    let count = piece.len().min(*left);
                    piece = &piece[count..];
                    *left -= count;
                    if *left == 0 {
                        state = GzipState::Header(Vec::new());
                    }
                }
            }
        }
        Ok(true)
    })?;
    let is_whole = members > 0 && !is_damaged && !matches!(state, GzipState::Body);
    Ok(is_whole.then_some(plain_bytes))
}

enum GzipState {
    /// The bytes of a header so far.
    Header(Vec<u8>),
    Body,
    /// Number of trailer bytes that are left.
    Trailer(usize),
}

/// Writes a gzip file from its one inner payload.
pub(super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let (1, InnerCoding::Deflate(recipe)) = (inner.count(), inner.coding(0)) else {
        let what = "a gzip file needs exactly one inner payload, with a compression";
        return Err(Error::bad_input(inner.place(), what));
    };
    let mut at = 0;
    let mut encoders = EncoderCache::new();
    compress(inner, 0, (recipe, &mut encoders), progress, &mut |_| {}, &mut |packed| {
        out(at, packed)?;
        at += packed.len() as u64;
        Ok(())
    })?;
    Ok(at)
}

/// A header is held whole before it is parsed; names and comments take far less than this.
const MOST_HEADER_BYTES: usize = 64 << 10;
