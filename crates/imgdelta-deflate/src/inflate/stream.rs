//! A decoder with its own window, for callers that process plain bytes in pieces.
//!
//! Passes plain bytes to a closure, so only the 32 KiB of history are copied twice per chunk.
//! Never holds more than the history and a chunk.

use super::{InflateError, InflateFault, InflateObserver, InflateStatus, Inflater, OUTPUT_SLACK};
use crate::alphabet::WINDOW_BYTES;

/// Most plain bytes in a piece: many compared with the 32 KiB that each chunk moves, and few enough
/// for the cache.
const CHUNK_BYTES: usize = 256 * 1024;

/// A decoder for raw deflate with its own window.
pub struct InflateStream {
    inflater: Inflater,
    window: Box<[u8]>,
    position: usize,
}

impl Default for InflateStream {
    fn default() -> Self {
        Self::new()
    }
}

impl InflateStream {
    /// Makes a decoder at the first bit of a stream.
    pub fn new() -> Self {
        let window = vec![0; WINDOW_BYTES + CHUNK_BYTES + OUTPUT_SLACK].into_boxed_slice();
        Self { inflater: Inflater::new(), window, position: 0 }
    }

    /// Resets the decoder to the first bit of another stream, and keeps its memory.
    pub fn reset(&mut self) {
        self.inflater.reset();
        self.position = 0;
    }

    /// Returns the inner decoder, which has the positions.
    pub fn inflater(&self) -> &Inflater {
        &self.inflater
    }

    /// Inflates all of `input`, or up to the end of the stream, and passes the plain bytes to
    /// `each`. Returns the number of input bytes in the stream, and true at its end.
    ///
    /// # Errors
    /// If the stream is not deflate.
    pub fn push<S: InflateObserver>(
        &mut self,
        input: &[u8],
        observer: &mut S,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), InflateError> {
        let mut read = 0;
        loop {
            if self.position >= WINDOW_BYTES + CHUNK_BYTES {
                self.window.copy_within(self.position - WINDOW_BYTES..self.position, 0);
                self.position = WINDOW_BYTES;
            }
            let before = self.position;
            let result = self.inflater.inflate(&input[read..], &mut self.window, before, observer);
            let progress = result?;
            read += progress.consumed;
            self.position = progress.position;
            if self.position > before {
                each(&self.window[before..self.position]);
            }
            match progress.status {
                InflateStatus::NeedInput => return Ok((read, false)),
                InflateStatus::NeedOutput => {}
                InflateStatus::Done => return Ok((read, true)),
            }
        }
    }

    /// Returns the error of a stream whose input ends too early.
    pub fn truncated(&self) -> InflateError {
        InflateError { bit: self.inflater.bit_position(), fault: InflateFault::Truncated }
    }
}
