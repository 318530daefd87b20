//! Making side only: pairs each function of a program with the function of the base that it was, by
//! equal bytes. Never reads an instruction.
//!
//! Compilers repeat themselves. The longest match of a short run of code often lies in another
//! function, and its neighbours then match nothing near it. A whole function is hardly ever
//! mistaken, because some windows of its bytes occur nowhere else. Each window of a target function
//! that is rare in the base votes for the functions that hold it. A function that follows the last
//! one chosen has an advantage.
//!
//! A sample of the windows votes. Sorting it takes a tenth of a search's time and about as many
//! bytes as the base has.

use crate::rare::RareWindows;
use std::ops::Range;

/// Start and end of a function in a file.
pub type FunctionRange = (usize, usize);

/// Bytes of a window: three instructions or so.
const WINDOW: usize = 12;

/// One window in this many votes; its bytes decide.
const SAMPLED: u64 = 8;

/// Functions of more bytes have no pair: a search indexes all of them.
const LONGEST: usize = 256 << 10;

/// Most bytes of a base function for each byte of the target's, beyond `SHORT`. It bounds the work
/// if many short functions choose one long function.
const MOST_GROWTH: usize = 16;
const SHORT: usize = 1 << 10;

/// Pairs functions of `target` with functions of `base`, ascending in the target. Each pair is the
/// range of the target's and that of the base's.
///
/// Each side is a reading of a file, and the ranges of its functions.
pub fn pair_functions(
    (base, base_functions): (&[u8], &[FunctionRange]),
    (target, target_functions): (&[u8], &[FunctionRange]),
) -> Vec<[Range<usize>; 2]> {
    let windows: Vec<(u32, u32)> = base_functions
        .iter()
        .zip(0..)
        .flat_map(|(&(start, end), number)| {
            sample(&base[start..end]).map(move |hash| (hash, number))
        })
        .collect();
    let index = RareWindows::new(&windows);
    drop(windows);
    let mut pairs = Vec::new();
    let mut last = usize::MAX;
    for &function in target_functions {
        let windows = sample(&target[function.0..function.1]);
        let Some(number) = index.chosen(windows, last) else { continue };
        let (start, end) = base_functions[number];
        let most = (function.1 - function.0).saturating_mul(MOST_GROWTH).saturating_add(SHORT);
        if end - start <= most.min(LONGEST) {
            last = number;
            pairs.push([function.0..function.1, start..end]);
        }
    }
    pairs
}

/// Returns the hashes of the windows of `bytes` that vote.
fn sample(bytes: &[u8]) -> impl Iterator<Item = u32> {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    bytes.windows(WINDOW).filter_map(|window| {
        let first = u64::from_le_bytes(*window.first_chunk()?);
        let last = u32::from_le_bytes(*window.last_chunk()?);
        let hash = (first.wrapping_mul(MULTIPLIER) ^ u64::from(last)).wrapping_mul(MULTIPLIER);
        (hash >> 24 & (SAMPLED - 1) == 0).then_some((hash >> 32) as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_testkit::noise;

    /// Functions of 100 bytes each, in the order of their seeds.
    fn code(seeds: &[u64]) -> (Vec<u8>, Vec<FunctionRange>) {
        let bytes = seeds.iter().flat_map(|&seed| noise(seed, 100)).collect();
        (bytes, (0..seeds.len()).map(|i| (i * 100, i * 100 + 100)).collect())
    }

    fn chosen(base: &[u64], target: &[u64]) -> Vec<(usize, usize)> {
        let (base, target) = (code(base), code(target));
        let pairs = pair_functions((&base.0, &base.1), (&target.0, &target.1));
        pairs.iter().map(|[new, old]| (new.start / 100, old.start / 100)).collect()
    }

    #[test]
    fn a_function_is_paired_with_the_one_that_it_was() {
        assert_eq!(chosen(&[1, 2, 3, 4], &[4, 9, 2, 1]), [(0, 3), (2, 1), (3, 0)]);
        assert_eq!(chosen(&[], &[1]), []);
        assert_eq!(chosen(&[1], &[]), []);
    }

    #[test]
    fn of_equal_functions_the_one_behind_the_last_is_chosen() {
        assert_eq!(chosen(&[5, 1, 7, 5, 2], &[1, 5, 2]), [(0, 1), (1, 3), (2, 4)]);
    }

    #[test]
    fn what_occurs_everywhere_does_not_vote() {
        assert_eq!(chosen(&[1, 1, 1, 1, 1], &[1]), []);
    }

    #[test]
    fn a_long_function_is_not_searched_for_each_short_one() {
        let base = noise(1, SHORT + 50 * MOST_GROWTH + 1);
        let target = base[..50].to_vec();
        let paired = |len: usize| {
            let target_functions = [(0, 50)];
            pair_functions((&base, &[(0, len)]), (&target, &target_functions)).len()
        };
        assert_eq!((paired(base.len() - 1), paired(base.len())), (1, 0));
    }
}
