//! Finds the possible encoders of a stream from its first megabytes.
//!
//! Never compresses anything.

use crate::gzip::GzipHeader;
use crate::inflate::{BlockHeader, BlockKind, InflateObserver, InflateStream};
use crate::klauspost::{KlauspostVersion, PGZIP_HISTORY_BYTES};
use crate::model::EncoderModel;
use crate::token::Token;
use crate::zlib::{ChromiumHash, PigzBlocks, ZlibStrategy};
use crate::zlib_ng::{CallSizes, ZlibNgVersion};

/// Facts from the gzip header.
#[derive(Clone, Copy, Default)]
pub(super) struct WrapperHint {
    level: Option<u8>,
    os: Option<u8>,
    mtime: u32,
}

/// Go's zero time, which klauspost's gzip writes if no time is set.
const KLAUSPOST_MTIME: u32 = 0x886e_0900;

impl WrapperHint {
    pub(super) fn of(header: &GzipHeader) -> Self {
        let level = match header.extra_flags {
            2 => Some(9),
            4 => Some(1),
            _ => None,
        };
        Self { level, os: Some(header.os), mtime: header.mtime }
    }
}

/// The first megabytes of a stream, inflated, with statistics.
pub(super) struct StreamSurvey {
    /// The plain bytes.
    pub(super) plain: Vec<u8>,
    /// Bytes of the whole stream. `None` if it goes on.
    pub(super) stream_bytes: Option<usize>,
    marks: StreamMarks,
}

/// Plain bytes of the survey: two segments of pgzip with the usual size.
const PLAIN_BYTES: usize = 2 << 20;
/// Most plain bytes before the end of the first segment, if the stream looks like pgzip.
const SEGMENT_SEARCH_BYTES: u64 = 64 << 20;
const PIECE_BYTES: usize = 16 * 1024;
/// Most tokens that are kept for comparison.
const FIRST_TOKENS: usize = 4096;

/// Statistics of blocks and tokens.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent facts, not a state")]
struct StreamMarks {
    shortest: usize,
    longest: usize,
    /// Copies of three bytes.
    short_copies: u64,
    farthest: usize,
    copies: u64,
    tokens: u64,
    /// Tokens of the first block with tokens, if another block follows.
    first_tokens: Option<u64>,
    /// Numbers of symbols in the first dynamic header.
    first_header: Option<(usize, usize)>,
    /// Plain bytes before the first empty stored block that is not final.
    first_sync: Option<u64>,
    /// Greatest common divisor of the positions where pigz may have joined blocks.
    joint: u64,
    /// True if the block behind the first empty stored block is empty, fixed and final.
    sync_is_end: bool,
    block_tokens: u64,
    block_start: u64,
    block_is_sync: bool,
    block_is_final: bool,
    block_may_end: bool,
    ended_blocks: u64,
    /// Tokens before the first stored block, up to [`FIRST_TOKENS`].
    first: Vec<Token>,
    /// True behind a stored block, which hides the tokens of the parse.
    has_stored: bool,
}

impl InflateObserver for StreamMarks {
    const TOKENS: bool = true;

    fn block(&mut self, block: &BlockHeader<'_>) {
        self.block_tokens = 0;
        self.block_is_sync = false;
        self.block_may_end = false;
        self.block_is_final = block.is_final;
        match block.kind {
            BlockKind::Stored { plain_bytes, .. } => {
                self.block_is_sync = plain_bytes == 0 && !block.is_final;
                self.has_stored |= plain_bytes > 0;
            }
            BlockKind::Fixed => self.block_may_end = block.is_final,
            BlockKind::Dynamic(dynamic) => {
                self.first_header
                    .get_or_insert((dynamic.litlen_lengths.len(), dynamic.distance_lengths.len()));
            }
        }
        if self.ended_blocks > 0 && self.tokens > 0 {
            self.first_tokens.get_or_insert(self.tokens);
        }
    }

    fn token(&mut self, token: Token) {
        self.block_tokens += 1;
        self.tokens += 1;
        if self.first.len() < FIRST_TOKENS && !self.has_stored {
            self.first.push(token);
        }
        if token.is_copy() {
            self.copies += 1;
            self.longest = self.longest.max(token.length());
            self.short_copies += u64::from(token.length() == 3);
            if self.copies == 1 || token.length() < self.shortest {
                self.shortest = token.length();
            }
            self.farthest = self.farthest.max(token.distance());
        }
    }

    fn block_end(&mut self, _bit: u64, plain_bytes: u64) {
        self.ended_blocks += 1;
        let is_empty = self.block_start == plain_bytes && self.block_tokens == 0;
        if is_empty && plain_bytes > 0 && !self.block_is_final {
            self.joint = greatest_common_divisor(self.joint, plain_bytes);
        }
        if self.block_is_sync {
            self.first_sync.get_or_insert(plain_bytes);
        } else if self.block_may_end
            && self.block_tokens == 0
            && self.first_sync == Some(plain_bytes)
        {
            self.sync_is_end = true;
        }
        self.block_start = plain_bytes;
    }
}

impl StreamSurvey {
    /// Surveys the start of a stream. `None` if it is not a deflate stream. `plain` is memory for
    /// the plain bytes.
    pub(super) fn of(body: &[u8], stream: &mut InflateStream, plain: Vec<u8>) -> Option<Self> {
        Self::of_start(body, true, stream, plain)
    }

    /// Surveys the first bytes of a stream. It goes on behind them if `is_whole` is false.
    pub(super) fn of_start(
        body: &[u8],
        is_whole: bool,
        stream: &mut InflateStream,
        mut plain: Vec<u8>,
    ) -> Option<Self> {
        stream.reset();
        plain.clear();
        let mut survey = Self { plain, stream_bytes: None, marks: StreamMarks::default() };
        let mut read = 0;
        loop {
            let piece = &body[read..body.len().min(read + PIECE_BYTES)];
            if piece.is_empty() {
                return (!is_whole).then_some(survey);
            }
            let plain = &mut survey.plain;
            let mut more = |bytes: &[u8]| {
                let room = (2 * PLAIN_BYTES).saturating_sub(plain.len());
                plain.extend_from_slice(&bytes[..bytes.len().min(room)]);
            };
            let (taken, is_done) = stream.push(piece, &mut survey.marks, &mut more).ok()?;
            read += taken;
            let plain_bytes = stream.inflater().plain_bytes();
            if is_done {
                if plain_bytes == survey.plain.len() as u64 {
                    survey.stream_bytes = Some(read);
                }
                return Some(survey);
            }
            let is_enough = survey.marks.first_sync.is_some()
                || !survey.may_be_pgzip()
                || plain_bytes >= SEGMENT_SEARCH_BYTES;
            if survey.plain.len() >= PLAIN_BYTES && is_enough {
                return Some(survey);
            }
        }
    }

    /// Returns the first tokens of the stream, up to the first stored block.
    pub(super) fn first_tokens(&self) -> &[Token] {
        &self.marks.first
    }

    fn may_be_pgzip(&self) -> bool {
        self.marks.shortest != 3
    }

    /// Returns the models that can make the stream, the likeliest first.
    pub(super) fn candidates(&self, hint: WrapperHint) -> Vec<EncoderModel> {
        let mut models = Vec::new();
        let marks = &self.marks;
        // Go's family never copies three bytes, and zlib's usually does. A stream with only long
        // runs can still be zlib's, so zlib is then tried last.
        let may_be_go = marks.copies == 0 || marks.shortest > 3;
        let may_be_zlib = marks.farthest <= 32_506;
        // A stream without a wrapper is the member of an archive, mostly by zlib.
        let go_first = hint.os.is_some_and(|os| os != 3) || marks.copies > 200;
        if may_be_go && go_first {
            self.go_family(hint, &mut models);
        }
        if may_be_zlib {
            self.zlib_family(hint, &mut models);
        }
        if may_be_go && !go_first {
            self.go_family(hint, &mut models);
        }
        self.later_family(hint, &mut models);
        models
    }

    /// Adds the models of the encoders that came after zlib and Go, as far as the marks allow them.
    fn later_family(&self, hint: WrapperHint, models: &mut Vec<EncoderModel>) {
        let marks = &self.marks;
        let is_near = marks.farthest <= 32_506;
        // Blocks of zlib's default size, or only one block.
        let has_usual_blocks = marks
            .first_tokens
            .is_none_or(|tokens| tokens == 16_383 || marks.sync_is_end && tokens < 16_383);
        let is_usual = has_usual_blocks && is_near;
        // Hashes of four bytes find a copy of three only where they collide.
        let is_of_four = marks.short_copies * 16 <= marks.copies;
        let endings: &[bool] = match (marks.sync_is_end, self.stream_bytes) {
            (true, _) => &[true],
            (false, Some(_)) => &[false],
            (false, None) => &[false, true],
        };
        for level in levels(hint, 6) {
            for hash in ChromiumHash::ALL {
                let is_of_three = hash == ChromiumHash::Castagnoli && level >= 6;
                if is_usual && (is_of_three || is_of_four) && !marks.sync_is_end {
                    models.push(EncoderModel::ChromiumZlib { hash, level, mem_level: 8 });
                }
            }
            let is_likely = match level {
                1 => marks.first_header.is_none() && is_near && is_of_four,
                9 => is_usual,
                _ => is_usual && is_of_four,
            };
            for &ends_flushed in endings {
                if is_likely {
                    self.zlib_ng(level, ends_flushed, models);
                }
                if marks.first_tokens != Some(16_383) {
                    models.push(EncoderModel::Miniz { level, ends_flushed });
                }
            }
        }
        if marks.first_tokens != Some(16_383) {
            let last = |&ends_flushed| EncoderModel::Miniz { level: 10, ends_flushed };
            models.extend(endings.iter().map(last));
        }
    }

    /// Adds the models of zlib-ng at a level, with the usual calls of programs.
    fn zlib_ng(&self, level: u8, ends_flushed: bool, models: &mut Vec<EncoderModel>) {
        let plain_bytes = self.stream_bytes.map_or(usize::MAX, |_| self.plain.len());
        // The versions differ in long copies, and in the hash below level 9.
        let may_be_long = self.stream_bytes.is_none() || self.marks.longest > LONG_BYTES;
        let newest = ZlibNgVersion::V2_2_3;
        let versions = [
            (newest, true),
            (ZlibNgVersion::V2_2_0, (3..=6).contains(&level) && may_be_long),
            (ZlibNgVersion::V2_1, level < 9),
        ];
        for (version, _) in versions.into_iter().filter(|(_, is_possible)| *is_possible) {
            let mut add = |input_bytes, output_bytes| {
                let calls = CallSizes { input_bytes, output_bytes, ends_flushed };
                let is_one = input_bytes as usize >= plain_bytes && level > 1;
                let has_room =
                    self.stream_bytes.is_some_and(|bytes| bytes <= output_bytes as usize);
                if !is_one && (output_bytes == 0 || !has_room) {
                    models.push(EncoderModel::ZlibNg { version, level, calls });
                }
            };
            add(0, 0);
            if level >= 7 {
                continue;
            }
            if level == 1 {
                add(MOST_CALL_BYTES, 0);
            }
            let sizes =
                if version == newest { &CALLS_KIBIBYTES[..] } else { &CALLS_KIBIBYTES[..3] };
            for kibibytes in sizes {
                add(kibibytes << 10, 0);
            }
            if level >= 5 {
                // The buffers of flate2, Python and .NET.
                add(0, 32 << 10);
                add(8 << 10, 16 << 10);
                add(0, 8 << 10);
                add(80 << 10, 8 << 10);
            }
        }
    }

    fn go_family(&self, hint: WrapperHint, models: &mut Vec<EncoderModel>) {
        let mut versions = KlauspostVersion::ALL.to_vec();
        if self.marks.first_header == Some((286, 30)) {
            versions.rotate_left(2);
        }
        let unlikely: [i8; 2] = [0, -2];
        let levels = |default: i8| {
            levels(hint, default as u8).into_iter().map(|level| level as i8).chain(unlikely)
        };
        if let Some(segment_bytes) = self.segment_bytes() {
            for level in levels(5) {
                models.extend(versions.iter().map(|&version| EncoderModel::Pgzip {
                    version,
                    level,
                    segment_bytes,
                }));
            }
        }
        let klauspost =
            levels(if hint.mtime == KLAUSPOST_MTIME { 5 } else { 6 }).flat_map(|level| {
                versions.iter().map(move |&version| EncoderModel::Klauspost { version, level })
            });
        let golang = levels(6).map(|level| EncoderModel::Golang { level });
        if hint.mtime == KLAUSPOST_MTIME {
            models.extend(klauspost.chain(golang));
        } else {
            models.extend(golang.chain(klauspost));
        }
    }

    fn segment_bytes(&self) -> Option<u32> {
        let marks = &self.marks;
        let first = u32::try_from(marks.first_sync?).ok().filter(|&n| n <= 64 << 20)?;
        if marks.sync_is_end {
            // There is only one segment, so every larger size makes the same stream.
            return Some((first + 1).next_power_of_two().max(1 << 20));
        }
        (first as usize > PGZIP_HISTORY_BYTES).then_some(first)
    }

    /// Returns a smaller window that explains the absence of far copies.
    fn smaller_windows(&self) -> Vec<u8> {
        let fits = |bits: u8| self.marks.farthest + 262 <= 1 << bits;
        match (9..15).find(|&bits| fits(bits)) {
            // A short stream has few chances for a far copy, which proves nothing.
            Some(bits) if self.plain.len() > 4 << bits && self.marks.copies > 0 => vec![bits],
            _ => Vec::new(),
        }
    }

    /// Returns the possible block sizes and kinds of pigz.
    ///
    /// A block that ends at a full byte leaves no empty block behind it. So the visible joints may
    /// be multiples of the real size, and a stream without joints may still be pigz's.
    fn pigz(&self) -> Vec<(u32, PigzBlocks)> {
        let mut sizes = Vec::new();
        if let Ok(joint @ 32_768..=PIGZ_BLOCK_BYTES) = u32::try_from(self.marks.joint) {
            let parts = (1..=4).filter(|part| joint.is_multiple_of(*part));
            sizes.extend(parts.map(|part| joint / part).filter(|&size| size >= 32_768));
        }
        if self.marks.joint.is_multiple_of(u64::from(PIGZ_DEFAULT_BYTES)) {
            sizes.insert(0, PIGZ_DEFAULT_BYTES);
        }
        sizes.dedup();
        let kinds = if self.marks.joint == 0 { &PigzBlocks::ALL[..1] } else { &PigzBlocks::ALL };
        sizes.into_iter().flat_map(|size| kinds.iter().map(move |&kind| (size, kind))).collect()
    }

    /// True if the tokens and blocks may be those of a strategy of zlib.
    fn may_have(&self, strategy: ZlibStrategy) -> bool {
        let marks = &self.marks;
        match strategy {
            ZlibStrategy::Default => true,
            // Levels without this restriction write the same bytes as with the default.
            ZlibStrategy::Filtered => marks.copies == 0 || marks.shortest > FILTERED_BYTES,
            ZlibStrategy::HuffmanOnly => marks.copies == 0,
            ZlibStrategy::Rle => marks.farthest <= 1,
            ZlibStrategy::Fixed => marks.first_header.is_none(),
        }
    }

    fn zlib_family(&self, hint: WrapperHint, models: &mut Vec<EncoderModel>) {
        // The length of a full block is the size of zlib's symbol buffer.
        let mem_levels = match self.marks.first_tokens {
            Some(tokens) if (tokens + 1).is_power_of_two() && (127..=32_767).contains(&tokens) => {
                vec![((tokens + 1).ilog2() - 6) as u8]
            }
            _ => vec![8, 9],
        };
        let pigz = self.pigz();
        for level in levels(hint, 6) {
            models.extend(mem_levels.iter().map(|&mem_level| EncoderModel::Zlib {
                level,
                mem_level,
                window_bits: 15,
                strategy: ZlibStrategy::Default,
            }));
            models.push(EncoderModel::GnuGzip { level });
            // Most chunks leave an empty stored block behind them.
            if self.marks.first_sync.is_some() {
                models.push(EncoderModel::RsyncableGzip { level });
            }
            models.extend(pigz.iter().map(|&(block_bytes, blocks)| EncoderModel::Pigz {
                level,
                block_bytes,
                blocks,
            }));
        }
        for &window_bits in &self.smaller_windows() {
            for level in levels(hint, 6) {
                models.extend(mem_levels.iter().map(|&mem_level| EncoderModel::Zlib {
                    level,
                    mem_level,
                    window_bits,
                    strategy: ZlibStrategy::Default,
                }));
            }
        }
        for strategy in ZlibStrategy::ALL[1..].iter().filter(|strategy| self.may_have(**strategy)) {
            for level in levels(hint, 6) {
                models.extend(mem_levels.iter().map(|&mem_level| EncoderModel::Zlib {
                    level,
                    mem_level,
                    window_bits: 15,
                    strategy: *strategy,
                }));
            }
        }
    }
}

/// Usual sizes of a program's calls, the likeliest first.
const CALLS_KIBIBYTES: [u32; 7] = [8, 64, 32, 16, 128, 10, 80];
/// Length from which zlib-ng may leave positions of a copy out of its index.
const LONG_BYTES: usize = 96;
/// Most plain bytes of a call: practically a call for the whole stream, and another for its end.
const MOST_CALL_BYTES: u32 = 64 << 20;
/// Longest copy that zlib's filtered strategy drops.
const FILTERED_BYTES: usize = 5;
/// Default block size of pigz.
const PIGZ_DEFAULT_BYTES: u32 = 128 << 10;
/// Largest block size of pigz that is tried.
const PIGZ_BLOCK_BYTES: u32 = 16 << 20;

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Returns all levels, the likeliest first.
fn levels(hint: WrapperHint, default: u8) -> Vec<u8> {
    let first = hint.level.unwrap_or(default);
    let others = [6, 5, 1, 9, 4, 3, 2, 7, 8];
    std::iter::once(first).chain(others.into_iter().filter(|&level| level != first)).collect()
}
