//! The match engine of zlib, gzip and pigz.
//!
//! Hash chains over three bytes, greedy below level 4 and lazy from there on. Positions are indexes
//! of the buffer, as in Go's lazy levels. [`ZlibVariant`] marks the differences between zlib and
//! gzip, at the end of a block and at the end of the data. Cost: 30 to 60 MB/s at level 6.
//! Never reads input in pieces that are smaller than the buffer. Such pieces change at most one
//! position per slide in the original.

use super::ZlibStrategy;
use super::blocks::write_block;
use super::castagnoli::castagnoli;
use super::rolling::RollingSum;
use crate::alphabet::{DISTANCE_EXTRA, MAX_COPY, distance_code};
use crate::bits::BitWriter;
use crate::token::Token;
use crate::window::{
    BUFFER_BYTES, LOOKAHEAD_BYTES, SearchWindow, StopSearch, common, common_258, word,
};

/// The variant of the engine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ZlibVariant {
    Zlib,
    GnuGzip,
    /// GNU gzip with `--rsyncable`.
    RsyncableGzip,
    /// Chromium's zlib, which node has too.
    Chromium(ChromiumHash),
}

/// The hash in Chromium's zlib.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChromiumHash {
    /// A product of four bytes, since 2022. Node has it since version 18.
    Product,
    /// CRC-32C of three bytes, or of four below level 6, on processors with an instruction for it.
    Castagnoli,
}

impl ChromiumHash {
    /// Both hashes, the newer one first.
    pub const ALL: [Self; 2] = [Self::Product, Self::Castagnoli];
}

impl ZlibVariant {
    fn is_gnu(self) -> bool {
        matches!(self, Self::GnuGzip | Self::RsyncableGzip)
    }
}

/// The parser and block writer of a stream.
pub(super) struct MatchEngine {
    pub(super) bits: BitWriter,
    flavour: ZlibVariant,
    strategy: ZlibStrategy,
    level: u8,
    effort: ZlibEffort,
    hash: HashRule,
    block_tokens: usize,
    window: SearchWindow<MOST_HEADS>,
    /// Bytes of history.
    half: usize,
    /// Farthest distance of a copy.
    farthest: usize,
    index: usize,
    /// Index of the block's start. Negative after a slide has dropped it.
    block_start: isize,
    tokens: Vec<Token>,
    /// Bits of the distances in this block, with five for each code. Only gzip uses them.
    distance_bits: u64,
    /// The additional ends of blocks.
    rolling: Option<RollingSum>,
    copies: usize,
    pending: bool,
    found: ZlibMatch,
    /// Positions at the end of the dictionary whose hash needs bytes that are still to come.
    unindexed: usize,
    at_eof: bool,
    /// Tokens that are dropped after a restart, because they belong to the block before.
    dropped: usize,
}

/// The place where an encoder starts in the middle of a stream.
#[derive(Clone, Copy)]
pub(crate) struct ResumePoint {
    /// Index of the block's first byte in the buffer.
    pub(crate) index: usize,
    /// Literals before it since the last copy. They are parsed again, because the search depends on
    /// the copy at the byte before.
    pub(crate) literals: usize,
    /// False if the buffer starts with the stream.
    pub(crate) has_slid: bool,
}

impl ResumePoint {
    /// True at the first byte of the stream.
    pub(crate) fn is_start(&self) -> bool {
        self.index == 0 && !self.has_slid
    }
}

#[derive(Clone, Copy)]
struct ZlibEffort {
    good: usize,
    lazy: usize,
    nice: usize,
    tries: u32,
}

#[derive(Clone, Copy)]
struct ZlibMatch {
    length: usize,
    distance: usize,
}

/// The factor and the addend of Chromium's hash.
const PRODUCT: u32 = 66_521;
/// Number of hash values at memLevel 9.
const MOST_HEADS: usize = 1 << 16;
const MIN_MATCH: usize = 3;
const NONE: ZlibMatch = ZlibMatch { length: MIN_MATCH - 1, distance: 0 };
const LOOKAHEAD: usize = MAX_COPY + MIN_MATCH + 1;
const _: () = assert!(LOOKAHEAD == LOOKAHEAD_BYTES, "slides are where `base_of` says");
/// Window sizes of zlib for raw streams. It uses 9 if a caller asks for 8.
pub(crate) const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;
/// Distance from which a copy of three bytes costs more than three literals.
const FAR_FOR_THREE: usize = 4096;
/// Length of the longest copy that the filtered strategy drops.
const FILTERED: usize = 5;
/// Tokens between two checks of the block size in gzip.
const GNU_CHECK_TOKENS: usize = 4096;

fn effort(level: u8) -> Option<ZlibEffort> {
    let (good, lazy, nice, tries) = match level {
        1 => (4, 4, 8, 4),
        2 => (4, 5, 16, 8),
        3 => (4, 6, 32, 32),
        4 => (4, 4, 16, 16),
        5 => (8, 16, 32, 32),
        6 => (8, 16, 128, 128),
        7 => (8, 32, 128, 256),
        8 => (32, 128, 258, 1024),
        9 => (32, 258, 258, 4096),
        _ => return None,
    };
    Some(ZlibEffort { good, lazy, nice, tries })
}

/// The hash of the bytes at a position.
#[derive(Clone, Copy)]
struct HashRule {
    bits: u32,
    shift: u32,
    kind: HashKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HashKind {
    Rolling,
    Product,
    /// The checksum of the bits in this mask.
    Checksum(u32),
}

impl HashRule {
    fn new(variant: ZlibVariant, level: u8, mem_level: u8) -> Self {
        let bits = u32::from(mem_level) + 7;
        let (bits, kind) = match variant {
            ZlibVariant::Chromium(ChromiumHash::Product) => (bits.max(15), HashKind::Product),
            ZlibVariant::Chromium(ChromiumHash::Castagnoli) => {
                let mask = if level < 6 { u32::MAX } else { 0xff_ffff };
                (bits.max(15), HashKind::Checksum(mask))
            }
            _ => (bits, HashKind::Rolling),
        };
        Self { bits, shift: bits.div_ceil(3), kind }
    }

    #[inline]
    fn rolling(self, word: u32) -> usize {
        let (a, b, c) = (word & 0xff, word >> 8 & 0xff, word >> 16 & 0xff);
        ((a << (2 * self.shift) ^ b << self.shift ^ c) & ((1 << self.bits) - 1)) as usize
    }

    #[inline]
    fn of(self, word: u32) -> usize {
        let mask = (1 << self.bits) - 1;
        match self.kind {
            HashKind::Rolling => self.rolling(word),
            HashKind::Product => {
                (word.wrapping_mul(PRODUCT).wrapping_add(PRODUCT) >> 16) as usize & mask
            }
            HashKind::Checksum(bytes) => castagnoli(word & bytes) & mask,
        }
    }
}

impl MatchEngine {
    pub(super) fn new(
        flavour: ZlibVariant,
        level: u8,
        mem_level: u8,
        window_bits: u8,
        strategy: ZlibStrategy,
    ) -> Option<Self> {
        if !(1..=9).contains(&mem_level) || !WINDOW_BITS.contains(&window_bits) {
            return None;
        }
        let half = 1 << window_bits;
        let block_tokens = match flavour {
            ZlibVariant::Zlib | ZlibVariant::Chromium(_) => (1 << (mem_level + 6)) - 1,
            ZlibVariant::GnuGzip | ZlibVariant::RsyncableGzip => 32_767,
        };
        let hash = HashRule::new(flavour, level, mem_level);
        Some(Self {
            bits: BitWriter::new(),
            flavour,
            strategy,
            level,
            effort: effort(level)?,
            hash,
            block_tokens,
            window: SearchWindow::new(1 << hash.bits).with_half(half),
            half,
            farthest: half - LOOKAHEAD,
            index: 0,
            block_start: 0,
            tokens: Vec::with_capacity(block_tokens),
            distance_bits: 0,
            rolling: (flavour == ZlibVariant::RsyncableGzip).then(RollingSum::default),
            copies: 0,
            pending: false,
            found: NONE,
            unindexed: 0,
            at_eof: false,
            dropped: 0,
        })
    }

    /// Starts in the middle of a stream. `plain` starts with the buffer. `None` if the index
    /// depends on the parse, as it does below level 4.
    pub(super) fn resume(&mut self, plain: &[u8], place: ResumePoint) -> Option<()> {
        if self.level < 4 || !self.strategy.searches() {
            return None;
        }
        let start = place.index.checked_sub(place.literals)?;
        self.window = SearchWindow::resume(1 << self.hash.bits, plain, start, place.has_slid);
        self.index = start;
        self.block_start = start as isize;
        self.dropped = place.literals;
        for before in 0..start {
            let hash = self.hash.of(word(plain, before));
            self.window.insert(hash, before);
        }
        Some(())
    }

    /// Parses all bytes except the last [`LOOKAHEAD`]. True if a block ends at the same place.
    pub(super) fn end_span(&mut self) -> bool {
        self.parse(false);
        let end = self.window.end as isize - LOOKAHEAD as isize;
        self.tokens.is_empty() && self.dropped == 0 && self.block_start == end
    }

    /// Resets everything except the output, and sets the history before the data.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        let hash = self.hash;
        self.window.reset(|word| hash.of(word));
        self.window.fill(dictionary);
        self.index = self.window.end;
        self.block_start = self.index as isize;
        self.tokens.clear();
        self.distance_bits = 0;
        self.copies = 0;
        self.pending = false;
        self.found = NONE;
        self.at_eof = false;
        self.rolling = self.rolling.is_some().then(RollingSum::default);
        self.unindexed = self.index.min(MIN_MATCH - 1);
        for index in 0..self.index - self.unindexed {
            self.insert(index);
        }
    }

    pub(super) fn write(&mut self, mut plain: &[u8]) {
        while !plain.is_empty() {
            if self.window.is_full() {
                self.parse(false);
                self.slide_if_due();
            }
            plain = &plain[self.window.fill(plain)..];
        }
    }

    /// Changes level and strategy before the next stream.
    pub(super) fn retune(&mut self, level: u8, strategy: ZlibStrategy) -> Option<()> {
        let effort = effort(level)?;
        let mut hash = self.hash;
        hash.kind = HashRule::new(self.flavour, level, 8).kind;
        if hash.kind != self.hash.kind {
            // The old hash is needed to clear the table.
            self.restart(&[]);
            self.hash = hash;
        }
        (self.effort, self.level, self.strategy) = (effort, level, strategy);
        Some(())
    }

    /// Returns the first tokens of a stream that begins with `plain`, except for those of its last
    /// bytes. The stream cannot go on.
    pub(super) fn first_tokens(&mut self, plain: &[u8]) -> &[Token] {
        self.write(plain);
        self.parse(false);
        &self.tokens
    }

    /// Parses all data and ends the block. An empty block is written only if it is final.
    pub(super) fn end_data(&mut self, is_final: bool) {
        self.parse(false);
        self.slide_if_due();
        self.at_eof = true;
        if self.flavour.is_gnu() {
            // Comparisons go on behind the data: two zeros, then old bytes of the buffer.
            self.window.put_zeros(MIN_MATCH - 1);
        }
        self.parse(true);
        if is_final || !self.tokens.is_empty() {
            self.end_block(is_final);
        }
        self.at_eof = false;
        // The last positions are indexed when more data comes.
        self.unindexed = self.index.min(MIN_MATCH - 1);
    }

    fn slide_if_due(&mut self) {
        if self.index >= self.half + self.farthest {
            self.window.slide();
            self.index -= self.half;
            self.block_start -= self.half as isize;
            if let Some(rolling) = &mut self.rolling {
                rolling.slide(self.half);
            }
        }
    }

    fn parse(&mut self, at_end: bool) {
        while self.unindexed > 0 && self.window.end >= self.index - self.unindexed + MIN_MATCH {
            self.insert(self.index - self.unindexed);
            self.unindexed -= 1;
        }
        match self.strategy {
            ZlibStrategy::HuffmanOnly => self.literals(at_end),
            ZlibStrategy::Rle => self.runs(at_end),
            _ if self.level < 4 => self.greedy(at_end),
            _ => self.lazy(at_end),
        }
    }

    /// Returns the number of bytes ahead. `None` if the parser must stop.
    fn ahead(&mut self, at_end: bool, wanted: usize) -> Option<usize> {
        let ahead = self.window.end - self.index;
        if ahead < wanted {
            if !at_end {
                return None;
            }
            // zlib asks for more data at every position, and asking may slide the window.
            if !self.flavour.is_gnu() {
                self.slide_if_due();
            }
        }
        (ahead > 0).then_some(ahead)
    }

    fn lazy(&mut self, at_end: bool) {
        while let Some(ahead) = self.ahead(at_end, LOOKAHEAD) {
            let index = self.index;
            let candidate = self.insert_if(index, ahead);
            let before = std::mem::replace(&mut self.found, NONE);
            if candidate != 0 && before.length < self.effort.lazy {
                let found = self.search(index, candidate, ahead, before.length);
                let is_useless = found.length == MIN_MATCH && found.distance > FAR_FOR_THREE
                    || self.strategy == ZlibStrategy::Filtered && found.length <= FILTERED;
                if !is_useless {
                    self.found = found;
                }
            }
            if before.length >= MIN_MATCH && self.found.length <= before.length {
                let full = self.push_copy(before);
                let next = index - 1 + before.length;
                self.insert_all(index + 1, next.min((index + ahead + 1).saturating_sub(MIN_MATCH)));
                self.index = next;
                self.pending = false;
                self.found = NONE;
                self.roll(index);
                self.end_block_if(full);
            } else {
                let full = self.pending && self.push_literal(index - 1);
                self.end_block_if(full);
                self.pending = true;
                self.index = index + 1;
                self.roll(index);
            }
        }
        if at_end && self.pending {
            self.push_literal(self.index - 1);
            self.pending = false;
        }
    }

    fn greedy(&mut self, at_end: bool) {
        while let Some(ahead) = self.ahead(at_end, LOOKAHEAD) {
            let index = self.index;
            let candidate = self.insert_if(index, ahead);
            let mut found = NONE;
            if candidate != 0 {
                found = self.search(index, candidate, ahead, NONE.length);
            }
            let full = if found.length >= MIN_MATCH {
                let full = self.push_copy(found);
                self.index = index + found.length;
                if found.length <= self.effort.lazy && ahead - found.length >= MIN_MATCH {
                    self.insert_all(index + 1, self.index);
                }
                full
            } else {
                let full = self.push_literal(index);
                self.index = index + 1;
                full
            };
            self.roll(index);
            self.end_block_if(full);
        }
    }

    fn runs(&mut self, at_end: bool) {
        while let Some(ahead) = self.ahead(at_end, MAX_COPY + 1) {
            let index = self.index;
            let mut length = 0;
            if ahead >= MIN_MATCH && index > 0 {
                length = common(&self.window.bytes()[..], index - 1, index, ahead.min(MAX_COPY));
            }
            let full = if length >= MIN_MATCH {
                self.index = index + length;
                self.push_copy(ZlibMatch { length, distance: 1 })
            } else {
                self.index = index + 1;
                self.push_literal(index)
            };
            if full {
                self.end_block(false);
            }
        }
    }

    fn literals(&mut self, at_end: bool) {
        while self.ahead(at_end, 1).is_some() {
            self.index += 1;
            if self.push_literal(self.index - 1) {
                self.end_block(false);
            }
        }
    }

    #[inline]
    fn insert(&mut self, index: usize) -> usize {
        let hash = self.hash.of(self.window.word(index));
        self.window.insert(hash, index)
    }

    fn insert_all(&mut self, start: usize, end: usize) {
        let hash = self.hash;
        match hash.kind {
            // The loop for zlib's own hash is the one that counts.
            HashKind::Rolling => self.window.insert_all(start, end, |word| hash.rolling(word)),
            _ => self.window.insert_all(start, end, |word| hash.of(word)),
        }
    }

    /// Indexes a position with three bytes. Returns the first candidate, or zero: index zero of the
    /// buffer is not a candidate.
    #[inline]
    fn insert_if(&mut self, index: usize, ahead: usize) -> usize {
        if ahead < MIN_MATCH {
            return 0;
        }
        let candidate = self.insert(index).saturating_sub(1);
        let searched = !self.flavour.is_gnu() || index <= BUFFER_BYTES - LOOKAHEAD;
        if index - candidate <= self.farthest && searched { candidate } else { 0 }
    }

    #[inline]
    fn search(
        &self,
        index: usize,
        candidate: usize,
        ahead: usize,
        longer_than: usize,
    ) -> ZlibMatch {
        let bytes = self.window.bytes();
        let mut tries = self.effort.tries;
        if longer_than >= self.effort.good {
            tries >>= 2;
        }
        let mut nice = self.effort.nice;
        if !self.flavour.is_gnu() {
            nice = nice.min(ahead);
        }
        // Index zero of the buffer is not a candidate, as in `insert_if`.
        let lowest = index.saturating_sub(self.farthest) + 1;
        let mut found = ZlibMatch { length: longer_than, distance: 0 };
        // The last bytes of a longer copy. Most candidates fail this comparison, which has only
        // three bytes for the shortest copy.
        let mut mask = if longer_than < MIN_MATCH { 0xff_ffff } else { u32::MAX };
        let mut before_tail = longer_than.saturating_sub(MIN_MATCH) as u8;
        let mut tail = word(bytes, index + usize::from(before_tail));
        self.window.walk(candidate + 1, lowest, tries, |candidate| {
            let other = word(bytes, usize::from(candidate) + usize::from(before_tail));
            if (other ^ tail) & mask != 0 {
                return StopSearch(false);
            }
            let length = common_258(bytes, candidate, index as u16);
            if length <= found.length {
                return StopSearch(false);
            }
            found = ZlibMatch { length, distance: index - usize::from(candidate) };
            mask = u32::MAX;
            before_tail = (length - MIN_MATCH) as u8;
            tail = word(bytes, index + usize::from(before_tail));
            StopSearch(length >= nice)
        });
        found.length = found.length.min(ahead);
        found
    }

    /// Adds a literal. True if the block is full.
    fn push_literal(&mut self, index: usize) -> bool {
        self.tokens.push(Token::literal(self.window.byte(index)));
        self.is_full()
    }

    /// Adds a copy. True if the block is full.
    fn push_copy(&mut self, copy: ZlibMatch) -> bool {
        self.tokens.push(Token::copy(copy.length, copy.distance));
        self.copies += 1;
        if self.flavour.is_gnu() {
            self.distance_bits += 5 + u64::from(DISTANCE_EXTRA[distance_code(copy.distance)]);
        }
        self.is_full()
    }

    fn is_full(&self) -> bool {
        let count = self.tokens.len();
        if self.flavour.is_gnu() && self.level > 2 && count.is_multiple_of(GNU_CHECK_TOKENS) {
            let out = (8 * count as u64 + self.distance_bits) >> 3;
            let taken = (self.index as isize - self.block_start) as u64;
            if self.copies < count / 2 && out < taken / 2 {
                return true;
            }
        }
        count == self.block_tokens || count == self.dropped
    }

    /// Takes the bytes from `start` to the current index for the ends of chunks.
    #[inline]
    fn roll(&mut self, start: usize) {
        if let Some(rolling) = &mut self.rolling {
            rolling.roll(self.window.bytes(), start, self.index);
        }
    }

    /// Ends the block if it is full, or at the end of a chunk. Behind a chunk, the next block starts
    /// at a full byte.
    #[inline]
    fn end_block_if(&mut self, full: bool) {
        let index = self.index;
        let ends_chunk = self.rolling.as_mut().is_some_and(|rolling| rolling.ends_before(index));
        if full || ends_chunk {
            self.end_block(false);
        }
        if ends_chunk && self.bits.phase() != 0 {
            self.bits.stored_block(&[], false);
        }
    }

    fn end_block(&mut self, is_final: bool) {
        let raw_bytes = (self.index as isize - self.block_start) as usize;
        let raw = usize::try_from(self.block_start)
            .ok()
            .map(|start| &self.window.bytes()[start..self.index]);
        let fixed_only = self.strategy == ZlibStrategy::Fixed;
        if self.dropped == 0 {
            write_block(&mut self.bits, &self.tokens, raw, raw_bytes, is_final, fixed_only);
        }
        self.dropped = 0;
        self.tokens.clear();
        self.distance_bits = 0;
        self.copies = 0;
        self.block_start = self.index as isize;
    }
}
