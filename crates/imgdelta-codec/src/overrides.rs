//! Encoder only: decides which overrides the map gets, and which pages have no data fields.
//! Never writes an override that does not pay: each costs about as much as two or three misses.

use crate::{
    elf::MemoryImage,
    fields::{Fields, Form},
    map::{AddressMap, Override},
    predict::{PageFlags, Prediction, Predictor},
    script::BaseCopy,
};
use imgdelta_wire::fixed::u32_at;

/// Results of one pass with the plain map over the true target.
#[derive(Debug, Default)]
pub(crate) struct MapFindings {
    votes: Vec<ShiftVote>,
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

/// One field's evidence for the shift of its target.
#[derive(Debug, Clone, Copy)]
struct ShiftVote {
    target: u32,
    mapped: i32,
    shift: i32,
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
        fixes: &[AnchorFix],
        copies: &[BaseCopy],
        base: &[u8],
        target: &[u8],
    ) -> Self {
        // A fix votes before all fields, so its group has the shift of the plain map.
        let votes = fixes.iter().flat_map(|fix| {
            let Override { start, shift, .. } = fix.right;
            std::iter::repeat_n(ShiftVote { target: start, mapped: fix.mapped, shift }, fix.fields)
        });
        let mut findings = Self {
            votes: votes.collect(),
            anchored: vec![Vec::new(); predictor.anchor_count()],
            pages: vec![PageBalance::default(); PageFlags::page(base.len() as u32) + 1],
        };
        let mut registers = [None; 32];
        let infallible: Result<(), std::convert::Infallible> = predictor.each(copies, |field| {
            findings.add(&field, (predictor.base_image(), base), target, &mut registers);
            Ok(())
        });
        infallible.unwrap_or_else(|never| match never {});
        findings.votes.sort_by_key(|vote| vote.target);
        findings
    }

    fn add(
        &mut self,
        predicted: &Prediction,
        (image, base): (&MemoryImage, &[u8]),
        target: &[u8],
        registers: &mut [Option<i64>; 32],
    ) {
        let (field, form) = (predicted.field, predicted.field.form);
        let copied = form.number(&base[field.at as usize..]);
        let wanted = form.number(&target[predicted.at..]);
        let off = form.folded(wanted.wrapping_sub(copied).wrapping_sub(predicted.more));
        if form.is_flagged() && predicted.more != 0 {
            let page = &mut self.pages[PageFlags::page(field.at)];
            page.moved += u32::from(off == 0);
            page.stayed += u32::from(wanted == copied);
        }
        let Some(mapped) = predicted.mapped else { return };
        let word = || u32_at(base, field.at as usize).unwrap_or(0);
        let units = match form {
            Form::Backward32 => -off,
            Form::Branch26 | Form::Branch19 | Form::Branch14 => off * 4,
            Form::Anchored32(number) if off != 0 => {
                self.anchored[usize::from(number)].push(off);
                return;
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
            self.votes.push(ShiftVote { target: field.target, mapped, shift });
        }
    }

    /// Returns the anchors that more than half of their wrong fields miss by the same amount.
    ///
    /// A table's first byte may lie at the border of two copies and belong to the wrong one.
    pub(crate) fn anchor_fixes(&mut self, fields: &Fields, map: &AddressMap) -> Vec<AnchorFix> {
        let mut fixes: Vec<AnchorFix> = Vec::new();
        for (anchor, offs) in fields.anchors.iter().zip(&mut self.anchored) {
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
        for votes in self.votes.chunk_by(|a, b| a.target == b.target) {
            let (target, mapped) = (votes[0].target, votes[0].mapped);
            let agreeing = |shift| votes.iter().filter(|vote| vote.shift == shift).count();
            let right = agreeing(mapped);
            // Popular targets have thousands of votes, nearly all equal: try few candidates.
            let candidates = votes.iter().filter(|vote| vote.shift != mapped).take(4);
            let best = candidates.map(|vote| (agreeing(vote.shift), vote.shift)).max();
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
                None if right == votes.len() || right > 0 => close(open.take()),
                None => {}
            }
        }
        close(open);
        overrides
    }
}
