//! The adaptive model that both sides share: probabilities, and what each symbol does to them.
//! Never touches bytes.
//!
//! Every decision is one bit with a probability of its own, chosen by context. `docs/format-lz.md`
//! specifies the contexts.

use crate::lz::places::{PLACES, RawKind};

/// Probabilities have this many bits.
pub(crate) const PROBABILITY_BITS: u32 = 12;

/// Bits of a probability's count.
const COUNT_BITS: u32 = 4;

/// A bit moves its probability by one in 2^n of the distance; these are the `n` of its first bits and
/// of all others. Short codes end before slow probabilities have moved.
const RATES: [u8; 1 << COUNT_BITS] = [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5];

/// The probability that a decision is 0, in parts of 4096, and the number of bits so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probability(u16);

/// The probability of a bit that has not been seen.
const FRESH: Probability = Probability::of(1 << (PROBABILITY_BITS - 1));

impl Probability {
    /// Returns a fresh probability with this value.
    pub(crate) const fn of(value: u16) -> Self {
        Self(value << COUNT_BITS)
    }

    /// Returns the parts of 4096, from 1 to 4095.
    #[inline]
    pub(crate) fn value(self) -> u16 {
        self.0 >> COUNT_BITS
    }

    /// Moves the probability towards a bit.
    #[inline]
    pub(crate) fn learn(&mut self, bit: bool) {
        let (value, count) = (self.value(), self.0 & ((1 << COUNT_BITS) - 1));
        let rate = RATES[usize::from(count)];
        let value = if bit {
            value - (value >> rate)
        } else {
            value + (((1 << PROBABILITY_BITS) - value) >> rate)
        };
        let count = count + u16::from(count + 1 < 1 << COUNT_BITS);
        self.0 = value << COUNT_BITS | count;
    }
}

/// The range is widened by eight bits when it falls below this.
pub(crate) const LEAST_RANGE: u32 = 1 << 24;

/// Shortest match.
pub(crate) const MIN_MATCH: usize = 2;

/// Classes of match lengths that have distance slots of their own.
pub(crate) const LENGTH_CLASSES: usize = 4;

/// Distance slots below this one have all their low bits modelled.
pub(crate) const FIRST_DIRECT_SLOT: usize = 14;

/// Low bits that are modelled in distances of higher slots.
pub(crate) const ALIGN_BITS: u32 = 4;

/// Number of states.
pub(crate) const STATES: usize = 12;

/// The kinds of the last symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u8);

impl State {
    /// The state before the first symbol.
    pub(crate) const FIRST: Self = Self(0);

    /// The row of the state in tables.
    #[inline]
    pub(crate) fn row(self) -> usize {
        usize::from(self.0).min(STATES - 1)
    }

    /// True if the last symbol was a literal.
    #[inline]
    pub(crate) fn is_after_literal(self) -> bool {
        self.0 < 7
    }

    #[inline]
    pub(crate) fn after_literal(self) -> Self {
        Self(match self.0 {
            0..4 => 0,
            4..10 => self.0 - 3,
            _ => self.0 - 6,
        })
    }

    #[inline]
    pub(crate) fn after_match(self) -> Self {
        Self(if self.is_after_literal() { 7 } else { 10 })
    }

    #[inline]
    pub(crate) fn after_repeat(self) -> Self {
        Self(if self.is_after_literal() { 8 } else { 11 })
    }

    #[inline]
    pub(crate) fn after_short_repeat(self) -> Self {
        Self(if self.is_after_literal() { 9 } else { 11 })
    }
}

/// Probabilities that a literal's bits are zero, in one place.
pub(crate) type LiteralModel = [Probability; 0x300];

/// Probabilities of match lengths.
#[derive(Debug, Clone)]
pub(crate) struct LengthModel {
    pub(crate) is_long: Probability,
    pub(crate) is_longest: Probability,
    pub(crate) low: [Probability; 8],
    pub(crate) middle: [Probability; 8],
    pub(crate) high: [Probability; 256],
}

impl LengthModel {
    fn new() -> Self {
        Self {
            is_long: FRESH,
            is_longest: FRESH,
            low: [FRESH; 8],
            middle: [FRESH; 8],
            high: [FRESH; 256],
        }
    }
}

/// All probabilities.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) is_match: [[Probability; PLACES]; STATES],
    pub(crate) is_repeat: [Probability; STATES],
    pub(crate) is_older: [Probability; STATES],
    pub(crate) is_second_older: [Probability; STATES],
    pub(crate) is_third_older: [Probability; STATES],
    pub(crate) is_long_repeat: [[Probability; PLACES]; STATES],
    /// Those of each place.
    pub(crate) literals: Vec<LiteralModel>,
    pub(crate) match_lengths: LengthModel,
    pub(crate) repeat_lengths: LengthModel,
    pub(crate) slots: [[Probability; 64]; LENGTH_CLASSES],
    /// Low bits of distances below [`FIRST_DIRECT_SLOT`], at [`low_bits_at`].
    pub(crate) low_bits: [Probability; 128],
    pub(crate) align: [Probability; 1 << ALIGN_BITS],
}

impl Model {
    pub(crate) fn new(kind: RawKind) -> Self {
        Self {
            is_match: [[FRESH; PLACES]; STATES],
            is_repeat: [FRESH; STATES],
            is_older: [FRESH; STATES],
            is_second_older: [FRESH; STATES],
            is_third_older: [FRESH; STATES],
            is_long_repeat: [[FRESH; PLACES]; STATES],
            literals: vec![[FRESH; 0x300]; kind.places()],
            match_lengths: LengthModel::new(),
            repeat_lengths: LengthModel::new(),
            slots: [[FRESH; 64]; LENGTH_CLASSES],
            low_bits: [FRESH; 128],
            align: [FRESH; 1 << ALIGN_BITS],
        }
    }
}

/// Class of a match length, for its distance slot.
#[inline]
pub(crate) fn length_class(len: usize) -> usize {
    (len - MIN_MATCH).min(LENGTH_CLASSES - 1)
}

/// The number of low bits of a slot, and the distance (less one) whose low bits are all 0.
#[inline]
pub(crate) fn slot_base(slot: usize) -> (u32, u32) {
    if slot < 4 {
        return (0, slot as u32);
    }
    let bits = (slot as u32 >> 1) - 1;
    (bits, (2 | (slot as u32 & 1)) << bits)
}

/// First place of a slot's low bits in [`Model::low_bits`], less one: their tree starts at 1.
#[inline]
pub(crate) fn low_bits_at(slot: usize) -> usize {
    slot_base(slot).1 as usize - slot
}
