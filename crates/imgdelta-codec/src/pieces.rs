//! A member in pieces: ranges of its target that are laid out, corrected and patched one by one.
//! Never a property of the format: any division gives the same bytes.
//!
//! A piece stays in the processor's cache, and its member may be of any length. A piece begins with
//! two bytes of one copy, since a literal is respelled by the two bytes before it, and it divides no
//! field. So a long literal makes a long piece.

use crate::{names, script::BaseCopy};
use imgdelta_fields::field_index::FieldCache;
use std::ops::Range;

/// A range of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) target: Range<usize>,
    /// Numbers of the copies that reach into it.
    copies: Range<usize>,
}

impl Piece {
    /// Returns the copies that reach into the piece, each with the part of it that lies there.
    pub(crate) fn copies<'a>(
        &self,
        copies: &'a [BaseCopy],
    ) -> impl Iterator<Item = (&'a BaseCopy, Range<usize>)> {
        let target = self.target.clone();
        copies[self.copies.clone()].iter().map(move |copy| {
            let start = target.start.max(copy.target) - copy.target;
            (copy, start..target.end.min(copy.target_end()) - copy.target)
        })
    }

    /// Returns the literals between the piece's copies, counted from the piece's start.
    pub(crate) fn literals(&self, copies: &[BaseCopy]) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.target;
        let copies = copies[self.copies.clone()].iter();
        let ends = std::iter::once(start).chain(copies.clone().map(BaseCopy::target_end));
        let starts = copies.map(|copy| copy.target).chain([end]);
        ends.zip(starts)
            .filter(|(end, start)| end < start)
            .map(move |(from, to)| from - start..to - start)
    }
}

/// Divides a target.
#[derive(Debug, Default)]
pub(crate) struct PieceCutter<'a> {
    at: usize,
    /// Number of the first copy that ends behind `at`.
    copy: usize,
    /// A range that is not divided.
    held: Range<usize>,
    /// Pieces begin at multiples of this; 0 stands for 1.
    step: usize,
    /// The base, if no name of a copy is divided.
    names: Option<&'a [u8]>,
}

impl<'a> PieceCutter<'a> {
    /// Divides a target nowhere in a range.
    pub(crate) fn holding(held: Range<usize>) -> Self {
        Self { held, ..Self::default() }
    }

    /// Has pieces begin at multiples of `step`.
    pub(crate) fn in_steps_of(self, step: usize) -> Self {
        Self { step, ..self }
    }

    /// Divides no name of a copy of `base`.
    pub(crate) fn between_names(self, base: &'a [u8]) -> Self {
        Self { names: Some(base), ..self }
    }

    /// Returns the next piece of a target of `len` bytes, or `None` at its end.
    pub(crate) fn next(
        &mut self,
        copies: &[BaseCopy],
        len: usize,
        mut fields: Option<&mut FieldCache<'_>>,
    ) -> Option<Piece> {
        if self.at == len {
            return None;
        }
        let (start, first) = (self.at, self.copy);
        let wanted = start.saturating_add(PIECE_BYTES);
        let (mut end, mut next) = self.cut(wanted, copies, len, fields.as_deref_mut());
        if self.held.start < end && end < self.held.end {
            // A field may reach over the end of the range.
            (end, next) = self.cut(wanted.max(self.held.end + 8), copies, len, fields);
        }
        // The copy at the border reaches into this piece, too, unless it starts there.
        let reaches = copies.get(next).is_some_and(|copy| copy.target < end);
        (self.at, self.copy) = (end, next);
        Some(Piece { target: start..end, copies: first..next + usize::from(reaches) })
    }

    /// Returns the end of a piece that should end at `wanted`, and the number of the next one's first
    /// copy.
    fn cut(
        &self,
        wanted: usize,
        copies: &[BaseCopy],
        len: usize,
        mut fields: Option<&mut FieldCache<'_>>,
    ) -> (usize, usize) {
        let base_len = fields.as_ref().map_or(usize::MAX, |fields| fields.index.file.len());
        let first = self.copy;
        let (mut end, mut next) = (len, copies.len());
        if wanted < len {
            let near = copies[first..].partition_point(|copy| copy.target_end() <= wanted + 1);
            // Two bytes of a copy begin the next piece.
            for (number, copy) in copies.iter().enumerate().skip(first + near) {
                // Edited bytes, which have addresses behind the base, are not divided.
                if copy.base < base_len
                    && let Some(found) = self.cut_of_copy(wanted, copy, fields.as_deref_mut())
                {
                    (end, next) = (found, number);
                    break;
                }
            }
        }
        (end, next)
    }

    /// Returns the first place of a copy, from `wanted` on, where a piece may begin.
    fn cut_of_copy(
        &self,
        wanted: usize,
        copy: &BaseCopy,
        mut fields: Option<&mut FieldCache<'_>>,
    ) -> Option<usize> {
        let step = self.step.max(1);
        let mut end = wanted.max(copy.target).next_multiple_of(step);
        while copy.target_end().saturating_sub(end) > 1 {
            let divided = match &mut fields {
                Some(fields) if end > copy.target => {
                    fields.divided_at(copy.base + (end - copy.target))
                }
                None if end > copy.target => self.names.and_then(|base| {
                    let found =
                        names::divided_at(&base[copy.base..copy.base_end()], end - copy.target);
                    found.map(|start| copy.base + start)
                }),
                _ => None,
            };
            let Some(field) = divided else { return Some(end) };
            if step == 1 {
                return Some(copy.target + field.saturating_sub(copy.base));
            }
            end += step;
        }
        None
    }
}

/// Bytes of a piece, unless a literal makes it longer.
const PIECE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_target_and_begin_with_two_copied_bytes() {
        let copy = |target, len| BaseCopy { target, base: target + 7, len };
        let lists = [
            vec![],
            vec![copy(0, 5 * PIECE_BYTES)],
            vec![copy(10, PIECE_BYTES - 10), copy(PIECE_BYTES, 2), copy(PIECE_BYTES + 100, 900)],
            vec![copy(PIECE_BYTES - 1, 2), copy(PIECE_BYTES + 5, 1), copy(3 * PIECE_BYTES, 2)],
            (0..50).map(|i| copy(i * 99_991, 70_000)).collect(),
        ];
        for copies in lists {
            let len = 5 * PIECE_BYTES + 3;
            let (mut cutter, mut at, mut copied) = (PieceCutter::default(), 0, 0);
            let mut literal = 0;
            while let Some(piece) = cutter.next(&copies, len, None) {
                assert_eq!(piece.target.start, at);
                let mut parts = piece.copies(&copies);
                if at > 0 {
                    let (copy, part) = parts.next().unwrap();
                    assert_eq!(copy.target + part.start, at);
                    assert!(part.len() >= 2, "{part:?} at {at}");
                    copied += part.len();
                }
                copied += parts.map(|(_, part)| part.len()).sum::<usize>();
                literal += piece.literals(&copies).map(|range| range.len()).sum::<usize>();
                at = piece.target.end;
            }
            assert_eq!(at, len);
            assert_eq!(copied, copies.iter().map(|copy| copy.len).sum::<usize>());
            assert_eq!(literal, len - copied);
        }
    }
}
