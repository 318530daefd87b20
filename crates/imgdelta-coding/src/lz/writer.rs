//! Writes symbols as bits of a range code.
//! Never chooses a symbol.

use crate::lz::model::{
    ALIGN_BITS, FIRST_DIRECT_SLOT, LEAST_RANGE, LengthModel, LiteralModel, MIN_MATCH, Model,
    PROBABILITY_BITS, Probability, State, length_class, low_bits_at, slot_base,
};
use crate::lz::places::RawKind;

/// Longest match: two shorter classes of eight lengths each, and a last one of 256.
pub(crate) const MAX_MATCH: usize = MIN_MATCH + 8 + 8 + 256 - 1;

/// One symbol of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    Literal,
    /// One byte from the last distance.
    ShortRepeat,
    /// Bytes from one of the last four distances.
    Repeat {
        which: u32,
        len: u32,
    },
    Match {
        distance: u32,
        len: u32,
    },
}

impl Symbol {
    /// The bytes that it stands for.
    #[inline]
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Literal | Self::ShortRepeat => 1,
            Self::Repeat { len, .. } | Self::Match { len, .. } => len as usize,
        }
    }
}

/// The kinds of the last symbols, and the last four distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) state: State,
    pub(crate) distances: [u32; 4],
}

impl Context {
    /// The context before the first symbol.
    pub(crate) const FIRST: Self = Self { state: State::FIRST, distances: [1; 4] };

    /// Returns the context behind a symbol.
    #[inline]
    pub(crate) fn after(mut self, symbol: Symbol) -> Self {
        match symbol {
            Symbol::Literal => self.state = self.state.after_literal(),
            Symbol::ShortRepeat => self.state = self.state.after_short_repeat(),
            Symbol::Repeat { which, .. } => {
                self.state = self.state.after_repeat();
                self.distances[..=which as usize].rotate_right(1);
            }
            Symbol::Match { distance, .. } => {
                self.state = self.state.after_match();
                self.distances.rotate_right(1);
                self.distances[0] = distance;
            }
        }
        self
    }
}

/// The code that is being written.
pub(crate) struct SymbolWriter {
    pub(crate) model: Model,
    pub(crate) context: Context,
    bits: BitWriter,
}

impl SymbolWriter {
    pub(crate) fn new(kind: RawKind) -> Self {
        Self { model: Model::new(kind), context: Context::FIRST, bits: BitWriter::new() }
    }

    /// Writes a symbol that stands for the bytes from `at`.
    pub(crate) fn put(&mut self, symbol: Symbol, bytes: &[u8], at: usize, place: usize) {
        let (model, bits) = (&mut self.model, &mut self.bits);
        let state = self.context.state;
        let row = state.row();
        bits.put(&mut model.is_match[row][place], symbol != Symbol::Literal);
        match symbol {
            Symbol::Literal => {
                let probabilities = &mut model.literals[place];
                if state.is_after_literal() {
                    bits.tree(probabilities, usize::from(bytes[at]), 8);
                } else {
                    let other = bytes[at - self.context.distances[0] as usize];
                    bits.literal_unlike(probabilities, bytes[at], other);
                }
            }
            Symbol::ShortRepeat => {
                bits.put(&mut model.is_repeat[row], true);
                bits.put(&mut model.is_older[row], false);
                bits.put(&mut model.is_long_repeat[row][place], false);
            }
            Symbol::Repeat { which, len } => {
                bits.put(&mut model.is_repeat[row], true);
                bits.put(&mut model.is_older[row], which > 0);
                if which == 0 {
                    bits.put(&mut model.is_long_repeat[row][place], true);
                } else {
                    bits.put(&mut model.is_second_older[row], which > 1);
                    if which > 1 {
                        bits.put(&mut model.is_third_older[row], which > 2);
                    }
                }
                bits.length(&mut model.repeat_lengths, len as usize);
            }
            Symbol::Match { distance, len } => {
                bits.put(&mut model.is_repeat[row], false);
                bits.length(&mut model.match_lengths, len as usize);
                bits.distance(model, distance - 1, len as usize);
            }
        }
        self.context = self.context.after(symbol);
    }

    /// Ends the code, and returns its bytes: at least so many, if it has them.
    pub(crate) fn finish(self, least: usize) -> Vec<u8> {
        self.bits.finish(least)
    }
}

/// Returns the slot of a distance less one.
#[inline]
pub(crate) fn slot_of(distance: u32) -> usize {
    if distance < 4 {
        return distance as usize;
    }
    let high = distance.ilog2();
    (high << 1 | (distance >> (high - 1) & 1)) as usize
}

/// A range code; carries go into bytes that are already out.
struct BitWriter {
    low: u64,
    range: u32,
    out: Vec<u8>,
}

impl BitWriter {
    fn new() -> Self {
        Self { low: 0, range: u32::MAX, out: Vec::new() }
    }

    /// Moves the highest byte out, with its carry.
    #[inline]
    fn shift(&mut self) {
        if self.low >> 32 != 0 {
            for byte in self.out.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
        self.out.push((self.low >> 24) as u8);
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    #[inline]
    fn widen(&mut self) {
        if self.range < LEAST_RANGE {
            self.range <<= 8;
            self.shift();
        }
    }

    #[inline]
    fn put(&mut self, probability: &mut Probability, bit: bool) {
        let zero = (self.range >> PROBABILITY_BITS) * u32::from(probability.value());
        if bit {
            self.low += u64::from(zero);
            self.range -= zero;
        } else {
            self.range = zero;
        }
        probability.learn(bit);
        self.widen();
    }

    #[inline]
    fn tree(&mut self, probabilities: &mut [Probability], number: usize, bits: u32) {
        let mut tree = 1;
        for place in (0..bits).rev() {
            let bit = number >> place & 1;
            self.put(&mut probabilities[tree], bit == 1);
            tree = tree << 1 | bit;
        }
    }

    fn literal_unlike(&mut self, probabilities: &mut LiteralModel, literal: u8, other: u8) {
        let (mut tree, mut other, mut alike) = (1, usize::from(other), 0x100);
        for place in (0..8).rev() {
            other <<= 1;
            let expected = other & alike;
            let bit = usize::from(literal >> place & 1);
            self.put(&mut probabilities[alike + expected + tree], bit == 1);
            tree = tree << 1 | bit;
            if bit << 8 & alike != expected {
                alike = 0;
            }
        }
    }

    fn reversed(&mut self, probabilities: &mut [Probability], at: usize, number: u32, bits: u32) {
        let mut tree = 1;
        for place in 0..bits {
            let bit = number >> place & 1;
            self.put(&mut probabilities[at + tree], bit == 1);
            tree = tree << 1 | bit as usize;
        }
    }

    fn length(&mut self, model: &mut LengthModel, len: usize) {
        let number = len - MIN_MATCH;
        self.put(&mut model.is_long, number >= 8);
        if number < 8 {
            return self.tree(&mut model.low, number, 3);
        }
        self.put(&mut model.is_longest, number >= 16);
        if number < 16 {
            self.tree(&mut model.middle, number - 8, 3);
        } else {
            self.tree(&mut model.high, number - 16, 8);
        }
    }

    /// Writes a distance less one.
    fn distance(&mut self, model: &mut Model, distance: u32, len: usize) {
        let slot = slot_of(distance);
        self.tree(&mut model.slots[length_class(len)], slot, 6);
        let (bits, base) = slot_base(slot);
        let rest = distance - base;
        if slot < FIRST_DIRECT_SLOT {
            if bits > 0 {
                self.reversed(&mut model.low_bits, low_bits_at(slot), rest, bits);
            }
            return;
        }
        for place in (ALIGN_BITS..bits).rev() {
            self.range >>= 1;
            if rest >> place & 1 == 1 {
                self.low += u64::from(self.range);
            }
            self.widen();
        }
        self.reversed(&mut model.align, 0, rest & ((1 << ALIGN_BITS) - 1), ALIGN_BITS);
    }

    /// Ends with the number of the range that has the most zeros at its end: they are left out.
    fn finish(mut self, least: usize) -> Vec<u8> {
        let end = self.low + u64::from(self.range);
        for place in (0..=32).rev() {
            let rounded = (self.low + ((1_u64 << place) - 1)) >> place << place;
            if rounded < end {
                self.low = rounded;
                break;
            }
        }
        (0..4).for_each(|_| self.shift());
        while self.out.len() > least && self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}
