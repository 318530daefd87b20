//! Making side only: finds the function of the base that each function of a target was.
//! Never looks at a name or an address: instructions and what they refer to decide.
//!
//! Each window of three instructions that is rare in the base votes for the functions that hold it.
//! Registers and numbers do not count, references do. A function that follows the last one chosen has
//! an advantage, since few functions change their order.

use crate::{
    align::{Function, Unit, read_units},
    rare::RareWindows,
};

/// Instructions of a window.
const WINDOW: usize = 3;

/// The vote of a window that occurs once; all numbers up to `rare::RARE` divide it.
const VOTE: u64 = 12;

/// Votes that a pair needs.
const ENOUGH: u64 = 2 * VOTE;

/// Returns, for each function of the target, the number of the base's that it was.
pub(crate) fn match_functions(
    base: &[Function<'_>],
    target: &[Function<'_>],
) -> Vec<Option<usize>> {
    let (mut units, mut votes, mut list) = (Vec::new(), Vec::new(), Vec::new());
    for (function, number) in base.iter().zip(0..) {
        read_units(*function, &mut units);
        list.extend(windows(&units).map(|hash| (hash, number)));
    }
    let index = RareWindows::new(list);
    let mut last = usize::MAX;
    let find = |function: &Function<'_>| {
        read_units(*function, &mut units);
        votes.clear();
        for hash in windows(&units) {
            let found = index.find(hash);
            votes.extend(found.iter().map(|window| (window.1, VOTE / found.len() as u64)));
        }
        votes.sort_unstable();
        let sums = votes.chunk_by(|a, b| a.0 == b.0).map(|of_one| {
            let number = of_one[0].0 as usize;
            let tenths = match number.wrapping_sub(last) {
                1 => 15,
                2 => 14,
                3 => 13,
                _ => 10,
            };
            let sum = of_one.iter().map(|vote| vote.1).sum::<u64>();
            (sum * tenths / 10, std::cmp::Reverse(number))
        });
        let (sum, std::cmp::Reverse(number)) = sums.max()?;
        let is_enough = sum >= ENOUGH;
        if is_enough {
            last = number;
        }
        is_enough.then_some(number)
    };
    target.iter().map(find).collect()
}

fn windows(units: &[Unit]) -> impl Iterator<Item = u32> {
    units.windows(WINDOW).map(|window| {
        let hash = window.iter().fold(0_u64, |hash, unit| hash.rotate_left(21) ^ unit.token());
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    })
}
