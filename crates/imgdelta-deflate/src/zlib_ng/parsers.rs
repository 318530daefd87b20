//! The parsers of the other levels: one copy at most for each position, greedy, and lazy.
//!
//! Never looks ahead farther than the next byte.

use super::{FARTHEST, MIN_COPY, ZlibNgEncoder};
use crate::alphabet::MAX_COPY;
use crate::token::Token;
use crate::window::{common_258, word};

/// Shortest copy that the lazy parser takes: the hash of level 9 has three bytes.
const SHORTEST_LAZY: usize = 3;
/// The lazy parser inserts no position closer to the end of the data.
const END_BYTES: usize = 3;

impl ZlibNgEncoder {
    /// Level 1 compares only the newest position of the same hash, index zero included.
    pub(super) fn parse_fixed(&mut self, at_end: bool) {
        while self.may_go_on(at_end) {
            // One call ends the only block. Otherwise the last call, which has no bytes, starts one.
            let is_last = self.calls.input_bytes == 0 || at_end && self.is_finishing();
            let is_final = is_last && !self.calls.ends_flushed;
            self.start_fixed(is_final);
            let index = self.index;
            let mut length = 1;
            let mut distance = 0;
            if self.ahead >= MIN_COPY {
                let candidate = self.insert(index);
                let is_in_reach = candidate < index && index - candidate <= FARTHEST;
                if is_in_reach && word(&self.window[..], candidate) == word(&self.window[..], index)
                {
                    let common = common_258(&self.window, candidate as u16, index as u16);
                    length = common.min(self.ahead).min(MAX_COPY);
                    distance = index - candidate;
                }
            }
            self.tokens.push(match distance {
                0 => Token::literal(self.window[index]),
                _ => Token::copy(length, distance),
            });
            self.index += length;
            self.ahead -= length;
        }
    }

    pub(super) fn parse_greedy(&mut self, at_end: bool) {
        while self.may_go_on(at_end) {
            let index = self.index;
            let mut length = 0;
            if self.ahead >= MIN_COPY {
                let candidate = self.insert(index);
                if self.is_in_reach(candidate) {
                    let found = self.longest(candidate, 0, self.lazy.start);
                    self.lazy.start = found.start;
                    length = found.length;
                }
            }
            let is_full = if length >= MIN_COPY {
                self.ahead -= length;
                self.index += length;
                if length <= self.effort.lazy && self.ahead >= MIN_COPY {
                    self.insert_all(index + 1, length - 1);
                } else {
                    self.insert(self.index - 1);
                }
                self.push(Token::copy(length, index - self.lazy.start))
            } else {
                self.ahead -= 1;
                self.index += 1;
                self.push(Token::literal(self.window[index]))
            };
            if is_full {
                self.end_block(false);
            }
        }
    }

    pub(super) fn parse_lazy(&mut self, at_end: bool) {
        while self.may_go_on(at_end) {
            let index = self.index;
            let candidate = if self.ahead >= MIN_COPY { self.insert(index) } else { 0 };
            let before = self.lazy;
            let mut length = 2;
            if self.is_in_reach(candidate) && before.length < self.effort.lazy {
                let found = if self.level == 9 {
                    self.longest_by_offsets(candidate, before.length, before.start)
                } else {
                    self.longest(candidate, before.length, before.start)
                };
                length = found.length;
                self.lazy.start = found.start;
            }
            if before.length >= SHORTEST_LAZY && length <= before.length {
                let end = index + self.ahead;
                let is_full = self.push(Token::copy(before.length, index - 1 - before.start));
                let forward = before.length - 2;
                let insertable = (end - END_BYTES).saturating_sub(index);
                self.insert_all(index + 1, forward.min(insertable));
                self.ahead -= before.length - 1;
                self.index = index + before.length - 1;
                self.lazy.length = 0;
                self.lazy.pending = false;
                if is_full {
                    self.end_block(false);
                }
            } else {
                let is_full =
                    self.lazy.pending && self.push(Token::literal(self.window[index - 1]));
                if is_full {
                    self.end_block(false);
                }
                self.lazy.pending = true;
                self.lazy.length = length;
                self.index += 1;
                self.ahead -= 1;
            }
        }
        if at_end && self.lazy.pending {
            let byte = self.window[self.index - 1];
            self.push(Token::literal(byte));
            self.lazy.pending = false;
        }
    }
}
