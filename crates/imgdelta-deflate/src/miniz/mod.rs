//! `miniz_oxide`, the encoder of Rust's flate2 without features.
//!
//! Re-created from its behaviour; credit: Rich Geldreich (miniz) and the `miniz_oxide` authors (MIT, see
//! NOTICE). Positions have zlib's hash of three bytes. Level 1 compares one older position and works in
//! pieces of 4096 bytes; levels 2 and 3 are greedy, and the others lazy. A block ends when its tokens
//! take 64 KiB in the original's buffer, or after 31 KiB that do not become smaller. The calls of a
//! program change nothing, except for the output buffer at level 1, for which flate2's size is assumed.
//!
//! Positions have 16 bits, so the chains run on into unrelated positions after 64 KiB, and each of
//! these counts as a try. Never models strategies other than the default, or flushes within the stream.

mod blocks;

use crate::alphabet::{MAX_COPY, MIN_COPY};
use crate::bits::BitWriter;
use crate::token::Token;
use crate::window::{common, table, word};
use blocks::{BlockTokens, write_block};

/// The encoder while it writes a stream.
pub(crate) struct MinizEncoder {
    pub(crate) bits: BitWriter,
    level: u8,
    ends_flushed: bool,
    /// Groups of candidates that are tried for short and for long copies, plus one.
    groups: [u32; 2],
    /// The history, and the bytes to parse.
    bytes: Vec<u8>,
    /// Index of the next byte to parse.
    here: usize,
    /// Bytes of the stream before it.
    position: u64,
    /// Bytes of history within reach.
    history: usize,
    /// Positions in the chains.
    inserted: u64,
    heads: Box<[u16; TABLE]>,
    links: Box<[u16; TABLE]>,
    pending: Option<PendingCopy>,
    block: BlockTokens,
    /// Free bytes of the output buffer.
    room: usize,
}

/// A copy that waits for the search at the next byte.
#[derive(Clone, Copy)]
struct PendingCopy {
    literal: u8,
    copy: MinizCopy,
}

#[derive(Clone, Copy)]
struct MinizCopy {
    length: usize,
    /// Zero if no copy was found.
    distance: usize,
}

/// Entries of a table, and the bytes of the window.
const TABLE: usize = 32_768;
/// Bytes of a piece at level 1.
const PIECE_BYTES: usize = 4096;
/// Least distance of a copy of three bytes that is not worth it.
const FAR_FOR_THREE: usize = 8192;
/// Length from which a copy is taken without a look at the next byte.
const LONG: usize = 128;
/// Length of the copy so far from which fewer candidates are tried.
const FEWER_TRIES: usize = 32;
/// Bytes of flate2's output buffer.
const OUTPUT_BYTES: usize = 32 << 10;
/// Candidates in a group.
const GROUP: usize = 3;
/// Bytes of history that are kept before the next byte, and the most before some are dropped.
const KEPT_BYTES: usize = 2 * TABLE;
const MOST_BYTES: usize = 6 * TABLE;

/// Returns the candidates of a level.
fn tries(level: u8) -> Option<u32> {
    [1, 6, 32, 16, 32, 128, 256, 512, 768, 1500].get(usize::from(level).checked_sub(1)?).copied()
}

impl MinizEncoder {
    pub(crate) fn new(level: u8, ends_flushed: bool) -> Option<Self> {
        let mut encoder = Self {
            bits: BitWriter::new(),
            level,
            ends_flushed,
            groups: [0; 2],
            bytes: Vec::new(),
            here: 0,
            position: 0,
            history: 0,
            inserted: 0,
            heads: table(),
            links: table(),
            pending: None,
            block: BlockTokens::default(),
            room: OUTPUT_BYTES,
        };
        encoder.retune(level, ends_flushed)?;
        Some(encoder)
    }

    /// Resets the encoder for another stream.
    pub(crate) fn restart(&mut self) {
        self.bits.clear();
        self.bytes.clear();
        self.here = 0;
        self.position = 0;
        self.history = 0;
        self.inserted = 0;
        self.heads.fill(0);
        self.links.fill(0);
        self.pending = None;
        self.block.clear();
        self.room = OUTPUT_BYTES;
    }

    /// Changes the parameters before the next stream.
    pub(crate) fn retune(&mut self, level: u8, ends_flushed: bool) -> Option<()> {
        let tries = tries(level)?;
        self.level = level;
        self.ends_flushed = ends_flushed;
        self.groups = [tries, tries >> 2].map(|tries| 1 + (tries + 2) / GROUP as u32);
        Some(())
    }

    /// Returns the first tokens of a stream that begins with `plain`, except for those of its last
    /// bytes. The stream cannot go on.
    pub(crate) fn first_tokens(&mut self, plain: &[u8]) -> &[Token] {
        self.write(plain);
        self.block.tokens()
    }

    pub(crate) fn write(&mut self, mut plain: &[u8]) {
        while !plain.is_empty() {
            if self.here > MOST_BYTES {
                self.bytes.drain(..self.here - KEPT_BYTES);
                self.here = KEPT_BYTES;
            }
            let (now, later) = plain.split_at(plain.len().min(KEPT_BYTES));
            self.bytes.extend_from_slice(now);
            plain = later;
            self.parse(false);
        }
    }

    pub(crate) fn finish(&mut self) {
        self.parse(true);
        if self.ends_flushed {
            self.end_block(false);
            self.bits.stored_block(&[], false);
        }
        self.end_block(true);
        self.bits.align();
    }

    fn parse(&mut self, at_end: bool) {
        match self.level {
            1 => self.parse_pieces(at_end),
            _ => self.parse_chains(at_end),
        }
    }

    fn ahead(&self) -> usize {
        self.bytes.len() - self.here
    }

    fn advance(&mut self, bytes: usize) {
        self.here += bytes;
        self.position += bytes as u64;
        self.history = (self.history + bytes).min(TABLE);
    }

    /// Level 1. Its copies do not reach over the end of a piece.
    fn parse_pieces(&mut self, at_end: bool) {
        while self.ahead() >= PIECE_BYTES || at_end && self.ahead() > 0 {
            let mut left = self.ahead().min(PIECE_BYTES);
            self.history = self.history.min(TABLE - left);
            let mut goes_on = true;
            while left > 0 && goes_on {
                let copy = if left > MIN_COPY { self.newest(left) } else { None };
                let token = match copy {
                    Some(copy) => Token::copy(copy.length, copy.distance),
                    None => Token::literal(self.bytes[self.here]),
                };
                self.block.push(token);
                self.advance(token.plain_bytes());
                left -= token.plain_bytes();
                if self.block.is_full() {
                    goes_on = self.end_block(false);
                }
            }
        }
    }

    /// Returns the copy from the newest position with the hash of this one.
    fn newest(&mut self, left: usize) -> Option<MinizCopy> {
        let three = |index: usize| word(&self.bytes, index) & 0xff_ffff;
        let first = three(self.here);
        let newest = &mut self.heads[(first ^ first >> 17) as usize & (PIECE_BYTES - 1)];
        let distance = usize::from((self.position as u16).wrapping_sub(*newest));
        *newest = self.position as u16;
        if distance == 0 || distance > self.history || three(self.here - distance) != first {
            return None;
        }
        let most = left.min(MAX_COPY);
        let length = common(&self.bytes, self.here - distance, self.here, most);
        (length > MIN_COPY || distance < FAR_FOR_THREE).then_some(MinizCopy { length, distance })
    }

    fn parse_chains(&mut self, at_end: bool) {
        let is_greedy = self.level <= 3;
        while self.ahead() >= MAX_COPY || at_end && self.ahead() > 0 {
            let most = self.ahead().min(MAX_COPY);
            self.history = self.history.min(TABLE - most);
            self.insert_here();
            let longer_than = self.pending.map_or(MIN_COPY - 1, |pending| pending.copy.length);
            let mut found = self.longest(most, longer_than);
            let is_useless = found.length == MIN_COPY && found.distance >= FAR_FOR_THREE;
            // The original drops a copy from the start of its ring buffer.
            if is_useless || found.distance as u64 == self.position % TABLE as u64 {
                found = MinizCopy { length: 0, distance: 0 };
            }
            let literal = self.bytes[self.here];
            let mut forward = 1;
            match self.pending.take() {
                Some(pending) if found.length <= pending.copy.length => {
                    self.block.push(Token::copy(pending.copy.length, pending.copy.distance));
                    forward = pending.copy.length - 1;
                }
                None if found.distance == 0 => self.block.push(Token::literal(literal)),
                pending => {
                    if let Some(pending) = pending {
                        self.block.push(Token::literal(pending.literal));
                    }
                    if found.length >= LONG || is_greedy {
                        self.block.push(Token::copy(found.length, found.distance));
                        forward = found.length;
                    } else {
                        self.pending = Some(PendingCopy { literal, copy: found });
                    }
                }
            }
            self.advance(forward);
            if self.block.is_full() || self.block.is_fat() {
                self.end_block(false);
            }
        }
    }

    /// Inserts the positions up to the next byte, if three bytes are there.
    fn insert_here(&mut self) {
        let behind = (self.position - self.inserted) as usize;
        let end = (self.here + 1).min((self.bytes.len() + 1).saturating_sub(MIN_COPY));
        for index in self.here - behind..end {
            let bytes = &self.bytes[index..index + MIN_COPY];
            let [a, b, c] = [0, 1, 2].map(|place| usize::from(bytes[place]));
            let newest = &mut self.heads[(a << 10 ^ b << 5 ^ c) & (TABLE - 1)];
            self.links[self.inserted as usize % TABLE] = *newest;
            *newest = self.inserted as u16;
            self.inserted += 1;
        }
    }

    fn two(&self, index: usize) -> [u8; 2] {
        [self.bytes[index], self.bytes[index + 1]]
    }

    /// Searches a copy of at most `most` bytes that is longer than `length`.
    fn longest(&self, most: usize, length: usize) -> MinizCopy {
        let mut found = MinizCopy { length, distance: 0 };
        if most <= length {
            return found;
        }
        let mut groups = self.groups[usize::from(length >= FEWER_TRIES)];
        let here = self.here;
        let mut slot = self.position as usize % TABLE;
        loop {
            // Most candidates lack the two bytes at the end of a longer copy.
            let tail = self.two(here + found.length - 1);
            let mut candidate = None;
            while candidate.is_none() {
                groups -= 1;
                if groups == 0 {
                    return found;
                }
                for _ in 0..GROUP {
                    let link = self.links[slot];
                    let distance = usize::from((self.position as u16).wrapping_sub(link));
                    if link == 0 || distance > self.history {
                        return found;
                    }
                    slot = usize::from(link) % TABLE;
                    if self.two(here - distance + found.length - 1) == tail {
                        candidate = Some(distance);
                        break;
                    }
                }
            }
            let distance = candidate.unwrap_or(0);
            if distance == 0 {
                return found;
            }
            if self.two(here - distance) != self.two(here) {
                continue;
            }
            let length = common(&self.bytes, here - distance, here, most);
            if length > found.length {
                found = MinizCopy { length, distance };
                if length == most {
                    return found;
                }
            }
        }
    }

    /// Ends the block. False if it fills the output buffer of flate2: the next call then starts a
    /// new piece at level 1.
    fn end_block(&mut self, is_final: bool) -> bool {
        let pending = usize::from(self.pending.is_some());
        let start = self.here.checked_sub(self.block.plain_bytes() + pending);
        let raw = start
            .filter(|_| self.block.plain_bytes() + pending <= self.history)
            .map(|start| &self.bytes[start..self.here - pending]);
        let before = self.bits.whole_bytes();
        write_block(&mut self.bits, &self.block, raw, is_final);
        self.block.clear();
        let written = self.bits.whole_bytes() - before;
        let before_room = self.room;
        match self.room.checked_sub(written) {
            Some(room) => self.room = room,
            None => self.room = OUTPUT_BYTES - (written - self.room) % OUTPUT_BYTES,
        }
        written <= before_room
    }
}
