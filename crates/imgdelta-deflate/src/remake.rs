//! Plain bytes in, the compressed stream out, bit for bit.
//!
//! Streams: holds what the model holds (3 MiB at most for the modelled encoders, one block of
//! tokens more for a token record). Never checks that the result is right beyond its length: the
//! caller knows the digest.

use crate::encoders::Encoders;
use crate::fallback::ReplayError;
use crate::gzip::GzipCheck;
use crate::klauspost::{Klauspost, PGZIP_HISTORY_BYTES};
use crate::model::{Encoder, Model};
use crate::recipe::{Recipe, Trailer};
use std::fmt;

/// Remakes one compressed stream.
pub struct Remaker<'a> {
    recipe: &'a Recipe,
    /// The member being written, counting those that are done.
    member: usize,
    running: Option<Running>,
    encoders: Encoders,
}

struct Running {
    encoder: Encoder,
    check: Option<GzipCheck>,
    left_bytes: u64,
}

/// Why a stream could not be remade. The caller has the wrong plain bytes or a damaged recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemakeError {
    /// More plain bytes than the recipe accounts for.
    TooLong,
    /// Fewer plain bytes than the recipe accounts for.
    TooShort,
    /// A model with parameters that do not exist.
    NoSuchModel,
    /// A token record that does not fit.
    Tokens(ReplayError),
}

impl fmt::Display for RemakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("more plain bytes than the recipe accounts for"),
            Self::TooShort => f.write_str("fewer plain bytes than the recipe accounts for"),
            Self::NoSuchModel => f.write_str("recipe has a model that does not exist"),
            Self::Tokens(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemakeError {}

impl<'a> Remaker<'a> {
    /// Starts at the first byte.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self::reusing(recipe, Encoders::new())
    }

    /// Starts at the first byte with an encoder that another stream used, if it is the right one.
    pub fn reusing(recipe: &'a Recipe, encoders: Encoders) -> Self {
        Self { recipe, member: 0, running: None, encoders }
    }

    /// Takes the next plain bytes and appends what they complete to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !plain.is_empty() {
            self.start_member(out)?;
            let Some(running) = &mut self.running else { return Err(RemakeError::TooLong) };
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

    /// Ends the stream; all plain bytes must have been written.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        self.finish_reusing(out).map(drop)
    }

    /// Ends the stream as [`Remaker::finish`] does; returns the encoder for another stream.
    pub fn finish_reusing(mut self, out: &mut Vec<u8>) -> Result<Encoders, RemakeError> {
        self.start_member(out)?;
        if self.running.is_some() {
            return Err(RemakeError::TooShort);
        }
        out.extend_from_slice(&self.recipe.tail);
        Ok(self.encoders)
    }

    /// Starts the next member unless one is running; those without plain bytes end at once.
    fn start_member(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while self.running.is_none() {
            let Some(member) = self.recipe.members.get(self.member) else { return Ok(()) };
            out.extend_from_slice(&member.header);
            self.running = Some(Running {
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
        let Some(mut running) = self.running.take() else { return Ok(()) };
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

/// Remakes one segment of a pgzip stream, without the gzip wrapper, for callers that remake
/// segments side by side and join them.
///
/// `before` ends with the plain bytes before the segment: the last [`PGZIP_HISTORY_BYTES`] of
/// them count, none for the first. The last segment of a stream is the one that is not full,
/// empty if the plain bytes end with a full one. `None` if `model` is not pgzip.
pub fn pgzip_segment(
    model: &Model,
    before: &[u8],
    segment: &[u8],
    is_last: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    let Model::Pgzip { behaviour, level, .. } = *model else { return None };
    let history = &before[before.len().saturating_sub(PGZIP_HISTORY_BYTES)..];
    let mut encoder = Klauspost::new(behaviour, level, history)?;
    encoder.write(segment);
    encoder.flush();
    if is_last {
        encoder.close();
    }
    encoder.bits().take(out);
    Some(())
}
