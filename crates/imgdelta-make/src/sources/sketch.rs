//! Sketches of files, by which similar content is found.
//! Never holds a file: a sketch is at most thirty-two landmarks.
//!
//! Two versions of a file share most landmarks, even if their bytes have moved. Unrelated files
//! share none.

use crate::landmarks::LandmarkFinder;

/// Landmarks of a file, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sketch(Vec<u64>);

impl Sketch {
    pub(super) fn landmarks(&self) -> &[u64] {
        &self.0
    }
}

/// Makes the sketch of a file that arrives in pieces.
#[derive(Debug)]
pub(super) struct Sketcher {
    finder: LandmarkFinder,
    smallest: Vec<u64>,
}

impl Sketcher {
    pub(super) fn new() -> Self {
        Self { finder: LandmarkFinder::new(RARITY), smallest: Vec::new() }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let smallest = &mut self.smallest;
        self.finder.feed(bytes, |_, landmark| take(smallest, landmark));
    }

    pub(super) fn finish(self) -> Sketch {
        Sketch(self.smallest)
    }
}

fn take(smallest: &mut Vec<u64>, landmark: u64) {
    let place = smallest.partition_point(|&known| known < landmark);
    if smallest.get(place) == Some(&landmark) || place == KEPT {
        return;
    }
    smallest.truncate(KEPT - 1);
    smallest.insert(place, landmark);
}

/// Most landmarks of a sketch.
const KEPT: usize = 32;
/// One place in 64, so that a file of a few kilobytes has enough landmarks.
const RARITY: u32 = 6;
#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u32, len: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            b'a' + (state >> 24).to_le_bytes()[0] % 26
        };
        (0..len).map(|_| next()).collect()
    }

    fn sketch(bytes: &[u8]) -> Sketch {
        let mut sketcher = Sketcher::new();
        bytes.chunks(1000).for_each(|piece| sketcher.update(piece));
        sketcher.finish()
    }

    fn shared(one: &[u8], other: &[u8]) -> usize {
        let (one, other) = (sketch(one), sketch(other));
        one.landmarks().iter().filter(|mark| other.landmarks().contains(mark)).count()
    }

    #[test]
    fn a_moved_and_edited_copy_is_alike_and_another_file_is_not() {
        let old = text(1, 20_000);
        let mut new = text(2, 500);
        new.extend_from_slice(&old[..9000]);
        new.extend_from_slice(&text(3, 100));
        new.extend_from_slice(&old[10_000..]);
        assert!(shared(&old, &new) > 20, "{}", shared(&old, &new));
        assert_eq!(shared(&old, &text(4, 20_000)), 0);
        assert_eq!(sketch(&old).landmarks().len(), KEPT);
    }
}
