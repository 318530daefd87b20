//! Remakes a compressed stream from its plain bytes, piece by piece.
//!
//! Memory is the encoder's: at most 3 MiB for a modelled encoder, plus a block of tokens for a
//! record. Never checks more than the length of the plain bytes: callers check the digest of the
//! result.

use crate::encoders::Encoders;
use crate::error::RemakeError;
use crate::gzip::GzipCheck;
use crate::klauspost::{KlauspostEncoder, PGZIP_HISTORY_BYTES};
use crate::model::{AnyEncoder, Model};
use crate::recipe::{Recipe, Trailer};

/// Remakes one compressed stream.
pub struct Remaker<'a> {
    recipe: &'a Recipe,
    /// Index of the current member.
    member: usize,
    open: Option<CurrentMember>,
    encoders: Encoders,
}

struct CurrentMember {
    encoder: AnyEncoder,
    check: Option<GzipCheck>,
    left_bytes: u64,
}

impl<'a> Remaker<'a> {
    /// Makes a remaker at the first byte of the stream.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self::reusing(recipe, Encoders::new())
    }

    /// Makes a remaker that uses the encoder in the cache, if it has the right parameters.
    pub fn reusing(recipe: &'a Recipe, encoders: Encoders) -> Self {
        Self { recipe, member: 0, open: None, encoders }
    }

    /// Takes the next plain bytes and appends the finished output to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !plain.is_empty() {
            self.start_member(out)?;
            let Some(running) = &mut self.open else { return Err(RemakeError::TooLong) };
            let most = usize::try_from(running.left_bytes).unwrap_or(usize::MAX);
            let (now, later) = plain.split_at(plain.len().min(most));
            running.encoder.write(now, out).map_err(RemakeError::Tokens)?;
            if let Some(check) = &mut running.check {
                check.update(now);
            }
            running.left_bytes -= now.len() as u64;
            plain = later;
            if running.left_bytes == 0 {
                self.end_member(out)?;
            }
        }
        Ok(())
    }

    /// Ends the stream after the last plain bytes.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        self.finish_reusing(out).map(drop)
    }

    /// Ends the stream like [`Remaker::finish`], and returns the encoder for another stream.
    pub fn finish_reusing(mut self, out: &mut Vec<u8>) -> Result<Encoders, RemakeError> {
        self.start_member(out)?;
        if self.open.is_some() {
            return Err(RemakeError::TooShort);
        }
        out.extend_from_slice(&self.recipe.tail);
        Ok(self.encoders)
    }

    /// Starts the next member unless one is open. Members without plain bytes end at once.
    fn start_member(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while self.open.is_none() {
            let Some(member) = self.recipe.members.get(self.member) else { return Ok(()) };
            out.extend_from_slice(&member.header);
            self.open = Some(CurrentMember {
                encoder: self.encoders.start(&member.model).ok_or(RemakeError::NoSuchModel)?,
                check: (member.trailer == Trailer::Gzip).then(GzipCheck::new),
                left_bytes: member.plain_bytes,
            });
            if member.plain_bytes == 0 {
                self.end_member(out)?;
            }
        }
        Ok(())
    }

    fn end_member(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let Some(mut running) = self.open.take() else { return Ok(()) };
        running.encoder.finish(out).map_err(RemakeError::Tokens)?;
        if let Some(check) = running.check {
            out.extend_from_slice(&check.trailer());
        }
        let member = &self.recipe.members[self.member];
        if let Trailer::Literal(bytes) = &member.trailer {
            out.extend_from_slice(bytes);
        }
        self.encoders.keep(&member.model, running.encoder);
        self.member += 1;
        Ok(())
    }
}

impl Encoders {
    /// Appends the stream of `recipe` to `out`. `plain` has all plain bytes of the stream.
    ///
    /// # Errors
    /// If the plain bytes are not those of the recipe. `out` then ends with the output before the
    /// error.
    pub fn remake(
        &mut self,
        recipe: &Recipe,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let mut remaker = Remaker::reusing(recipe, std::mem::take(self));
        remaker.write(plain, out)?;
        *self = remaker.finish_reusing(out)?;
        Ok(())
    }
}

/// Remakes one segment of a pgzip stream, without the gzip wrapper. Callers can remake segments in
/// parallel and join them.
///
/// `before` ends with the plain bytes before the segment, of which the last
/// [`PGZIP_HISTORY_BYTES`] are used. The last segment of a stream is not full, and may be empty.
/// `None` if `model` is not pgzip.
pub fn pgzip_segment(
    model: &Model,
    before: &[u8],
    segment: &[u8],
    is_last: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    let Model::Pgzip { behaviour, level, .. } = *model else { return None };
    let history = &before[before.len().saturating_sub(PGZIP_HISTORY_BYTES)..];
    let mut encoder = KlauspostEncoder::new(behaviour, level, history)?;
    encoder.write(segment);
    encoder.flush();
    if is_last {
        encoder.close();
    }
    encoder.bits().take(out);
    Some(())
}
