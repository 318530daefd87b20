//! The map from addresses of the base to their shifts in the target.
//! Never changes while it is used: it is made from copies and overrides before the first field.
//!
//! Code and data mostly move in blocks, and the copies show which. A byte copied from base offset
//! `b` to target offset `t` moved by `t - b` in the file. In memory it moved by the difference of
//! the two addresses. So the map is a step function with a few thousand steps. Where it is wrong
//! for a reference that many fields share, the encoder adds an override.
//!
//! A look-up reads one entry of a page index and then walks a few steps. In a page with many steps,
//! as a hostile file may have, it is a binary search.

use crate::script::BaseCopy;
use imgdelta_fields::elf::MemoryImage;
use std::{cmp::Reverse, collections::BinaryHeap};

/// Addresses from `start` on move by `shift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) start: u32,
    pub(crate) shift: i32,
}

/// The shift of addresses without a known one.
const UNKNOWN: i32 = i32::MIN;

/// `len` addresses from `start` on move by `shift` instead of what the copies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) shift: i32,
}

/// Shifts of base addresses, with an index for fast look-ups.
#[derive(Debug)]
pub(crate) struct AddressMap {
    /// Starts ascend, the first is 0; one more step lies past the last address.
    steps: Vec<Step>,
    /// Number of the step that holds each page's first address, and one more entry.
    pages: Vec<u32>,
    page_bits: u32,
}

/// Most steps in a page that a look-up walks; with more it searches by halves.
const WALKED: u32 = 8;

impl AddressMap {
    /// Returns the map of `copies` alone.
    pub(crate) fn plain_steps(
        copies: &[BaseCopy],
        base: &MemoryImage,
        target: &MemoryImage,
    ) -> Vec<Step> {
        let mut steps = StepList::default();
        let file_steps = file_steps(copies);
        let tail_shift = target.data_end().wrapping_sub(base.data_end()).cast_signed();
        for segment in &base.segments {
            // Nothing lies between segments; a word that seems to point there is not a reference.
            let first = file_steps.partition_point(|step| step.0 <= segment.offset);
            let mut at = segment.offset;
            for (i, &(_, moved)) in file_steps.iter().enumerate().skip(first.saturating_sub(1)) {
                let next = file_steps.get(i + 1).map_or(usize::MAX, |step| step.0);
                let end = next.min(segment.offset_end());
                while at < end {
                    let place = TargetPlace::of(at, moved, target);
                    let len = place.len.min(end - at);
                    let start = segment.start + (at - segment.offset) as u32;
                    let shift = place.address.map_or(i64::from(UNKNOWN), |address| {
                        address.wrapping_sub(base.low + u64::from(start)).cast_signed()
                    });
                    steps.push(start, shift);
                    at += len;
                }
                if at >= segment.offset_end() {
                    break;
                }
            }
            if segment.data_end() < segment.end() {
                steps.push(segment.data_end(), tail_shift);
            }
            steps.push(segment.end(), i64::from(UNKNOWN));
        }
        if base.is_object() {
            // Names and types stay, unless an override says otherwise.
            steps.push(base.span, 0);
            steps.push(base.reach(), i64::from(UNKNOWN));
        }
        steps.0
    }

    /// Adds `overrides` (ascending, not overlapping) to `plain` and makes the page index.
    pub(crate) fn new(plain: &[Step], overrides: &[Override], base: &MemoryImage) -> Self {
        let mut steps = StepList::default();
        let mut rest = plain.iter().copied().peekable();
        let mut current = UNKNOWN;
        for item in overrides {
            while let Some(step) = rest.next_if(|step| step.start < item.start) {
                current = step.shift;
                steps.push(step.start, i64::from(step.shift));
            }
            steps.push(item.start, i64::from(item.shift));
            let end = item.start.saturating_add(item.len);
            while let Some(step) = rest.next_if(|step| step.start <= end) {
                current = step.shift;
            }
            steps.push(end, i64::from(current));
        }
        for step in rest {
            steps.push(step.start, i64::from(step.shift));
        }
        let mut steps = steps.0;
        if steps.first().is_none_or(|step| step.start > 0) {
            steps.insert(0, Step { start: 0, shift: UNKNOWN });
        }
        steps.push(Step { start: u32::MAX, shift: UNKNOWN });

        // The index grows with the file, not with the span that a hostile header claims.
        let bytes: usize = base.segments.iter().map(|segment| segment.file_len).sum();
        let mut page_bits = 8;
        while (base.reach() >> page_bits) as usize > bytes / 256 + 64 {
            page_bits += 1;
        }
        let count = (base.reach() >> page_bits) + 2;
        let mut pages = Vec::with_capacity(count as usize);
        let mut step = 0;
        for page in 0..count {
            let start = u64::from(page) << page_bits;
            while u64::from(steps[step + 1].start) <= start && step + 2 < steps.len() {
                step += 1;
            }
            pages.push(step as u32);
        }
        Self { steps, pages, page_bits }
    }

    /// Returns the shift of `address`, which lies in the image; `None` if it is not known.
    #[inline]
    pub(crate) fn shift(&self, address: u32) -> Option<i32> {
        let page = (address >> self.page_bits) as usize;
        let (first, last) = (self.pages[page], self.pages[page + 1]);
        let steps = &self.steps[first as usize..];
        let mut found = 0;
        if last - first > WALKED {
            let inside = &steps[..=(last - first) as usize];
            found = inside.partition_point(|step| step.start <= address).saturating_sub(1);
        } else {
            while steps[found + 1].start <= address {
                found += 1;
            }
        }
        let shift = steps[found].shift;
        (shift != UNKNOWN).then_some(shift)
    }
}

/// Steps under construction.
#[derive(Default)]
struct StepList(Vec<Step>);

impl StepList {
    /// Adds a step; a shift that does not fit counts as unknown.
    fn push(&mut self, start: u32, shift: i64) {
        let shift = i32::try_from(shift).unwrap_or(UNKNOWN);
        match self.0.last_mut() {
            Some(last) if last.start == start => last.shift = shift,
            Some(last) if last.shift == shift => {}
            _ => self.0.push(Step { start, shift }),
        }
    }
}

/// The address in the target of a byte of the base's file, and the bytes for which it holds.
struct TargetPlace {
    address: Option<u64>,
    len: usize,
}

impl TargetPlace {
    /// Returns the place of the byte at `offset` of the base, which moved by `moved` in the file.
    fn of(offset: usize, moved: isize, target: &MemoryImage) -> Self {
        let Some(offset) = offset.checked_add_signed(moved) else {
            return Self { address: None, len: moved.unsigned_abs() - offset };
        };
        match target.segments.iter().find(|segment| segment.offset_end() > offset) {
            None => Self { address: None, len: usize::MAX },
            Some(segment) if segment.offset > offset => {
                Self { address: None, len: segment.offset - offset }
            }
            Some(segment) => {
                let within = offset - segment.offset;
                let address = target.low + u64::from(segment.start) + within as u64;
                Self { address: Some(address), len: segment.file_len - within }
            }
        }
    }
}

/// Returns the shifts within the file, each from an offset of the base's file on.
///
/// - Copies overlap in the base: the longest counts; of equals, the first in the target.
/// - Between two copies: the shift before goes on.
/// - Before the first copy: its shift.
fn file_steps(copies: &[BaseCopy]) -> Vec<(usize, isize)> {
    let mut order: Vec<&BaseCopy> = copies.iter().collect();
    order.sort_unstable_by_key(|copy| (copy.base, copy.target));
    let mut order = order.into_iter().peekable();
    let mut steps: Vec<(usize, isize)> = Vec::new();
    let mut open: BinaryHeap<(usize, Reverse<usize>, usize)> = BinaryHeap::new();
    let mut at = 0;
    loop {
        while let Some(copy) = order.next_if(|copy| copy.base <= at) {
            open.push((copy.len, Reverse(copy.target), copy.base));
        }
        while open.peek().is_some_and(|&(len, _, base)| base + len <= at) {
            open.pop();
        }
        let next_start = order.peek().map(|copy| copy.base);
        let Some(&(len, Reverse(target), base)) = open.peek() else {
            match next_start {
                Some(start) => at = start,
                None => break,
            }
            continue;
        };
        let moved = target.cast_signed() - base.cast_signed();
        if steps.last().is_none_or(|last| last.1 != moved) {
            steps.push((at, moved));
        }
        at = next_start.map_or(base + len, |start| start.min(base + len));
    }
    match steps.first_mut() {
        Some(first) => first.0 = 0,
        None => steps.push((0, 0)),
    }
    steps
}
