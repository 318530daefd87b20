//! Encoder only: decides where the map is worth correcting, and which pages take no data fields.
//! Never sends what does not pay: an override costs about as much as two or three missed fields.

use crate::{
    elf::Image,
    fields::{Fields, Form},
    map::{AddressMap, Override},
    predict::{PageFlags, Predicted, Predictor},
    script::Copy,
};
use imgdelta_wire::fixed::u32_at;

/// What one pass with the plain map found out about the true target.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    votes: Vec<Vote>,
    pages: Vec<Balance>,
    /// For each anchor, by how much the fields counted from it are off.
    anchored: Vec<Vec<i64>>,
}

/// An anchor whose address the plain map gets wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnchorFix {
    /// The shift the map should have had there.
    pub(crate) right: Override,
    mapped: i32,
    fields: usize,
}

/// A field says how far its target moved.
#[derive(Debug, Clone, Copy)]
struct Vote {
    target: u32,
    mapped: i32,
    shift: i32,
}

/// How often a page's words did what the map says, and how often they stayed.
#[derive(Debug, Clone, Copy, Default)]
struct Balance {
    moved: u32,
    stayed: u32,
}

impl Findings {
    /// Compares every prediction with the true `target`; the map has `fixes` in it already.
    pub(crate) fn collect(
        predictor: &Predictor<'_>,
        fixes: &[AnchorFix],
        copies: &[Copy],
        base: &[u8],
        target: &[u8],
    ) -> Self {
        // A fix votes before all fields, so that its group knows what the plain map said.
        let votes = fixes.iter().flat_map(|fix| {
            let Override { start, shift, .. } = fix.right;
            std::iter::repeat_n(Vote { target: start, mapped: fix.mapped, shift }, fix.fields)
        });
        let mut findings = Self {
            votes: votes.collect(),
            anchored: vec![Vec::new(); predictor.anchor_count()],
            pages: vec![Balance::default(); PageFlags::page(base.len() as u32) + 1],
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
        predicted: &Predicted,
        (image, base): (&Image, &[u8]),
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
            // A page alone does not say how far its target moved; with the low bits it does.
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
            self.votes.push(Vote { target: field.target, mapped, shift });
        }
    }

    /// The anchors that more than half of the wrong fields blame by one and the same amount.
    ///
    /// A table's first byte may lie just where two copies meet, and fall to the wrong one.
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

    /// The flags of the pages where staying as it was is the better prediction.
    pub(crate) fn page_flags(&self) -> PageFlags {
        PageFlags::new(self.pages.iter().map(|page| page.stayed > page.moved).collect())
    }

    /// Overrides that each save at least `saving` misses.
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
            // Popular targets have thousands of votes, nearly all equal: ask few candidates.
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
