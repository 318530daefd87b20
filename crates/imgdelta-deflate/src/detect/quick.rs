//! Compares the first tokens of a candidate with those of the stream.
//!
//! A candidate writes nothing before its first block is full, which takes up to 100 kB of plain
//! bytes. Wrong candidates mostly differ within the first hundred tokens. Models that parse alike,
//! such as zlib with its default parameters, GNU gzip and pigz, are compared once.
//! Never accepts a candidate: the trial does.

use super::survey::StreamSurvey;
use crate::model::{AnyEncoder, EncoderModel};
use crate::window::LOOKAHEAD_BYTES;
use crate::zlib::{ChromiumHash, ZlibStrategy};
use crate::zlib_ng::ZlibNgVersion;

/// Plain bytes that are parsed to compare tokens.
const QUICK_BYTES: usize = 8 << 10;
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
    passed: Vec<PassedClass>,
    /// Plain bytes that candidates parsed.
    pub(super) parsed_bytes: u64,
}

struct PassedClass {
    class: ParseClass,
    /// Position of the first token that differs in the part that calls may change.
    difference: Option<usize>,
}

impl PassedClass {
    /// True if the end of a call explains the first token that differs.
    fn allows(&self, model: &EncoderModel) -> bool {
        let (Some(place), EncoderModel::ZlibNg { calls, .. }) = (self.difference, model) else {
            return true;
        };
        let call_bytes = calls.input_bytes as usize;
        call_bytes > 0 && (place + LOOKAHEAD_BYTES) % call_bytes < CALL_EFFECT_BYTES
    }
}

/// Plain bytes behind the lookahead of a call where its end shows first.
const CALL_EFFECT_BYTES: usize = 1 << 10;
/// Plain bytes that are parsed first. Most wrong candidates differ there.
const FIRST_BYTES: usize = 2 << 10;
/// Plain bytes that are parsed to see the ends of calls.
const CALLS_BYTES: usize = 24 << 10;

impl QuickTests {
    /// True if the model was refuted by another one of its class.
    pub(super) fn has_refuted(&self, model: &EncoderModel) -> bool {
        let Some(class) = ParseClass::of(model) else { return false };
        let passed = self.passed.iter().find(|passed| passed.class == class);
        self.refuted.contains(&class) || passed.is_some_and(|passed| !passed.allows(model))
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
        if drops_tokens || self.passed.iter().any(|passed| passed.class == class) {
            return true;
        }
        for most_bytes in [FIRST_BYTES, QUICK_BYTES] {
            if self.difference(survey, encoder, most_bytes).is_some() {
                self.refuted.push(class);
                return false;
            }
        }
        let depends_on_calls = matches!(model, EncoderModel::ZlibNg { level: ..7, .. });
        let difference =
            if depends_on_calls { self.difference(survey, encoder, CALLS_BYTES) } else { None };
        let passed = PassedClass { class, difference };
        let is_allowed = passed.allows(model);
        self.passed.push(passed);
        is_allowed
    }

    /// Returns the position of the first token that differs within the first plain bytes.
    fn difference(
        &mut self,
        survey: &StreamSurvey,
        encoder: &mut AnyEncoder,
        most_bytes: usize,
    ) -> Option<usize> {
        encoder.restart();
        let plain = &survey.plain[..survey.plain.len().min(most_bytes)];
        self.parsed_bytes += plain.len() as u64;
        let made = encoder.first_tokens(plain).unwrap_or_default();
        let mut position = 0;
        for (made, found) in made.iter().zip(survey.first_tokens()) {
            if made != found {
                return Some(position);
            }
            position += found.plain_bytes();
        }
        None
    }
}
