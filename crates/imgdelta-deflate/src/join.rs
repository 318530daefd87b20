//! Joins remade spans to a stream, with the headers and trailers of its members.
//!
//! Two spans may share a byte, and the checksum in a trailer combines those of the spans. Members
//! that cannot be cut are remade here, piece by piece. Never remakes a span.

use crate::divided::DividedRecipe;
use crate::error::RemakeError;
use crate::fallback::ReplayError;
use crate::model::{AnyEncoder, EncoderModel};
use crate::recipe::{MemberTrailer, plain_bytes};

use crate::spans::{Span, SpanOutput};
use zlib_rs::crc32::{crc32, crc32_combine};

/// Joins spans in the order of the steps.
pub struct SpanJoiner<'a> {
    divided: &'a DividedRecipe,
    member: usize,
    /// State of the current member. `None` before its first byte.
    open: Option<OpenMember>,
}

struct OpenMember {
    crc: u32,
    plain_bytes: u64,
    /// The last byte, which is not complete, and the number of its bits.
    partial: (u8, u8),
    /// The encoder of a member that cannot be cut.
    encoder: Option<AnyEncoder>,
}

impl<'a> SpanJoiner<'a> {
    /// Starts at the first byte.
    pub fn new(divided: &'a DividedRecipe) -> Self {
        Self { divided, member: 0, open: None }
    }

    /// Takes the next span and appends the finished output to `out`.
    pub fn push(
        &mut self,
        span: &Span,
        mut output: SpanOutput,
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        if span.member != self.member {
            return Err(RemakeError::Member { expected: self.member, found: span.member });
        }
        let open = self.begin(out)?;
        let (bits, phase) = open.partial;
        if phase != output.phase {
            let plain_bytes = span.plain.start;
            return Err(RemakeError::Tokens(ReplayError { plain_bytes }));
        }
        if let Some(first) = output.bytes.first_mut() {
            *first |= bits;
        }
        open.partial = (0, 0);
        if output.end_phase > 0 {
            open.partial = (output.bytes.pop().unwrap_or(0), output.end_phase);
        }
        let span_bytes = span.plain.end - span.plain.start;
        open.crc = crc32_combine(open.crc, output.crc, span_bytes);
        open.plain_bytes = open.plain_bytes.saturating_add(span_bytes);
        if out.is_empty() {
            *out = output.bytes;
        } else {
            out.extend_from_slice(&output.bytes);
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
        let open = self.begin(out)?;
        if open.encoder.is_none() {
            open.encoder = model.and_then(EncoderModel::start);
        }
        let encoder = open.encoder.as_mut().ok_or(RemakeError::NoSuchModel)?;
        encoder.write(plain, out).map_err(RemakeError::Tokens)?;
        open.crc = crc32(open.crc, plain);
        open.plain_bytes = open.plain_bytes.saturating_add(plain.len() as u64);
        if is_last { self.end(out) } else { Ok(()) }
    }

    /// Ends the stream after the last step.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let recipe = self.divided.recipe();
        if self.open.is_some() || self.member != recipe.members.len() {
            let open_bytes = self.open.map_or(0, |open| open.plain_bytes);
            return Err(RemakeError::TooShort {
                expected_bytes: recipe.plain_bytes(),
                found_bytes: plain_bytes(&recipe.members[..self.member]).saturating_add(open_bytes),
            });
        }
        out.extend_from_slice(&recipe.tail);
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<&mut OpenMember, RemakeError> {
        let member = self.divided.recipe().members.get(self.member).ok_or(RemakeError::Finished)?;
        Ok(self.open.get_or_insert_with(|| {
            out.extend_from_slice(&member.header);
            OpenMember { crc: 0, plain_bytes: 0, partial: (0, 0), encoder: None }
        }))
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if let Some(mut encoder) = open.encoder {
            encoder.finish(out).map_err(RemakeError::Tokens)?;
        }
        match &self.divided.recipe().members[self.member].trailer {
            MemberTrailer::None => {}
            MemberTrailer::Gzip => {
                out.extend_from_slice(&open.crc.to_le_bytes());
                out.extend_from_slice(&(open.plain_bytes as u32).to_le_bytes());
            }
            MemberTrailer::Literal(bytes) => out.extend_from_slice(bytes),
        }
        self.member += 1;
        Ok(())
    }
}
