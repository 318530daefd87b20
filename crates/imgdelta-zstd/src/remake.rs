//! Plain bytes in, the compressed stream out, bit for bit: by a recipe, or frame by frame.
//!
//! Streams: holds what the model holds, which is twice the window and the tables (18 MiB for
//! klauspost's default). Never checks that the result is right beyond its length: the caller
//! knows the digest.

use crate::klauspost::Klauspost;
use crate::model::{Encoder, Model};
use crate::recipe::{Frame, Part, Recipe};
use std::fmt;

/// Remakes one compressed stream.
pub struct Remaker<'a> {
    recipe: &'a Recipe,
    /// The part being written, counting those that are done.
    part: usize,
    frames: FrameWriter,
    /// Plain bytes that the running frame lacks; none runs otherwise.
    left_bytes: Option<u64>,
}

/// Frames of one encoder, one after another, by somebody who knows where each begins and ends.
pub struct FrameWriter {
    model: Model,
    running: Option<Encoder>,
    /// An encoder that made a frame and can make another.
    spare: Option<Box<Klauspost>>,
}

impl FrameWriter {
    /// Starts before the first frame.
    pub fn new(model: Model) -> Self {
        Self { model, running: None, spare: None }
    }

    /// Begins a frame. Its length counts for the reference encoder only.
    pub fn begin(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = self.model.start(frame, self.spare.take(), out);
        self.running = Some(encoder.ok_or(RemakeError::NoSuchFrame)?);
        Ok(())
    }

    /// Takes the running frame's next plain bytes and appends what they complete to `out`.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = self.running.as_mut().ok_or(RemakeError::TooLong)?;
        encoder.write(plain, out).ok_or(RemakeError::Encoder)
    }

    /// Ends the running frame's block although it is not full; nothing if it is empty.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = self.running.as_mut().ok_or(RemakeError::TooShort)?;
        encoder.flush(out).ok_or(RemakeError::Encoder)
    }

    /// Ends the running frame.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = self.running.take().ok_or(RemakeError::TooShort)?;
        self.spare = encoder.finish(out)?;
        Ok(())
    }
}

/// Why a stream could not be remade. The caller has the wrong plain bytes or a damaged recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemakeError {
    /// More plain bytes than the recipe accounts for.
    TooLong,
    /// Fewer plain bytes than the recipe accounts for.
    TooShort,
    /// A frame that the model does not make.
    NoSuchFrame,
    /// The reference encoder failed: memory, most likely.
    Encoder,
}

impl fmt::Display for RemakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "more plain bytes than the recipe accounts for",
            Self::TooShort => "fewer plain bytes than the recipe accounts for",
            Self::NoSuchFrame => "recipe has a frame that its encoder does not make",
            Self::Encoder => "the encoder failed",
        })
    }
}

impl std::error::Error for RemakeError {}

impl<'a> Remaker<'a> {
    /// Starts at the first byte.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self { recipe, part: 0, frames: FrameWriter::new(recipe.model), left_bytes: None }
    }

    /// Takes the next plain bytes and appends what they complete to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !plain.is_empty() {
            self.start_frame(out)?;
            let left_bytes = self.left_bytes.ok_or(RemakeError::TooLong)?;
            let most = usize::try_from(left_bytes).unwrap_or(usize::MAX);
            let (now, later) = plain.split_at(plain.len().min(most));
            self.frames.write(now, out)?;
            plain = later;
            self.left_bytes = Some(left_bytes - now.len() as u64);
            self.end_frame(out)?;
        }
        Ok(())
    }

    /// Ends the stream; all plain bytes must have been written.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        self.start_frame(out)?;
        if self.left_bytes.is_some() { Err(RemakeError::TooShort) } else { Ok(()) }
    }

    /// Starts the next frame unless one is running; what comes before it goes out.
    fn start_frame(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while self.left_bytes.is_none() {
            match self.recipe.parts.get(self.part) {
                None => break,
                Some(Part::Literal(bytes)) => {
                    out.extend_from_slice(bytes);
                    self.part += 1;
                }
                Some(Part::Frame(frame)) => {
                    self.frames.begin(frame, out)?;
                    self.left_bytes = Some(frame.plain_bytes);
                    self.end_frame(out)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the running frame if it is complete.
    fn end_frame(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        if self.left_bytes == Some(0) {
            self.left_bytes = None;
            self.part += 1;
            self.frames.end(out)?;
        }
        Ok(())
    }
}
