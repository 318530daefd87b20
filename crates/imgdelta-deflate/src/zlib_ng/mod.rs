//! zlib-ng and zlib-rs.
//!
//! Re-created from their behaviour; credit: the zlib-ng team, Intel (the medium strategy), Konstantin
//! Nosov (the search of level 9), and the zlib-rs contributors (zlib licence, see NOTICE). Positions
//! have hashes of four bytes. Level 1 writes one fixed block, level 2 is greedy, levels 3 to 6 look
//! one copy ahead ([`medium`]), and levels 7 to 9 are lazy. Blocks are zlib's.
//!
//! Below level 7 the output depends on the calls of the program: each refill of the window indexes
//! the byte before, and levels 5 and 6 forget the copy ahead at each refill and when the output buffer
//! is full. So [`CallSizes`] is part of the model. Never models windows below 32 KiB, memLevels
//! other than 8, and strategies other than the default.

mod input;
mod medium;
mod parsers;
mod search;

use crate::bits::BitWriter;
use crate::huffman::{HuffmanCodes, write_tokens};
use crate::token::Token;
use crate::window::{WindowBuffer, table, word};
use crate::zlib::{castagnoli, write_block};
use input::CallInput;
use medium::MediumState;

/// The releases that write different bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZlibNgVersion {
    /// zlib-ng 2.1 on x86-64 and arm64, with a hash by the processor's CRC-32C.
    V2_1,
    /// zlib-ng 2.2.0 to 2.2.2, which indexes all positions of a long copy.
    V2_2_0,
    /// zlib-ng from 2.2.3 on and zlib-rs, which index one position of a long copy, as 2.1 does.
    V2_2_3,
}

impl ZlibNgVersion {
    /// All versions, the likeliest first.
    pub const ALL: [Self; 3] = [Self::V2_2_3, Self::V2_2_0, Self::V2_1];
}

/// A program's calls of the encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallSizes {
    /// Plain bytes of a call. Zero if one call has all plain bytes and ends the stream.
    pub input_bytes: u32,
    /// Room for compressed bytes in a call. Zero if it has enough for everything.
    pub output_bytes: u32,
    /// True if the program flushes the stream before it ends it.
    pub ends_flushed: bool,
}

/// The encoder while it writes a stream.
pub(crate) struct ZlibNgEncoder {
    pub(crate) bits: BitWriter,
    version: ZlibNgVersion,
    level: u8,
    effort: NgEffort,
    calls: CallSizes,
    input: CallInput,
    window: Box<WindowBuffer>,
    heads: Box<[u16; HEADS]>,
    chain: Box<[u16; HALF]>,
    has_slid: bool,
    /// Index of the next byte to parse.
    index: usize,
    /// Bytes in the window from there on.
    ahead: usize,
    /// Index of the block's first byte. Negative after a slide has dropped it.
    block_start: isize,
    tokens: Vec<Token>,
    medium: MediumState,
    lazy: LazyState,
    fixed: FixedBlock,
    /// Compressed bytes that still fit into the output buffer of this call.
    room: u64,
}

/// The state of the lazy levels.
#[derive(Clone, Copy, Default)]
struct LazyState {
    /// Length of the copy at the byte before.
    length: usize,
    /// Its start, and later that of the copy at this byte.
    start: usize,
    pending: bool,
}

/// The block of level 1.
#[derive(Default)]
struct FixedBlock {
    codes: Option<Box<HuffmanCodes>>,
    is_open: bool,
    is_final: bool,
}

#[derive(Clone, Copy)]
struct NgEffort {
    good: usize,
    lazy: usize,
    nice: usize,
    tries: u32,
}

const HEADS: usize = 1 << 16;
const HALF: usize = 32_768;
const MIN_COPY: usize = 4;
const LOOKAHEAD: usize = 262;
/// Farthest distance of a copy.
const FARTHEST: usize = HALF - LOOKAHEAD;
/// Tokens of a full block.
const BLOCK_TOKENS: usize = 16_383;
/// Plain bytes below which a reset clears only what was used.
const SMALL_BYTES: usize = 8 << 10;

fn effort(level: u8) -> Option<NgEffort> {
    let (good, lazy, nice, tries) = match level {
        1 => (0, 0, 0, 0),
        2 => (4, 4, 8, 4),
        3 => (4, 6, 16, 6),
        4 => (4, 12, 32, 24),
        5 => (8, 16, 32, 32),
        6 => (8, 16, 128, 128),
        7 => (8, 32, 128, 256),
        8 => (32, 128, 258, 1024),
        9 => (32, 258, 258, 4096),
        _ => return None,
    };
    Some(NgEffort { good, lazy, nice, tries })
}

impl ZlibNgEncoder {
    pub(crate) fn new(version: ZlibNgVersion, level: u8, calls: CallSizes) -> Option<Self> {
        Some(Self {
            bits: BitWriter::new(),
            version,
            level,
            effort: effort(level)?,
            calls,
            input: CallInput::new(calls),
            window: table(),
            heads: table(),
            chain: table(),
            has_slid: false,
            index: 0,
            ahead: 0,
            block_start: 0,
            tokens: Vec::with_capacity(BLOCK_TOKENS),
            medium: MediumState::default(),
            lazy: LazyState::default(),
            fixed: FixedBlock::default(),
            room: room_of(calls),
        })
    }

    /// Resets the encoder for another stream, in proportion to the bytes of the last one.
    pub(crate) fn restart(&mut self) {
        let end = self.index + self.ahead;
        if self.has_slid || end > SMALL_BYTES {
            self.window.fill(0);
            self.heads.fill(0);
            self.chain.fill(0);
        } else {
            for index in 0..end {
                let hash = self.hash(index);
                self.heads[hash] = 0;
            }
            self.chain[..end].fill(0);
            self.window[..end].fill(0);
        }
        self.bits.clear();
        self.input = CallInput::new(self.calls);
        self.has_slid = false;
        self.index = 0;
        self.ahead = 0;
        self.block_start = 0;
        self.tokens.clear();
        self.medium = MediumState::default();
        self.lazy = LazyState::default();
        self.fixed.is_open = false;
        self.fixed.is_final = false;
        self.room = room_of(self.calls);
    }

    /// Changes the parameters before the next stream.
    pub(crate) fn retune(
        &mut self,
        version: ZlibNgVersion,
        level: u8,
        calls: CallSizes,
    ) -> Option<()> {
        let effort = effort(level)?;
        // The old hash is needed to clear the table.
        self.restart();
        (self.version, self.level, self.effort, self.calls) = (version, level, effort, calls);
        self.input = CallInput::new(calls);
        self.room = room_of(calls);
        Some(())
    }

    /// Returns the first tokens of a stream that begins with `plain`, except for those of its last
    /// bytes. The stream cannot go on.
    pub(crate) fn first_tokens(&mut self, plain: &[u8]) -> &[Token] {
        self.input.push(plain);
        self.input.take_short = true;
        self.parse(false);
        &self.tokens
    }

    pub(crate) fn write(&mut self, plain: &[u8]) {
        self.input.push(plain);
        self.parse(false);
        self.write_fixed();
    }

    pub(crate) fn finish(&mut self) {
        self.parse(true);
        if self.calls.ends_flushed {
            self.write_fixed();
            if self.fixed.is_open {
                self.end_fixed();
            }
            if !self.tokens.is_empty() {
                self.end_block(false);
            }
            self.bits.stored_block(&[], false);
        }
        if self.level == 1 {
            self.start_fixed(true);
            self.write_fixed();
            self.end_fixed();
        } else {
            self.end_block(true);
        }
        self.bits.align();
    }

    fn parse(&mut self, at_end: bool) {
        match self.level {
            1 => self.parse_fixed(at_end),
            2 => self.parse_greedy(at_end),
            3..=6 => self.parse_medium(at_end),
            _ => self.parse_lazy(at_end),
        }
    }

    /// Returns the hash of the bytes at an index.
    #[inline]
    fn hash(&self, index: usize) -> usize {
        let word = word(&self.window[..], index);
        if self.level == 9 {
            rolling_hash(word)
        } else if self.version == ZlibNgVersion::V2_1 {
            castagnoli(word)
        } else {
            (word.wrapping_mul(HASH_FACTOR) >> 16) as usize
        }
    }

    /// Makes an index the newest of its hash. Returns the one before, or zero. An index that is the
    /// newest already is returned itself.
    #[inline]
    fn insert(&mut self, index: usize) -> usize {
        let hash = self.hash(index);
        let newest = &mut self.heads[hash % HEADS];
        let before = *newest;
        if usize::from(before) != index {
            self.chain[index % HALF] = before;
            *newest = index as u16;
        }
        usize::from(before)
    }

    #[inline]
    fn insert_all(&mut self, start: usize, count: usize) {
        for index in start..start + count {
            self.insert(index);
        }
    }

    /// True if a copy may start at the candidate. Index zero is not a candidate.
    #[inline]
    fn is_in_reach(&self, candidate: usize) -> bool {
        candidate != 0 && candidate < self.index && self.index - candidate <= FARTHEST
    }

    /// Adds a token. True if the block is full.
    #[inline]
    fn push(&mut self, token: Token) -> bool {
        self.tokens.push(token);
        self.tokens.len() == BLOCK_TOKENS
    }

    fn end_block(&mut self, is_final: bool) {
        let raw_bytes = (self.index as isize - self.block_start) as usize;
        let raw =
            usize::try_from(self.block_start).ok().map(|start| &self.window[start..self.index]);
        let before = self.bits.whole_bytes();
        write_block(&mut self.bits, &self.tokens, raw, raw_bytes, is_final, false);
        let written = self.bits.whole_bytes() - before;
        self.tokens.clear();
        self.block_start = self.index as isize;
        self.fill_output(written as u64);
    }

    /// Puts bytes into the output buffers of this call and of the next ones. A call whose buffer is
    /// full returns, and forgets the copy ahead.
    fn fill_output(&mut self, bytes: u64) {
        let size = u64::from(self.calls.output_bytes);
        if size == 0 {
            return;
        }
        if bytes < self.room {
            self.room -= bytes;
        } else {
            self.room = size - (bytes - self.room) % size;
            self.medium.forget();
        }
    }

    fn start_fixed(&mut self, is_final: bool) {
        if self.fixed.is_open && self.fixed.is_final != is_final {
            self.write_fixed();
            self.end_fixed();
        }
        if !self.fixed.is_open {
            self.bits.put(2 | u32::from(is_final), 3);
            self.fixed.is_open = true;
            self.fixed.is_final = is_final;
        }
    }

    fn end_fixed(&mut self) {
        self.bits.put(0, 7);
        self.fixed.is_open = false;
    }

    /// Writes the tokens of level 1, whose block ends only with the data.
    fn write_fixed(&mut self) {
        if self.level == 1 && !self.tokens.is_empty() {
            let codes = self.fixed.codes.get_or_insert_with(|| Box::new(HuffmanCodes::fixed()));
            write_tokens(&mut self.bits, codes, &self.tokens);
            self.tokens.clear();
        }
    }
}

/// Knuth's factor.
const HASH_FACTOR: u32 = 2_654_435_761;

fn room_of(calls: CallSizes) -> u64 {
    u64::from(calls.output_bytes)
}

/// Returns zlib's hash of the first three bytes of a word, with 15 bits. Level 9 needs one that moves
/// from byte to byte.
#[inline]
fn rolling_hash(word: u32) -> usize {
    let [a, b, c, _] = word.to_le_bytes().map(usize::from);
    (a << 10 ^ b << 5 ^ c) & 0x7fff
}
