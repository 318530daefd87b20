//! Names in copied text, and the names that replace them: those of variables in generated scripts.
//! Never changes the length of a name.
//!
//! A tool that makes a script short gives its variables other names in each version. The same old name
//! then has the same new name for a while: until the function ends. So each name is expected to become
//! what it became the last time. Patches say where it does not, and the next such names follow them.
//! `docs/format-group.md`, section 9, specifies the steps.
//!
//! The table of names grows with the text, up to 64 KiB. Of two names in one place, the later one stays.

use std::ops::Range;

/// Longer names are not replaced.
const MAX_NAME: usize = 8;

/// Fewest and most names that a table has room for.
const SLOTS: (usize, usize) = (1 << 2, 1 << 12);

/// The last replacement of each name.
#[derive(Debug)]
pub(crate) struct NameTable {
    /// A name and the one that replaces it, each padded with zeros.
    slots: Vec<[u64; 2]>,
}

impl NameTable {
    /// Makes the table for a target of so many bytes.
    pub(crate) fn new(target_len: usize) -> Self {
        let slots = target_len.div_ceil(8).clamp(SLOTS.0, SLOTS.1).next_power_of_two();
        Self { slots: vec![[0; 2]; slots] }
    }

    /// Replaces `name`, which has at most [`MAX_NAME`] bytes and none that is 0, by the name that is expected
    /// in its place.
    pub(crate) fn replace(&self, name: &mut [u8]) {
        let number = number_of(name);
        let [old, new] = self.slots[self.slot_of(number)];
        if old == number {
            name.copy_from_slice(&new.to_le_bytes()[..name.len()]);
        }
    }

    /// Notes the bytes that are in the place of `name`.
    pub(crate) fn learn(&mut self, name: &[u8], found: &[u8]) {
        let number = number_of(name);
        let slot = self.slot_of(number);
        self.slots[slot] = [number, number_of(found)];
    }

    fn slot_of(&self, number: u64) -> usize {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> (64 - self.slots.len().ilog2())) as usize
    }
}

/// Returns the names of a copy that begin in a part of it. A border of the part divides none.
pub(crate) fn names(copy: &[u8], part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    // A longer run is not a name, wherever it ends.
    let copy = &copy[..copy.len().min(part.end + MAX_NAME + 1)];
    let mut at = part.start;
    if at > 0 && is_of_name(copy[at - 1]) {
        // The rest of a longer run.
        at = run_end(copy, at);
    }
    std::iter::from_fn(move || {
        while at < part.end {
            let start = at;
            at = run_end(copy, start);
            if at == start {
                at += 1;
            } else if at - start <= MAX_NAME && !copy[start].is_ascii_digit() {
                return Some(start..at);
            }
        }
        None
    })
}

/// Returns the start of the name of a copy that a cut at `offset` would divide.
pub(crate) fn divided_at(copy: &[u8], offset: usize) -> Option<usize> {
    let before = copy[..offset].iter().rev().take(MAX_NAME).take_while(|byte| is_of_name(**byte));
    let start = offset - before.count();
    let is_whole = start == 0 || !is_of_name(copy[start - 1]);
    let end = run_end(&copy[..copy.len().min(start + MAX_NAME + 1)], start);
    (is_whole && start < offset && offset < end && end - start <= MAX_NAME).then_some(start)
}

/// Returns the end of the bytes of names from `at` on.
fn run_end(text: &[u8], at: usize) -> usize {
    let run = text[at..].iter().take_while(|byte| is_of_name(**byte));
    at + run.count()
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

/// Returns the bytes of a name as a number.
fn number_of(name: &[u8]) -> u64 {
    let mut bytes = [0; MAX_NAME];
    bytes[..name.len()].copy_from_slice(name);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<&str> {
        names(text.as_bytes(), 0..text.len()).map(|range| &text[range]).collect()
    }

    #[test]
    fn names_are_runs_of_a_few_letters_and_digits() {
        assert_eq!(found("var e$=t.call(0x1f,_n)"), ["var", "e$", "t", "call", "_n"]);
        assert_eq!(found("prototype a1234567 b12345678 \u{e9}t"), ["a1234567", "t"]);
        assert_eq!(found(""), [""; 0]);
    }

    #[test]
    fn a_name_becomes_what_it_became_the_last_time() {
        let mut table = NameTable::new(1000);
        let after = |table: &NameTable, name: &str| {
            let mut name = name.as_bytes().to_vec();
            table.replace(&mut name);
            String::from_utf8(name).unwrap()
        };
        assert_eq!(after(&table, "e"), "e");
        table.learn(b"e", b"t");
        table.learn(b"ab", b"cd");
        assert_eq!(["e", "ab", "a"].map(|name| after(&table, name)), ["t", "cd", "a"]);
        table.learn(b"e", b"e");
        assert_eq!(after(&table, "e"), "e");
    }

    proptest! {
        #[test]
        fn parts_have_the_names_of_the_whole(
            text in "[ab1.]{0,40}", cuts in prop::collection::vec(0usize..41, 0..5),
        ) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts
                .into_iter()
                .map(|cut| cut.min(text.len()))
                .map(|cut| divided_at(text, cut).unwrap_or(cut))
                .chain([0, text.len()])
                .collect();
            cuts.sort_unstable();
            let parts = cuts.windows(2).flat_map(|pair| names(text, pair[0]..pair[1]));
            let whole: Vec<Range<usize>> = names(text, 0..text.len()).collect();
            prop_assert_eq!(parts.collect::<Vec<_>>(), whole);
        }
    }
}
