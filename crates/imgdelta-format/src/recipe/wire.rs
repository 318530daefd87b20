//! A recipe as bytes: its front, the header columns as they are, then columns of numbers.
//!
//! The usual member (the next rebuilt payload, whole, against its own base payload) is two zeros,
//! which pack to next to nothing. Nothing is reserved for a count: memory grows with what was
//! read, and each count is held against its limit first. `docs/format.md` is the law.

use super::{
    Front, Group, Member, Nested, Origin, Recipe, Source, Window,
    nested::{read_part, write_part},
};
use crate::{
    ReadLimits,
    error::Result,
    fields::{Fields, MAX_PLACE, admit, write_place},
};
use imgdelta_codec::pack::{Packer, unpack};
use imgdelta_wire::varint;

impl Recipe {
    /// Returns the recipe as bytes; its groups' bytes follow them, in order.
    ///
    /// Parts of a member's base that are empty are left out, since they add nothing.
    ///
    /// # Panics
    /// If a member makes a payload whose origin is not [`Origin::Rebuilt`], or if a payload repeats
    /// itself: such a recipe cannot be read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        Front::write(&mut rest, &self.target, &self.sources);
        varint::write(&mut rest, self.headers.len() as u64);
        rest.extend_from_slice(&self.headers);
        let columns = Columns::of(self).0;
        let count = if self.nested.is_empty() { FIRST_NESTED } else { COLUMNS };
        rest.extend_from_slice(&Packer::new(LEVEL).pack(&columns[..count]));
        Front::wrap(&rest)
    }

    /// Reads what [`Recipe::to_bytes`] wrote, without the groups' bytes.
    pub fn from_bytes(bytes: &[u8], limits: &ReadLimits) -> Result<Self> {
        let mut fields = Front::open(bytes, limits)?;
        let front = Front::read(&mut fields, limits)?;
        let header_bytes = fields.number("length of the header columns")?;
        let headers = fields.bytes(header_bytes, "header columns")?.to_vec();
        let mut columns = unpack(fields.rest(), COLUMNS, limits.column_bytes)?;
        columns.resize_with(COLUMNS, Vec::new);
        let opened = Nested::read_opened(&columns, front.space_bytes(), limits)?;
        let plain_bytes: u64 = opened.iter().map(|opened| opened.plain_bytes).sum();
        let space = front.space_bytes() + plain_bytes;
        let origins = read_origins(&columns, space, limits)?;
        let nested = Nested::read(&columns, opened, &origins)?;
        let groups = Members::new(&columns, &origins, space).read(limits)?;
        let Front { target, sources } = front;
        Ok(Self { target, sources, headers, origins, nested, groups })
    }

    /// Returns the bytes of all groups.
    pub fn group_bytes(&self) -> u64 {
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.packed_bytes))
    }
}

/// The columns of one recipe.
pub(super) struct Columns([Vec<u8>; COLUMNS]);

const RUNS: usize = 0;
const ADDRESSES: usize = 1;
const REPEATS: usize = 2;
const GROUP_BYTES: usize = 3;
const GROUP_MEMBERS: usize = 4;
const RANKS: usize = 5;
const SHAPES: usize = 6;
const PART_BYTES: usize = 7;
const PART_ADDRESSES: usize = 8;
const WINDOW_OFFSETS: usize = 9;
const WINDOW_BYTES: usize = 10;
pub(super) const OPENED_ADDRESSES: usize = 11;
pub(super) const OPENED_BYTES: usize = 12;
pub(super) const OPENED_KINDS: usize = 13;
pub(super) const OPENED_PLAIN: usize = 14;
pub(super) const CLOSED_KINDS: usize = 15;
pub(super) const CLOSED_COUNTS: usize = 16;
pub(super) const INNER_BYTES: usize = 17;
pub(super) const CODERS: usize = 18;
pub(super) const COMPRESSION_BYTES: usize = 19;
pub(super) const COMPRESSIONS: usize = 20;
const PARTS: usize = 21;
const COLUMNS: usize = 22;
/// From here on columns are there only if archives are.
const FIRST_NESTED: usize = OPENED_ADDRESSES;

/// How errors name the columns.
pub(super) const NAMES: [&str; COLUMNS] = [
    "recipe, origins",
    "recipe, addresses",
    "recipe, repeats",
    "recipe, lengths of groups",
    "recipe, counts of members",
    "recipe, payloads of members",
    "recipe, shapes of members",
    "recipe, lengths of base parts",
    "recipe, addresses of base parts",
    "recipe, offsets of windows",
    "recipe, lengths of windows",
    "recipe, addresses of archives",
    "recipe, lengths of archives",
    "recipe, kinds of the base's archives",
    "recipe, lengths of archives' parts",
    "recipe, kinds of the target's archives",
    "recipe, counts of inner payloads",
    "recipe, lengths of inner payloads",
    "recipe, compressions of inner payloads",
    "recipe, lengths of compressions",
    "recipe, compressions",
    "recipe, parts of archives",
];

impl Columns {
    fn of(recipe: &Recipe) -> Self {
        let mut columns = Self(Default::default());
        columns.write_origins(&recipe.origins);
        columns.write_groups(recipe);
        recipe.nested.write(&mut columns);
        columns
    }

    pub(super) fn bytes(&mut self, column: usize) -> &mut Vec<u8> {
        &mut self.0[column]
    }

    pub(super) fn number(&mut self, column: usize, value: u64) {
        varint::write(&mut self.0[column], value);
    }

    fn write_origins(&mut self, origins: &[Origin]) {
        for run in origins.chunk_by(|a, b| kind(*a) == kind(*b)) {
            self.number(RUNS, (run.len() as u64 - 1) << KIND_BITS | kind(run[0]));
        }
        let (mut expected, mut next_part) = (0, 0);
        for (ordinal, origin) in origins.iter().enumerate() {
            match *origin {
                Origin::Own | Origin::Rebuilt | Origin::Closed => {}
                Origin::Part(part) | Origin::Packed(part) => {
                    write_part(&mut self.0[PARTS], &mut next_part, part);
                }
                Origin::Base(address) => {
                    write_place(&mut self.0[ADDRESSES], expected, address);
                    expected = address;
                }
                Origin::Repeat(distance) => {
                    assert!(
                        1 <= distance && distance as usize <= ordinal,
                        "repeats an earlier one"
                    );
                    self.number(REPEATS, u64::from(distance) - 1);
                }
            }
        }
    }

    fn write_groups(&mut self, recipe: &Recipe) {
        let rebuilt = rebuilt(&recipe.origins);
        let (mut next_rank, mut slice_end) = (0, 0);
        let mut before: Option<&Member> = None;
        for group in &recipe.groups {
            self.number(GROUP_BYTES, group.packed_bytes);
            self.number(GROUP_MEMBERS, group.members.len() as u64);
            for member in &group.members {
                let rank = rebuilt.binary_search(&member.payload);
                let rank = rank.expect("members make rebuilt payloads") as u64;
                write_place(&mut self.0[RANKS], next_rank, rank);
                next_rank = rank + 1;
                let parts: Vec<&Source> =
                    member.sources.iter().filter(|source| !is_empty(source)).collect();
                let window_bit = u64::from(member.window.is_some());
                if parts == [&Source::Own] {
                    self.number(SHAPES, window_bit);
                } else {
                    self.number(SHAPES, (parts.len() as u64 + 1) << 1 | window_bit);
                    for part in parts {
                        self.write_part(part, &mut slice_end);
                    }
                }
                if let Some(window) = member.window {
                    let expected = expected_offset(before, member.payload);
                    write_place(&mut self.0[WINDOW_OFFSETS], expected, window.offset);
                    self.number(WINDOW_BYTES, window.bytes);
                }
                before = Some(member);
            }
        }
    }

    fn write_part(&mut self, part: &Source, slice_end: &mut u64) {
        match *part {
            Source::Own => self.number(PART_BYTES, 0),
            Source::Slice { address, bytes } => {
                self.number(PART_BYTES, bytes);
                write_place(&mut self.0[PART_ADDRESSES], *slice_end, address);
                *slice_end = address + bytes;
            }
        }
    }
}

fn is_empty(source: &Source) -> bool {
    matches!(source, Source::Slice { bytes: 0, .. })
}

fn kind(origin: Origin) -> u64 {
    match origin {
        Origin::Own => OWN,
        Origin::Base(_) => BASE,
        Origin::Repeat(_) => REPEAT,
        Origin::Rebuilt => REBUILT,
        Origin::Closed => CLOSED,
        Origin::Part(_) => PART,
        Origin::Packed(_) => PACKED,
    }
}

/// The ordinals of the payloads that groups make.
fn rebuilt(origins: &[Origin]) -> Vec<u32> {
    (0_u32..)
        .zip(origins)
        .filter(|(_, origin)| **origin == Origin::Rebuilt)
        .map(|(n, _)| n)
        .collect()
}

/// A window is expected where the one before of the same payload ended.
fn expected_offset(before: Option<&Member>, payload: u32) -> u64 {
    before
        .filter(|before| before.payload == payload)
        .and_then(|before| before.window)
        .map_or(0, |window| window.offset + window.bytes)
}

fn read_origins(columns: &[Vec<u8>], space: u64, limits: &ReadLimits) -> Result<Vec<Origin>> {
    let [mut runs, mut addresses, mut repeats, mut parts] = [RUNS, ADDRESSES, REPEATS, PARTS]
        .map(|column| Fields::new(NAMES[column], &columns[column]));
    let limit = limits.payloads.min(u32::MAX.into());
    let mut origins: Vec<Origin> = Vec::new();
    let (mut address, mut next_part, mut kind_before) = (0, 0, None);
    while !runs.is_empty() {
        let word = runs.number("run of origins")?;
        let count = (word >> KIND_BITS) + 1;
        let total = (origins.len() as u64).saturating_add(count);
        admit(limit, total, "payloads of a layer")?;
        let kind = word & ((1 << KIND_BITS) - 1);
        if kind > PACKED {
            return Err(runs.malformed("kind of origins", PACKED, kind));
        }
        if kind_before.replace(kind) == Some(kind) {
            return Err(runs.malformed("kind of a run after one of the same", kind ^ 1, kind));
        }
        for ordinal in origins.len() as u64..total {
            origins.push(match kind {
                OWN => Origin::Own,
                REBUILT => Origin::Rebuilt,
                CLOSED => Origin::Closed,
                PART => Origin::Part(read_part(&mut parts, &mut next_part)?),
                PACKED => Origin::Packed(read_part(&mut parts, &mut next_part)?),
                BASE => {
                    address = addresses.place_near(address, "address of a payload")?;
                    if address >= space {
                        return Err(addresses.malformed("address of a payload", space, address));
                    }
                    Origin::Base(address)
                }
                _ => {
                    let before = repeats.number("distance of a repeat")?;
                    let distance = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
                    if u64::from(distance) > ordinal {
                        return Err(repeats.malformed("distance of a repeat", ordinal, before));
                    }
                    Origin::Repeat(distance)
                }
            });
        }
    }
    [addresses, repeats, parts].iter().try_for_each(Fields::end)?;
    Ok(origins)
}

/// The columns that groups are read from.
struct Members<'a> {
    columns: [Fields<'a>; COLUMNS],
    rebuilt: Vec<u32>,
    space: u64,
    next_rank: u64,
    slice_end: u64,
    slices: u64,
}

impl<'a> Members<'a> {
    fn new(columns: &'a [Vec<u8>], origins: &[Origin], space: u64) -> Self {
        let columns = std::array::from_fn(|n| Fields::new(NAMES[n], &columns[n]));
        let rebuilt = rebuilt(origins);
        Self { columns, rebuilt, space, next_rank: 0, slice_end: 0, slices: 0 }
    }

    fn read(mut self, limits: &ReadLimits) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        let (mut count, mut packed) = (0_u64, 0_u64);
        let mut before: Option<Member> = None;
        while !self.columns[GROUP_BYTES].is_empty() {
            admit(limits.groups, groups.len() as u64 + 1, "groups of a recipe")?;
            let packed_bytes = self.number(GROUP_BYTES, "length of a group")?;
            packed = packed.saturating_add(packed_bytes);
            if packed_bytes == 0 || packed > MAX_PLACE {
                return Err(self.columns[GROUP_BYTES].malformed("length of a group", 1, packed));
            }
            let own = self.number(GROUP_MEMBERS, "count of members")?;
            count = count.saturating_add(own);
            admit(limits.members, count, "members of a recipe")?;
            let mut members = Vec::new();
            for _ in 0..own {
                let member = self.member(before.as_ref(), limits)?;
                before = Some(Member { sources: Vec::new(), ..member });
                members.push(member);
            }
            groups.push(Group { packed_bytes, members });
        }
        // The columns of origins and archives were read to their ends before.
        self.columns[GROUP_MEMBERS..FIRST_NESTED].iter().try_for_each(Fields::end)?;
        Ok(groups)
    }

    fn number(&mut self, column: usize, what: &'static str) -> Result<u64> {
        self.columns[column].number(what)
    }

    fn member(&mut self, before: Option<&Member>, limits: &ReadLimits) -> Result<Member> {
        let ranks = &mut self.columns[RANKS];
        let rank = ranks.place_near(self.next_rank, "payload of a member")?;
        let Some(&payload) = usize::try_from(rank).ok().and_then(|rank| self.rebuilt.get(rank))
        else {
            return Err(ranks.malformed("payload of a member", self.rebuilt.len() as u64, rank));
        };
        self.next_rank = rank + 1;
        let shape = self.number(SHAPES, "shape of a member")?;
        let sources = match shape >> 1 {
            0 => vec![Source::Own],
            more => self.parts(more - 1, limits)?,
        };
        let window = if shape & 1 == 1 {
            let expected = expected_offset(before, payload);
            let offset = self.columns[WINDOW_OFFSETS].place_near(expected, "offset of a window")?;
            let bytes = self.number(WINDOW_BYTES, "length of a window")?;
            if bytes == 0 || offset.checked_add(bytes).is_none_or(|end| end > MAX_PLACE) {
                return Err(self.columns[WINDOW_BYTES].malformed("length of a window", 1, bytes));
            }
            Some(Window { offset, bytes })
        } else {
            None
        };
        Ok(Member { payload, window, sources })
    }

    fn parts(&mut self, count: u64, limits: &ReadLimits) -> Result<Vec<Source>> {
        self.slices = self.slices.saturating_add(count);
        admit(limits.slices, self.slices, "base parts of a recipe's members")?;
        let mut parts = Vec::new();
        for _ in 0..count {
            let bytes = self.number(PART_BYTES, "length of a base part")?;
            if bytes == 0 {
                parts.push(Source::Own);
                continue;
            }
            let addresses = &mut self.columns[PART_ADDRESSES];
            let address = addresses.place_near(self.slice_end, "address of a base part")?;
            let end = address.saturating_add(bytes);
            if end > self.space {
                return Err(addresses.malformed("end of a base part", self.space, end));
            }
            self.slice_end = end;
            parts.push(Source::Slice { address, bytes });
        }
        // The one spelling of a member whose base is its own payload is the short one.
        if parts == [Source::Own] {
            return Err(self.columns[SHAPES].malformed("shape of a member", 0, 2));
        }
        Ok(parts)
    }
}

const OWN: u64 = 0;
const BASE: u64 = 1;
const REPEAT: u64 = 2;
const REBUILT: u64 = 3;
const CLOSED: u64 = 4;
const PART: u64 = 5;
const PACKED: u64 = 6;
const KIND_BITS: u32 = 3;
/// The columns are small; the best that does not ask for more memory on the other side.
const LEVEL: i32 = 19;
