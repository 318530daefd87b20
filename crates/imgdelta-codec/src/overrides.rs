//! Encoder only: decides which overrides the map gets, and which pages have no data fields.
//! Never writes an override that does not pay: each costs about as much as two or three misses.

use crate::{
    map::{AddressMap, Override},
    predict::{PageFlags, Prediction, Predictor},
    script::BaseCopy,
};
use imgdelta_fields::{
    field_index::{FieldCache, FieldIndex},
    fields::{Anchor, Form},
    host::{Host, RELEASED_BYTES},
};
use imgdelta_wire::fixed::u32_at;

/// Results of one pass with the plain map over the true target.
#[derive(Debug, Default)]
pub(crate) struct MapFindings {
    votes: ShiftVotes,
    /// Anchors that the map has right already, at most 256.
    fixes: Vec<AnchorFix>,
    pages: Vec<PageBalance>,
    /// For each anchor, the errors of the fields that count from it.
    anchored: Vec<Vec<i64>>,
}

/// An anchor whose address the plain map gets wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnchorFix {
    /// The shift that the map should have there.
    pub(crate) right: Override,
    mapped: i32,
    fields: usize,
}

/// The evidence of some fields for the shift of one target.
#[derive(Debug, Clone, Copy)]
struct ShiftVote {
    target: u32,
    shift: i32,
    mapped: i32,
    fields: u32,
}

/// Votes for targets, divided by the targets' addresses: merging a part takes twice its memory.
#[derive(Debug, Default)]
struct ShiftVotes(Vec<RangeVotes>);

/// Votes for the targets in a range of addresses. Those of one opinion are counted together from time
/// to time, since a popular target has thousands.
#[derive(Debug, Default)]
struct RangeVotes {
    /// Sorted, without equals.
    counted: Vec<ShiftVote>,
    fresh: Vec<ShiftVote>,
}

impl ShiftVotes {
    #[inline]
    fn push(&mut self, vote: ShiftVote) {
        const RANGE_BITS: u32 = 24;
        let range = (vote.target >> RANGE_BITS) as usize;
        if self.0.len() <= range {
            self.0.resize_with(range + 1, RangeVotes::default);
        }
        self.0[range].push(vote);
    }

    /// Counts all votes that are left.
    fn finish(&mut self) {
        for range in &mut self.0 {
            range.count();
            range.fresh = Vec::new();
        }
    }

    /// Returns the votes for each target, in the order of targets.
    fn by_target(&self) -> impl Iterator<Item = &[ShiftVote]> {
        self.0.iter().flat_map(|range| range.counted.chunk_by(|a, b| a.target == b.target))
    }
}

impl RangeVotes {
    #[inline]
    fn push(&mut self, vote: ShiftVote) {
        const FRESH: usize = 1 << 15;
        self.fresh.push(vote);
        if self.fresh.len() >= FRESH.max(self.counted.len() / 4) {
            self.count();
        }
    }

    /// Sorts the fresh votes, and merges them with those that were counted.
    fn count(&mut self) {
        let by_opinion = |vote: &ShiftVote| (vote.target, vote.shift, vote.mapped);
        self.fresh.sort_unstable_by_key(by_opinion);
        let mut merged: Vec<ShiftVote> =
            Vec::with_capacity(self.counted.len() + self.fresh.len() / 2);
        let mut old = std::mem::take(&mut self.counted).into_iter().peekable();
        let mut new = self.fresh.drain(..).peekable();
        loop {
            let is_old = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => by_opinion(old) <= by_opinion(new),
                (old, None) => old.is_some(),
                (None, Some(_)) => false,
            };
            let Some(vote) = (if is_old { old.next() } else { new.next() }) else { break };
            match merged.last_mut() {
                Some(last) if by_opinion(last) == by_opinion(&vote) => {
                    last.fields = last.fields.saturating_add(vote.fields);
                }
                _ => merged.push(vote),
            }
        }
        drop(new);
        merged.shrink_to_fit();
        self.counted = merged;
    }
}

/// Counts of a page's words that moved as the map says, and of those that stayed.
#[derive(Debug, Clone, Copy, Default)]
struct PageBalance {
    moved: u32,
    stayed: u32,
}

impl MapFindings {
    /// Compares every prediction with the true `target`; the map has `fixes` in it already.
    pub(crate) fn collect(
        predictor: &Predictor<'_>,
        fields: &mut FieldCache<'_>,
        fixes: &[AnchorFix],
        copies: &[BaseCopy],
        target: &[u8],
        host: &dyn Host,
    ) -> Self {
        let index = fields.index;
        let mut findings = Self {
            votes: ShiftVotes::default(),
            fixes: fixes.to_vec(),
            anchored: vec![Vec::new(); predictor.anchor_count()],
            pages: vec![PageBalance::default(); PageFlags::page(index.file.len() as u32) + 1],
        };
        let (mut registers, mut unreleased) = ([None; 32], 0);
        for copy in copies {
            let infallible: Result<(), std::convert::Infallible> =
                predictor.each(fields, copy, 0..copy.len, |field| {
                    findings.add(&field, index, target, &mut registers);
                    Ok(())
                });
            infallible.unwrap_or_else(|never| match never {});
            unreleased += copy.len;
            if unreleased >= RELEASED_BYTES {
                host.release();
                unreleased = 0;
            }
        }
        // A fix votes for its target, so that the finished map has it, too.
        for fix in fixes {
            let Override { start: target, shift, .. } = fix.right;
            let fields = fix.fields as u32;
            findings.votes.push(ShiftVote { target, shift, mapped: fix.mapped, fields });
        }
        findings.votes.finish();
        findings
    }

    fn add(
        &mut self,
        predicted: &Prediction,
        FieldIndex { file: base, image, anchors, .. }: &FieldIndex<'_>,
        target: &[u8],
        registers: &mut [Option<i64>; 32],
    ) {
        // Most branches stay in their copy.
        let Some(mapped) = predicted.mapped else { return };
        let (field, form) = (predicted.field, predicted.field.form);
        let copied = form.number(&base[field.at as usize..]);
        let wanted = form.number(&target[predicted.at..]);
        let off = form.folded(wanted.wrapping_sub(copied).wrapping_sub(predicted.more));
        if form.is_flagged() && predicted.more != 0 {
            let page = &mut self.pages[PageFlags::page(field.at)];
            page.moved += u32::from(off == 0);
            page.stayed += u32::from(wanted == copied);
        }
        let word = || u32_at(base, field.at as usize).unwrap_or(0);
        let units = match form {
            Form::Backward32 => -off,
            Form::Branch26 | Form::Branch19 | Form::Branch14 => off * 4,
            Form::Anchored32(number) if off != 0 => {
                self.anchored[usize::from(number)].push(off);
                if !image.is_object() {
                    return;
                }
                // One symbol of an object may have moved on its own, and thousands refer to it.
                off * i64::from(anchors[usize::from(number)].stride)
            }
            // A page alone does not give its target's shift; with the low bits it does.
            Form::Page21 => {
                let here = image.address(field.at as usize).unwrap_or(0);
                let here = image.low.wrapping_add(here.into()).cast_signed();
                let page = (here.wrapping_add(predicted.own) >> 12) + wanted;
                registers[(word() & 31) as usize] = Some(page);
                return;
            }
            Form::Low12(scale) => {
                let Some(page) = registers[(word() >> 5 & 31) as usize] else { return };
                let aim = image.low.wrapping_add(field.target.into()).cast_signed();
                let aim = aim.wrapping_add(mapped.into());
                let unscaled = aim & ((1 << scale) - 1);
                (page << 12 | wanted << scale | unscaled).wrapping_sub(aim)
            }
            _ => off,
        };
        let shift = i64::from(mapped).checked_add(units).and_then(|s| i32::try_from(s).ok());
        if let Some(shift) = shift.filter(|&shift| shift != i32::MIN) {
            self.votes.push(ShiftVote { target: field.target, shift, mapped, fields: 1 });
        }
    }

    /// Returns the anchors that more than half of their wrong fields miss by the same amount.
    ///
    /// A table's first byte may lie at the border of two copies and belong to the wrong one.
    pub(crate) fn anchor_fixes(&mut self, anchors: &[Anchor], map: &AddressMap) -> Vec<AnchorFix> {
        let mut fixes: Vec<AnchorFix> = Vec::new();
        for (anchor, offs) in anchors.iter().zip(&mut self.anchored) {
            offs.sort_unstable();
            let common = offs.chunk_by(|a, b| a == b).max_by_key(|equal| equal.len());
            let Some(common) = common.filter(|common| common.len() > 8) else { continue };
            let Some(mapped) = map.shift(anchor.address) else { continue };
            let wrong = common[0].saturating_mul(anchor.stride.into());
            let shift = i64::from(mapped).saturating_sub(wrong);
            let Some(shift) = i32::try_from(shift).ok().filter(|&s| s != i32::MIN) else {
                continue;
            };
            if common.len() * 2 > offs.len() {
                let right = Override { start: anchor.address, len: 1, shift };
                fixes.push(AnchorFix { right, mapped, fields: common.len().min(1000) });
            }
        }
        fixes.sort_by_key(|fix| fix.right.start);
        fixes.dedup_by_key(|fix| fix.right.start);
        fixes
    }

    /// Returns the flags of pages where an unchanged word is the better prediction.
    pub(crate) fn page_flags(&self) -> PageFlags {
        PageFlags::new(self.pages.iter().map(|page| page.stayed > page.moved).collect())
    }

    /// Returns overrides that save at least `saving` misses each.
    pub(crate) fn overrides(&self, saving: usize) -> Vec<Override> {
        let mut overrides = Vec::new();
        let mut open: Option<(Override, usize)> = None;
        let mut close = |open: Option<(Override, usize)>| {
            overrides.extend(open.filter(|&(_, saved)| saved >= saving).map(|(range, _)| range));
        };
        for votes in self.votes.by_target() {
            let target = votes[0].target;
            let fix = self.fixes.iter().find(|fix| fix.right.start == target);
            let mapped = fix.map_or(votes[0].mapped, |fix| fix.mapped);
            let (mut right, mut all, mut best) = (0, 0, None);
            for agreeing in votes.chunk_by(|a, b| a.shift == b.shift) {
                let fields = agreeing.iter().map(|vote| vote.fields as usize).sum::<usize>();
                all += fields;
                if agreeing[0].shift == mapped {
                    right = fields;
                } else {
                    best = best.max(Some((fields, agreeing[0].shift)));
                }
            }
            match best.filter(|&(count, _)| count > right) {
                Some((count, shift)) => match &mut open {
                    Some((range, saved)) if range.shift == shift => {
                        range.len = target - range.start + 1;
                        *saved += count - right;
                    }
                    _ => {
                        close(open.take());
                        open = Some((Override { start: target, len: 1, shift }, count - right));
                    }
                },
                None if right == all || right > 0 => close(open.take()),
                None => {}
            }
        }
        close(open);
        overrides
    }
}
