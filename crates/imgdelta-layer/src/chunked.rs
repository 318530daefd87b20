//! A zstd:chunked blob: frames that begin where files do, and behind them a table of contents.
//!
//! containers/storage writes such layers for podman, buildah and skopeo. Where it cuts follows from
//! the tar stream; its table tells again what the stream and the frames tell, and later versions add
//! the tar's headers (tar-split). So all of it is made anew, and little but the encoder's name
//! travels. Held are a block of the stream, the compressed texts, and what the encoder holds. Never
//! compares: the caller knows what the blob should be.

mod contents;
mod cuts;
mod files;
mod json;
mod recipe;
mod split;
mod texts;

pub use recipe::Recipe;
pub use recipe::{MOST_TEXT_BYTES, Style};

use crate::remake::Remake;
use cuts::Cuts;
use imgdelta_core::{Limits, error::Cause};
use imgdelta_zstd::{Frame, FrameWriter, RemakeError};
use std::fmt;
use texts::Texts;

/// Who makes frames, or has them already.
pub trait Frames {
    /// Begins a frame with this header.
    fn begin(&mut self, header: Vec<u8>, out: &mut Vec<u8>) -> Result<(), Cause>;

    /// Takes its next plain bytes.
    fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause>;

    /// Ends its block.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Cause>;

    /// Ends it and returns where it ends in the blob.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<u64, Cause>;
}

/// A blob remade from its stream.
pub struct Chunked<'a, F> {
    recipe: &'a Recipe,
    /// None once all are made: what its encoder held is free for the texts.
    frames: Option<F>,
    cuts: Cuts,
    texts: Texts<'a>,
    /// Bytes of the stream that no frame has taken yet, and where they start.
    held: Vec<u8>,
    start: u64,
    is_in_frame: bool,
}

impl<'a> Chunked<'a, Made> {
    /// Starts a layer that is written to a buffer.
    pub fn new(recipe: &'a Recipe, limits: &Limits) -> Self {
        let frames = FrameWriter::new(recipe.model);
        Self::with(recipe, Made { frames, bytes: 0 }, limits)
    }
}

impl<'a, F: Frames> Chunked<'a, F> {
    /// Starts a layer whose frames `frames` writes.
    pub fn with(recipe: &'a Recipe, frames: F, limits: &Limits) -> Self {
        Self {
            recipe,
            frames: Some(frames),
            cuts: Cuts::new(limits),
            texts: Texts::new(recipe, limits),
            held: Vec::new(),
            start: 0,
            is_in_frame: false,
        }
    }

    /// Hands on what it is known to which frame it belongs.
    fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        let mut taken = 0;
        let frames = self.frames.as_mut().ok_or(RemakeError::TooLong)?;
        loop {
            let at = self.start + taken as u64;
            let cut = self.cuts.next_after(at);
            // A member that is recognised late may unsettle what was taken already.
            let known = cut.unwrap_or_else(|| self.cuts.settled().max(at));
            let archive_end = self.cuts.archive_end(cut);
            if !self.is_in_frame {
                // A header tells the length of a frame of less than a block, and of no other.
                let full = self.recipe.model.block_bytes().ok_or(Unlike)?;
                let plain_bytes = known - at;
                if plain_bytes == 0 || plain_bytes < full && cut.is_none() {
                    break;
                }
                let header = match archive_end {
                    None => self.recipe.header_of(plain_bytes),
                    // Flushed before its length was known.
                    Some(_) => self.recipe.header.clone(),
                };
                frames.begin(header, out)?;
                self.texts.begin_frame(cut.map(|_| plain_bytes));
                self.is_in_frame = true;
            }
            let index = |position: u64| {
                usize::try_from(position - self.start).expect("what is held is in memory")
            };
            let end = index(known);
            let plain = &self.held[taken..end];
            let flushed = archive_end.filter(|&place| place > at);
            let flushed = flushed.map_or(0, |place| index(place) - taken);
            if flushed > 0 {
                frames.write(&plain[..flushed], out)?;
                frames.flush(out)?;
            }
            frames.write(&plain[flushed..], out)?;
            self.texts.push(plain)?;
            taken = end;
            if cut.is_none() {
                break;
            }
            if archive_end.is_some() && self.recipe.style.is_flushed {
                frames.flush(out)?;
            }
            let end = frames.end(out)?;
            self.texts.end_frame(end)?;
            self.is_in_frame = false;
        }
        self.held.drain(..taken);
        self.start += taken as u64;
        Ok(())
    }
}

impl<F: Frames> Remake for Chunked<'_, F> {
    fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause> {
        self.cuts.push(plain)?;
        self.held.extend_from_slice(plain);
        self.advance(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        self.cuts.finish();
        self.advance(out)?;
        self.frames = None;
        self.texts.finish(out)
    }
}

/// Frames by their encoder.
pub struct Made {
    frames: FrameWriter,
    /// Bytes of the blob so far.
    bytes: u64,
}

impl Made {
    /// Does something and counts what comes of it.
    fn count(
        &mut self,
        out: &mut Vec<u8>,
        make: impl FnOnce(&mut FrameWriter, &mut Vec<u8>) -> Result<(), RemakeError>,
    ) -> Result<(), Cause> {
        let before = out.len();
        make(&mut self.frames, out)?;
        self.bytes += (out.len() - before) as u64;
        Ok(())
    }
}

impl Frames for Made {
    fn begin(&mut self, header: Vec<u8>, out: &mut Vec<u8>) -> Result<(), Cause> {
        let frame = Frame { header, ..Frame::default() };
        self.count(out, |frames, out| frames.begin(&frame, out))
    }

    fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause> {
        self.count(out, |frames, out| frames.write(plain, out))
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        self.count(out, FrameWriter::flush)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<u64, Cause> {
        self.count(out, FrameWriter::end)?;
        Ok(self.bytes)
    }
}

/// The stream and its frames are not those of a chunked layer as we would write one.
#[derive(Debug)]
struct Unlike;

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its table of contents cannot be written: the stream is no layer of that kind")
    }
}

impl std::error::Error for Unlike {}

/// How the frames begin that decoders pass over.
pub const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

#[cfg(test)]
mod tests;
