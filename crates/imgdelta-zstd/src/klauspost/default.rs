//! Level "default": a table by eight bytes and one by five, each with the latest position.
//!
//! After Klaus Post's doubleFastEncoder, which follows zstd's "dfast". docs/encoders.md describes
//! each step. Never chooses the form of a block.

use super::block::ParsedBlock;
use super::history::{History, agreeing, agreeing_before, eight, four, hash5, hash8};
use super::{HashEntry, ParseCursor};

const LONG_BITS: u32 = 17;
const SHORT_BITS: u32 = 15;

/// Bytes at the end of a block that are not searched.
const MARGIN: usize = 10;
/// Bytes of the smallest block that is searched.
const FEWEST_BYTES: usize = 16;
/// Exponent of two: after that many bytes without a copy, each step skips one byte more.
const PATIENCE: u32 = 7;

pub(super) struct DefaultFinder {
    long: Box<[HashEntry]>,
    short: Box<[HashEntry]>,
}

impl DefaultFinder {
    pub(super) fn new() -> Self {
        Self { long: HashEntry::table(LONG_BITS), short: HashEntry::table(SHORT_BITS) }
    }

    pub(super) fn lower(&mut self, by: u32) {
        HashEntry::lower(&mut self.long, by);
        HashEntry::lower(&mut self.short, by);
    }

    /// Finds the copies of the block at `start`. `alone` is true if the frame has only this block.
    /// The original has a second loop for such frames, which differs in two details.
    pub(super) fn parse(
        &mut self,
        history: &History,
        start: usize,
        alone: bool,
        parsed: &mut ParsedBlock,
    ) {
        let bytes = history.bytes();
        if bytes.len() - start < FEWEST_BYTES {
            parsed.literals.extend_from_slice(&bytes[start..]);
            return;
        }
        let (origin, window) = (history.origin(), history.window());
        let end = bytes.len() - MARGIN;
        let mut cursor = ParseCursor { bytes, at: start, done: start, parsed };
        // Distance of the last copy.
        let mut last = 0;

        'block: loop {
            let mut may_repeat = cursor.may_repeat();
            let from = loop {
                if alone {
                    may_repeat = cursor.may_repeat();
                }
                let at = cursor.at;
                let word = eight(bytes, at);
                let place = origin + at as u32;
                let entry = HashEntry { head: word as u32, place };
                let long = std::mem::replace(&mut self.long[hash8(word, LONG_BITS)], entry);
                let short = std::mem::replace(&mut self.short[hash5(word, SHORT_BITS)], entry);

                if may_repeat && four(bytes, at + 1 - last) == (word >> 8) as u32 {
                    let forward = 4 + agreeing(bytes, at + 5 - last, at + 5);
                    cursor.repeat_nearby(at + 1, last, forward, at.saturating_sub(window as usize));
                    if cursor.at >= end {
                        break 'block;
                    }
                    continue;
                }
                if long.matches(entry, window) {
                    break (long.place - origin) as usize;
                }
                if short.matches(entry, window) {
                    // A long copy that begins at the next byte is preferred.
                    let word = eight(bytes, at + 1);
                    let next = HashEntry { head: word as u32, place: place + 1 };
                    let long = std::mem::replace(&mut self.long[hash8(word, LONG_BITS)], next);
                    if long.matches(next, window) {
                        cursor.at += 1;
                        break (long.place - origin) as usize;
                    }
                    break (short.place - origin) as usize;
                }
                cursor.at += 1 + ((at - cursor.done) >> PATIENCE);
                if cursor.at >= end {
                    break 'block;
                }
            };
            let at = cursor.at;
            let mut before = std::mem::replace(&mut last, at - from);
            let forward = 4 + agreeing(bytes, from + 4, at + 4);
            let floor = at.saturating_sub(window as usize);
            let back = agreeing_before(bytes, (from, floor), (at, cursor.done));
            cursor.copy(at - back, last, forward + back);
            if cursor.at >= end {
                break;
            }
            // Indexes the second and third byte of the copy, and its last two bytes.
            for at in [at - back + 1, cursor.at - 2] {
                self.insert_pair(bytes, at, origin);
            }
            if alone {
                may_repeat = cursor.may_repeat();
            }
            if !may_repeat {
                continue;
            }
            let mut slot = None;
            while before_agrees(bytes, cursor.at, before) {
                let at = cursor.at;
                let word = eight(bytes, at);
                let entry = HashEntry { head: word as u32, place: origin + at as u32 };
                let hash = hash5(word, SHORT_BITS);
                // The original's second loop uses the hash of the first such copy for all of them.
                let short = if alone { *slot.get_or_insert(hash) } else { hash };
                self.long[hash8(word, LONG_BITS)] = entry;
                self.short[short] = entry;
                cursor.repeat_here(4 + agreeing(bytes, at + 4 - before, at + 4));
                (last, before) = (before, last);
                if cursor.at >= end {
                    break 'block;
                }
            }
        }
        cursor.finish();
    }

    fn insert_pair(&mut self, bytes: &[u8], at: usize, origin: u32) {
        let word = eight(bytes, at);
        let place = origin + at as u32;
        self.long[hash8(word, LONG_BITS)] = HashEntry { head: word as u32, place };
        let word = word >> 8;
        self.short[hash5(word, SHORT_BITS)] = HashEntry { head: word as u32, place: place + 1 };
    }
}

/// True if the distance `before` gives four equal bytes at `at`.
pub(super) fn before_agrees(bytes: &[u8], at: usize, before: usize) -> bool {
    four(bytes, at) == four(bytes, at - before)
}
