//! Level "fastest": one table by six bytes, and two positions per step.
//!
//! After Klaus Post's fastEncoder, which follows zstd's "fast". Never chooses the form of a block.

use super::block::ParsedBlock;
use super::default::before_agrees;
use super::history::{History, agreeing, agreeing_before, eight, four, hash6};
use super::{HashEntry, ParseCursor};

const BITS: u32 = 15;

/// Bytes at the end of a block that are not searched.
const MARGIN: usize = 8;
/// Bytes of the smallest block that is searched.
const FEWEST_BYTES: usize = 10;
/// Exponent of two: after that many bytes without a copy, each step skips one byte more.
const PATIENCE: u32 = 5;

pub(super) struct FastestFinder {
    table: Box<[HashEntry]>,
}

impl FastestFinder {
    pub(super) fn new() -> Self {
        Self { table: HashEntry::table(BITS) }
    }

    pub(super) fn lower(&mut self, by: u32) {
        HashEntry::lower(&mut self.table, by);
    }

    /// Finds the copies of the block at `start`. `alone` is true if the frame has only this block.
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
                let (here, next) = (hash6(word, BITS), hash6(word >> 8, BITS));
                // Both positions are looked up before either is indexed.
                let (old, old_next) = (self.table[here], self.table[next]);
                let entry = HashEntry { head: word as u32, place };
                let entry_next = HashEntry { head: (word >> 8) as u32, place: place + 1 };
                self.table[here] = entry;
                self.table[next] = entry_next;

                if may_repeat && four(bytes, at + 2 - last) == (word >> 16) as u32 {
                    let forward = 4 + agreeing(bytes, at + 6 - last, at + 6);
                    cursor.repeat_nearby(at + 2, last, forward, at.saturating_sub(window as usize));
                    if cursor.at >= end {
                        break 'block;
                    }
                    continue;
                }
                if old.matches(entry, window) {
                    break (old.place - origin) as usize;
                }
                if old_next.matches(entry_next, window) {
                    cursor.at += 1;
                    break (old_next.place - origin) as usize;
                }
                cursor.at += 2 + ((at - cursor.done) >> PATIENCE);
                if cursor.at >= end {
                    break 'block;
                }
            };
            let at = cursor.at;
            let before = std::mem::replace(&mut last, at - from);
            let forward = 4 + agreeing(bytes, from + 4, at + 4);
            let floor = at.saturating_sub(window as usize);
            let back = agreeing_before(bytes, (from, floor), (at, cursor.done));
            cursor.copy(at - back, last, forward + back);
            if cursor.at >= end {
                break;
            }
            if alone {
                may_repeat = cursor.may_repeat();
            }
            if may_repeat && before_agrees(bytes, cursor.at, before) {
                let at = cursor.at;
                let word = eight(bytes, at);
                self.table[hash6(word, BITS)] =
                    HashEntry { head: word as u32, place: origin + at as u32 };
                cursor.repeat_here(4 + agreeing(bytes, at + 4 - before, at + 4));
                last = before;
                if cursor.at >= end {
                    break;
                }
            }
        }
        cursor.finish();
    }
}
