//! Remakes a compressed stream from its plain bytes, piece by piece.
//!
//! Memory is the encoder's: at most 3 MiB for a modelled encoder, plus a block of tokens for a
//! record. Never checks more than the length of the plain bytes: callers check the digest of the
//! result.

use crate::encoders::EncoderCache;
use crate::error::RemakeError;
use crate::gzip::GzipChecksum;
use crate::klauspost::{KlauspostEncoder, PGZIP_HISTORY_BYTES};
use crate::model::{AnyEncoder, EncoderModel};
use crate::recipe::{MemberTrailer, Recipe, plain_bytes};

/// Remakes one compressed stream.
pub struct Remaker<'a> {
    recipe: &'a Recipe,
    /// Index of the current member.
    member: usize,
    open: Option<CurrentMember>,
    encoders: EncoderCache,
}

struct CurrentMember {
    encoder: AnyEncoder,
    check: Option<GzipChecksum>,
    left_bytes: u64,
}

impl<'a> Remaker<'a> {
    /// Makes a remaker at the first byte of the stream.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self::reusing(recipe, EncoderCache::new())
    }

    /// Makes a remaker that uses the encoder in the cache, if it has the right parameters.
    pub fn reusing(recipe: &'a Recipe, encoders: EncoderCache) -> Self {
        Self { recipe, member: 0, open: None, encoders }
    }

    /// Takes the next plain bytes and appends the finished output to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !plain.is_empty() {
            self.start_member(out)?;
            let Some(open) = &mut self.open else {
                let expected_bytes = self.recipe.plain_bytes();
                let found_bytes = expected_bytes.saturating_add(plain.len() as u64);
                return Err(RemakeError::TooLong { expected_bytes, found_bytes });
            };
            let most = usize::try_from(open.left_bytes).unwrap_or(usize::MAX);
            let (now, later) = plain.split_at(plain.len().min(most));
            open.encoder.write(now, out).map_err(RemakeError::Tokens)?;
            if let Some(check) = &mut open.check {
                check.update(now);
            }
            open.left_bytes -= now.len() as u64;
            plain = later;
            if open.left_bytes == 0 {
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
    pub fn finish_reusing(mut self, out: &mut Vec<u8>) -> Result<EncoderCache, RemakeError> {
        self.start_member(out)?;
        if let Some(open) = self.open {
            let done = plain_bytes(&self.recipe.members[..=self.member]);
            return Err(RemakeError::TooShort {
                expected_bytes: self.recipe.plain_bytes(),
                found_bytes: done.saturating_sub(open.left_bytes),
            });
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
                check: (member.trailer == MemberTrailer::Gzip).then(GzipChecksum::new),
                left_bytes: member.plain_bytes,
            });
            if member.plain_bytes == 0 {
                self.end_member(out)?;
            }
        }
        Ok(())
    }

    fn end_member(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.encoder.finish(out).map_err(RemakeError::Tokens)?;
        if let Some(check) = open.check {
            out.extend_from_slice(&check.trailer());
        }
        let member = &self.recipe.members[self.member];
        if let MemberTrailer::Literal(bytes) = &member.trailer {
            out.extend_from_slice(bytes);
        }
        self.encoders.keep(&member.model, open.encoder);
        self.member += 1;
        Ok(())
    }
}

impl EncoderCache {
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
/// `before` ends with the plain bytes before the segment, of which the last 16 KiB are used. The
/// last segment of a stream is not full, and may be empty.
/// `None` if `model` is not pgzip.
pub fn pgzip_segment(
    model: &EncoderModel,
    before: &[u8],
    segment: &[u8],
    is_last: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    let EncoderModel::Pgzip { version, level, .. } = *model else { return None };
    let history = &before[before.len().saturating_sub(PGZIP_HISTORY_BYTES)..];
    let mut encoder = KlauspostEncoder::new(version, level, history)?;
    encoder.write(segment);
    encoder.flush();
    if is_last {
        encoder.close();
    }
    encoder.bits().take(out);
    Some(())
}
