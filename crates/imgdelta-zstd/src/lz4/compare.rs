//! Comparison of two places, and the hash of four bytes.
//! Never stores a place.

use imgdelta_wire::fixed::{u32_at, u64_at};

/// Returns the number of equal bytes from two places on, up to `end` from the later one.
pub(super) fn common_bytes(plain: &[u8], earlier: usize, later: usize, end: usize) -> usize {
    let most = end.saturating_sub(later);
    let mut count = 0;
    while count + 8 <= most {
        let [one, other] = [earlier, later].map(|at| u64_at(plain, at + count).unwrap_or(0));
        if one != other {
            return count + ((one ^ other).trailing_zeros() / 8) as usize;
        }
        count += 8;
    }
    while count < most && plain[earlier + count] == plain[later + count] {
        count += 1;
    }
    count
}

/// Returns a hash of `bits` bits of the four bytes at a place.
pub(super) fn four_hash(plain: &[u8], at: usize, bits: u32) -> usize {
    let bytes = u32_at(plain, at).unwrap_or(0);
    (bytes.wrapping_mul(FACTOR) >> (32 - bits)) as usize
}

const FACTOR: u32 = 2_654_435_761;
