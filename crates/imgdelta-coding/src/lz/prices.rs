//! The price of every symbol under the model as it is.
//! Never changes the model.
//!
//! Prices of lengths and distances are kept in tables, which lag some symbols behind the model:
//! computing them again for each symbol would take most of the time.

use crate::{
    lz::model::{
        ALIGN_BITS, FIRST_DIRECT_SLOT, LENGTH_CLASSES, LengthModel, MIN_MATCH, Model,
        PROBABILITY_BITS, Probability, State, length_class, low_bits_at, slot_base,
    },
    lz::writer::{MAX_MATCH, slot_of},
};

/// A price of 64 is one bit.
pub(crate) const BIT: u32 = 64;

/// Prices of a bit, by its probability in units of 32 of 4096.
static PRICES: [u16; 128] = prices();

/// Computes the logarithms by squaring.
const fn prices() -> [u16; 128] {
    let mut table = [0; 128];
    let mut place = 0;
    while place < 128 {
        // The probability in the middle of the unit, as a number from 1 to 2 times 2^-n.
        let mut number = (place as u64 * 32 + 16) << 19;
        let mut bits = PROBABILITY_BITS + 19;
        let mut price = 0;
        let mut step = 0;
        while number >> 31 == 0 {
            number <<= 1;
            bits += 1;
        }
        let whole = bits - 31;
        while step < 6 {
            number = (number * number) >> 31;
            price <<= 1;
            if number >> 32 != 0 {
                number >>= 1;
                price += 1;
            }
            step += 1;
        }
        table[place] = (whole * BIT - price) as u16;
        place += 1;
    }
    table
}

/// The price of a bit.
#[inline]
pub(crate) fn of_bit(probability: Probability, bit: bool) -> u32 {
    let flipped = if bit { (1 << PROBABILITY_BITS) - 1 } else { 0 };
    u32::from(PRICES[usize::from((probability.value() ^ flipped) >> 5) & 127])
}

fn of_tree(probabilities: &[Probability], number: usize, bits: u32) -> u32 {
    let mut tree = number | 1 << bits;
    let mut price = 0;
    while tree > 1 {
        price += of_bit(probabilities[tree >> 1], tree & 1 == 1);
        tree >>= 1;
    }
    price
}

fn of_reversed(probabilities: &[Probability], number: u32, bits: u32) -> u32 {
    let (mut tree, mut price) = (1, 0);
    for place in 0..bits {
        let bit = number >> place & 1;
        price += of_bit(probabilities[tree], bit == 1);
        tree = tree << 1 | bit as usize;
    }
    price
}

/// The price of a literal in a place, without the flag before it; `other` is the byte at the last distance.
#[inline]
pub(crate) fn of_literal(model: &Model, state: State, place: usize, literal: u8, other: u8) -> u32 {
    let probabilities = &model.literals[place];
    let (mut tree, mut price) = (1, 0);
    let (mut other, mut alike) =
        (usize::from(other), if state.is_after_literal() { 0 } else { 0x100 });
    for place in (0..8).rev() {
        other <<= 1;
        let expected = other & alike;
        let bit = usize::from(literal >> place & 1);
        price += of_bit(probabilities[alike + expected + tree], bit == 1);
        tree = tree << 1 | bit;
        if bit << 8 & alike != expected {
            alike = 0;
        }
    }
    price
}

/// Prices of lengths and distances.
pub(crate) struct PriceTables {
    matches: [u32; MAX_MATCH + 1],
    repeats: [u32; MAX_MATCH + 1],
    /// Slots with the bits that are not modelled.
    slots: [[u32; 64]; LENGTH_CLASSES],
    /// Distances of slots whose bits are all modelled.
    near: [[u32; NEAR]; LENGTH_CLASSES],
    align: [u32; 1 << ALIGN_BITS],
}

/// Distances (less one) below this have no direct bits.
const NEAR: usize = 128;

impl PriceTables {
    pub(crate) fn new(model: &Model) -> Box<Self> {
        let mut tables = Box::new(Self {
            matches: [0; MAX_MATCH + 1],
            repeats: [0; MAX_MATCH + 1],
            slots: [[0; 64]; LENGTH_CLASSES],
            near: [[0; NEAR]; LENGTH_CLASSES],
            align: [0; 1 << ALIGN_BITS],
        });
        tables.update(model);
        tables
    }

    /// Computes all prices again.
    pub(crate) fn update(&mut self, model: &Model) {
        update_lengths(&mut self.matches, &model.match_lengths);
        update_lengths(&mut self.repeats, &model.repeat_lengths);
        for number in 0..self.align.len() {
            self.align[number] = of_reversed(&model.align, number as u32, ALIGN_BITS);
        }
        for class in 0..LENGTH_CLASSES {
            for slot in 0..64 {
                let (bits, _) = slot_base(slot);
                let direct = if slot < FIRST_DIRECT_SLOT { 0 } else { bits - ALIGN_BITS };
                self.slots[class][slot] = of_tree(&model.slots[class], slot, 6) + direct * BIT;
            }
        }
        for distance in 0..NEAR {
            let slot = slot_of(distance as u32);
            let (bits, base) = slot_base(slot);
            let rest = distance as u32 - base;
            let low = match bits {
                0 => 0,
                _ => of_reversed(&model.low_bits[low_bits_at(slot)..], rest, bits),
            };
            for class in 0..LENGTH_CLASSES {
                self.near[class][distance] = self.slots[class][slot] + low;
            }
        }
    }

    /// The price of a match's length and distance.
    #[inline]
    pub(crate) fn of_match(&self, distance: usize, len: usize) -> u32 {
        let distance = distance - 1;
        let class = length_class(len);
        let price = match self.near[class].get(distance) {
            Some(price) => *price,
            None => {
                self.slots[class][slot_of(distance as u32)]
                    + self.align[distance & ((1 << ALIGN_BITS) - 1)]
            }
        };
        price + self.matches[len]
    }

    /// The price of a repeat's length.
    #[inline]
    pub(crate) fn of_repeat(&self, len: usize) -> u32 {
        self.repeats[len]
    }
}

fn update_lengths(prices: &mut [u32; MAX_MATCH + 1], model: &LengthModel) {
    for (len, price) in prices.iter_mut().enumerate().skip(MIN_MATCH) {
        let number = len - MIN_MATCH;
        *price = match number {
            0..8 => of_bit(model.is_long, false) + of_tree(&model.low, number, 3),
            8..16 => {
                of_bit(model.is_long, true)
                    + of_bit(model.is_longest, false)
                    + of_tree(&model.middle, number - 8, 3)
            }
            _ => {
                of_bit(model.is_long, true)
                    + of_bit(model.is_longest, true)
                    + of_tree(&model.high, number - 16, 8)
            }
        };
    }
}

/// The price of the flags before a repeat's length.
#[inline]
pub(crate) fn of_repeat_flags(model: &Model, state: State, place: usize, which: usize) -> u32 {
    let row = state.row();
    let older = of_bit(model.is_older[row], which > 0);
    older
        + match which {
            0 => of_bit(model.is_long_repeat[row][place], true),
            1 => of_bit(model.is_second_older[row], false),
            _ => {
                of_bit(model.is_second_older[row], true)
                    + of_bit(model.is_third_older[row], which > 2)
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_logarithms() {
        assert_eq!(of_bit(Probability::of(1 << 11), false), 64);
        assert_eq!(of_bit(Probability::of(1 << 11), true), 65);
        for value in 32..4064_u16 {
            let exact = -(f64::from(value) / 4096.0).log2() * f64::from(BIT);
            let price = f64::from(of_bit(Probability::of(value), false));
            let most = 2.0 + 24.0 * f64::from(BIT) / f64::from(value);
            assert!((exact - price).abs() < most, "{value}: {price}, {exact}");
        }
    }
}
