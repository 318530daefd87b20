//! Groups decoded in parallel into the scratch files of their recipes.
//! Never verifies the result: the digest of the finished layer does that.
//!
//! Each group takes its share of a memory budget before it begins.

use super::{
    bill, close,
    table::{PayloadTable, PlacedMember},
};
use imgdelta_codec::{CodecError, GroupDecoder, GroupLimits, StreamKind, pack};
use imgdelta_core::{
    Context, Error, LimitName, Limits, Result,
    limits::Ceiling,
    parallel::Budget,
    progress::{Progress, Stage},
    work::WorkMeter,
};
use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap};

/// Decodes all groups, the largest first; then closes the archives that contain the results.
pub(super) fn decode_all(
    recipes: &BTreeMap<u32, PayloadTable>,
    meter: &WorkMeter,
    context: &Context,
) -> Result<()> {
    let mut works = Vec::new();
    for table in recipes.values() {
        for (ordinal, group) in table.recipe.groups.iter().enumerate() {
            let mut target_bytes = 0_u64;
            for member in &group.members {
                let placed = table.place_member(member)?;
                target_bytes = target_bytes.saturating_add(placed.bytes);
                bill::charge_own_base(placed.own_bytes(), meter)?;
            }
            works.push((target_bytes, table, ordinal));
        }
    }
    works.sort_by_key(|(target_bytes, ..)| Reverse(*target_bytes));
    let closed = recipes.values().flat_map(|table| {
        table.archives.iter().map(|closing| table.payloads[closing.payload].bytes)
    });
    let total = works.iter().map(|(bytes, ..)| *bytes).chain(closed).fold(0, u64::saturating_add);
    let progress = &*context.progress;
    progress.begin(Stage::Rebuilding, total);
    let budget = Budget::new(context.memory_bytes.unwrap_or(MEMORY_BYTES));
    context.workers.map(works, |(target_bytes, table, ordinal)| {
        let group = GroupDecoding { table, ordinal, target_bytes, limits: &context.limits };
        group.decode(&budget, progress)
    })?;
    close::close_all(recipes, context)
}

struct GroupDecoding<'a> {
    table: &'a PayloadTable,
    ordinal: usize,
    /// Bytes that its members make.
    target_bytes: u64,
    limits: &'a Limits,
}

impl GroupDecoding<'_> {
    fn decode(&self, budget: &Budget, progress: &dyn Progress) -> Result<()> {
        progress.check()?;
        let table = self.table;
        let members = &table.recipe.groups[self.ordinal].members;
        let placed: Vec<PlacedMember<'_>> =
            members.iter().map(|member| table.place_member(member)).collect::<Result<_>>()?;
        let packed = table.recipe.group(self.ordinal)?;
        let _share = budget.take(self.cost(&placed, &packed)?);
        let limits = GroupLimits::default().stream_bytes(self.most_stream_bytes().value);
        let wrong = |error: CodecError| self.wrong(&error);
        let mut decoder = GroupDecoder::open(&packed, &limits).map_err(wrong)?;
        drop(packed);
        let mut target = Vec::new();
        for placed in placed {
            progress.check()?;
            let bytes = usize::try_from(placed.bytes).expect("limited when its cost was counted");
            target.clear();
            target.resize(bytes, 0);
            decoder.member(&self.base(&placed)?, &mut target).map_err(wrong)?;
            if let Some(file) = &table.scratch {
                file.write_all_at(&target, placed.offset).map_err(Error::io(SCRATCH))?;
            }
            progress.advance(placed.bytes);
        }
        decoder.finish().map_err(wrong)
    }

    /// Returns the memory that the largest member needs: its target, its base, the group's streams.
    fn cost(&self, placed: &[PlacedMember<'_>], packed: &[u8]) -> Result<u64> {
        let (mut target_bytes, mut base_bytes) = (0, 0);
        for placed in placed {
            let mut bytes = 0_u64;
            let mut parts = 0;
            for range in placed.base() {
                let (_, part) = self.admitted(range)?;
                bytes = bytes.saturating_add(part);
                parts += 1;
            }
            let ceiling = self.limits.ceiling(LimitName::MemberBytes);
            ceiling.admit(bytes, "base bytes of a member", self.place())?;
            ceiling.admit(placed.bytes, "bytes of a member", self.place())?;
            let is_copied = parts > 1 || !self.table.space.is_mapped();
            let copy = if is_copied { bytes } else { 0 };
            // One byte in twenty is a reference, which takes 12 bytes; and literals were packed
            // against at most the base.
            let views = bytes / 5 * 8;
            base_bytes = base_bytes.max(copy.saturating_add(views));
            target_bytes = target_bytes.max(placed.bytes);
        }
        let sizes = pack::sizes(packed, StreamKind::ALL.len())
            .map_err(|error| Error::bad_input(self.place(), error))?;
        let streams = sizes.unpacked_bytes.min(self.most_stream_bytes().value);
        let streams = streams.saturating_add(packed.len() as u64);
        Ok(target_bytes.saturating_add(base_bytes).saturating_add(streams))
    }

    /// Returns the most unpacked bytes that the group's streams may have.
    ///
    /// Each number and literal in them makes a byte or more.
    fn most_stream_bytes(&self) -> Ceiling {
        let bearable = self.target_bytes.saturating_mul(STREAM_BYTES).saturating_add(FREE_BYTES);
        let ceiling = self.limits.ceiling(LimitName::GroupBytes);
        if ceiling.value <= bearable { ceiling } else { Ceiling::fixed(bearable) }
    }

    /// Checks a range of the base before memory is taken for it.
    fn admitted(&self, range: Option<(u64, u64)>) -> Result<(u64, u64)> {
        let Some((address, bytes)) = range else {
            return Err(Error::bad_input(self.place(), "a member's own base, but it has none"));
        };
        let end = self.table.space.bytes();
        if address.checked_add(bytes).is_none_or(|past| past > end) {
            let what =
                format!("a member's base: {bytes} bytes from {address}, the base ends at {end}");
            return Err(Error::bad_input(self.place(), what));
        }
        Ok((address, bytes))
    }

    fn base<'b>(&'b self, placed: &PlacedMember<'_>) -> Result<Cow<'b, [u8]>> {
        let mut base = Cow::Borrowed(&[][..]);
        for range in placed.base() {
            let (address, bytes) = self.admitted(range)?;
            let part = self.table.space.slice(address, bytes)?;
            if base.is_empty() {
                base = part;
            } else {
                base.to_mut().extend_from_slice(&part);
            }
        }
        Ok(base)
    }

    fn wrong(&self, error: &CodecError) -> Error {
        match *error {
            CodecError::TooLarge { what, limit, found } => {
                let name = self.most_stream_bytes().name;
                Error::OverLimit { place: self.place(), what, name, found, limit }
            }
            _ => Error::bad_input(self.place(), error),
        }
    }

    fn place(&self) -> String {
        format!("{}, group {}", self.table.place, self.ordinal)
    }
}

/// Memory for groups that are being decoded, unless the caller sets another amount.
///
/// A group that needs more is decoded alone.
const MEMORY_BYTES: u64 = 128 << 20;

/// Bytes of streams for each byte that a group makes, and for any group.
const STREAM_BYTES: u64 = 8;
const FREE_BYTES: u64 = 64 << 10;

const SCRATCH: &str = "scratch file of rebuilt payloads";
