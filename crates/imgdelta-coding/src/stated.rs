//! Contexts of a byte with a state for each of its bits, and rates of those states: the inputs of a mixer.
//! Never mixes, and never knows what the contexts are.
//!
//! A context has a line for each half of a byte, which it finds by a hash. Lines that were used little give way.

// Odds have at most 17 bits, and logarithms 12.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

use crate::{
    arithmetic::{mixed, stretch},
    states::{self, Rate, Rates, States},
};

/// The knowledge of a context about half a byte: a check, then a state for each prefix of the half.
type Line = [u8; 16];

/// Lines of a page of memory: both halves of a byte have their lines in one.
const PAGE: usize = 64;

/// `N` contexts of a byte.
#[derive(Clone)]
pub(crate) struct StatedContexts<const N: usize> {
    /// All lines. Four that may hold the same contexts lie in one line of the processor's cache.
    all: Vec<Line>,
    /// Lines before the first one: those that share a line of the cache with other memory.
    skipped: usize,
    /// Number of lines behind those, less 1.
    mask: usize,
    /// Number of each context's line, and the line itself while it is in use.
    current: [usize; N],
    lines: [Line; N],
    hashes: [u32; N],
    /// The place of the next bit's state in a line.
    within: usize,
    states: Box<States>,
    /// The rate of each state in each context, and the bits that it learns from.
    worth: Box<[[Rate; 256]; N]>,
    limit: u32,
}

impl<const N: usize> StatedContexts<N> {
    /// Makes a table of so many lines, a power of two of at least 64, and rates that learn up to a limit.
    pub(crate) fn new(lines: usize, limit: u32) -> Self {
        let states = States::new();
        let worth = states.counts.map(|[zeros, ones]| {
            let (zeros, ones) = (u32::from(zeros), u32::from(ones));
            states::rate((2 * ones + 1) * 65_535 / (2 * (zeros + ones) + 2), 6)
        });
        let mut contexts = Self {
            all: Vec::new(),
            skipped: 0,
            mask: 0,
            current: [0; N],
            lines: [[0; 16]; N],
            hashes: [0; N],
            within: 1,
            states: Box::new(states),
            worth: Box::new([worth; N]),
            limit,
        };
        contexts.clear(lines);
        contexts
    }

    /// Replaces the table by an empty one; rates stay.
    pub(crate) fn clear(&mut self, lines: usize) {
        self.all = Vec::new(); // Not two at a time.
        self.all = vec![[0; 16]; lines + 3];
        // Whatever the address is, the codes are the same.
        self.skipped = (self.all.as_ptr().addr() / 16).wrapping_neg() % 4;
        self.mask = lines - 1;
    }

    /// Begins a byte.
    pub(crate) fn begin(&mut self, hashes: [u32; N]) {
        self.hashes = hashes;
        self.find_lines(0);
    }

    /// Sets two inputs for each context of the next bit, behind the bits so far.
    #[inline]
    pub(crate) fn look_up<const INPUTS: usize>(
        &mut self,
        partial: usize,
        done: usize,
        inputs: &mut [i16; INPUTS],
    ) {
        let done = done & 3;
        self.within = 1 << done | partial & ((1 << done) - 1);
        for i in 0..N {
            let state = self.lines[i][self.within];
            let odds = states::odds(self.worth[i][usize::from(state)]);
            (inputs[2 * i], inputs[2 * i + 1]) = halves(odds);
        }
    }

    /// Returns the number of contexts in which the next bit was seen before.
    #[inline]
    pub(crate) fn known(&self) -> usize {
        self.lines.iter().filter(|line| line[self.within] > 0).count()
    }

    /// Learns the bit that was looked up last, which ends `partial`. `done` bits of the byte were before it.
    #[inline]
    pub(crate) fn learn(&mut self, rates: &Rates, bit: u32, partial: usize, done: usize) {
        for i in 0..N {
            let state = &mut self.lines[i][self.within];
            rates.learn(&mut self.worth[i][usize::from(*state)], bit, self.limit);
            *state = self.states.next[usize::from(*state)][bit as usize & 1];
        }
        if done & 3 == 3 {
            self.keep_lines();
        }
        if done == 3 {
            self.find_lines(partial as u32);
        }
    }

    /// Finds the line of each context for half a byte, or clears an old one.
    fn find_lines(&mut self, half: u32) {
        let hashes = self.hashes.map(|hash| mixed(hash, half));
        for (current, hash) in self.current.iter_mut().zip(hashes) {
            let first = hash as usize >> 8 & self.mask;
            let of_page = if half == 0 { first } else { *current };
            *current = of_page & !(PAGE - 1) | first & (PAGE - 1);
        }
        // The processor loads all of them before it needs one.
        let loaded: [[u8; 2]; N] = std::array::from_fn(|i| {
            let line = &self.all[self.skipped + self.current[i]];
            [line[0], line[1]]
        });
        for i in 0..N {
            let (check, first) = (hashes[i] as u8, self.current[i]);
            // The first bit's state shows how often a line was used.
            if loaded[i][0] == check && loaded[i][1] > 0 {
                self.lines[i] = self.all[self.skipped + first];
                continue;
            }
            let mut least = (self.states.used[usize::from(loaded[i][1])], first);
            let mut found = None;
            for other in 1..3 {
                let line = &self.all[self.skipped + (first ^ other)];
                if line[0] == check && line[1] > 0 {
                    found = Some(first ^ other);
                    break;
                }
                let used = self.states.used[usize::from(line[1])];
                if used < least.0 {
                    least = (used, first ^ other);
                }
            }
            self.current[i] = found.unwrap_or(least.1);
            self.lines[i] = found.map_or([0; 16], |found| self.all[self.skipped + found]);
            self.lines[i][0] = check;
        }
    }

    /// Puts the lines back.
    fn keep_lines(&mut self) {
        for (&number, line) in self.current.iter().zip(&self.lines) {
            self.all[self.skipped + number] = *line;
        }
    }
}

/// Returns half the logarithm of some odds, and their distance from the middle.
#[inline]
pub(crate) fn halves(odds: u32) -> (i16, i16) {
    ((stretch(odds) >> 1) as i16, ((odds as i32 - 32_768) >> 7) as i16)
}
