//! Limits the work of candidates that turn out to be wrong.
//!
//! [`TrialCredit`] limits the trials on the first megabytes of streams, and [`TrialBudget`] those on
//! the rest of a long stream. Both count the bytes that candidates compressed, so they are the same
//! on every machine.
//! Never measures time.

use crate::model::EncoderModel;

/// Work that wrong candidates may still do on one long stream.
///
/// A stream that begins with incompressible bytes, such as a model or an archive, looks alike for
/// dozens of encoders until the first copy. Each of them is compared until its first wrong byte, as
/// long as the budget lasts.
#[derive(Clone, Copy, Debug)]
pub struct TrialBudget {
    nanoseconds: u64,
}

/// Work that wrong candidates may do on many streams, in proportion to their plain bytes.
///
/// Work is counted in plain bytes that candidates compress, and starting one counts, too. Streams
/// that no model makes so cost little more than their record.
#[derive(Clone, Copy, Debug)]
pub struct TrialCredit {
    bytes: i64,
}

/// Plain bytes that candidates may compress at first: some full searches.
const FIRST_BYTES: i64 = 4 << 20;
/// Most plain bytes of a stream that says nothing about its encoder, since many models make it.
const TINY_BYTES: u64 = 512;
/// Plain bytes that candidates may compress for each plain byte of a stream whose model is found. A
/// model makes one of some hundred short streams of an unknown encoder by chance.
const FOUND_SHARE: u64 = 16;

impl TrialCredit {
    /// Returns the credit before the first stream.
    pub fn new() -> Self {
        Self { bytes: FIRST_BYTES }
    }

    /// True if all models may be tried on the next stream.
    pub fn is_left(&self) -> bool {
        self.bytes > 0
    }

    /// Takes the work on a stream, of which `plain_bytes` were read. A model that was found is worth
    /// its work, and more in proportion to the stream.
    pub fn settle(&mut self, plain_bytes: u64, work_bytes: u64, is_found: bool) {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(signed(plain_bytes));
        if is_found && plain_bytes >= TINY_BYTES {
            let earned = signed(plain_bytes.saturating_mul(FOUND_SHARE)).min(FIRST_BYTES);
            self.bytes = self.bytes.max(earned);
        } else {
            self.bytes = self.bytes.saturating_sub(signed(work_bytes));
        }
    }
}

impl Default for TrialCredit {
    fn default() -> Self {
        Self::new()
    }
}

/// Nanoseconds for every stream. Half a minute is enough for all candidates and tens of megabytes.
const STREAM_NANOSECONDS: u64 = 30_000_000_000;
/// Nanoseconds for each compressed byte: about twice the time of recording the stream instead.
const BYTE_NANOSECONDS: u64 = 500;

impl TrialBudget {
    /// Returns the budget of a stream with this many compressed bytes.
    pub fn of(compressed_bytes: u64) -> Self {
        let nanoseconds =
            STREAM_NANOSECONDS.saturating_add(compressed_bytes.saturating_mul(BYTE_NANOSECONDS));
        Self { nanoseconds }
    }

    /// True if no further candidate may be tried.
    pub fn is_spent(&self) -> bool {
        self.nanoseconds == 0
    }

    /// Takes the work of a wrong candidate that compressed `plain_bytes`.
    pub fn charge(&mut self, model: &EncoderModel, plain_bytes: u64) {
        let work = plain_bytes.saturating_mul(u64::from(model.nanoseconds_per_byte()));
        self.nanoseconds = self.nanoseconds.saturating_sub(work);
    }
}
