//! Offsets in a file of which some ranges get another length.

use std::ops::Range;

/// Ranges of a file that get another length, in order and without overlaps.
pub(super) struct Moves(Vec<(Range<u64>, u64)>);

impl Moves {
    /// Takes ranges with their new lengths.
    pub(super) fn new(ranges: Vec<(Range<u64>, u64)>) -> Self {
        Self(ranges)
    }

    /// Returns the new lengths of the ranges.
    pub(super) fn lengths(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(_, bytes)| *bytes)
    }

    /// Returns the new place of an offset; `None` if it lies inside a range or leaves 64 bits.
    pub(super) fn map(&self, offset: u64) -> Option<u64> {
        let mut moved = offset;
        for (range, bytes) in &self.0 {
            if offset <= range.start {
                break;
            }
            if offset < range.end {
                return None;
            }
            moved = (moved - (range.end - range.start)).checked_add(*bytes)?;
        }
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_behind_a_range_move_and_those_inside_do_not_exist() {
        let moves = Moves::new(vec![(100..110, 50), (200..300, 1)]);
        let places = [(0, 0), (100, 100), (110, 150), (200, 240), (300, 241), (400, 341)];
        for (offset, moved) in places {
            assert_eq!(moves.map(offset), Some(moved));
        }
        assert_eq!([101, 109, 299].map(|offset| moves.map(offset)), [None; 3]);
        assert_eq!(Moves::new(vec![(1..2, u64::MAX)]).map(3), None);
    }
}
