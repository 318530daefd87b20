//! The zstd encoder of klauspost/compress, which podman, skopeo, buildah, `BuildKit` and containerd
//! use: a frame's bytes from its plain bytes.
//!
//! Written by Klaus Post after Yann Collet's zstd; what it does is told in docs/encoders.md, from
//! which these rooms were written. Never writes a frame's header, which a recipe keeps, and never
//! decodes.

mod best;
mod best_early;
mod better;
mod block;
mod double;
mod fast;
mod history;
mod sequences;

use best::Best;
use best_early::BestEarly;
use better::Better;
use block::{Blocks, Parsed};
use double::Double;
use fast::Fast;
use history::{History, agreeing_before};

/// Versions that compress alike, named by the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(non_camel_case_types, reason = "a version reads best with its dots as underscores")]
pub enum Behaviour {
    /// 1.15.0 (assumed) to 1.16.3.
    V1_15,
    /// 1.16.4 to 1.16.7: other limits for blocks that hardly shrink.
    V1_16_4,
    /// 1.17.0 to 1.17.2: Huffman codes from 17 literals on.
    V1_17_0,
    /// 1.17.3 to 1.17.7: level "better" enters other places.
    V1_17_3,
    /// 1.17.8 and later: runs are blocks of four bytes.
    V1_17_8,
}

impl Behaviour {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V1_15, Self::V1_16_4, Self::V1_17_0, Self::V1_17_3, Self::V1_17_8];
}

/// How hard the encoder searches, by the original's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `SpeedFastest`, zstd levels 1 and 2.
    Fastest,
    /// `SpeedDefault`, zstd levels 3 to 5.
    Default,
    /// `SpeedBetterCompression`, zstd levels 6 to 9.
    Better,
    /// `SpeedBestCompression`, zstd levels from 10 on; zstd:chunked's unless told otherwise.
    Best,
}

impl Level {
    /// All of them, quickest first.
    pub const ALL: [Self; 4] = [Self::Fastest, Self::Default, Self::Better, Self::Best];

    /// Whether the level of that generation is modelled.
    pub fn exists(self, behaviour: Behaviour) -> bool {
        self != Self::Best || matches!(behaviour, Behaviour::V1_15 | Behaviour::V1_17_8)
    }

    /// Plain bytes in a full block.
    pub(crate) fn block_bytes(self) -> usize {
        if self == Self::Fastest { 1 << 16 } else { 1 << 17 }
    }
}

/// A frame in the making.
pub(crate) struct Klauspost {
    level: Level,
    history: History,
    finder: Finder,
    blocks: Blocks,
    /// Plain bytes of the block that is not full yet.
    filling: Vec<u8>,
    /// Whether no block went out yet.
    fresh: bool,
    parsed: Parsed,
}

enum Finder {
    Fast(Fast),
    Double(Double),
    Better(Better),
    Best(Best),
    BestEarly(BestEarly),
}

impl Klauspost {
    /// Starts a frame whose copies reach `window` bytes back, at most 128 MiB.
    pub(crate) fn new(behaviour: Behaviour, level: Level, window: u32) -> Self {
        let codes_without_copies = match level {
            Level::Fastest => false,
            Level::Default => behaviour < Behaviour::V1_16_4,
            Level::Better | Level::Best => true,
        };
        Self {
            level,
            history: History::new(window),
            finder: match level {
                Level::Fastest => Finder::Fast(Fast::new()),
                Level::Default => Finder::Double(Double::new()),
                Level::Better => Finder::Better(Better::new(behaviour)),
                Level::Best if behaviour < Behaviour::V1_16_4 => {
                    Finder::BestEarly(BestEarly::new())
                }
                Level::Best => Finder::Best(Best::new()),
            },
            blocks: Blocks::new(behaviour, codes_without_copies),
            filling: Vec::new(),
            fresh: true,
            parsed: Parsed::default(),
        }
    }

    /// Takes plain bytes; full blocks go out.
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

    /// Ends the block at hand although it is not full; nothing if it is empty.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.filling.is_empty() {
            self.block(false, out);
        }
    }

    /// Ends the frame. Without a single block before, all of it goes through the original's way
    /// for small frames.
    pub(crate) fn finish(&mut self, checksum: bool, out: &mut Vec<u8>) {
        self.block(true, out);
        if checksum {
            out.extend(self.history.checksum());
        }
    }

    /// Starts another frame. The tables stay, with all they hold out of reach.
    pub(crate) fn restart(&mut self, window: u32) {
        self.history.restart(window);
        self.blocks.restart();
        self.filling.clear();
        self.fresh = true;
    }

    fn block(&mut self, last: bool, out: &mut Vec<u8>) {
        let plain = std::mem::take(&mut self.filling);
        if plain.is_empty() {
            block::put_raw(&[], last, out);
            return;
        }
        if let Some(by) = self.history.lower() {
            match &mut self.finder {
                Finder::Fast(fast) => fast.lower(by),
                Finder::Double(double) => double.lower(by),
                Finder::Better(better) => better.lower(by),
                Finder::Best(best) => best.lower(by),
                Finder::BestEarly(best) => best.lower(by),
            }
        }
        let start = self.history.add(&plain);
        let alone = last && self.fresh;
        self.parsed.clear();
        match &mut self.finder {
            Finder::Fast(fast) => fast.parse(&self.history, start, alone, &mut self.parsed),
            Finder::Double(double) => double.parse(&self.history, start, alone, &mut self.parsed),
            Finder::Better(better) => better.parse(&self.history, start, &mut self.parsed),
            Finder::Best(best) => best.parse(&self.history, start, &mut self.parsed),
            Finder::BestEarly(best) => best.parse(&self.history, start, &mut self.parsed),
        }
        self.blocks.write(&plain, &self.parsed, self.level.block_bytes(), last, out);
        self.fresh = false;
        self.filling = plain;
        self.filling.clear();
    }
}

/// A copy and the literals before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sequence {
    literal_bytes: u32,
    copy_bytes: u32,
    /// As the format counts: 1 to 3 repeat a distance, others are the distance plus 3.
    offset: u32,
}

/// What a table keeps of a place: its first four bytes.
#[derive(Clone, Copy, Default)]
struct Entry {
    head: u32,
    place: u32,
}

impl Entry {
    fn table(bits: u32) -> Box<[Self]> {
        vec![Self::default(); 1 << bits].into()
    }

    /// Whether a copy may begin here from an entry found.
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

/// The two latest places of a hash.
#[derive(Clone, Copy, Default)]
struct Places {
    latest: u32,
    earlier: u32,
}

impl Places {
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

/// How far a block is parsed.
struct Cursor<'a> {
    bytes: &'a [u8],
    /// Where is searched.
    at: usize,
    /// What is before this is in a sequence.
    done: usize,
    parsed: &'a mut Parsed,
}

impl Cursor<'_> {
    /// Whether distances may be repeated: not by the first three copies, so that no block needs
    /// to know the last one's.
    fn may_repeat(&self) -> bool {
        self.parsed.sequences.len() > 2
    }

    fn push(&mut self, start: usize, offset: u32, bytes: usize) {
        self.parsed.literals.extend_from_slice(&self.bytes[self.done..start]);
        let literal_bytes = (start - self.done) as u32;
        self.parsed.sequences.push(Sequence { literal_bytes, copy_bytes: bytes as u32, offset });
        self.at = start + bytes;
        self.done = self.at;
    }

    /// A copy from a distance of its own.
    fn copy(&mut self, start: usize, distance: usize, bytes: usize) {
        self.push(start, distance as u32 + 3, bytes);
    }

    /// The last distance again, a byte or two after the last copy; it may begin earlier, but at
    /// least one literal is left, without which the offset would mean another distance.
    fn repeat_nearby(&mut self, at: usize, distance: usize, bytes: usize, floor: usize) {
        let back = agreeing_before(self.bytes, (at - distance, floor), (at, self.done + 1));
        self.push(at - back, 1, bytes + back);
    }

    /// The distance before the last, right after a copy.
    fn repeat_here(&mut self, bytes: usize) {
        self.push(self.at, 1, bytes);
    }

    /// The rest of the block is literals.
    fn finish(&mut self) {
        self.parsed.literals.extend_from_slice(&self.bytes[self.done..]);
    }
}
