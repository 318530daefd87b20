//! The order of base entries where it differs from the target's: a walk through directories.
//! Never reads a header: the caller passes addresses and paths.
//!
//! Writers that do not sort list each directory in any order, but one directory after another. So
//! the addresses of all used base entries are stored in ascending order, which costs little. Each
//! next entry is then stored as its position among the remaining ones of the current directory.

use std::{collections::HashMap, ops::Range};

/// Base entries that remain, by directory.
#[derive(Debug, Default)]
pub(super) struct DirectoryOrder {
    /// Address of each slot: directories in the order of their first entry, each in the base's.
    addresses: Vec<u64>,
    directories: HashMap<Vec<u8>, Range<usize>>,
    left: FreeSlots,
    /// Slot of the entry taken last.
    last: usize,
}

/// Entries of a base, before they are in order. Keeps each directory once, and no path.
#[derive(Debug, Default)]
pub(super) struct OrderBuilder {
    numbers: HashMap<Vec<u8>, usize>,
    /// Number of the directory and address of each entry.
    places: Vec<(usize, u64)>,
}

impl OrderBuilder {
    /// Adds the next entry in the base's order.
    pub(super) fn add(&mut self, address: u64, path: &[u8]) {
        let directory = parent(trimmed(path));
        let next = self.numbers.len();
        let number = match self.numbers.get(directory) {
            Some(&number) => number,
            None => *self.numbers.entry(directory.to_vec()).or_insert(next),
        };
        self.places.push((number, address));
    }

    /// Puts all entries in order.
    pub(super) fn finish(self) -> DirectoryOrder {
        let Self { numbers, mut places } = self;
        // A stable sort keeps the order within a directory.
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
        let left = FreeSlots::full(places.len());
        let addresses = places.into_iter().map(|(_, address)| address).collect();
        DirectoryOrder { addresses, directories, left, last: 0 }
    }
}

impl DirectoryOrder {
    /// Starts with all entries in the base's order, each with its address and path.
    pub(super) fn new<'a>(entries: impl Iterator<Item = (u64, &'a [u8])>) -> Self {
        let mut builder = OrderBuilder::default();
        for (address, path) in entries {
            builder.add(address, path);
        }
        builder.finish()
    }

    /// Returns the slots of the current directory behind an entry at `path`, and the number that is
    /// left.
    ///
    /// It is the entry itself if it is a directory, or else the nearest directory above with entries
    /// left.
    pub(super) fn current(&self, path: &[u8]) -> Option<(Range<usize>, usize)> {
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

    /// Takes the remaining entry at `place` among `slots`; it must exist.
    pub(super) fn pick(&mut self, slots: &Range<usize>, place: usize) -> u64 {
        let slot = self.left.find(self.left.before(slots.start) + place);
        self.take(slot)
    }

    /// Takes the entry `change` places behind the last one, among all that remain.
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

    /// Returns the place of an address among the remaining entries of `slots`.
    pub(super) fn place_of(&self, slots: &Range<usize>, address: u64) -> Option<usize> {
        // Entries of a directory stand in the order of their addresses.
        let first = self.addresses[slots.clone()].partition_point(|&other| other < address);
        let mut same =
            (slots.start + first..slots.end).take_while(|&slot| self.addresses[slot] == address);
        let slot = same.find(|&slot| self.left.has(slot))?;
        Some(self.left.before(slot) - self.left.before(slots.start))
    }

    /// Returns the distance of an address from the last entry, as [`DirectoryOrder::jump`] counts.
    pub(super) fn distance(&self, path: &[u8], address: u64) -> Option<i64> {
        let slots = self.directories.get(parent(trimmed(path)))?;
        let place = self.left.before(slots.start) + self.place_of(slots, address)?;
        let here = self.left.before(self.last);
        Some(i64::try_from(place).ok()? - i64::try_from(here).ok()?)
    }
}

/// Returns the number of bits that a number below `count` needs.
pub(super) fn bits_for(count: usize) -> u32 {
    count.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1)
}

fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(&[], |slash| &path[..slash])
}

/// Levels that [`DirectoryOrder::current`] climbs; beyond, a jump is needed.
const MAX_CLIMB: usize = 64;

/// Remaining slots, as sums over powers of two (a Fenwick tree).
#[derive(Debug, Default)]
struct FreeSlots {
    sums: Vec<usize>,
}

impl FreeSlots {
    fn full(count: usize) -> Self {
        Self { sums: (0..=count).map(|i| i & i.wrapping_neg()).collect() }
    }

    /// Returns the number of remaining slots before a slot.
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

    /// Returns the remaining slot with `place` others before it; it must exist.
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
