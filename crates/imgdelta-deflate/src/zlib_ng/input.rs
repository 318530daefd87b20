//! The input of an encoder, as the calls of the program bring it.
//!
//! The window takes as much as fits from the current call, so the caller of this crate may write in
//! any pieces. Never holds more than two windows and the piece.

use super::{CallSizes, FARTHEST, HALF, LOOKAHEAD, ZlibNgEncoder};
use crate::window::BUFFER_BYTES;

/// Plain bytes that are not in the window yet.
pub(super) struct CallInput {
    bytes: Vec<u8>,
    taken: usize,
    /// Bytes of a call. `usize::MAX` for one call.
    call_bytes: usize,
    /// Bytes of the current call that are still to come.
    left: usize,
    /// True to take bytes even if the call has more of them.
    pub(super) take_short: bool,
}

impl CallInput {
    pub(super) fn new(calls: CallSizes) -> Self {
        let call_bytes = match calls.input_bytes {
            0 => usize::MAX,
            bytes => bytes as usize,
        };
        Self { bytes: Vec::new(), taken: 0, call_bytes, left: 0, take_short: false }
    }

    pub(super) fn push(&mut self, plain: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(plain);
    }

    fn waiting(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Copies bytes of the current call into `room`, and returns their number.
    fn take(&mut self, room: &mut [u8]) -> usize {
        let count = room.len().min(self.left).min(self.waiting());
        room[..count].copy_from_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
        self.left -= count;
        count
    }
}

impl ZlibNgEncoder {
    /// Fills the window before the next token, if fewer bytes are ahead than a copy needs. True if
    /// there is a next token.
    #[inline]
    pub(super) fn may_go_on(&mut self, at_end: bool) -> bool {
        self.ahead >= LOOKAHEAD || self.refill(at_end)
    }

    /// True if the last call is reached, which ends the stream.
    pub(super) fn is_finishing(&self) -> bool {
        self.ahead < LOOKAHEAD && self.input.waiting() == 0
    }

    #[cold]
    fn refill(&mut self, at_end: bool) -> bool {
        loop {
            if self.input.left == 0 && self.input.waiting() > 0 {
                if self.level == 1 && self.ahead > 0 {
                    // Bytes of the call before open a block, even if they are too few to parse.
                    self.start_fixed(false);
                }
                self.input.left = self.input.call_bytes;
                self.room = u64::from(self.calls.output_bytes);
            }
            let wanted = self.input.left.clamp(1, BUFFER_BYTES);
            let must_wait = self.input.waiting() < wanted && !self.input.take_short;
            if !at_end && (must_wait || self.input.waiting() == 0) {
                return false;
            }
            self.medium.forget();
            self.slide_if_due();
            self.read();
            if self.ahead >= LOOKAHEAD {
                return true;
            }
            if self.input.waiting() == 0 && at_end {
                return self.ahead > 0;
            }
        }
    }

    /// Reads bytes of the current call into the window.
    fn read(&mut self) {
        while self.ahead < LOOKAHEAD && self.input.left > 0 && self.input.waiting() > 0 {
            let end = self.index + self.ahead;
            self.ahead += self.input.take(&mut self.window[end..BUFFER_BYTES]);
            // The hash of the byte before may have lacked bytes. Level 9 has no use for it.
            if self.level < 9 && self.ahead >= 3 && self.index > 0 {
                self.insert(self.index - 1);
            }
        }
    }

    fn slide_if_due(&mut self) {
        if self.index < HALF + FARTHEST {
            return;
        }
        self.has_slid = true;
        self.window.copy_within(HALF..BUFFER_BYTES, 0);
        self.index -= HALF;
        self.block_start -= HALF as isize;
        if self.lazy.start >= HALF {
            self.lazy.start -= HALF;
        } else {
            self.lazy.start = 0;
            self.lazy.length = 0;
        }
        for entry in self.heads.iter_mut() {
            *entry = entry.saturating_sub(HALF as u16);
        }
        for entry in self.chain.iter_mut() {
            *entry = entry.saturating_sub(HALF as u16);
        }
    }
}
