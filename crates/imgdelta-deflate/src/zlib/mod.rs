//! zlib, its fork in Chromium, GNU gzip and pigz.
//!
//! Re-created from its behaviour; credit: Jean-loup Gailly and Mark Adler (zlib licence, see
//! NOTICE), and the Chromium authors. All four share a match engine ([`engine`]). They differ in the
//! hash of positions, in the ends of blocks, at the end of the data, and in framing. Level 0 is not
//! modelled: its stored blocks depend on the buffers of the program, and a record has their sizes.
//!
//! Never models the forks that search differently (zlib-ng, Cloudflare's).

mod blocks;
mod castagnoli;
mod engine;
mod rolling;
mod tree;

use crate::bits::BitWriter;
use crate::token::Token;
use engine::{MatchEngine, ZlibVariant};

pub(crate) use blocks::write_block;
pub(crate) use castagnoli::castagnoli;
pub use engine::ChromiumHash;
pub(crate) use engine::{ResumePoint, WINDOW_BITS};
pub(crate) use tree::heap_lengths;

/// zlib's strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZlibStrategy {
    /// The default.
    Default,
    /// Drops short copies.
    Filtered,
    /// Only literals.
    HuffmanOnly,
    /// Only copies with distance 1.
    Rle,
    /// Only fixed and stored blocks.
    Fixed,
}

impl ZlibStrategy {
    /// All strategies, in zlib's numbering.
    pub const ALL: [Self; 5] =
        [Self::Default, Self::Filtered, Self::HuffmanOnly, Self::Rle, Self::Fixed];

    /// True if the strategy searches copies in an index.
    pub(crate) fn searches(self) -> bool {
        !matches!(self, Self::HuffmanOnly | Self::Rle)
    }
}

/// The encoder while it writes a zlib stream, without zlib's wrapper.
pub(crate) struct ZlibEncoder {
    engine: MatchEngine,
}

impl ZlibEncoder {
    /// Resets the encoder for another stream.
    pub(crate) fn restart(&mut self) {
        self.engine.restart(&[]);
        self.engine.bits.clear();
    }

    pub(crate) fn new(
        level: u8,
        mem_level: u8,
        window_bits: u8,
        strategy: ZlibStrategy,
    ) -> Option<Self> {
        let engine = MatchEngine::new(ZlibVariant::Zlib, level, mem_level, window_bits, strategy)?;
        Some(Self { engine })
    }

    /// Makes the encoder of Chromium's zlib with its default window and strategy.
    pub(crate) fn chromium(hash: ChromiumHash, level: u8, mem_level: u8) -> Option<Self> {
        let (variant, strategy) = (ZlibVariant::Chromium(hash), ZlibStrategy::Default);
        Some(Self { engine: MatchEngine::new(variant, level, mem_level, 15, strategy)? })
    }

    /// Starts Chromium's encoder at the first byte of a block in the middle of a stream.
    pub(crate) fn resume_chromium(
        (hash, level, mem_level): (ChromiumHash, u8, u8),
        plain: &[u8],
        place: ResumePoint,
    ) -> Option<Self> {
        let mut stream = Self::chromium(hash, level, mem_level)?;
        stream.engine.resume(plain, place)?;
        Some(stream)
    }

    /// Changes level and strategy before the next stream.
    pub(crate) fn retune(&mut self, level: u8, strategy: ZlibStrategy) -> Option<()> {
        self.engine.retune(level, strategy)
    }

    /// Returns the first tokens of a stream: see [`MatchEngine::first_tokens`].
    pub(crate) fn first_tokens(&mut self, plain: &[u8]) -> &[Token] {
        self.engine.first_tokens(plain)
    }

    /// Starts at the first byte of a block in the middle of a stream with the largest window: see
    /// [`MatchEngine::resume`].
    pub(crate) fn resume(
        (level, mem_level, strategy): (u8, u8, ZlibStrategy),
        plain: &[u8],
        place: ResumePoint,
    ) -> Option<Self> {
        let mut stream = Self::new(level, mem_level, *WINDOW_BITS.end(), strategy)?;
        stream.engine.resume(plain, place)?;
        Some(stream)
    }

    /// Parses all bytes except the lookahead. True if a block ends at the same place.
    pub(crate) fn end_span(&mut self) -> bool {
        self.engine.end_span()
    }

    pub(crate) fn bits(&mut self) -> &mut BitWriter {
        &mut self.engine.bits
    }

    pub(crate) fn write(&mut self, plain: &[u8]) {
        self.engine.write(plain);
    }

    pub(crate) fn finish(&mut self) {
        self.engine.end_data(true);
        self.engine.bits.align();
    }
}

/// The encoder while it writes a GNU gzip stream.
pub(crate) struct GnuGzipEncoder {
    engine: MatchEngine,
}

impl GnuGzipEncoder {
    /// Resets the encoder for another stream.
    pub(crate) fn restart(&mut self) {
        self.engine.restart(&[]);
        self.engine.bits.clear();
    }

    pub(crate) fn new(level: u8) -> Option<Self> {
        Some(Self {
            engine: MatchEngine::new(ZlibVariant::GnuGzip, level, 8, 15, ZlibStrategy::Default)?,
        })
    }

    /// Makes the encoder for `--rsyncable`.
    pub(crate) fn rsyncable(level: u8) -> Option<Self> {
        let (variant, strategy) = (ZlibVariant::RsyncableGzip, ZlibStrategy::Default);
        Some(Self { engine: MatchEngine::new(variant, level, 8, 15, strategy)? })
    }

    /// Changes the level before the next stream.
    pub(crate) fn retune(&mut self, level: u8) -> Option<()> {
        self.engine.retune(level, ZlibStrategy::Default)
    }

    /// Returns the first tokens of a stream: see [`MatchEngine::first_tokens`].
    pub(crate) fn first_tokens(&mut self, plain: &[u8]) -> &[Token] {
        self.engine.first_tokens(plain)
    }

    /// Starts at the first byte of a block in the middle of a stream: see [`MatchEngine::resume`].
    pub(crate) fn resume(level: u8, plain: &[u8], place: ResumePoint) -> Option<Self> {
        let mut stream = Self::new(level)?;
        stream.engine.resume(plain, place)?;
        Some(stream)
    }

    /// Parses all bytes except the lookahead. True if a block ends at the same place.
    pub(crate) fn end_span(&mut self) -> bool {
        self.engine.end_span()
    }

    pub(crate) fn bits(&mut self) -> &mut BitWriter {
        &mut self.engine.bits
    }

    pub(crate) fn write(&mut self, plain: &[u8]) {
        self.engine.write(plain);
    }

    pub(crate) fn finish(&mut self) {
        self.engine.end_data(true);
        self.engine.bits.align();
    }
}

/// The history of a pigz block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PigzBlocks {
    /// The last 32 KiB, with several processes.
    Primed,
    /// Nothing, with several processes and `-i`.
    Independent,
    /// The window of one stream, with one process.
    Continued,
}

impl PigzBlocks {
    /// All kinds, the default first.
    pub const ALL: [Self; 3] = [Self::Primed, Self::Independent, Self::Continued];
}

/// The encoder while it writes a pigz stream, whose blocks are aligned to bytes.
pub(crate) struct PigzEncoder {
    engine: MatchEngine,
    blocks: PigzBlocks,
    block_bytes: usize,
    block: Vec<u8>,
    history: Vec<u8>,
    is_first: bool,
    output: Vec<u8>,
}

/// Plain bytes of history that a pigz block uses.
pub(crate) const PIGZ_HISTORY_BYTES: usize = 32_768;

impl PigzEncoder {
    pub(crate) fn new(level: u8, block_bytes: usize, blocks: PigzBlocks) -> Option<Self> {
        (block_bytes >= PIGZ_HISTORY_BYTES).then_some(())?;
        Some(Self {
            engine: MatchEngine::new(ZlibVariant::Zlib, level, 8, 15, ZlibStrategy::Default)?,
            blocks,
            block_bytes,
            block: Vec::new(),
            history: Vec::new(),
            is_first: true,
            output: Vec::new(),
        })
    }

    /// Resets the encoder for another stream.
    pub(crate) fn restart(&mut self) {
        self.engine.restart(&[]);
        self.engine.bits.clear();
        self.block.clear();
        self.history.clear();
        self.is_first = true;
        self.output.clear();
    }

    /// Returns the first tokens of a stream: see [`MatchEngine::first_tokens`].
    pub(crate) fn first_tokens(&mut self, plain: &[u8]) -> &[Token] {
        self.engine.first_tokens(&plain[..plain.len().min(self.block_bytes)])
    }

    /// Starts at a block in the middle of a stream. `before` ends with the bytes before the block.
    pub(crate) fn resume(
        level: u8,
        block_bytes: usize,
        blocks: PigzBlocks,
        before: &[u8],
    ) -> Option<Self> {
        let mut stream = Self::new(level, block_bytes, blocks)?;
        let history = &before[before.len().saturating_sub(PIGZ_HISTORY_BYTES)..];
        stream.history.extend_from_slice(history);
        stream.is_first = false;
        Some(stream)
    }

    /// Ends a full block that is not the last one.
    pub(crate) fn end_span(&mut self) {
        self.compress(false);
    }

    pub(crate) fn write(&mut self, mut plain: &[u8]) {
        while !plain.is_empty() {
            // A full block may be the last one, so it is compressed when more bytes come.
            if self.block.len() == self.block_bytes {
                self.compress(false);
            }
            let (now, later) = plain.split_at(plain.len().min(self.block_bytes - self.block.len()));
            self.block.extend_from_slice(now);
            plain = later;
        }
    }

    pub(crate) fn finish(&mut self) {
        self.compress(true);
    }

    /// Moves all finished bytes to the end of `out`.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.output);
    }

    fn compress(&mut self, is_last: bool) {
        match self.blocks {
            _ if self.is_first => {}
            PigzBlocks::Primed => self.engine.restart(&self.history),
            PigzBlocks::Independent => self.engine.restart(&[]),
            PigzBlocks::Continued => {}
        }
        self.is_first = false;
        self.engine.write(&self.block);
        self.engine.end_data(is_last);
        let bits = &mut self.engine.bits;
        if is_last {
            bits.align();
        } else {
            let is_independent = self.blocks == PigzBlocks::Independent;
            match bits.phase() {
                _ if is_independent => bits.stored_block(&[], false),
                0 => {}
                phase if phase % 2 == 1 => bits.stored_block(&[], false),
                phase => (phase..8).step_by(2).for_each(|_| bits.empty_fixed_block(false)),
            }
            if is_independent {
                bits.stored_block(&[], false);
            }
        }
        bits.take(&mut self.output);
        self.history.clear();
        let tail = self.block.len().saturating_sub(PIGZ_HISTORY_BYTES);
        self.history.extend_from_slice(&self.block[tail..]);
        self.block.clear();
    }
}
