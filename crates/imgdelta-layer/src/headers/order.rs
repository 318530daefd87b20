//! The order of base entries where it is not the target's: a walk through directories.
//!
//! Writers which do not sort list a directory in any order, but one directory after another. So
//! the base entries that are used are put in the base's order, which costs nothing to tell, and
//! from there each next one is told by its place among those left of the directory at hand. It
//! reads no header; it is told addresses and paths.

use std::{collections::HashMap, ops::Range};

/// The base entries that are still to come.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// By slot: directories in the order of their first entry, entries of one in the base's.
    addresses: Vec<u64>,
    directories: HashMap<Vec<u8>, Range<usize>>,
    left: Counts,
    /// The slot of the last entry.
    last: usize,
}

impl Order {
    /// Takes all entries in the base's order: address and path.
    pub(super) fn new<'a>(entries: impl Iterator<Item = (u64, &'a [u8])>) -> Self {
        let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut places: Vec<(usize, u64)> = Vec::new();
        for (address, path) in entries {
            let directory = parent(trimmed(path));
            let next = numbers.len();
            let number = match numbers.get(directory) {
                Some(&number) => number,
                None => *numbers.entry(directory.to_vec()).or_insert(next),
            };
            places.push((number, address));
        }
        // Stable: entries of a directory stay in their order.
        places.sort_by_key(|&(number, _)| number);
        let mut ranges: Vec<Range<usize>> = vec![0..0; numbers.len()];
        for (slot, &(number, _)) in places.iter().enumerate() {
            let Range { start, end } = &mut ranges[number];
            *start = if *end == 0 { slot } else { *start };
            *end = slot + 1;
        }
        let directories = numbers
            .into_iter()
            .map(|(directory, number)| (directory, ranges[number].clone()))
            .collect();
        let left = Counts::full(places.len());
        let addresses = places.into_iter().map(|(_, address)| address).collect();
        Self { addresses, directories, left, last: 0 }
    }

    /// Returns the slots of the directory at hand behind an entry at `path`, and how many of them
    /// are left: its own if it is one, or the nearest above that has any.
    pub(super) fn at_hand(&self, path: &[u8]) -> Option<(Range<usize>, usize)> {
        let mut directory = trimmed(path);
        for _ in 0..MAX_CLIMB {
            if let Some(range) = self.directories.get(directory) {
                let left = self.left.before(range.end) - self.left.before(range.start);
                if left > 0 {
                    return Some((range.clone(), left));
                }
            }
            if directory.is_empty() {
                return None;
            }
            directory = parent(directory);
        }
        None
    }

    /// Takes one of those left in some slots, which there must be.
    pub(super) fn pick(&mut self, slots: &Range<usize>, place: usize) -> u64 {
        let slot = self.left.find(self.left.before(slots.start) + place);
        self.take(slot)
    }

    /// Takes the one `change` places from the last one, among all that are left.
    pub(super) fn jump(&mut self, change: i64) -> Option<u64> {
        let here = i64::try_from(self.left.before(self.last)).ok()?;
        let place = usize::try_from(here.checked_add(change)?).ok()?;
        (place < self.left.before(self.addresses.len())).then(|| {
            let slot = self.left.find(place);
            self.take(slot)
        })
    }

    fn take(&mut self, slot: usize) -> u64 {
        self.left.remove(slot);
        self.last = slot;
        self.addresses[slot]
    }

    /// Returns the first slot left that has an address, among some slots.
    pub(super) fn place_of(&self, slots: &Range<usize>, address: u64) -> Option<usize> {
        // Entries of a directory stand in the order of their addresses.
        let found = self.addresses[slots.clone()].partition_point(|&other| other < address);
        let mut same =
            (slots.start + found..slots.end).take_while(|&slot| self.addresses[slot] == address);
        let slot = same.find(|&slot| self.left.has(slot))?;
        Some(self.left.before(slot) - self.left.before(slots.start))
    }

    /// Returns how far an address is from the last one, as [`Order::jump`] counts.
    pub(super) fn distance(&self, path: &[u8], address: u64) -> Option<i64> {
        let slots = self.directories.get(parent(trimmed(path)))?;
        let place = self.left.before(slots.start) + self.place_of(slots, address)?;
        let here = self.left.before(self.last);
        Some(i64::try_from(place).ok()? - i64::try_from(here).ok()?)
    }
}

/// How many bits tell one of `count`.
pub(super) fn bits_for(count: usize) -> u32 {
    count.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1)
}

fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(&[], |slash| &path[..slash])
}

/// Directories deeper than this are left by a jump.
const MAX_CLIMB: usize = 64;

/// Which slots are left, with sums over powers of two (a Fenwick tree).
#[derive(Debug, Default)]
struct Counts {
    sums: Vec<usize>,
}

impl Counts {
    fn full(count: usize) -> Self {
        Self { sums: (0..=count).map(|i| i & i.wrapping_neg()).collect() }
    }

    /// Returns how many are left in front of a slot.
    fn before(&self, slot: usize) -> usize {
        let (mut i, mut sum) = (slot, 0);
        while i > 0 {
            sum += self.sums[i];
            i &= i - 1;
        }
        sum
    }

    fn has(&self, slot: usize) -> bool {
        self.before(slot + 1) > self.before(slot)
    }

    /// Returns the slot that has `place` others left in front of it; there must be one.
    fn find(&self, mut place: usize) -> usize {
        let mut at = 0;
        let mut step = self.sums.len().next_power_of_two() / 2;
        while step > 0 {
            if let Some(&sum) = self.sums.get(at + step)
                && sum <= place
            {
                at += step;
                place -= sum;
            }
            step /= 2;
        }
        at
    }

    fn remove(&mut self, slot: usize) {
        let mut i = slot + 1;
        while let Some(sum) = self.sums.get_mut(i) {
            *sum -= 1;
            i += i & i.wrapping_neg();
        }
    }
}
