//! Codes that correct predicted bytes: which of them are wrong, and what they are instead.
//! Never makes a byte that nothing predicts, and never reads further than its callers have predicted.
//!
//! A program that is made from its base is right except for a few bytes here and there: registers,
//! places on the stack, lengths. Each such byte is a surprise, but not a complete one. The byte that was
//! predicted, those around it, the part of the instruction and the corrections before say where the next
//! one is, and often what it is. So each byte that may be wrong has a bit of its own here, which costs next
//! to nothing where all is well. Blocks of 64 bytes without a correction take one bit together.
//!
//! Each context has a rate in a table: how often a bit was 1 there. Logarithms of these odds are mixed
//! as in [`aligned`](crate::aligned). `docs/format-corrections.md` specifies every step.
//!
//! A byte of a block with corrections takes a quarter of a microsecond, a wrong one two microseconds
//! more, a block without corrections a third.

// Odds have at most 17 bits, and sums are clamped to 12 bits before they are narrowed.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

mod rates;

#[cfg(feature = "encode")]
use crate::arithmetic::BitEncoder;
use crate::{
    aligned::Kind,
    arithmetic::{BitCoder, BitDecoder, mixed},
    error::LzError,
    rated::run_class,
    states::Rates,
};
use imgdelta_instructions::CodePhase;
use rates::MixedRates;

/// Bytes that share a bit if all are right.
pub const BLOCK: usize = 64;

/// A code stands for at most so many bytes that may be wrong, of blocks with corrections, for each of its
/// own bytes.
pub const MAX_OPEN: u64 = 256;
/// The same for wrong bytes.
pub const MAX_WRONG: u64 = 32;

/// Contexts of a block, of a byte that may be wrong, and of a wrong one.
const OF_BLOCK: usize = 9;
const OF_BYTE: usize = 14;

/// The rates and weights that codes have learnt. A code may begin with those of another code.
#[derive(Clone)]
pub struct CorrectionState {
    rates: Rates,
    blocks: MixedRates<OF_BLOCK, 20>,
    flags: MixedRates<OF_BYTE, 32>,
    values: MixedRates<OF_BYTE, 32>,
}

impl std::fmt::Debug for CorrectionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CorrectionState").finish_non_exhaustive()
    }
}

impl Default for CorrectionState {
    fn default() -> Self {
        Self {
            rates: Rates::new(),
            blocks: MixedRates::new(1 << 18, [1024, 64], 255),
            flags: MixedRates::new(1 << 20, [256, 1024], 1000),
            values: MixedRates::new(1 << 20, [1024, 512], 255),
        }
    }
}

impl CorrectionState {
    /// Packs the corrections of `predicted`, which becomes `wanted`. `None` if no reader would read them.
    ///
    /// `exact` and `kinds` are those of [`CorrectionReader::correct`].
    #[cfg(feature = "encode")]
    pub fn pack(
        &mut self,
        predicted: &mut [u8],
        wanted: &[u8],
        exact: &[u64],
        kinds: &[(usize, Kind)],
    ) -> Option<Vec<u8>> {
        let mut corrector = Corrector::new(self, BitEncoder::new(predicted.len() / 64), u64::MAX);
        corrector.correct(predicted, 0, exact, kinds, |at| wanted[at]).ok()?;
        let (open, wrong) = (corrector.open_bytes, corrector.wrong_bytes);
        let code = corrector.coder.finish();
        let len = code.len() as u64;
        let is_read =
            open <= len.saturating_mul(MAX_OPEN) && wrong <= len.saturating_mul(MAX_WRONG);
        (is_read && predicted == wanted).then_some(code)
    }
}

/// Reads a code piece by piece.
pub struct CorrectionReader<'a>(Corrector<'a, BitDecoder<'a>>);

impl<'a> CorrectionReader<'a> {
    /// Begins to read `code`; bytes behind its end read as zero.
    pub fn new(state: &'a mut CorrectionState, code: &'a [u8]) -> Self {
        Self(Corrector::new(state, BitDecoder::new(code), code.len() as u64))
    }

    /// Corrects the next bytes, which begin at a multiple of [`BLOCK`] in the whole and end at another
    /// one, or at the end of the whole.
    ///
    /// `start` is their place. `exact` has a word for each block, with a bit for each byte, the lowest for the
    /// first one: 1 if it cannot be wrong. `kinds` are the ends of ranges of the whole with their kinds,
    /// ascending.
    pub fn correct(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        exact: &[u64],
        kinds: &[(usize, Kind)],
    ) -> Result<(), LzError> {
        self.0.correct(bytes, start, exact, kinds, |_| 0)
    }
}

/// Places behind a byte that errors are remembered of.
const REMEMBERED: usize = 64;

/// One side of a code, and what the bytes before have shown.
struct Corrector<'a, C> {
    state: &'a mut CorrectionState,
    coder: C,
    code_len: u64,
    open_bytes: u64,
    wrong_bytes: u64,
    /// A bit for each of the last blocks: 1 if it had corrections. Blocks without since, and before.
    blocks: u32,
    clean: usize,
    clean_before: usize,
    /// Corrections of the last block with some.
    in_block: u32,
    phase: CodePhase,
    /// The last three bytes, the last one lowest.
    last: u32,
    errors: Errors,
}

/// The corrections before a byte. An error is the right byte less the predicted one, modulo 256.
struct Errors {
    /// Errors of the last bytes, by the low bits of their places; 0 for bytes that were right.
    recent: [u8; REMEMBERED],
    /// A bit for each of the last bytes: 1 if it was wrong.
    wrong: u32,
    /// Bytes since the last wrong one, and two such distances before it.
    since: usize,
    gaps: [usize; 2],
    /// The last error that was not 0.
    last: u8,
    /// Hashes of neighbouring errors: those that end at this byte, the last ones, and the ones before.
    open: u32,
    runs: [u32; 2],
}

impl Errors {
    /// Returns the error that is `distance` bytes before `at`.
    #[inline]
    fn back(&self, at: usize, distance: usize) -> u32 {
        self.recent[at.wrapping_sub(distance) % REMEMBERED].into()
    }

    /// Notes right bytes, of which fewer than 64 are followed by others of their block.
    fn pass(&mut self, at: usize, len: usize) {
        for place in at..at + len {
            self.recent[place % REMEMBERED] = 0;
        }
        self.wrong = if len < 32 { self.wrong << len } else { 0 };
        self.since = self.since.saturating_add(len);
        self.open = 0;
    }

    /// Notes a wrong byte.
    fn add(&mut self, at: usize, error: u8) {
        if self.since > 0 {
            self.gaps = [self.since.min(255), self.gaps[0]];
            self.runs = [0, self.runs[0]];
        }
        self.runs[0] = mixed(self.runs[0], error.into());
        self.open = mixed(self.open, u32::from(error) | 256);
        self.last = error;
        self.wrong = self.wrong << 1 | 1;
        self.since = 0;
        self.recent[at % REMEMBERED] = error;
    }
}

/// The surroundings of a byte before its bit.
struct ByteScene {
    at: usize,
    kind: u32,
    /// The predicted byte, and the predicted ones behind it, the next one lowest.
    predicted: u32,
    next: u32,
    /// State of the instruction, its place, and the operation before.
    state: u32,
    place: usize,
    before: u32,
}

impl<'a, C: BitCoder> Corrector<'a, C> {
    fn new(state: &'a mut CorrectionState, coder: C, code_len: u64) -> Self {
        let errors = Errors {
            recent: [0; REMEMBERED],
            wrong: 0,
            since: 0,
            gaps: [0; 2],
            last: 0,
            open: 0,
            runs: [0; 2],
        };
        Self {
            state,
            coder,
            code_len,
            open_bytes: 0,
            wrong_bytes: 0,
            blocks: 0,
            clean: 0,
            clean_before: 0,
            in_block: 0,
            phase: CodePhase::default(),
            last: 0,
            errors,
        }
    }

    /// Corrects bytes in place, block by block; the writing side takes each from `wanted`.
    fn correct(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        exact: &[u64],
        mut kinds: &[(usize, Kind)],
        wanted: impl Fn(usize) -> u8,
    ) -> Result<(), LzError> {
        for ((number, block), &exact) in bytes.chunks_mut(BLOCK).enumerate().zip(exact) {
            let from = number * BLOCK;
            let at = start + from;
            while let [(end, _), rest @ ..] = kinds
                && *end <= at
            {
                kinds = rest;
            }
            let kind = kinds.first().map_or(Kind::Data, |(_, kind)| *kind);
            self.block(block, at, exact, kind, |place| wanted(from + place))?;
        }
        Ok(())
    }

    fn block(
        &mut self,
        block: &mut [u8],
        at: usize,
        exact: u64,
        kind: Kind,
        wanted: impl Fn(usize) -> u8,
    ) -> Result<(), LzError> {
        let all = u64::MAX >> (BLOCK - block.len());
        let open = all & !exact;
        if open == 0 {
            self.pass_block(block, at, kind);
            return Ok(());
        }
        let is_wrong = block.iter().enumerate().any(|(place, &byte)| {
            // The reading side has nothing to compare with, and takes no bit from here.
            open >> place & 1 == 1 && byte != wanted(place)
        });
        let has_wrong = self.block_bit(block, exact.count_ones(), kind, is_wrong);
        self.blocks = self.blocks << 1 | u32::from(has_wrong);
        if !has_wrong {
            self.clean = self.clean.saturating_add(1);
            self.pass_block(block, at, kind);
            return Ok(());
        }
        (self.clean_before, self.clean) = (self.clean, 0);
        let mut found = 0;
        for place in 0..block.len() {
            if open >> place & 1 == 0 {
                self.errors.pass(at + place, 1);
                self.take(block[place], kind);
                continue;
            }
            let behind =
                |distance: usize| block.get(place + distance).map_or(0, |&byte| byte.into());
            let next: u32 = behind(1) | behind(2) << 8 | behind(3) << 16;
            let predicted = block[place];
            let scene = self.scene(at + place, kind, predicted, next);
            let right = wanted(place);
            // The last byte that may be wrong is, if no other one is.
            let is_last = open >> place == 1 && found == 0;
            self.open_bytes += 1;
            if is_last || self.flag(&scene, found, right != predicted) {
                let error = self.value(&scene, right.wrapping_sub(predicted));
                block[place] = predicted.wrapping_add(error);
                self.errors.add(at + place, error);
                found += 1;
                self.wrong_bytes += 1;
            } else {
                self.errors.pass(at + place, 1);
            }
            self.take(block[place], kind);
        }
        self.in_block = found.min(15);
        self.admit()
    }

    /// Notes a block without corrections.
    fn pass_block(&mut self, block: &[u8], at: usize, kind: Kind) {
        self.errors.pass(at, block.len());
        for &byte in block {
            self.take(byte, kind);
        }
    }

    /// Notes a byte.
    #[inline]
    fn take(&mut self, byte: u8, kind: Kind) {
        self.last = self.last << 8 | u32::from(byte);
        if kind == Kind::X86 {
            self.phase.step(byte);
        }
    }

    /// Codes if a block has corrections.
    fn block_bit(&mut self, block: &[u8], exact: u32, kind: Kind, is_wrong: bool) -> bool {
        let (kind, blocks) = (kind as u32, self.blocks);
        let (clean, before) = (run_class(self.clean), run_class(self.clean_before));
        let bytes = u32::from(block[0]) | u32::from(block[block.len() / 2]) << 8;
        let contexts = [
            blocks & 1 | kind << 8,
            blocks & 0xff | kind << 16,
            blocks & 0xffff,
            clean | before << 8 | kind << 16,
            clean | self.in_block << 8 | kind << 24,
            mixed(bytes, kind),
            blocks & 15 | (exact / 8) << 8 | kind << 16,
            clean | (blocks & 7) << 8,
            mixed(blocks, 3),
        ];
        let rows = [
            (clean | (blocks & 7) << 5 | kind << 8) as usize,
            (kind | (blocks & 15) << 2) as usize,
        ];
        let CorrectionState { rates, blocks: model, .. } = &mut *self.state;
        model.code(&mut self.coder, rates, contexts, rows, blocks as usize & 255, is_wrong.into())
            == 1
    }

    fn scene(&self, at: usize, kind: Kind, predicted: u8, next: u32) -> ByteScene {
        let is_x86 = kind == Kind::X86;
        ByteScene {
            at,
            kind: kind as u32,
            predicted: predicted.into(),
            next,
            state: if is_x86 { self.phase.state() } else { 1 << 31 | at as u32 & 7 },
            place: if is_x86 { self.phase.place() } else { at & 7 },
            before: self.phase.before()[0],
        }
    }

    /// Codes if a byte is wrong; `found` others of its block are.
    fn flag(&mut self, scene: &ByteScene, found: u32, is_wrong: bool) -> bool {
        let &ByteScene { at, kind, predicted, next, state, .. } = scene;
        let errors = &self.errors;
        let error = |distance| errors.back(at, distance);
        let (one, two) = (self.last & 0xff, self.last & 0xffff);
        let ahead = predicted | next << 8;
        let since = errors.since.min(255) as u32;
        let near = |most: u32| since.min(most);
        let gaps = (errors.gaps[0] | errors.gaps[1] << 8) as u32;
        let contexts = [
            predicted | one << 8 | (next & 0xff) << 16,
            mixed(predicted | one << 8, self.last >> 8 & 0xffff),
            mixed(state, predicted),
            mixed(state, (errors.wrong & 0xff) << 8),
            errors.wrong & 0xfff | kind << 16,
            mixed(mixed(error(1) | error(2) << 8 | error(3) << 16, predicted), kind),
            mixed(error(8) | error(4) << 8 | error(16) << 16, kind),
            mixed(ahead & 0xff_ffff, kind | one << 8),
            mixed(mixed(errors.runs[0], near(63)), kind),
            mixed(since | gaps << 8, kind),
            mixed(state, mixed(predicted | one << 8, next & 0xff)),
            mixed(ahead, errors.open),
            mixed(next & 0xffff | 1 << 24, errors.open),
            mixed(mixed(ahead & 0xff_ffff, two), errors.open),
        ];
        let wrong = (errors.wrong & 3) as usize;
        let by_run = (run_class(errors.since) / 2) | (kind << 4) | (found.min(2) << 6);
        let by_place = scene.place | wrong << 7 | if kind == Kind::X86 as u32 { 0 } else { 512 };
        let rows = [by_run as usize, by_place];
        let by_byte = (predicted | kind << 8) as usize;
        let CorrectionState { rates, flags, .. } = &mut *self.state;
        flags.code(&mut self.coder, rates, contexts, rows, by_byte, is_wrong.into()) == 1
    }

    /// Codes the error of a wrong byte.
    fn value(&mut self, scene: &ByteScene, error: u8) -> u8 {
        let &ByteScene { at, kind, predicted, next, state, .. } = scene;
        let errors = &self.errors;
        let back = |distance| errors.back(at, distance);
        let (one, two) = (self.last & 0xff, self.last & 0xffff);
        let ahead = predicted | next << 8;
        let last = u32::from(errors.last);
        let since = errors.since.min(255) as u32;
        let contexts = [
            kind,
            last | 1 << 16,
            mixed(predicted, kind),
            mixed(state, 5),
            back(1) | back(2) << 8 | back(3) << 16 | 1 << 24,
            back(4) | back(8) << 8 | kind << 16,
            mixed(errors.runs[0], errors.open),
            mixed(scene.before, state),
            mixed(errors.runs[1], errors.open),
            mixed(back(1) | since << 8, last | kind << 8),
            mixed(predicted | one << 8 | (next & 0xff) << 16, 7),
            mixed(ahead, errors.open),
            mixed(next & 0xffff | 1 << 24, errors.open),
            mixed(mixed(ahead & 0xff_ffff, two), errors.open),
        ];
        let by_place = scene.place | if kind == Kind::X86 as u32 { 0 } else { 256 };
        let by_place = by_place | if errors.since == 0 { 128 } else { 0 };
        let is_apart = usize::from(errors.since > 0) << 8;
        let CorrectionState { rates, values, .. } = &mut *self.state;
        let mut partial = 1_u32;
        for place in (0..8).rev() {
            let contexts = contexts.map(|context| mixed(context, partial));
            let rows = [(partial | kind << 8) as usize, by_place];
            let bit = u32::from(error >> place & 1);
            let refined = partial as usize | is_apart;
            let bit = values.code(&mut self.coder, rates, contexts, rows, refined, bit);
            partial = partial << 1 | bit;
        }
        partial as u8
    }

    /// Refuses a code that stands for more than its length admits.
    fn admit(&self) -> Result<(), LzError> {
        for (what, each, found) in [
            ("bytes that may be wrong", MAX_OPEN, self.open_bytes),
            ("corrected bytes", MAX_WRONG, self.wrong_bytes),
        ] {
            let expected = self.code_len.saturating_mul(each).saturating_add(FREE);
            if found > expected {
                return Err(LzError { what, expected, found });
            }
        }
        Ok(())
    }
}

/// Bytes that any code may stand for: a block that is read before it is refused.
const FREE: u64 = BLOCK as u64;
