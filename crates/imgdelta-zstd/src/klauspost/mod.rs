//! The zstd encoder of klauspost/compress, which podman, skopeo, buildah, `BuildKit` and containerd
//! use.
//!
//! Klaus Post wrote the original after Yann Collet's zstd. This code was written from the
//! description of its output in docs/encoders.md. Never writes the header of a frame, which is in
//! the recipe, and never decodes.

mod best;
mod better;
mod block;
mod default;
mod early_best;
mod fastest;
mod history;
mod sequences;

use best::BestFinder;
use better::BetterFinder;
use block::{BlockWriter, ParsedBlock};
use default::DefaultFinder;
use early_best::EarlyBestFinder;
use fastest::FastestFinder;
use history::{History, agreeing_before};

/// Versions of klauspost/compress with the same output, named by the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(non_camel_case_types, reason = "a version reads best with its dots as underscores")]
#[non_exhaustive]
pub enum KlauspostVersion {
    /// 1.15.0 (assumed) to 1.16.3.
    V1_15,
    /// 1.16.4 to 1.16.7: other limits for blocks that compress badly.
    V1_16_4,
    /// 1.17.0 to 1.17.2: Huffman codes from 17 literals on.
    V1_17_0,
    /// 1.17.3 to 1.17.7: level "better" indexes other positions.
    V1_17_3,
    /// 1.17.8 and later: runs are blocks of four bytes.
    V1_17_8,
}

impl KlauspostVersion {
    /// All versions, the oldest first.
    pub const ALL: [Self; 5] =
        [Self::V1_15, Self::V1_16_4, Self::V1_17_0, Self::V1_17_3, Self::V1_17_8];
}

/// Compression levels of klauspost/compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KlauspostLevel {
    /// `SpeedFastest`, zstd levels 1 and 2.
    Fastest,
    /// `SpeedDefault`, zstd levels 3 to 5.
    Default,
    /// `SpeedBetterCompression`, zstd levels 6 to 9.
    Better,
    /// `SpeedBestCompression`, zstd levels from 10 on. The default of zstd:chunked.
    Best,
}

impl KlauspostLevel {
    /// All levels, the fastest first.
    pub const ALL: [Self; 4] = [Self::Fastest, Self::Default, Self::Better, Self::Best];

    /// True if this crate models the level in that version.
    pub fn exists(self, version: KlauspostVersion) -> bool {
        self != Self::Best || matches!(version, KlauspostVersion::V1_15 | KlauspostVersion::V1_17_8)
    }

    /// Returns the plain bytes of a full block.
    pub(crate) fn block_bytes(self) -> usize {
        if self == Self::Fastest { 1 << 16 } else { 1 << 17 }
    }
}

/// The encoder while it writes a frame.
pub(crate) struct KlauspostEncoder {
    level: KlauspostLevel,
    history: History,
    finder: LevelFinder,
    blocks: BlockWriter,
    /// Plain bytes of the current block, which is not full yet.
    filling: Vec<u8>,
    /// True before the first block of the frame is written.
    is_first_block: bool,
    parsed: ParsedBlock,
}

enum LevelFinder {
    Fastest(FastestFinder),
    Default(DefaultFinder),
    Better(BetterFinder),
    Best(BestFinder),
    EarlyBest(EarlyBestFinder),
}

impl KlauspostEncoder {
    /// Starts a frame whose copies reach `window` bytes back, at most 128 MiB.
    pub(crate) fn new(version: KlauspostVersion, level: KlauspostLevel, window: u32) -> Self {
        let codes_without_copies = match level {
            KlauspostLevel::Fastest => false,
            KlauspostLevel::Default => version < KlauspostVersion::V1_16_4,
            KlauspostLevel::Better | KlauspostLevel::Best => true,
        };
        Self {
            level,
            history: History::new(window),
            finder: match level {
                KlauspostLevel::Fastest => LevelFinder::Fastest(FastestFinder::new()),
                KlauspostLevel::Default => LevelFinder::Default(DefaultFinder::new()),
                KlauspostLevel::Better => LevelFinder::Better(BetterFinder::new(version)),
                KlauspostLevel::Best if version < KlauspostVersion::V1_16_4 => {
                    LevelFinder::EarlyBest(EarlyBestFinder::new())
                }
                KlauspostLevel::Best => LevelFinder::Best(BestFinder::new()),
            },
            blocks: BlockWriter::new(version, codes_without_copies),
            filling: Vec::new(),
            is_first_block: true,
            parsed: ParsedBlock::default(),
        }
    }

    /// Takes plain bytes and writes full blocks.
    pub(crate) fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        let full = self.level.block_bytes();
        while !plain.is_empty() {
            let taken = plain.len().min(full - self.filling.len());
            self.filling.extend_from_slice(&plain[..taken]);
            plain = &plain[taken..];
            if self.filling.len() == full {
                self.block(false, out);
            }
        }
    }

    /// Ends the current block before it is full. Does nothing if the block is empty.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.filling.is_empty() {
            self.block(false, out);
        }
    }

    /// Ends the frame. If this block is the only one, it takes the original's special path for
    /// small frames.
    pub(crate) fn finish(&mut self, checksum: bool, out: &mut Vec<u8>) {
        self.block(true, out);
        if checksum {
            out.extend(self.history.checksum());
        }
    }

    /// Starts another frame. The tables keep their entries, which are out of reach from now on.
    pub(crate) fn restart(&mut self, window: u32) {
        self.history.restart(window);
        self.blocks.restart();
        self.filling.clear();
        self.is_first_block = true;
    }

    fn block(&mut self, last: bool, out: &mut Vec<u8>) {
        let plain = std::mem::take(&mut self.filling);
        if plain.is_empty() {
            block::put_raw(&[], last, out);
            return;
        }
        if let Some(by) = self.history.lower() {
            match &mut self.finder {
                LevelFinder::Fastest(fastest) => fastest.lower(by),
                LevelFinder::Default(default) => default.lower(by),
                LevelFinder::Better(better) => better.lower(by),
                LevelFinder::Best(best) => best.lower(by),
                LevelFinder::EarlyBest(best) => best.lower(by),
            }
        }
        let start = self.history.add(&plain);
        let alone = last && self.is_first_block;
        self.parsed.clear();
        match &mut self.finder {
            LevelFinder::Fastest(fastest) => {
                fastest.parse(&self.history, start, alone, &mut self.parsed);
            }
            LevelFinder::Default(default) => {
                default.parse(&self.history, start, alone, &mut self.parsed);
            }
            LevelFinder::Better(better) => better.parse(&self.history, start, &mut self.parsed),
            LevelFinder::Best(best) => best.parse(&self.history, start, &mut self.parsed),
            LevelFinder::EarlyBest(best) => best.parse(&self.history, start, &mut self.parsed),
        }
        self.blocks.write(&plain, &self.parsed, self.level.block_bytes(), last, out);
        self.is_first_block = false;
        self.filling = plain;
        self.filling.clear();
    }
}

/// A copy and the literals before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sequence {
    literal_bytes: u32,
    copy_bytes: u32,
    /// The format's offset value: 1 to 3 repeat a distance, others are the distance plus 3.
    offset: u32,
}

/// An entry of a hash table: a position, and its first four bytes.
#[derive(Clone, Copy, Default)]
struct HashEntry {
    head: u32,
    place: u32,
}

impl HashEntry {
    fn table(bits: u32) -> Box<[Self]> {
        vec![Self::default(); 1 << bits].into()
    }

    /// True if a copy from this entry can begin at `here`.
    #[inline]
    fn matches(self, here: Self, window: u32) -> bool {
        here.place.wrapping_sub(self.place) < window && here.head == self.head
    }

    fn lower(table: &mut [Self], by: u32) {
        for entry in table {
            entry.place = entry.place.saturating_sub(by);
        }
    }
}

/// An entry of a hash table: the two latest positions.
#[derive(Clone, Copy, Default)]
struct PlacePair {
    latest: u32,
    earlier: u32,
}

impl PlacePair {
    fn table(bits: u32) -> Box<[Self]> {
        vec![Self::default(); 1 << bits].into()
    }

    fn push(&mut self, place: u32) {
        *self = Self { latest: place, earlier: self.latest };
    }

    fn lower(table: &mut [Self], by: u32) {
        for places in table {
            places.latest = places.latest.saturating_sub(by);
            places.earlier = places.earlier.saturating_sub(by);
        }
    }
}

/// The progress of parsing a block.
struct ParseCursor<'a> {
    bytes: &'a [u8],
    /// Index of the next search.
    at: usize,
    /// End of the last sequence: the bytes before it are done.
    done: usize,
    parsed: &'a mut ParsedBlock,
}

impl ParseCursor<'_> {
    /// True if a copy may repeat a distance. The first three copies of a block may not, so no block
    /// needs the distances of the block before.
    fn may_repeat(&self) -> bool {
        self.parsed.sequences.len() > 2
    }

    /// Adds the literals before `start` and a copy of `bytes` bytes.
    fn push(&mut self, start: usize, offset: u32, bytes: usize) {
        self.parsed.literals.extend_from_slice(&self.bytes[self.done..start]);
        let literal_bytes = (start - self.done) as u32;
        self.parsed.sequences.push(Sequence { literal_bytes, copy_bytes: bytes as u32, offset });
        self.at = start + bytes;
        self.done = self.at;
    }

    /// Adds a copy with a new distance.
    fn copy(&mut self, start: usize, distance: usize, bytes: usize) {
        self.push(start, distance as u32 + 3, bytes);
    }

    /// Adds a copy with the last distance that begins at `at` or before. At least one literal stays
    /// before it: without a literal the offset value 1 means another distance.
    fn repeat_nearby(&mut self, at: usize, distance: usize, bytes: usize, floor: usize) {
        let back = agreeing_before(self.bytes, (at - distance, floor), (at, self.done + 1));
        self.push(at - back, 1, bytes + back);
    }

    /// Adds a copy with the distance before the last, directly after another copy.
    fn repeat_here(&mut self, bytes: usize) {
        self.push(self.at, 1, bytes);
    }

    /// Makes the rest of the block literals.
    fn finish(&mut self) {
        self.parsed.literals.extend_from_slice(&self.bytes[self.done..]);
    }
}
