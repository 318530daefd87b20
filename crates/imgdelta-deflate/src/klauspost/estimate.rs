//! klauspost's estimate of the size of a block with its own codes.
//!
//! The estimate is Shannon entropy with a polynomial logarithm, in 32-bit floats and in a fixed
//! order. It decides if codes are reused, so its last bit can change the output. Rust never fuses a
//! multiplication with an addition, and neither does Go on amd64. Go does so on other machines,
//! whose streams may differ. Never exact, because the original is not.

use crate::alphabet::{DISTANCE_EXTRA, END_OF_BLOCK, LENGTH_EXTRA};
use crate::huffman::Histogram;

/// Returns the estimated bits of `token_count` tokens with these counts, including extra bits.
pub(super) fn estimated_bits(counts: &Histogram, token_count: usize) -> u64 {
    let mut extra = 0u64;
    let mut copies = 0u32;
    let mut sum = 0f32;
    let share = 1f32 / token_count as f32;
    for &count in &counts.litlen[..END_OF_BLOCK] {
        if count > 0 {
            sum += weight(count, share);
        }
    }
    sum += 15f32;
    for (&count, &bits) in counts.litlen[END_OF_BLOCK + 1..].iter().zip(&LENGTH_EXTRA) {
        if count > 0 {
            sum += weight(count, share);
            extra += u64::from(bits) * u64::from(count);
            copies += count;
        }
    }
    if copies > 0 {
        let share = 1f32 / copies as f32;
        for (&count, &bits) in counts.distance.iter().zip(&DISTANCE_EXTRA) {
            if count > 0 {
                sum += weight(count, share);
                extra += u64::from(bits) * u64::from(count);
            }
        }
    }
    sum as u64 + extra
}

fn weight(count: u32, share: f32) -> f32 {
    let count = count as f32;
    (-log2(count * share)).clamp(1.0, 15.0) * count
}

/// Returns an approximate logarithm: a quadratic polynomial of the mantissa.
fn log2(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) & 255) as i32 - 128;
    let mantissa = f32::from_bits(bits & !(255 << 23) | 127 << 23);
    exponent as f32 + ((-0.344_848_43 * mantissa + 2.024_665_8) * mantissa - 0.674_877_6)
}
