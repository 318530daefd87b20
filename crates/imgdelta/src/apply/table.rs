//! A recipe made ready: how long each payload is and where its bytes will lie.
//!
//! All that a recipe can lie about is held against the lengths that its headers tell: ranges
//! inside the base, windows that cover their payload exactly once, the length of the whole. Copies
//! no payload and decodes none.

use super::ApplyOptions;
use crate::{
    Error, Limits, Result,
    delta::{Member, Origin, Recipe, Source, StoredRecipe},
    headers::HeaderReader,
    progress::Progress,
    volume::{Space, Volume},
};
use std::fs::File;

#[derive(Debug)]
pub(super) struct Prepared {
    pub recipe: StoredRecipe,
    /// How errors name it.
    pub place: String,
    pub space: Space,
    pub payloads: Vec<Payload>,
    /// Those that groups make, in order.
    pub rebuilt: Vec<Rebuilt>,
    /// Holds the rebuilt payloads, one after another; none if there are none.
    pub scratch: Option<File>,
}

/// A payload of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub bytes: u64,
    pub lies: Lies,
}

/// Where a payload's bytes are found once all groups are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// At this address of the base.
    Base(u64),
    /// At this offset of the scratch file.
    Scratch(u64),
}

/// A payload that members of groups make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rebuilt {
    payload: u32,
    bytes: u64,
    /// Where in the scratch file it begins.
    offset: u64,
    /// The payload of the base entry that its header was written against.
    own: Option<(u64, u64)>,
}

/// A member with its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    pub member: &'a Member,
    /// Where in the scratch file it begins.
    pub offset: u64,
    pub bytes: u64,
    own: Option<(u64, u64)>,
}

impl Placed<'_> {
    /// Returns the ranges of the address space that make the member's base.
    pub(super) fn base(&self) -> impl Iterator<Item = Option<(u64, u64)>> {
        self.member.sources.iter().map(|source| match *source {
            Source::Own => self.own,
            Source::Slice { address, bytes } => Some((address, bytes)),
        })
    }
}

impl Prepared {
    pub(super) fn new(
        recipe: StoredRecipe,
        place: String,
        volume: &Volume,
        options: &ApplyOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let space = Space::new(volume, &recipe.sources)?;
        let limit = options.limits.layer_bytes;
        Limits::admit(limit, recipe.target.bytes, "uncompressed size", &place)?;
        let mut prepared =
            Self { recipe, place, space, payloads: Vec::new(), rebuilt: Vec::new(), scratch: None };
        prepared.measure(&options.limits, progress)?;
        prepared.check_cover()?;
        if !prepared.rebuilt.is_empty() {
            prepared.scratch = Some(options.scratch.file()?);
        }
        Ok(prepared)
    }

    /// Finds a member's place.
    pub(super) fn placed<'a>(&self, member: &'a Member) -> Result<Placed<'a>> {
        let found = self.rebuilt.binary_search_by_key(&member.payload, |rebuilt| rebuilt.payload);
        let Ok(at) = found else {
            let what = format!("a member makes payload {}, which is not rebuilt", member.payload);
            return Err(self.wrong(what));
        };
        let Rebuilt { bytes: whole, offset, own, .. } = self.rebuilt[at];
        let (start, bytes) = member.window.map_or((0, whole), |part| (part.offset, part.bytes));
        if start.checked_add(bytes).is_none_or(|end| end > whole) {
            let what = format!(
                "a window of {bytes} bytes from {start} leaves payload {} of {whole}",
                member.payload
            );
            return Err(self.wrong(what));
        }
        Ok(Placed { member, offset: offset + start, bytes, own })
    }

    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::bad_input(&self.place, what)
    }

    /// Walks the headers for the payloads' lengths, and finds where each will lie.
    fn measure(&mut self, limits: &Limits, progress: &dyn Progress) -> Result<()> {
        let target_bytes = self.recipe.target.bytes;
        let mut reader = HeaderReader::open(&self.recipe.headers, limits)?;
        let (mut frame, mut seen_bytes, mut scratch_bytes) = (Vec::new(), 0_u64, 0_u64);
        loop {
            progress.check()?;
            let mut base = |address, buffer: &mut [u8]| self.space.read_exact_at(address, buffer);
            let next = reader.next(&mut base, &mut frame)?;
            let payload_bytes = next.map_or(0, |payload| payload.bytes);
            // Never more than two lengths below 2^63, as the limit on the sum stops it at once.
            let sum = seen_bytes.checked_add(frame.len() as u64);
            seen_bytes = sum.and_then(|sum| sum.checked_add(payload_bytes)).unwrap_or(u64::MAX);
            if seen_bytes > target_bytes {
                let what = format!("it makes {seen_bytes} bytes or more, should be {target_bytes}");
                return Err(self.wrong(what));
            }
            let Some(payload) = next else { break };
            if payload.bytes > 0 {
                let lies = self.locate(payload.bytes, payload.own, &mut scratch_bytes)?;
                self.payloads.push(Payload { bytes: payload.bytes, lies });
            }
        }
        if seen_bytes != target_bytes {
            let what = format!("it makes {seen_bytes} bytes, should be {target_bytes}");
            return Err(self.wrong(what));
        }
        let (found, expected) = (self.recipe.origins.len(), self.payloads.len());
        if found != expected {
            let what = format!("{found} payloads have an origin, but there are {expected}");
            return Err(self.wrong(what));
        }
        Ok(())
    }

    fn locate(
        &mut self,
        bytes: u64,
        own: Option<(u64, u64)>,
        scratch_bytes: &mut u64,
    ) -> Result<Lies> {
        let ordinal = self.payloads.len();
        let Some(&origin) = self.recipe.origins.get(ordinal) else {
            return Err(self.wrong(format_args!("payload {ordinal} has no origin")));
        };
        let base = match (origin, own) {
            (Origin::Own, Some((address, found))) if found == bytes => address,
            (Origin::Own, _) => {
                let found = own.map_or(0, |(_, found)| found);
                let what = format!(
                    "payload {ordinal} of {bytes} bytes should be its base entry's, of {found}"
                );
                return Err(self.wrong(what));
            }
            (Origin::Base(address), _) => address,
            (Origin::Repeat(distance), _) => {
                let earlier = ordinal.checked_sub(distance as usize);
                let earlier = earlier.and_then(|at| self.payloads.get(at));
                return match earlier {
                    Some(earlier) if earlier.bytes == bytes => Ok(earlier.lies),
                    _ => {
                        let what = format!("payload {ordinal} repeats none of its {bytes} bytes");
                        Err(self.wrong(what))
                    }
                };
            }
            (Origin::Rebuilt, _) => {
                let payload = u32::try_from(ordinal).expect("payloads are limited");
                let offset = *scratch_bytes;
                self.rebuilt.push(Rebuilt { payload, bytes, offset, own });
                // Part of the target's length, which was compared.
                *scratch_bytes += bytes;
                return Ok(Lies::Scratch(offset));
            }
        };
        if base.checked_add(bytes).is_none_or(|end| end > self.space.bytes()) {
            let end = self.space.bytes();
            let what =
                format!("payload {ordinal}: {bytes} bytes from {base}, the base ends at {end}");
            return Err(self.wrong(what));
        }
        Ok(Lies::Base(base))
    }

    /// Checks that members make each byte of the rebuilt payloads exactly once.
    fn check_cover(&self) -> Result<()> {
        let recipe: &Recipe = &self.recipe;
        let mut ranges = Vec::new();
        for member in recipe.groups.iter().flat_map(|group| &group.members) {
            let placed = self.placed(member)?;
            ranges.push((placed.offset, placed.bytes));
        }
        ranges.sort_unstable();
        let total = self.rebuilt.last().map_or(0, |last| last.offset + last.bytes);
        let mut at = 0;
        for (offset, bytes) in ranges.into_iter().chain([(total, 0)]) {
            if offset != at {
                let how = if offset > at { "by none" } else { "twice" };
                let at = at.min(offset);
                let before = self.rebuilt.partition_point(|rebuilt| rebuilt.offset <= at);
                let payload = before.checked_sub(1).map_or(0, |at| self.rebuilt[at].payload);
                let what = format!("members make part of payload {payload} {how}, should be once");
                return Err(self.wrong(what));
            }
            at += bytes;
        }
        Ok(())
    }
}
