//! The ranges of an ELF file that change when its sections are inflated or compressed.
//! Never reads the file.

use super::table::{HEADER_BYTES, TABLE_OFFSET};
use imgdelta_core::sort::SharedSort;
use std::ops::Range;

/// A range of the file that is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The offset of the section headers in the file header.
    TableOffset,
    /// The section headers.
    Table,
    /// A section that is inflated or compressed, by its ordinal.
    Section(usize),
}

/// Returns the ranges that are not copied, in order; `None` if they overlap or exceed the file.
pub(super) fn cuts(
    bytes: u64,
    table: Range<u64>,
    sections: impl Iterator<Item = Range<u64>>,
) -> Option<Vec<(Range<u64>, Cut)>> {
    let mut cuts = vec![(table, Cut::Table)];
    cuts.extend(sections.enumerate().map(|(ordinal, range)| (range, Cut::Section(ordinal))));
    cuts.shared_sort_by_key(|(range, _)| range.start);
    let mut end = HEADER_BYTES;
    for (range, _) in &cuts {
        if range.start < end || range.end <= range.start || range.end > bytes {
            return None;
        }
        end = range.end;
    }
    cuts.insert(0, (TABLE_OFFSET, Cut::TableOffset));
    Some(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_that_overlap_are_refused() {
        let of = |table, sections: &[Range<u64>]| cuts(1000, table, sections.iter().cloned());
        let one = |table, section| of(table, std::slice::from_ref(&section));
        assert_eq!(of(64..128, &[128..130, 500..1000]).unwrap().len(), 4);
        assert_eq!(one(64..128, 127..130), None);
        assert_eq!(of(63..128, &[]), None);
        assert_eq!(one(64..128, 300..300), None);
        assert_eq!(one(64..128, 300..1001), None);
    }
}
