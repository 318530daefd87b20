//! Writes symbols, and keeps the prices of the next ones.
//! Never chooses a symbol.
//!
//! Prices are tables that are renewed now and then, so an optimal parse works with prices that are
//! partly old. When a table is renewed is part of the model: prices of lengths after as many
//! lengths as the table has, those of distances after 128 matches, those of alignment after 16.

use super::{prices, range::RangeEncoder, settings::EncoderSettings};
use crate::model::{LengthModel, LiteralModel, Model, low_bits_at};
use crate::state::{
    ALIGN_BITS, ALIGNS, FIRST_BASED_SLOT, FIRST_DIRECT_SLOT, LENGTH_CLASSES, LONG_LENGTHS,
    MIN_MATCH, MODELLED_DISTANCES, POSITIONS, REPEATS, SHORT_LENGTHS, SLOTS, State, length_class,
    slot_base, slot_of,
};

/// A symbol of LZMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Literal,
    /// A repeated distance, by its age; a length of 1 is the short one.
    Repeat(usize, usize),
    /// A distance, less one, and a length.
    Match(u32, usize),
}

impl Symbol {
    #[inline]
    pub(super) fn len(self) -> usize {
        match self {
            Self::Literal => 1,
            Self::Repeat(_, len) | Self::Match(_, len) => len,
        }
    }
}

/// The probabilities of lengths, with their prices.
pub(super) struct LengthWriter {
    model: LengthModel,
    /// For each class of positions, by length.
    prices: Vec<[u32; 2 * SHORT_LENGTHS + LONG_LENGTHS]>,
    /// Lengths whose prices are kept; 0 if none are needed.
    priced: usize,
    /// Lengths to be written until the prices are renewed.
    left: [usize; POSITIONS],
}

impl LengthWriter {
    fn new(priced: usize, positions: usize) -> Self {
        let mut writer = Self {
            model: LengthModel::new(),
            prices: vec![[0; _]; positions],
            priced,
            left: [0; POSITIONS],
        };
        if priced > 0 {
            (0..positions).for_each(|position| writer.renew(position));
        }
        writer
    }

    fn renew(&mut self, position: usize) {
        self.left[position] = self.priced;
        let model = &self.model;
        let low = prices::of_zero(model.is_middle);
        let beyond = prices::of_one(model.is_middle);
        let middle = beyond + prices::of_zero(model.is_high);
        let high = beyond + prices::of_one(model.is_high);
        for (len, price) in self.prices[position][..self.priced].iter_mut().enumerate() {
            *price = if len < SHORT_LENGTHS {
                low + prices::of_tree(&model.low[position], 3, len as u32)
            } else if len < 2 * SHORT_LENGTHS {
                let len = len - SHORT_LENGTHS;
                middle + prices::of_tree(&model.middle[position], 3, len as u32)
            } else {
                high + prices::of_tree(&model.high, 8, (len - 2 * SHORT_LENGTHS) as u32)
            };
        }
    }

    #[inline]
    pub(super) fn price(&self, len: usize, position: usize) -> u32 {
        self.prices[position][len - MIN_MATCH]
    }

    fn write(&mut self, range: &mut RangeEncoder, len: usize, position: usize) {
        // Prices are renewed before the bits of this length move the probabilities.
        if self.priced > 0 {
            self.left[position] -= 1;
            if self.left[position] == 0 {
                self.renew(position);
            }
        }
        let model = &mut self.model;
        let len = len - MIN_MATCH;
        let is_beyond = len >= SHORT_LENGTHS;
        range.bit(&mut model.is_middle, is_beyond);
        if !is_beyond {
            range.tree(&mut model.low[position], 3, len as u32);
            return;
        }
        let is_high = len >= 2 * SHORT_LENGTHS;
        range.bit(&mut model.is_high, is_high);
        if is_high {
            range.tree(&mut model.high, 8, (len - 2 * SHORT_LENGTHS) as u32);
        } else {
            range.tree(&mut model.middle[position], 3, (len - SHORT_LENGTHS) as u32);
        }
    }
}

/// Writes symbols with an adaptive model.
pub(super) struct SymbolWriter {
    pub(super) range: RangeEncoder,
    pub(super) model: Model,
    pub(super) state: State,
    /// The last distances, each less one.
    pub(super) distances: [u32; REPEATS],
    pub(super) match_lengths: LengthWriter,
    pub(super) repeat_lengths: LengthWriter,
    priced_slots: usize,
    slot_prices: [[u32; SLOTS]; LENGTH_CLASSES],
    distance_prices: [[u32; MODELLED_DISTANCES]; LENGTH_CLASSES],
    align_prices: [u32; ALIGNS],
    /// Matches since the prices of distances were renewed; many at the start.
    matches: u32,
    /// Alignments since their prices were renewed; many at the start.
    aligns: u32,
}

impl SymbolWriter {
    pub(super) fn new(settings: &EncoderSettings) -> Self {
        let is_optimal = settings.effort.is_optimal;
        let priced = if is_optimal { settings.effort.nice_len() - 1 } else { 0 };
        let positions = settings.properties.position_mask() + 1;
        let window_bits = u64::from(settings.window).next_power_of_two().ilog2();
        Self {
            range: RangeEncoder::new(),
            model: Model::new(settings.properties),
            state: State::default(),
            distances: [0; REPEATS],
            match_lengths: LengthWriter::new(priced, positions),
            repeat_lengths: LengthWriter::new(priced, positions),
            priced_slots: window_bits as usize * 2,
            slot_prices: [[0; _]; _],
            distance_prices: [[0; _]; _],
            align_prices: [0; _],
            matches: MANY,
            aligns: MANY,
        }
    }

    /// Writes a symbol that stands for the bytes at `at`, which is `position` in the stream.
    #[inline]
    pub(super) fn write(&mut self, symbol: Symbol, buffer: &[u8], at: usize, position: usize) {
        let row = self.state.row();
        let place = position & self.model.properties.position_mask();
        self.range.bit(&mut self.model.is_match[row][place], symbol != Symbol::Literal);
        match symbol {
            Symbol::Literal => self.literal(buffer, at, position),
            Symbol::Repeat(age, len) => {
                self.range.bit(&mut self.model.is_repeat[row], true);
                self.repeat(age, len, row, place);
            }
            Symbol::Match(distance, len) => {
                self.range.bit(&mut self.model.is_repeat[row], false);
                self.found(distance, len, place);
            }
        }
    }

    /// Writes the first byte of a stream, before which nothing is.
    pub(super) fn write_first(&mut self, byte: u8) {
        self.range.bit(&mut self.model.is_match[0][0], false);
        self.range.tree(&mut self.model.literals[0], 8, byte.into());
    }

    #[inline]
    fn literal(&mut self, buffer: &[u8], at: usize, position: usize) {
        let byte = u32::from(buffer[at]);
        let which = self.model.properties.literal_model(position, buffer[at - 1]);
        let model = &mut self.model.literals[which];
        if self.state.is_after_literal() {
            self.range.tree(model, 8, byte);
        } else {
            let mut other = u32::from(buffer[at - self.distances[0] as usize - 1]);
            // The part of the model depends on the other byte as long as both agree.
            let mut offset = 0x100;
            let mut node = 1;
            for shift in (0..8).rev() {
                let bit = byte >> shift & 1;
                other <<= 1;
                let other_bit = other & offset;
                let index = offset + other_bit + node;
                self.range.bit(&mut model[index as usize], bit == 1);
                node = node << 1 | bit;
                if (other_bit != 0) != (bit == 1) {
                    offset = 0;
                }
            }
        }
        self.state = self.state.after_literal();
    }

    fn found(&mut self, distance: u32, len: usize, place: usize) {
        self.state = self.state.after_match();
        self.match_lengths.write(&mut self.range, len, place);
        let slot = slot_of(distance);
        let model = &mut self.model;
        self.range.tree(&mut model.slots[length_class(len)], 6, slot as u32);
        if slot >= FIRST_BASED_SLOT {
            let (bits, base) = slot_base(slot);
            let low = distance - base;
            if slot < FIRST_DIRECT_SLOT {
                self.range.reverse_tree(&mut model.low_bits[low_bits_at(slot)..], bits, low);
            } else {
                self.range.direct(low >> ALIGN_BITS, bits - ALIGN_BITS);
                self.range.reverse_tree(&mut model.align, ALIGN_BITS, low);
                self.aligns += 1;
            }
        }
        self.distances.rotate_right(1);
        self.distances[0] = distance;
        self.matches += 1;
    }

    fn repeat(&mut self, age: usize, len: usize, row: usize, place: usize) {
        let (range, model) = (&mut self.range, &mut self.model);
        range.bit(&mut model.is_older[row], age > 0);
        if age == 0 {
            range.bit(&mut model.is_long_repeat[row][place], len > 1);
        } else {
            range.bit(&mut model.is_second_older[row], age > 1);
            if age > 1 {
                range.bit(&mut model.is_third_older[row], age > 2);
            }
            self.distances[..=age].rotate_right(1);
        }
        if len == 1 {
            self.state = self.state.after_short_repeat();
        } else {
            self.repeat_lengths.write(range, len, place);
            self.state = self.state.after_repeat();
        }
    }

    /// Renews the tables of prices that are old. The optimal parser calls it before each parse.
    pub(super) fn renew_prices(&mut self) {
        if self.matches >= 128 {
            self.renew_distances();
        }
        if self.aligns >= ALIGNS as u32 {
            for (low, price) in (0..).zip(&mut self.align_prices) {
                *price = prices::of_reverse_tree(&self.model.align, ALIGN_BITS, low);
            }
            self.aligns = 0;
        }
    }

    fn renew_distances(&mut self) {
        for class in 0..LENGTH_CLASSES {
            let slots = &mut self.slot_prices[class];
            for (slot, price) in slots[..self.priced_slots].iter_mut().enumerate() {
                *price = prices::of_tree(&self.model.slots[class], 6, slot as u32);
                if slot >= FIRST_DIRECT_SLOT {
                    *price += prices::of_direct(slot_base(slot).0 - ALIGN_BITS);
                }
            }
            self.distance_prices[class][..FIRST_BASED_SLOT]
                .copy_from_slice(&slots[..FIRST_BASED_SLOT]);
        }
        for distance in FIRST_BASED_SLOT as u32..MODELLED_DISTANCES as u32 {
            let slot = slot_of(distance);
            let (bits, base) = slot_base(slot);
            let tree = &self.model.low_bits[low_bits_at(slot)..];
            let price = prices::of_reverse_tree(tree, bits, distance - base);
            for class in 0..LENGTH_CLASSES {
                self.distance_prices[class][distance as usize] =
                    price + self.slot_prices[class][slot];
            }
        }
        self.matches = 0;
    }

    /// Price of a distance and a length.
    #[inline]
    pub(super) fn match_price(&self, distance: u32, len: usize, place: usize) -> u32 {
        let class = length_class(len);
        let of_distance = if let Some(price) = self.distance_prices[class].get(distance as usize) {
            *price
        } else {
            let align = distance as usize & (ALIGNS - 1);
            self.slot_prices[class][slot_of(distance)] + self.align_prices[align]
        };
        of_distance + self.match_lengths.price(len, place)
    }

    /// Price of repeating a distance, without that of the length.
    #[inline]
    pub(super) fn repeat_price(&self, age: usize, state: State, place: usize) -> u32 {
        let (model, row) = (&self.model, state.row());
        if age == 0 {
            return prices::of_zero(model.is_older[row])
                + prices::of_one(model.is_long_repeat[row][place]);
        }
        let older = prices::of_one(model.is_older[row]);
        if age == 1 {
            return older + prices::of_zero(model.is_second_older[row]);
        }
        older
            + prices::of_one(model.is_second_older[row])
            + prices::of_bit(model.is_third_older[row], age as u32 - 2)
    }

    /// Price of repeating the last distance for one byte.
    #[inline]
    pub(super) fn short_repeat_price(&self, state: State, place: usize) -> u32 {
        let (model, row) = (&self.model, state.row());
        prices::of_zero(model.is_older[row]) + prices::of_zero(model.is_long_repeat[row][place])
    }

    /// Model of a literal at a position, behind a byte.
    #[inline]
    pub(super) fn literal_model(&self, position: usize, before: u8) -> &LiteralModel {
        &self.model.literals[self.model.properties.literal_model(position, before)]
    }
}

/// Price of a literal; `other` is the byte at the last distance, if the last symbol was a match.
#[inline]
pub(super) fn literal_price(model: &LiteralModel, byte: u8, other: Option<u8>) -> u32 {
    let Some(other) = other else { return prices::of_tree(model, 8, byte.into()) };
    let (byte, mut other) = (u32::from(byte), u32::from(other));
    let (mut offset, mut node, mut price) = (0x100, 1, 0);
    for shift in (0..8).rev() {
        let bit = byte >> shift & 1;
        other <<= 1;
        let other_bit = other & offset;
        price += prices::of_bit(model[(offset + other_bit + node) as usize], bit);
        node = node << 1 | bit;
        if (other_bit != 0) != (bit == 1) {
            offset = 0;
        }
    }
    price
}

/// Enough to renew a table before it is used.
const MANY: u32 = 1 << 30;
