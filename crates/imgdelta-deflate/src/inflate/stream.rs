//! An inflater with a window of its own, for callers that only want the bytes to go by.
//!
//! Holds 32 KiB of history and a chunk; plain bytes are lent to a closure as they come, so none
//! is copied twice except the 32 KiB kept per chunk. Never holds more than that.

use super::{Fault, InflateError, Inflater, OUTPUT_SLACK, Sink, Status};
use crate::alphabet::WINDOW_BYTES;

/// Plain bytes handed on at a time: large beside the 32 KiB moved for each, small beside caches.
const CHUNK_BYTES: usize = 256 * 1024;

/// A raw deflate decoder that keeps its own window.
pub struct Stream {
    inflater: Inflater,
    window: Box<[u8]>,
    position: usize,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// Makes a decoder that stands at the first bit of a stream.
    pub fn new() -> Self {
        let window = vec![0; WINDOW_BYTES + CHUNK_BYTES + OUTPUT_SLACK].into_boxed_slice();
        Self { inflater: Inflater::new(), window, position: 0 }
    }

    /// Stands at the first bit of another stream, keeping its memory.
    pub fn reset(&mut self) {
        self.inflater.reset();
        self.position = 0;
    }

    /// Returns the decoder, for its positions.
    pub fn inflater(&self) -> &Inflater {
        &self.inflater
    }

    /// Inflates all of `input`, or up to the end of the stream; lends the plain bytes to `each`.
    /// Returns how many input bytes belong to the stream and whether it ended.
    ///
    /// # Errors
    /// When the stream is not deflate.
    pub fn push<S: Sink>(
        &mut self,
        input: &[u8],
        sink: &mut S,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), InflateError> {
        let mut read = 0;
        loop {
            if self.position >= WINDOW_BYTES + CHUNK_BYTES {
                self.window.copy_within(self.position - WINDOW_BYTES..self.position, 0);
                self.position = WINDOW_BYTES;
            }
            let before = self.position;
            let result = self.inflater.inflate(&input[read..], &mut self.window, before, sink);
            let progress = result?;
            read += progress.consumed;
            self.position = progress.position;
            if self.position > before {
                each(&self.window[before..self.position]);
            }
            match progress.status {
                Status::NeedInput => return Ok((read, false)),
                Status::NeedOutput => {}
                Status::Done => return Ok((read, true)),
            }
        }
    }

    /// The error of a stream whose input ended before it did.
    pub fn truncated(&self) -> InflateError {
        InflateError { bit: self.inflater.bit_position(), fault: Fault::Truncated }
    }
}
