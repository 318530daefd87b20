//! Rebuilds zstd:chunked blobs: frames that begin where files do, then a table of contents.
//! Never compares: the caller knows the blob's digest.
//!
//! containers/storage writes such layers for podman, buildah and skopeo. The cuts follow from the
//! tar stream. The table of contents repeats data of the stream and the frames; later versions add
//! the tar headers (tar-split). All of this is rebuilt, so a recipe is little more than the name of
//! the encoder.
//!
//! Memory: a block of the stream, the compressed texts, and the encoder's own.

mod contents;
mod cuts;
mod files;
mod json;
mod recipe;
mod split;
mod texts;

pub use recipe::ChunkedRecipe;
pub use recipe::{MOST_TEXT_BYTES, TextStyle};

use crate::remake::Remake;
use cuts::CutFinder;
use imgdelta_core::{Limits, error::Cause};
use imgdelta_zstd::{FrameRecipe, FrameWriter, RemakeError};
use std::fmt;
use texts::TextWriter;

/// An encoder of zstd frames, or a check of frames that exist already.
pub trait FrameEncoder {
    /// Begins a frame with this header.
    fn begin(&mut self, header: Vec<u8>, out: &mut Vec<u8>) -> Result<(), Cause>;

    /// Adds plain bytes to the frame.
    fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Cause>;

    /// Ends the current block of the frame.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Cause>;

    /// Ends the frame, and returns the offset of its end in the blob.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<u64, Cause>;
}

/// A compressor that rebuilds a zstd:chunked blob from its stream.
pub struct ChunkedRemaker<'a, F> {
    recipe: &'a ChunkedRecipe,
    /// None once all frames are written, so that the encoder's memory is free for the texts.
    frames: Option<F>,
    cuts: CutFinder,
    texts: TextWriter<'a>,
    /// Bytes of the stream that are in no frame yet.
    held: Vec<u8>,
    /// Offset of `held` in the stream.
    start: u64,
    is_in_frame: bool,
}

impl<'a> ChunkedRemaker<'a, ModelFrameEncoder> {
    /// Starts a blob whose frames are compressed by the recipe's model.
    pub fn new(recipe: &'a ChunkedRecipe, limits: &Limits) -> Self {
        let frames = FrameWriter::new(recipe.model);
        Self::with(recipe, ModelFrameEncoder { frames, bytes: 0 }, limits)
    }
}

impl<'a, F: FrameEncoder> ChunkedRemaker<'a, F> {
    /// Starts a blob whose frames come from `frames`.
    pub fn with(recipe: &'a ChunkedRecipe, frames: F, limits: &Limits) -> Self {
        Self {
            recipe,
            frames: Some(frames),
            cuts: CutFinder::new(limits),
            texts: TextWriter::new(recipe, limits),
            held: Vec::new(),
            start: 0,
            is_in_frame: false,
        }
    }

    /// Writes all held bytes of which the frame is known.
    fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        let mut written = 0;
        let frames = self.frames.as_mut().ok_or(RemakeError::Finished)?;
        loop {
            let at = self.start + written as u64;
            let cut = self.cuts.next_after(at);
            // A member that is recognised late may move `settled` before bytes that are written.
            let until = cut.unwrap_or_else(|| self.cuts.settled().max(at));
            let archive_end = self.cuts.archive_end(cut);
            if !self.is_in_frame {
                // Only the header of a frame shorter than a block has the frame's length.
                let full = self.recipe.model.block_bytes().ok_or(UnsupportedStream)?;
                let plain_bytes = until - at;
                if plain_bytes == 0 || plain_bytes < full && cut.is_none() {
                    break;
                }
                let header = match archive_end {
                    None => self.recipe.header_of(plain_bytes),
                    // The writer flushed before it knew the length.
                    Some(_) => self.recipe.header.clone(),
                };
                frames.begin(header, out)?;
                self.texts.begin_frame(cut.map(|_| plain_bytes));
                self.is_in_frame = true;
            }
            let index = |position: u64| {
                usize::try_from(position - self.start).expect("held bytes are in memory")
            };
            let end = index(until);
            let plain = &self.held[written..end];
            let flushed = archive_end.filter(|&position| position > at);
            let flushed = flushed.map_or(0, |position| index(position) - written);
            if flushed > 0 {
                frames.write(&plain[..flushed], out)?;
                frames.flush(out)?;
            }
            frames.write(&plain[flushed..], out)?;
            self.texts.push(plain)?;
            written = end;
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
        self.held.drain(..written);
        self.start += written as u64;
        Ok(())
    }
}

impl<F: FrameEncoder> Remake for ChunkedRemaker<'_, F> {
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

/// An encoder of frames by a model of `imgdelta-zstd`.
pub struct ModelFrameEncoder {
    frames: FrameWriter,
    /// Bytes of the blob so far.
    bytes: u64,
}

impl ModelFrameEncoder {
    /// Calls `write`, and counts the bytes that it appends to `out`.
    fn count(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut FrameWriter, &mut Vec<u8>) -> Result<(), RemakeError>,
    ) -> Result<(), Cause> {
        let before = out.len();
        write(&mut self.frames, out)?;
        self.bytes += (out.len() - before) as u64;
        Ok(())
    }
}

impl FrameEncoder for ModelFrameEncoder {
    fn begin(&mut self, header: Vec<u8>, out: &mut Vec<u8>) -> Result<(), Cause> {
        let frame = FrameRecipe { header, ..FrameRecipe::default() };
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

/// The stream is not a layer that this writer of zstd:chunked supports.
#[derive(Debug)]
struct UnsupportedStream;

impl fmt::Display for UnsupportedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot write a zstd:chunked table of contents for this stream")
    }
}

impl std::error::Error for UnsupportedStream {}

/// First bytes of a skippable zstd frame, as zstd:chunked uses them for its texts.
pub const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

#[cfg(test)]
mod tests;
