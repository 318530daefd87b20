//! A recipe made ready: how long each payload is and where its bytes will lie.
//!
//! All that a recipe can lie about is held against the lengths that its headers tell: ranges
//! inside the base, windows that cover their payload exactly once, the length of the whole. Copies
//! no payload and decodes none.

use super::nested::{self, Closing, Part};
use crate::delta::{BaseSource, GroupMember, PayloadOrigin, Recipe, StoredRecipe};
use imgdelta_core::{Context, Error, LimitName, Limits, Result, progress::Progress};
use imgdelta_image::volume::{AddressSpace, Volume};
use imgdelta_layer::headers::HeaderReader;
use std::fs::File;

#[derive(Debug)]
pub(super) struct Prepared {
    pub recipe: StoredRecipe,
    /// How errors name it.
    pub place: String,
    /// The sources, and the opened archives' parts behind them.
    pub space: AddressSpace,
    parts: Vec<Part>,
    /// Those of the stream, then the inner ones.
    pub payloads: Vec<Payload>,
    /// How many are the stream's.
    pub outer: usize,
    /// Of each inner payload what a base archive tells of it, if it is copied as stored there.
    pub told: Vec<Option<(u32, u64)>>,
    /// Those that groups make, in order.
    pub rebuilt: Vec<Rebuilt>,
    /// Holds the rebuilt payloads, one after another; none if there are none.
    pub scratch: Option<File>,
    /// The target's archives, in the order of their payloads.
    pub closings: Vec<Closing>,
    /// Holds them, one after another; none if there are none.
    pub closed: Option<File>,
    /// How inner payloads are compressed.
    pub compressions: Vec<imgdelta_deflate::Recipe>,
}

/// What a recipe takes from.
#[derive(Debug)]
pub(super) struct Base {
    space: AddressSpace,
    parts: Vec<Part>,
}

/// A payload of the stream, or of an archive in it.
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
    /// At this offset of the file of closed archives.
    Closed(u64),
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

/// How far the files of what is made are filled, and how deep the next archive lies.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    scratch_bytes: u64,
    closed_bytes: u64,
    depth: u32,
}

/// A member with its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    pub member: &'a GroupMember,
    /// Where in the scratch file it begins.
    pub offset: u64,
    pub bytes: u64,
    own: Option<(u64, u64)>,
}

impl Placed<'_> {
    /// Returns the ranges of the address space that make the member's base.
    pub(super) fn base(&self) -> impl Iterator<Item = Option<(u64, u64)>> {
        self.member.sources.iter().map(|source| match *source {
            BaseSource::Own => self.own,
            BaseSource::Slice { address, bytes } => Some((address, bytes)),
        })
    }
}

impl Prepared {
    /// Lays out the base of `recipe`, its archives opened.
    pub(super) fn open(
        recipe: &Recipe,
        place: &str,
        volume: &Volume,
        context: &Context,
    ) -> Result<Base> {
        let mut space = AddressSpace::new(volume, &recipe.sources)?;
        let limits = &context.limits;
        limits.admit(LimitName::LayerBytes, recipe.target.bytes, "uncompressed size", place)?;
        admit_expansion(limits, space.bytes(), recipe.nested.plain_bytes(), place)?;
        let parts = nested::open(&mut space, recipe, place, context)?;
        Ok(Base { space, parts })
    }

    pub(super) fn new(
        recipe: StoredRecipe,
        place: String,
        base: Base,
        context: &Context,
    ) -> Result<Self> {
        let Base { space, parts } = base;
        let compressions = compressions(&recipe, &place)?;
        let mut prepared = Self {
            recipe,
            place,
            space,
            parts,
            payloads: Vec::new(),
            outer: 0,
            told: Vec::new(),
            rebuilt: Vec::new(),
            scratch: None,
            closings: Vec::new(),
            closed: None,
            compressions,
        };
        prepared.measure(&context.limits, &*context.progress)?;
        prepared.check_cover()?;
        if !prepared.rebuilt.is_empty() {
            prepared.scratch = Some(context.scratch.file()?);
        }
        if !prepared.closings.is_empty() {
            prepared.closed = Some(context.scratch.file()?);
        }
        Ok(prepared)
    }

    /// Finds a member's place.
    pub(super) fn placed<'a>(&self, member: &'a GroupMember) -> Result<Placed<'a>> {
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
        let (mut frame, mut seen_bytes, mut ends) = (Vec::new(), 0_u64, Ends::default());
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
                self.locate(Some(payload.bytes), payload.own, &mut ends)?;
            }
        }
        if seen_bytes != target_bytes {
            let what = format!("it makes {seen_bytes} bytes, should be {target_bytes}");
            return Err(self.wrong(what));
        }
        self.outer = self.payloads.len();
        let inner = self.recipe.nested.inner_payloads();
        let (found, expected) = (self.recipe.origins.len(), self.outer as u64 + inner);
        if found as u64 != expected {
            let what = format!("{found} payloads have an origin, but there are {expected}");
            return Err(self.wrong(what));
        }
        self.measure_inner(limits, &mut ends, progress)
    }

    /// Goes on with the inner payloads, of archives in their order.
    fn measure_inner(
        &mut self,
        limits: &Limits,
        ends: &mut Ends,
        progress: &dyn Progress,
    ) -> Result<()> {
        let told = self.recipe.nested.inner_bytes.clone();
        let mut told = told.into_iter();
        let mut at = 0;
        let mut inner_bytes = 0_u64;
        while let Some(closing) = self.closings.get(at).copied() {
            progress.check()?;
            let first = self.payloads.len();
            let depth = closing.depth + 1;
            self.closings[at].first = first;
            for _ in 0..closing.closed.inner {
                let ordinal = self.payloads.len();
                let origin = self.recipe.origins[ordinal];
                let bytes = if origin.has_stored_length() { told.next() } else { None };
                ends.depth = depth;
                self.locate(bytes, None, ends)?;
                inner_bytes = inner_bytes.saturating_add(self.payloads[ordinal].bytes);
                let part = match origin {
                    PayloadOrigin::Packed(part) => self.parts[part as usize].told,
                    _ => None,
                };
                self.told.push(part);
            }
            at += 1;
        }
        admit_expansion(limits, self.recipe.target.bytes, inner_bytes, &self.place)
    }

    /// Places the next payload. Its length is known from the headers or told, or follows from
    /// where it comes from.
    fn locate(
        &mut self,
        bytes: Option<u64>,
        own: Option<(u64, u64)>,
        ends: &mut Ends,
    ) -> Result<()> {
        let ordinal = self.payloads.len();
        let Some(&origin) = self.recipe.origins.get(ordinal) else {
            return Err(self.wrong(format_args!("payload {ordinal} has no origin")));
        };
        let (address, found) = match (origin, own) {
            (PayloadOrigin::Own, own) => own.unwrap_or((0, 0)),
            (PayloadOrigin::Base(address), _) => (address, bytes.unwrap_or(0)),
            (PayloadOrigin::Repeat(distance), _) => {
                let earlier = ordinal.checked_sub(distance as usize);
                let earlier = earlier.and_then(|at| self.payloads.get(at)).copied();
                return match earlier {
                    Some(earlier) if bytes.is_none_or(|bytes| earlier.bytes == bytes) => {
                        self.payloads.push(earlier);
                        Ok(())
                    }
                    _ => {
                        let bytes = bytes.unwrap_or(0);
                        let what = format!("payload {ordinal} repeats none of its {bytes} bytes");
                        Err(self.wrong(what))
                    }
                };
            }
            (PayloadOrigin::Part(part) | PayloadOrigin::Packed(part), _) => {
                let Some(part) = self.parts.get(part as usize) else {
                    let count = self.parts.len();
                    let what = format!("payload {ordinal} is part {part} of {count} of archives");
                    return Err(self.wrong(what));
                };
                match (origin, part.stored) {
                    (PayloadOrigin::Part(_), _) => (part.address, part.bytes),
                    (_, stored) => stored.unwrap_or((part.address, 0)),
                }
            }
            (PayloadOrigin::Rebuilt, _) => {
                let payload = u32::try_from(ordinal).expect("payloads are limited");
                let (bytes, offset) = (bytes.unwrap_or(0), ends.scratch_bytes);
                self.rebuilt.push(Rebuilt { payload, bytes, offset, own });
                // The sum of told lengths is bounded: all count towards the target's length, or
                // towards that of inner payloads.
                ends.scratch_bytes = offset.saturating_add(bytes);
                self.payloads.push(Payload { bytes, lies: Lies::Scratch(offset) });
                return Ok(());
            }
            (PayloadOrigin::Closed, _) => {
                let (bytes, offset) = (bytes.unwrap_or(0), ends.closed_bytes);
                let Some(&closed) = self.recipe.nested.closed.get(self.closings.len()) else {
                    return Err(self.wrong(format_args!("payload {ordinal} is no archive")));
                };
                let depth = ends.depth;
                self.closings.push(Closing { closed, depth, payload: ordinal, first: 0, offset });
                ends.closed_bytes = offset.saturating_add(bytes);
                self.payloads.push(Payload { bytes, lies: Lies::Closed(offset) });
                return Ok(());
            }
        };
        if found == 0 || bytes.is_some_and(|bytes| bytes != found) {
            let bytes = bytes.unwrap_or(0);
            let what = format!(
                "payload {ordinal} of {bytes} bytes should be its base entry's, of {found}"
            );
            return Err(self.wrong(what));
        }
        if address.checked_add(found).is_none_or(|end| end > self.space.bytes()) {
            let end = self.space.bytes();
            let what =
                format!("payload {ordinal}: {found} bytes from {address}, the base ends at {end}");
            return Err(self.wrong(what));
        }
        self.payloads.push(Payload { bytes: found, lies: Lies::Base(address) });
        Ok(())
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

/// Refuses archives that come to more than deflate can make of what they lie in.
fn admit_expansion(limits: &Limits, packed: u64, plain: u64, place: &str) -> Result<()> {
    limits.admit(LimitName::LayerBytes, plain, "uncompressed size of archives", place)?;
    if plain <= limits.expansion_free_bytes {
        return Ok(());
    }
    let expansion = plain / packed.max(1);
    limits.admit(LimitName::Expansion, expansion, "expansion factor of archives", place).map(|_| ())
}

/// Reads how inner payloads are compressed.
fn compressions(recipe: &Recipe, place: &str) -> Result<Vec<imgdelta_deflate::Recipe>> {
    let read = recipe.nested.compressions.iter().map(|bytes| {
        let limits = imgdelta_deflate::RecipeLimits::default();
        imgdelta_deflate::Recipe::from_bytes(bytes, limits).map_err(|error| {
            Error::bad_input_because(place, "a compression in it cannot be remade", error)
        })
    });
    read.collect()
}
