//! Remakes a compressed stream from its plain bytes, by a recipe or frame by frame.
//!
//! Memory is the encoder's: twice the window plus the tables, 18 MiB at klauspost's default level.
//! Never checks more than the length of the plain bytes: callers check the digest of the result.

use crate::encoder::{FrameEncoder, SpareEncoder};
use crate::error::RemakeError;
use crate::model::EncoderModel;
use crate::recipe::{FrameRecipe, Recipe, RecipePart, plain_bytes};

/// Remakes one compressed stream.
pub struct Remaker<'a> {
    recipe: &'a Recipe,
    /// Index of the current part in the recipe.
    part: usize,
    frames: FrameWriter,
    /// Plain bytes that the open frame still needs. `None` between frames.
    left_bytes: Option<u64>,
}

/// Writes frames of one encoder, one after another. The caller begins and ends each frame.
pub struct FrameWriter {
    model: EncoderModel,
    open: Option<FrameEncoder>,
    /// The encoder of the last frame, which can write another one.
    spare: Option<SpareEncoder>,
}

impl FrameWriter {
    /// Makes a writer without an open frame.
    pub fn new(model: EncoderModel) -> Self {
        Self { model, open: None, spare: None }
    }

    /// Begins a frame. Only the reference encoder uses the plain length in `frame`.
    pub fn begin(&mut self, frame: &FrameRecipe, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = FrameEncoder::start(self.model, frame, self.spare.take(), out);
        self.open = Some(encoder.ok_or(RemakeError::NoSuchFrame)?);
        Ok(())
    }

    /// Takes the next plain bytes of the open frame and appends the finished output to `out`.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = self.open.as_mut().ok_or(RemakeError::NoOpenFrame)?;
        encoder.write(plain, out).ok_or(RemakeError::Encoder)
    }

    /// Ends the current block before it is full. Does nothing if the block is empty.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = self.open.as_mut().ok_or(RemakeError::NoOpenFrame)?;
        encoder.flush(out).ok_or(RemakeError::Encoder)
    }

    /// Ends the open frame.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let encoder = self.open.take().ok_or(RemakeError::NoOpenFrame)?;
        self.spare = Some(encoder.finish(out)?);
        Ok(())
    }
}

impl<'a> Remaker<'a> {
    /// Makes a remaker at the first byte of the stream.
    pub fn new(recipe: &'a Recipe) -> Self {
        Self { recipe, part: 0, frames: FrameWriter::new(recipe.model), left_bytes: None }
    }

    /// Takes the next plain bytes and appends the finished output to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !plain.is_empty() {
            self.start_frame(out)?;
            let Some(left_bytes) = self.left_bytes else {
                let expected_bytes = self.recipe.plain_bytes();
                let found_bytes = expected_bytes.saturating_add(plain.len() as u64);
                return Err(RemakeError::TooLong { expected_bytes, found_bytes });
            };
            let most = usize::try_from(left_bytes).unwrap_or(usize::MAX);
            let (now, later) = plain.split_at(plain.len().min(most));
            self.frames.write(now, out)?;
            plain = later;
            self.left_bytes = Some(left_bytes - now.len() as u64);
            self.end_frame(out)?;
        }
        Ok(())
    }

    /// Ends the stream after the last plain bytes.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        self.start_frame(out)?;
        let Some(left_bytes) = self.left_bytes else { return Ok(()) };
        let done = plain_bytes(&self.recipe.parts[..=self.part]);
        Err(RemakeError::TooShort {
            expected_bytes: self.recipe.plain_bytes(),
            found_bytes: done.saturating_sub(left_bytes),
        })
    }

    /// Begins the next frame unless one is open. Writes the literal parts before it.
    fn start_frame(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while self.left_bytes.is_none() {
            match self.recipe.parts.get(self.part) {
                None => break,
                Some(RecipePart::Literal(bytes)) => {
                    out.extend_from_slice(bytes);
                    self.part += 1;
                }
                Some(RecipePart::Frame(frame)) => {
                    self.frames.begin(frame, out)?;
                    self.left_bytes = Some(frame.plain_bytes);
                    self.end_frame(out)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the open frame if it is complete.
    fn end_frame(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        if self.left_bytes == Some(0) {
            self.left_bytes = None;
            self.part += 1;
            self.frames.end(out)?;
        }
        Ok(())
    }
}
