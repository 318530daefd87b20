//! Joins remade spans to a stream, with the headers and trailers of its members.
//!
//! Two spans may share a byte, and the checksum in a trailer combines those of the spans. Members
//! that cannot be cut are remade here, piece by piece. Never remakes a span.

use crate::divided::Divided;
use crate::error::RemakeError;
use crate::fallback::ReplayError;
use crate::model::{AnyEncoder, Model};
use crate::recipe::Trailer;

use crate::spans::{Made, Span};

/// Joins spans in the order of the steps.
pub struct Joiner<'a> {
    divided: &'a Divided,
    member: usize,
    /// State of the current member. `None` before its first byte.
    open: Option<OpenMember>,
}

struct OpenMember {
    crc: crc32fast::Hasher,
    plain_bytes: u64,
    /// The last byte, which is not complete, and the number of its bits.
    partial: (u8, u8),
    /// The encoder of a member that cannot be cut.
    encoder: Option<AnyEncoder>,
}

impl<'a> Joiner<'a> {
    /// Starts at the first byte.
    pub fn new(divided: &'a Divided) -> Self {
        Self { divided, member: 0, open: None }
    }

    /// Takes the next span and appends the finished output to `out`.
    pub fn push(
        &mut self,
        span: &Span,
        mut made: Made,
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        if span.member != self.member {
            return Err(RemakeError::TooShort);
        }
        let running = self.begin(out)?;
        let (bits, phase) = running.partial;
        if phase != made.phase {
            let plain_bytes = span.plain.start;
            return Err(RemakeError::Tokens(ReplayError { plain_bytes }));
        }
        if let Some(first) = made.bytes.first_mut() {
            *first |= bits;
        }
        running.partial = (0, 0);
        if made.end_phase > 0 {
            running.partial = (made.bytes.pop().unwrap_or(0), made.end_phase);
        }
        running.crc.combine(&made.crc);
        running.plain_bytes = running.plain_bytes.saturating_add(span.plain.end - span.plain.start);
        if out.is_empty() {
            *out = made.bytes;
        } else {
            out.extend_from_slice(&made.bytes);
        }
        if span.is_last { self.end(out) } else { Ok(()) }
    }

    /// Takes the next plain bytes of a member that cannot be cut. `is_last` ends the member.
    pub fn serial(
        &mut self,
        plain: &[u8],
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let divided = self.divided;
        let model = divided.recipe().members.get(self.member).map(|member| &member.model);
        let running = self.begin(out)?;
        if running.encoder.is_none() {
            running.encoder = model.and_then(Model::start);
        }
        let encoder = running.encoder.as_mut().ok_or(RemakeError::NoSuchModel)?;
        encoder.write(plain, out).map_err(RemakeError::Tokens)?;
        running.crc.update(plain);
        running.plain_bytes = running.plain_bytes.saturating_add(plain.len() as u64);
        if is_last { self.end(out) } else { Ok(()) }
    }

    /// Ends the stream after the last step.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let recipe = self.divided.recipe();
        if self.open.is_some() || self.member != recipe.members.len() {
            return Err(RemakeError::TooShort);
        }
        out.extend_from_slice(&recipe.tail);
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<&mut OpenMember, RemakeError> {
        let member = self.divided.recipe().members.get(self.member).ok_or(RemakeError::TooLong)?;
        Ok(self.open.get_or_insert_with(|| {
            out.extend_from_slice(&member.header);
            OpenMember {
                crc: crc32fast::Hasher::new(),
                plain_bytes: 0,
                partial: (0, 0),
                encoder: None,
            }
        }))
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let Some(running) = self.open.take() else { return Ok(()) };
        if let Some(mut encoder) = running.encoder {
            encoder.finish(out).map_err(RemakeError::Tokens)?;
        }
        match &self.divided.recipe().members[self.member].trailer {
            Trailer::None => {}
            Trailer::Gzip => {
                out.extend_from_slice(&running.crc.finalize().to_le_bytes());
                out.extend_from_slice(&(running.plain_bytes as u32).to_le_bytes());
            }
            Trailer::Literal(bytes) => out.extend_from_slice(bytes),
        }
        self.member += 1;
        Ok(())
    }
}
