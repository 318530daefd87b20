//! Making side only: windows of functions by their hash, which vote for the function that another one
//! was.
//! Never knows what a window holds.

/// Windows that occur more often do not vote.
const RARE: usize = 4;

/// The vote of a window that occurs once; all numbers up to `RARE` divide it.
const VOTE: u64 = 12;

/// Votes that a function needs.
const ENOUGH: u64 = 2 * VOTE;

/// Windows of functions.
#[derive(Debug)]
pub(crate) struct RareWindows {
    /// Hash and number of the function, ascending.
    windows: Vec<(u32, u32)>,
    /// For each value of a hash's upper bits, the number of the first window.
    starts: Vec<u32>,
    /// Lower bits of a hash.
    lower_bits: u32,
}

impl RareWindows {
    /// Takes windows: hash, and number of the function.
    pub(crate) fn new(windows: &[(u32, u32)]) -> Self {
        // Some four windows have the same upper bits.
        let upper_bits = windows.len().max(1).ilog2().saturating_sub(2).clamp(8, 22);
        let lower_bits = 32 - upper_bits;
        let upper = |hash: u32| (hash >> lower_bits) as usize;
        let mut starts = vec![0; (1 << upper_bits) + 1];
        for (hash, _) in windows {
            starts[upper(*hash) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        // Windows go to their places by the upper bits first: sorting all at once takes thrice as
        // long.
        let (mut sorted, mut next) = (vec![(0, 0); windows.len()], starts.clone());
        for window in windows {
            let place = &mut next[upper(window.0)];
            sorted[*place as usize] = *window;
            *place += 1;
        }
        for range in starts.windows(2) {
            sorted[range[0] as usize..range[1] as usize].sort_unstable();
        }
        Self { windows: sorted, starts, lower_bits }
    }

    /// Returns the function with the most votes of windows that have these hashes, if they are enough.
    ///
    /// Few functions change their order: the ones behind `last`, which was chosen before, have an
    /// advantage.
    pub(crate) fn chosen(&self, hashes: impl Iterator<Item = u32>, last: usize) -> Option<usize> {
        let mut votes: Vec<(u32, u64)> = Vec::new();
        for hash in hashes {
            let found = self.find(hash);
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
            let sum: u64 = of_one.iter().map(|vote| vote.1).sum();
            (sum * tenths / 10, std::cmp::Reverse(number))
        });
        let (sum, std::cmp::Reverse(number)) = sums.max()?;
        (sum >= ENOUGH).then_some(number)
    }

    /// Returns the windows with this hash; none if there are too many.
    fn find(&self, hash: u32) -> &[(u32, u32)] {
        let upper = (hash >> self.lower_bits) as usize;
        let near = &self.windows[self.starts[upper] as usize..self.starts[upper + 1] as usize];
        let near = &near[near.partition_point(|window| window.0 < hash)..];
        let count = near.iter().take(RARE + 1).take_while(|window| window.0 == hash).count();
        if count > RARE { &[] } else { &near[..count] }
    }
}
