//! Making side only: finds the function of the base that each function of a target was.
//! Never looks at a name or an address: instructions and what they refer to decide.
//!
//! Functions that did not change are found by all of their bytes, and are not read. In the others,
//! each window of three instructions that is rare in the base votes for the functions that hold it.
//! Registers and numbers do not count, references do. A function that follows the last one chosen has
//! an advantage, since few functions change their order.

use crate::{
    rare::RareWindows,
    units::{Function, each_token},
};

/// Instructions of a window.
const WINDOW: usize = 3;

/// Returns pairs of functions that changed: the number of the target's, ascending, and that of the
/// base's that it was.
pub(crate) fn match_functions(
    base: &[Function<'_>],
    target: &[Function<'_>],
) -> Vec<(usize, usize)> {
    let unchanged = unchanged_functions(base, target);
    let mut is_kept = vec![false; base.len()];
    unchanged.iter().flatten().for_each(|&number| is_kept[number] = true);
    let (mut tokens, mut list) = (Vec::new(), Vec::new());
    for (number, function) in base.iter().enumerate().filter(|(number, _)| !is_kept[*number]) {
        tokens.clear();
        each_token(*function, |token| tokens.push(token));
        list.extend(windows(&tokens).map(|hash| (hash, number as u32)));
    }
    let index = RareWindows::new(&list);
    let mut last = usize::MAX;
    let mut pairs = Vec::new();
    for (function, place) in target.iter().zip(0..) {
        if let Some(number) = unchanged[place] {
            last = number;
            continue;
        }
        tokens.clear();
        each_token(*function, |token| tokens.push(token));
        if let Some(number) = index.chosen(windows(&tokens), last) {
            last = number;
            pairs.push((place, number));
        }
    }
    pairs
}

/// Returns, for each function of the target, the number of one of the base's that has the same
/// labelled bytes. Of several, it is the one behind the last one found, or else the first.
fn unchanged_functions(base: &[Function<'_>], target: &[Function<'_>]) -> Vec<Option<usize>> {
    let hash = |function: &Function<'_>| {
        let (words, rest) = function.labelled.as_chunks::<8>();
        let mix = |hash: u64, word: u64| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        };
        let hash = words.iter().fold(0, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
    };
    let mut known: Vec<(u64, usize)> = base.iter().map(hash).zip(0..).collect();
    known.sort_unstable();
    let mut next = 0;
    let find = |function: &Function<'_>| {
        let is_same =
            |number: usize| base.get(number).is_some_and(|old| old.labelled == function.labelled);
        let found = if is_same(next) {
            Some(next)
        } else {
            let hash = hash(function);
            let first = known.partition_point(|item| item.0 < hash);
            known.get(first).map(|item| item.1).filter(|&number| is_same(number))
        };
        next = found.map_or(next, |found| found + 1);
        found
    };
    target.iter().map(find).collect()
}

fn windows(tokens: &[u64]) -> impl Iterator<Item = u32> {
    tokens.windows(WINDOW).map(|window| {
        let hash = window.iter().fold(0_u64, |hash, token| hash.rotate_left(21) ^ token);
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    })
}
