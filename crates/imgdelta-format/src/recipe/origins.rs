//! The origin of each payload, as runs of one kind.
//! Never reads what groups and archives say about a payload.
//!
//! Neighbours mostly have the same kind of origin, so kinds are stored as runs. Addresses,
//! distances and parts have columns of their own, each relative to the one before.

use super::columns::{ADDRESSES, PARTS, REPEATS, RUNS, RecipeColumns, readers};
use crate::{ReadLimitName, ReadLimits, bounds::admit_up_to, error::Result, fields::FieldReader};

/// The origin of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadOrigin {
    /// The payload of the entry that its own header was written against.
    Own,
    /// A range of the address space that begins here.
    Base(u64),
    /// The payload that precedes it by this number of payloads, at least 1.
    Repeat(u32),
    /// Members of groups, which cover it without gap or overlap.
    Rebuilt,
    /// An archive made of inner payloads.
    Closed,
    /// This part of the opened archives, counted over all of them from 0.
    Part(u32),
    /// This part as it lies compressed in its archive.
    Packed(u32),
}

impl PayloadOrigin {
    /// True if a recipe stores the length of an inner payload of this origin.
    pub fn has_stored_length(self) -> bool {
        matches!(self, Self::Own | Self::Base(_) | Self::Rebuilt | Self::Closed)
    }

    fn number(self) -> u64 {
        match self {
            Self::Own => OWN,
            Self::Base(_) => BASE,
            Self::Repeat(_) => REPEAT,
            Self::Rebuilt => REBUILT,
            Self::Closed => CLOSED,
            Self::Part(_) => PART,
            Self::Packed(_) => PACKED,
        }
    }
}

/// Writes the origins of all payloads.
///
/// # Panics
/// If a payload repeats itself or one before the first.
pub(super) fn write(columns: &mut RecipeColumns, origins: &[PayloadOrigin]) {
    for run in origins.chunk_by(|a, b| a.number() == b.number()) {
        columns.varint(RUNS, (run.len() as u64 - 1) << KIND_BITS | run[0].number());
    }
    let (mut expected, mut next_part) = (0, 0);
    for (ordinal, origin) in origins.iter().enumerate() {
        match *origin {
            PayloadOrigin::Own | PayloadOrigin::Rebuilt | PayloadOrigin::Closed => {}
            PayloadOrigin::Part(part) | PayloadOrigin::Packed(part) => {
                // Mostly the part after the last one.
                columns.place(PARTS, next_part, u64::from(part));
                next_part = u64::from(part) + 1;
            }
            PayloadOrigin::Base(address) => {
                columns.place(ADDRESSES, expected, address);
                expected = address;
            }
            PayloadOrigin::Repeat(distance) => {
                assert!(1 <= distance && distance as usize <= ordinal, "repeats an earlier one");
                columns.varint(REPEATS, u64::from(distance) - 1);
            }
        }
    }
}

/// Reads the origins of at most `most` payloads, whose addresses lie in a space of `space` bytes.
pub(super) fn read(
    columns: &RecipeColumns,
    space: u64,
    most: u64,
    limits: &ReadLimits,
) -> Result<Vec<PayloadOrigin>> {
    let [mut runs, mut addresses, mut repeats, mut parts] =
        readers(columns, [RUNS, ADDRESSES, REPEATS, PARTS]);
    let limit = limits.payloads.min(u32::MAX.into()).min(most);
    let name = (limit == limits.payloads).then_some(ReadLimitName::Payloads);
    let mut origins: Vec<PayloadOrigin> = Vec::new();
    let (mut address, mut next_part, mut kind_before) = (0, 0, None);
    while !runs.is_empty() {
        let word = runs.number("run of origins")?;
        let count = (word >> KIND_BITS) + 1;
        let total = (origins.len() as u64).saturating_add(count);
        admit_up_to(limit, name, total, "payloads of a layer")?;
        let kind = word & ((1 << KIND_BITS) - 1);
        if kind > PACKED {
            return Err(runs.malformed("kind of origins", PACKED, kind));
        }
        if kind_before.replace(kind) == Some(kind) {
            return Err(runs.malformed("kind of a run after one of the same", kind ^ 1, kind));
        }
        for ordinal in origins.len() as u64..total {
            origins.push(match kind {
                OWN => PayloadOrigin::Own,
                REBUILT => PayloadOrigin::Rebuilt,
                CLOSED => PayloadOrigin::Closed,
                PART => PayloadOrigin::Part(read_part(&mut parts, &mut next_part)?),
                PACKED => PayloadOrigin::Packed(read_part(&mut parts, &mut next_part)?),
                BASE => {
                    address = addresses.place_near(address, "address of a payload")?;
                    if address >= space {
                        return Err(addresses.malformed("address of a payload", space, address));
                    }
                    PayloadOrigin::Base(address)
                }
                _ => {
                    let before = repeats.number("distance of a repeat")?;
                    let distance = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
                    if u64::from(distance) > ordinal {
                        return Err(repeats.malformed("distance of a repeat", ordinal, before));
                    }
                    PayloadOrigin::Repeat(distance)
                }
            });
        }
    }
    [addresses, repeats, parts].iter().try_for_each(FieldReader::end)?;
    Ok(origins)
}

fn read_part(parts: &mut FieldReader<'_>, next: &mut u64) -> Result<u32> {
    let found = parts.place_near(*next, "part of an archive")?;
    *next = found + 1;
    u32::try_from(found).map_err(|_| parts.malformed("part of an archive", u32::MAX.into(), found))
}

const OWN: u64 = 0;
const BASE: u64 = 1;
const REPEAT: u64 = 2;
const REBUILT: u64 = 3;
const CLOSED: u64 = 4;
const PART: u64 = 5;
const PACKED: u64 = 6;
const KIND_BITS: u32 = 3;
