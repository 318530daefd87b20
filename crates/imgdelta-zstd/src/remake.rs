//! Plain bytes in, the compressed stream out, bit for bit.
//!
//! Streams: holds what the model holds, which is twice the window and the tables (18 MiB for
//! klauspost's default). Never checks that the result is right beyond its length: the caller
//! knows the digest.

use crate::klauspost::Klauspost;
use crate::model::Encoder;
use crate::recipe::{Part, Recipe};
use std::fmt;

/// Remakes one compressed stream.
pub struct Remaker<'a> {
    recipe: &'a Recipe,
    /// The part being written, counting those that are done.
    part: usize,
    running: Option<Running>,
    /// An encoder that made a frame and can make another.
    spare: Option<Box<Klauspost>>,
}

struct Running {
    encoder: Encoder,
    left_bytes: u64,
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
        Self { recipe, part: 0, running: None, spare: None }
    }

    /// Takes the next plain bytes and appends what they complete to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while !plain.is_empty() {
            self.start_frame(out)?;
            let Some(running) = &mut self.running else { return Err(RemakeError::TooLong) };
            let most = usize::try_from(running.left_bytes).unwrap_or(usize::MAX);
            let (now, later) = plain.split_at(plain.len().min(most));
            running.encoder.write(now, out).ok_or(RemakeError::Encoder)?;
            running.left_bytes -= now.len() as u64;
            plain = later;
            if running.left_bytes == 0 {
                self.end_frame(out)?;
            }
        }
        Ok(())
    }

    /// Ends the stream; all plain bytes must have been written.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        self.start_frame(out)?;
        if self.running.is_some() { Err(RemakeError::TooShort) } else { Ok(()) }
    }

    /// Starts the next frame unless one is running; what comes before it goes out.
    fn start_frame(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        while self.running.is_none() {
            match self.recipe.parts.get(self.part) {
                None => break,
                Some(Part::Literal(bytes)) => {
                    out.extend_from_slice(bytes);
                    self.part += 1;
                }
                Some(Part::Frame(frame)) => {
                    let encoder = self.recipe.model.start(frame, self.spare.take(), out);
                    let encoder = encoder.ok_or(RemakeError::NoSuchFrame)?;
                    self.running = Some(Running { encoder, left_bytes: frame.plain_bytes });
                    if frame.plain_bytes == 0 {
                        self.end_frame(out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) -> Result<(), RemakeError> {
        let Some(running) = self.running.take() else { return Ok(()) };
        self.spare = running.encoder.finish(out)?;
        self.part += 1;
        Ok(())
    }
}
