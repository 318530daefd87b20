//! Prices of bits by their probabilities, in sixteenths of a bit.
//! Never changes a probability.

/// A price that no symbol has.
pub(super) const INFINITE: u32 = 1 << 30;

/// Probabilities are rounded to this many bits less.
const ROUNDED_BITS: u32 = 4;

/// Price of a bit that is zero with a probability, by its upper bits: the logarithm, by four
/// squarings.
static PRICES: [u8; 128] = {
    let mut prices = [0; 128];
    let mut at = 0;
    while at < 128 {
        let mut power = (at as u32) << ROUNDED_BITS | 1 << (ROUNDED_BITS - 1);
        let mut bits = 0;
        let mut step = 0;
        while step < 4 {
            power *= power;
            bits <<= 1;
            while power >= 1 << 16 {
                power >>= 1;
                bits += 1;
            }
            step += 1;
        }
        prices[at] = ((11 << 4) - 15 - bits) as u8;
        at += 1;
    }
    prices
};

#[inline]
pub(super) fn of_zero(probability: u16) -> u32 {
    u32::from(PRICES[usize::from(probability >> ROUNDED_BITS) & 127])
}

#[inline]
pub(super) fn of_one(probability: u16) -> u32 {
    of_zero(probability ^ 0x7ff)
}

#[inline]
pub(super) fn of_bit(probability: u16, bit: u32) -> u32 {
    of_zero(probability ^ (0_u16.wrapping_sub(bit as u16) & 0x7ff))
}

/// Price of a symbol in a tree, the highest bit first.
#[inline]
pub(super) fn of_tree(probabilities: &[u16], bits: u32, symbol: u32) -> u32 {
    let mut node = symbol | 1 << bits;
    let mut price = 0;
    while node > 1 {
        let bit = node & 1;
        node >>= 1;
        price += of_bit(probabilities[node as usize], bit);
    }
    price
}

/// Price of a symbol in a tree, the lowest bit first.
#[inline]
pub(super) fn of_reverse_tree(probabilities: &[u16], bits: u32, mut symbol: u32) -> u32 {
    let (mut node, mut price) = (1, 0);
    for _ in 0..bits {
        let bit = symbol & 1;
        symbol >>= 1;
        price += of_bit(probabilities[node], bit);
        node = node << 1 | bit as usize;
    }
    price
}

/// Price of bits without a model.
#[inline]
pub(super) fn of_direct(bits: u32) -> u32 {
    bits << 4
}
