//! A context mixer for bytes that resemble others which both sides have: the *reference*.
//! Never takes more than 32 MiB besides the reference and the bytes.
//!
//! New code of a program follows the old code, with changes every few bytes. So a pointer moves
//! through the reference while bytes are coded, and the byte at its place is the main context. Where
//! it was right for a while, one bit says that it is right again (the *light path*). Otherwise each
//! bit of the byte is predicted from many contexts (the *full path*): the last bytes, the byte that the
//! reference predicts, the longest match, the part of an instruction. After a change the pointer looks
//! for its place nearby.
//!
//! The way of mixing (states of contexts, weighted sums of logarithms of odds, corrections of the sum)
//! is that of Matt Mahoney's PAQ programs; tables and constants are our own. `docs/format-aligned.md`
//! specifies every step: all arithmetic is on integers, so that every machine predicts the same.
//!
//! | module | purpose |
//! |---|---|
//! | `history` | the bytes so far, and the places that predict the next one |
//! | `contexts` | contexts by the kind of bytes |
//! | `flags`, `full` | the two paths |
//!
//! The odds that are learnt stay for the next code, if both sides pass the same [`MixerState`] on.
//!
//! The full path takes one to two microseconds a byte on both sides.

// Odds have at most 17 bits, sums are clamped to 12 bits, and places fit 32 bits.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

mod contexts;
mod flags;
mod full;
mod history;

use crate::{
    arithmetic::{BitCoder, BitDecoder, BitEncoder, mixed},
    error::LzError,
    states::Rates,
};
use contexts::{Guesses, Scene};
use flags::{Expected, Flags};
use full::Full;
use history::{History, Pointer, ZEROS};
use imgdelta_instructions::CodePhase;

/// The kind of bytes in a stretch, which decides the contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Files that are not programs.
    Text,
    /// Data of programs.
    Data,
    /// `AArch64` code.
    Words,
    /// x86-64 code.
    X86,
}

/// Bytes of the target that follow each other.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Number of bytes.
    pub len: usize,
    /// Their place in the target.
    pub target: usize,
    /// The place in the reference behind what precedes them in the target.
    pub before: Option<usize>,
    /// The place in the reference where they begin if what follows them in the target follows them
    /// there.
    pub after: Option<usize>,
    /// The kind of bytes.
    pub kind: Kind,
}

/// A code, and the number of its bytes that took the full path.
#[derive(Debug)]
pub struct AlignedCode {
    /// The code.
    pub bytes: Vec<u8>,
    /// Bytes that took the full path.
    pub full: u64,
}

/// A code stands for at most so many bytes of the full path for each of its own.
pub const MAX_FULL: u64 = 32;
/// The same for all bytes.
pub const MAX_BYTES: u64 = 256;

/// Longest reference.
pub const MAX_REFERENCE: usize = 64 << 20;
/// Most bytes that a code stands for.
pub const MAX_RAW: usize = 16 << 20;

/// Packs the bytes of all stretches; `None` if no reader would unpack them.
pub fn pack(reference: &[u8], stretches: &[Stretch], raw: &[u8]) -> Option<AlignedCode> {
    MixerState::default().pack(reference, stretches, raw)
}

/// The bytes that a code may stand for.
struct Budget {
    full: u64,
    all: u64,
}

impl Budget {
    fn of(len: usize) -> Self {
        let of = |each: u64| (len as u64).saturating_mul(each);
        Self { full: of(MAX_FULL), all: of(MAX_BYTES).min(MAX_RAW as u64) }
    }
}

/// Unpacks the bytes of all stretches; missing bytes of the code read as zero.
pub fn unpack(code: &[u8], reference: &[u8], stretches: &[Stretch]) -> Result<Vec<u8>, LzError> {
    MixerState::default().unpack(code, reference, stretches)
}

/// The odds that codes have learnt. A code may begin with those of another code.
#[derive(Clone)]
pub struct MixerState {
    full: Full,
    flags: Flags,
    rates: Rates,
}

impl std::fmt::Debug for MixerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MixerState").finish_non_exhaustive()
    }
}

impl Default for MixerState {
    fn default() -> Self {
        Self { full: Full::new(), flags: Flags::new(), rates: Rates::new() }
    }
}

impl MixerState {
    /// Packs the bytes of all stretches; `None` if no reader would unpack them.
    pub fn pack(
        &mut self,
        reference: &[u8],
        stretches: &[Stretch],
        raw: &[u8],
    ) -> Option<AlignedCode> {
        if raw.len() > MAX_RAW {
            return None;
        }
        let mut coder = BitEncoder::new(raw.len() / 8);
        let mut bytes = CodedBytes::new(self, reference, stretches, raw.len());
        let mut at = 0;
        for stretch in stretches {
            let part = &raw[at..at + stretch.len];
            bytes.stretch(&mut coder, stretch, u64::MAX, |at| part[at]).ok()?;
            at += stretch.len;
        }
        let (bytes, full) = (coder.finish(), bytes.full_bytes);
        let most = Budget::of(bytes.len());
        (full <= most.full && raw.len() as u64 <= most.all).then_some(AlignedCode { bytes, full })
    }

    /// Unpacks the bytes of all stretches; missing bytes of the code read as zero.
    pub fn unpack(
        &mut self,
        code: &[u8],
        reference: &[u8],
        stretches: &[Stretch],
    ) -> Result<Vec<u8>, LzError> {
        let len = stretches.iter().fold(0_usize, |sum, stretch| sum.saturating_add(stretch.len));
        let most = Budget::of(code.len());
        if len as u64 > most.all {
            let what = "bytes of an aligned code";
            return Err(LzError { what, expected: most.all, found: len as u64 });
        }
        let mut bytes = CodedBytes::new(self, reference, stretches, len);
        let mut coder = BitDecoder::new(code);
        let mut raw = Vec::with_capacity(len);
        for stretch in stretches {
            bytes.stretch(&mut coder, stretch, most.full, |_| 0)?;
            let coded = &bytes.history.seen[bytes.history.seen.len() - stretch.len..];
            raw.extend_from_slice(coded);
        }
        Ok(raw)
    }
}

/// The state of both sides within a code.
struct CodedBytes<'a> {
    mixer: &'a mut MixerState,
    history: History,
    code: CodePhase,
    /// Places behind instructions, by the operations of the last six.
    operations: Vec<u32>,
    reference_len: usize,
    full_bytes: u64,
    /// Difference between the last byte that was predicted wrong and the right one.
    last_error: u8,
}

impl<'a> CodedBytes<'a> {
    fn new(mixer: &'a mut MixerState, reference: &[u8], stretches: &[Stretch], len: usize) -> Self {
        let leads = stretches.len() * 8;
        let has_code = stretches.iter().any(|stretch| stretch.kind == Kind::X86);
        let rows = if has_code { (reference.len() + len) / 4 } else { 0 };
        let mut bytes = Self {
            mixer,
            history: History::new(reference, len + leads),
            code: CodePhase::default(),
            operations: vec![0; rows.next_power_of_two().clamp(1 << 4, 1 << 20)],
            reference_len: reference.len(),
            full_bytes: 0,
            last_error: 0,
        };
        if has_code {
            for (at, &byte) in reference.iter().enumerate() {
                bytes.code.step(byte);
                if bytes.code.is_between() {
                    let row = bytes.operations_row();
                    bytes.operations[row] = (at + 1 + ZEROS) as u32;
                }
            }
        }
        bytes
    }

    fn operations_row(&self) -> usize {
        let before = self.code.before();
        let first = mixed(mixed(before[0], before[1]), before[2]);
        let hash = mixed(mixed(first, mixed(before[3], before[4])), before[5]);
        hash as usize >> 8 & (self.operations.len() - 1)
    }

    /// Codes a stretch.
    fn stretch<C: BitCoder>(
        &mut self,
        coder: &mut C,
        stretch: &Stretch,
        most_full: u64,
        wanted: impl Fn(usize) -> u8,
    ) -> Result<(), LzError> {
        let within = |at: &usize| *at < self.reference_len;
        let stretch = Stretch {
            before: stretch.before.filter(within),
            after: stretch.after.filter(within),
            ..*stretch
        };
        self.history.begin(&stretch);
        self.mixer.flags.begin();
        self.code = CodePhase::default();
        for at in 0..stretch.len {
            let byte = self.byte(coder, &stretch, at, wanted(at));
            if self.full_bytes > most_full {
                let what = "bytes of the full path";
                return Err(LzError { what, expected: most_full, found: self.full_bytes });
            }
            self.history.push(byte);
            if stretch.kind == Kind::X86 {
                self.code.step(byte);
                if self.code.is_between() {
                    self.find_similar();
                }
            }
        }
        Ok(())
    }

    /// Codes a byte.
    fn byte<C: BitCoder>(&mut self, coder: &mut C, stretch: &Stretch, at: usize, wanted: u8) -> u8 {
        let MixerState { full, flags, rates } = &mut *self.mixer;
        let history = &self.history;
        let guesses = Guesses {
            aligned: history.guess_at(history.aligned.at),
            second: history.guess_at(history.second.at),
            matched: history.guess_at(history.match_place()),
            similar: history.guess_at(history.similar.at),
        };
        let at = stretch.target.wrapping_add(at);
        let mut scene = Scene { kind: stretch.kind, at, guesses, code: &self.code, wrong: 0 };
        let expected = if guesses.aligned > 0 && history.aligned.hits() >= 16 {
            Some((guesses.aligned, history.aligned.at, false))
        } else if history.match_len >= 32 {
            Some((guesses.matched, history.matched, true))
        } else {
            None
        };
        if let Some((byte, place, is_match)) = expected {
            let byte = (byte - 1) as u8;
            let expected = Expected { byte, next: history.guess_at(place + 1), is_match };
            let is_right = byte == wanted;
            if flags.code(coder, rates, &scene, history, &expected, is_right) {
                return byte;
            }
            scene.wrong = u32::from(byte.wrapping_add(self.last_error)) | 256;
            self.full_bytes += 1;
            let right = full.code(coder, rates, &scene, history, wanted);
            self.last_error = right.wrapping_sub(byte);
            return right;
        }
        self.full_bytes += 1;
        let byte = full.code(coder, rates, &scene, history, wanted);
        flags.pass(guesses.aligned == u32::from(byte) + 1);
        byte
    }

    /// Looks for a place with the same last operations, and notes this one.
    fn find_similar(&mut self) {
        let row = self.operations_row();
        let similar = &mut self.history.similar;
        let place = self.operations[row] as usize;
        if place > 0 && (similar.at == 0 || similar.recent(16) > 6) {
            *similar = Pointer { at: place, misses: 0x1111 };
        }
        self.operations[row] = self.history.seen.len() as u32;
    }
}
