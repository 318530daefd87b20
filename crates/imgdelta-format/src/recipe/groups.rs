//! The groups of a recipe: which payloads each group rebuilds, and from what.
//! Never holds a group's packed bytes, which follow the recipe.
//!
//! The usual member (the next rebuilt payload, whole, from its own base payload) is two zeros,
//! which pack to next to nothing. Memory grows with the bytes read: no count reserves any.

use super::{
    columns::{
        COLUMNS, FIRST_NESTED, GROUP_BYTES, GROUP_MEMBERS, RANKS, RecipeColumns, SHAPES,
        SOURCE_ADDRESSES, SOURCE_BYTES, WINDOW_BYTES, WINDOW_OFFSETS, readers,
    },
    origins::PayloadOrigin,
};
use crate::{ReadLimitName, ReadLimits, bounds::admit, error::Result, fields::FieldReader};
use imgdelta_wire::MAX_PLACE;

/// Members whose streams are packed together; it decodes on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeGroup {
    /// Its packed bytes, which `docs/format-group.md` specifies.
    pub packed_bytes: u64,
    /// Its members, in the order of its streams.
    pub members: Vec<GroupMember>,
}

/// A payload, or a window of one, that a group rebuilds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Ordinal of the payload, whose origin is [`PayloadOrigin::Rebuilt`].
    pub payload: u32,
    /// The range of the payload; `None` for all of it.
    pub window: Option<PayloadWindow>,
    /// The parts of its base, in order; none for an empty base.
    pub sources: Vec<BaseSource>,
}

/// A range of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadWindow {
    /// Offset of its first byte in the payload.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// A part of a member's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseSource {
    /// The whole payload of the entry that the payload's own header was written against.
    Own,
    /// A range of the address space, or of the rebuilt bytes behind it.
    Slice {
        /// Address of its first byte.
        address: u64,
        /// Its length.
        bytes: u64,
    },
}

/// Writes groups; empty slices are left out, since they add nothing.
///
/// # Panics
/// If a member makes a payload whose origin is not [`PayloadOrigin::Rebuilt`].
pub(super) fn write(
    columns: &mut RecipeColumns,
    groups: &[RecipeGroup],
    origins: &[PayloadOrigin],
) {
    let rebuilt = rebuilt(origins);
    let (mut next_rank, mut slice_end) = (0, 0);
    let mut before: Option<&GroupMember> = None;
    for group in groups {
        columns.varint(GROUP_BYTES, group.packed_bytes);
        columns.varint(GROUP_MEMBERS, group.members.len() as u64);
        for member in &group.members {
            let rank = rebuilt.binary_search(&member.payload);
            let rank = rank.expect("members make rebuilt payloads") as u64;
            columns.place(RANKS, next_rank, rank);
            next_rank = rank + 1;
            let sources: Vec<&BaseSource> =
                member.sources.iter().filter(|source| !is_empty(source)).collect();
            let window_bit = u64::from(member.window.is_some());
            if sources == [&BaseSource::Own] {
                columns.varint(SHAPES, window_bit);
            } else {
                columns.varint(SHAPES, (sources.len() as u64 + 1) << 1 | window_bit);
                for source in sources {
                    write_source(columns, source, &mut slice_end);
                }
            }
            if let Some(window) = member.window {
                let expected = expected_offset(before, member.payload);
                columns.place(WINDOW_OFFSETS, expected, window.offset);
                columns.varint(WINDOW_BYTES, window.bytes);
            }
            before = Some(member);
        }
    }
}

fn write_source(columns: &mut RecipeColumns, source: &BaseSource, slice_end: &mut u64) {
    match *source {
        BaseSource::Own => columns.varint(SOURCE_BYTES, 0),
        BaseSource::Slice { address, bytes } => {
            columns.varint(SOURCE_BYTES, bytes);
            columns.place(SOURCE_ADDRESSES, *slice_end, address);
            *slice_end = address + bytes;
        }
    }
}

fn is_empty(source: &BaseSource) -> bool {
    matches!(source, BaseSource::Slice { bytes: 0, .. })
}

/// Returns the ordinals of the payloads that groups make.
pub(super) fn rebuilt(origins: &[PayloadOrigin]) -> Vec<u32> {
    (0_u32..)
        .zip(origins)
        .filter(|(_, origin)| **origin == PayloadOrigin::Rebuilt)
        .map(|(n, _)| n)
        .collect()
}

/// A window is expected at the end of the one before in the same payload.
fn expected_offset(before: Option<&GroupMember>, payload: u32) -> u64 {
    before
        .filter(|before| before.payload == payload)
        .and_then(|before| before.window)
        .map_or(0, |window| window.offset + window.bytes)
}

/// The addresses that members may read.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberSpace {
    /// End of the address space: sources, and parts of the opened archives.
    pub(super) base_end: u64,
    /// No rebuilt byte lies beyond this address. Only headers give the exact end.
    pub(super) end: u64,
}

/// Reads groups, whose slices lie in `space`.
pub(super) fn read(
    columns: &RecipeColumns,
    origins: &[PayloadOrigin],
    space: MemberSpace,
    limits: &ReadLimits,
) -> Result<Vec<RecipeGroup>> {
    let columns = readers(columns, std::array::from_fn(|number| number));
    let rebuilt = rebuilt(origins);
    GroupReader { columns, rebuilt, space, next_rank: 0, slice_end: 0, slices: 0 }.read(limits)
}

/// The columns of groups that are being read.
struct GroupReader<'a> {
    columns: [FieldReader<'a>; COLUMNS],
    rebuilt: Vec<u32>,
    space: MemberSpace,
    next_rank: u64,
    slice_end: u64,
    slices: u64,
}

impl GroupReader<'_> {
    fn read(mut self, limits: &ReadLimits) -> Result<Vec<RecipeGroup>> {
        let mut groups = Vec::new();
        let (mut count, mut packed) = (0_u64, 0_u64);
        let mut before: Option<GroupMember> = None;
        while !self.columns[GROUP_BYTES].is_empty() {
            admit(limits, ReadLimitName::Groups, groups.len() as u64 + 1, "groups of a recipe")?;
            let packed_bytes = self.number(GROUP_BYTES, "length of a group")?;
            packed = packed.saturating_add(packed_bytes);
            if packed_bytes == 0 || packed > MAX_PLACE {
                return Err(self.columns[GROUP_BYTES].malformed("length of a group", 1, packed));
            }
            let own = self.number(GROUP_MEMBERS, "count of members")?;
            count = count.saturating_add(own);
            admit(limits, ReadLimitName::Members, count, "members of a recipe")?;
            let mut members = Vec::new();
            for _ in 0..own {
                let member = self.member(before.as_ref(), limits)?;
                before = Some(GroupMember { sources: Vec::new(), ..member });
                members.push(member);
            }
            groups.push(RecipeGroup { packed_bytes, members });
        }
        // The columns of origins and archives were read to their ends before.
        self.columns[GROUP_MEMBERS..FIRST_NESTED].iter().try_for_each(FieldReader::end)?;
        Ok(groups)
    }

    fn number(&mut self, column: usize, what: &'static str) -> Result<u64> {
        self.columns[column].number(what)
    }

    fn member(&mut self, before: Option<&GroupMember>, limits: &ReadLimits) -> Result<GroupMember> {
        let ranks = &mut self.columns[RANKS];
        let rank = ranks.place_near(self.next_rank, "payload of a member")?;
        let Some(&payload) = usize::try_from(rank).ok().and_then(|rank| self.rebuilt.get(rank))
        else {
            return Err(ranks.malformed("payload of a member", self.rebuilt.len() as u64, rank));
        };
        self.next_rank = rank + 1;
        let shape = self.number(SHAPES, "shape of a member")?;
        let sources = match shape >> 1 {
            0 => vec![BaseSource::Own],
            more => self.sources(more - 1, limits)?,
        };
        let window = if shape & 1 == 1 {
            let expected = expected_offset(before, payload);
            let offset = self.columns[WINDOW_OFFSETS].place_near(expected, "offset of a window")?;
            let bytes = self.number(WINDOW_BYTES, "length of a window")?;
            if bytes == 0 || offset.checked_add(bytes).is_none_or(|end| end > MAX_PLACE) {
                return Err(self.columns[WINDOW_BYTES].malformed("length of a window", 1, bytes));
            }
            Some(PayloadWindow { offset, bytes })
        } else {
            None
        };
        Ok(GroupMember { payload, window, sources })
    }

    fn sources(&mut self, count: u64, limits: &ReadLimits) -> Result<Vec<BaseSource>> {
        self.slices = self.slices.saturating_add(count);
        admit(limits, ReadLimitName::Slices, self.slices, "base parts of a recipe's members")?;
        let mut sources = Vec::new();
        for _ in 0..count {
            let bytes = self.number(SOURCE_BYTES, "length of a base part")?;
            if bytes == 0 {
                sources.push(BaseSource::Own);
                continue;
            }
            let addresses = &mut self.columns[SOURCE_ADDRESSES];
            let address = addresses.place_near(self.slice_end, "address of a base part")?;
            let end = address.saturating_add(bytes);
            let MemberSpace { base_end, end: rebuilt_end } = self.space;
            let most = if address < base_end { base_end } else { rebuilt_end };
            if end > most {
                return Err(addresses.malformed("end of a base part", most, end));
            }
            self.slice_end = end;
            sources.push(BaseSource::Slice { address, bytes });
        }
        // A member from its own base payload has one spelling, the short one.
        if sources == [BaseSource::Own] {
            return Err(self.columns[SHAPES].malformed("shape of a member", 0, 2));
        }
        Ok(sources)
    }
}
