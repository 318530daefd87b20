//! Compares the first tokens of a candidate with those of the stream.
//!
//! A candidate writes nothing before its first block is full, which takes up to 100 kB of plain
//! bytes. Wrong candidates mostly differ within the first hundred tokens. Models that parse alike,
//! such as zlib with its default parameters, GNU gzip and pigz, are compared once.
//! Never accepts a candidate: the trial does.

use super::survey::StreamSurvey;
use crate::model::{AnyEncoder, EncoderModel};
use crate::zlib::{ChromiumHash, ZlibStrategy};
use crate::zlib_ng::ZlibNgVersion;

/// Plain bytes that are parsed for the first tokens.
pub(super) const QUICK_BYTES: usize = 8 << 10;
/// Fewest tokens that refute a candidate.
const LEAST_TOKENS: usize = 16;

/// Models with the same first tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ParseClass {
    parser: Parser,
    level: i8,
    hash_bits: u8,
    window_bits: u8,
    strategy: ZlibStrategy,
}

/// The encoders that parse in the same way, apart from their parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parser {
    Zlib,
    Golang,
    Chromium(ChromiumHash),
    ZlibNg(ZlibNgVersion),
    Miniz,
}

impl ParseClass {
    /// Returns the class of a model. `None` if its encoder parses whole blocks, or if its first
    /// block is shorter than the tokens that are compared.
    fn of(model: &EncoderModel) -> Option<Self> {
        let usual = |level: u8| Self {
            parser: Parser::Zlib,
            level: level as i8,
            hash_bits: ZLIB_HASH_BITS,
            window_bits: 15,
            strategy: ZlibStrategy::Default,
        };
        match *model {
            EncoderModel::Zlib { level, mem_level: mem_level @ 8.., window_bits, strategy } => {
                Some(Self { hash_bits: mem_level + 7, window_bits, strategy, ..usual(level) })
            }
            EncoderModel::GnuGzip { level }
            | EncoderModel::RsyncableGzip { level }
            | EncoderModel::Pigz { level, .. } => Some(usual(level)),
            EncoderModel::Golang { level: level @ (-1 | 2..) } => {
                Some(Self { parser: Parser::Golang, level, ..usual(0) })
            }
            EncoderModel::ChromiumZlib { hash, level, mem_level: 8 } => {
                Some(Self { parser: Parser::Chromium(hash), ..usual(level) })
            }
            // Smaller calls end within the tokens that are compared.
            EncoderModel::ZlibNg { version, level, calls }
                if calls.input_bytes == 0 || calls.input_bytes as usize >= QUICK_BYTES =>
            {
                Some(Self { parser: Parser::ZlibNg(version), ..usual(level) })
            }
            EncoderModel::Miniz { level, .. } => {
                Some(Self { parser: Parser::Miniz, ..usual(level) })
            }
            _ => None,
        }
    }
}

/// Bits of the hashes of zlib's default.
const ZLIB_HASH_BITS: u8 = 15;

/// The classes that a stream was compared with.
#[derive(Default)]
pub(super) struct QuickTests {
    refuted: Vec<ParseClass>,
    passed: Vec<ParseClass>,
}

impl QuickTests {
    /// True if the model was refuted by another one of its class.
    pub(super) fn has_refuted(&self, model: &EncoderModel) -> bool {
        ParseClass::of(model).is_some_and(|class| self.refuted.contains(&class))
    }

    /// True if the model may have made the survey's first tokens. Leaves the encoder in the middle
    /// of a stream.
    pub(super) fn may_match(
        &mut self,
        model: &EncoderModel,
        survey: &StreamSurvey,
        encoder: &mut AnyEncoder,
    ) -> bool {
        let found = survey.first_tokens();
        let Some(class) = ParseClass::of(model).filter(|_| found.len() >= LEAST_TOKENS) else {
            return true;
        };
        // The ends of chunks drop tokens. The model of its class without them is tried before.
        let drops_tokens = matches!(model, EncoderModel::RsyncableGzip { .. });
        if drops_tokens || self.passed.contains(&class) {
            return true;
        }
        let plain = &survey.plain[..survey.plain.len().min(QUICK_BYTES)];
        let made = encoder.first_tokens(plain).unwrap_or_default();
        let is_same = made.iter().zip(found).all(|(made, found)| made == found);
        if is_same {
            self.passed.push(class);
        } else {
            self.refuted.push(class);
        }
        is_same
    }
}
