//! Archives inside a layer that a recipe sees into, on both sides.
//!
//! The base's are *opened*: their parts, inflated, follow the sources in the address space. The
//! target's are *closed*: made from inner payloads, which come about like the payloads of the
//! stream. What opening and closing mean for each kind is `docs/format-archives.md`'s to say;
//! here are only the numbers.

use super::{
    Origin,
    wire::{
        CLOSED_COUNTS, CLOSED_KINDS, CODERS, COMPRESSION_BYTES, COMPRESSIONS, Columns, INNER_BYTES,
        NAMES, OPENED_ADDRESSES, OPENED_BYTES, OPENED_KINDS, OPENED_PLAIN,
    },
};
use crate::{
    ReadLimits,
    error::Result,
    fields::{Fields, MAX_PLACE, admit, write_place},
};

/// What archives a recipe opens and closes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nested {
    /// Those of the base, in the order of their parts in the address space. One may lie in a part
    /// of an earlier one.
    pub opened: Vec<Opened>,
    /// Those of the target: one for each payload of [`Origin::Closed`], in order. The inner
    /// payloads of all follow those of the stream, in the same order.
    pub closed: Vec<Closed>,
    /// The lengths of the inner payloads whose origin does not tell it, in order.
    pub inner_bytes: Vec<u64>,
    /// For each inner payload how it is compressed in its archive: 0 for not at all, else which
    /// of `compressions`, counted from 1.
    pub coders: Vec<u32>,
    /// Recipes of `imgdelta-deflate`.
    pub compressions: Vec<Vec<u8>>,
}

/// An archive of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where in the address space it begins.
    pub address: u64,
    /// How long it is as it lies there.
    pub bytes: u64,
    /// What it is.
    pub kind: Archive,
    /// How long its parts are together.
    pub plain_bytes: u64,
}

/// An archive of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What it is.
    pub kind: Archive,
    /// How many inner payloads it is made of.
    pub inner: u32,
}

/// A kind of archive that can be seen into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Archive {
    /// Gzip members one after another.
    Gzip,
    /// A zip file: jars and wheels are such.
    Zip,
    /// A tar file.
    Tar,
}

impl Archive {
    fn number(self) -> u8 {
        match self {
            Self::Gzip => 0,
            Self::Zip => 1,
            Self::Tar => 2,
        }
    }

    fn read(column: &mut Fields<'_>) -> Result<Self> {
        match column.byte("kind of an archive")? {
            0 => Ok(Self::Gzip),
            1 => Ok(Self::Zip),
            2 => Ok(Self::Tar),
            other => Err(column.malformed("kind of an archive", 2, other.into())),
        }
    }
}

/// Whether an inner payload of this origin has its length told.
pub fn is_length_told(origin: Origin) -> bool {
    matches!(origin, Origin::Own | Origin::Base(_) | Origin::Rebuilt | Origin::Closed)
}

impl Nested {
    /// Returns how many inner payloads there are.
    pub fn inner_payloads(&self) -> u64 {
        self.closed.iter().map(|closed| u64::from(closed.inner)).sum()
    }

    /// Returns how long the opened parts are together.
    pub fn plain_bytes(&self) -> u64 {
        self.opened.iter().fold(0, |sum, opened| sum.saturating_add(opened.plain_bytes))
    }

    pub(super) fn write(&self, columns: &mut Columns) {
        let mut end = 0;
        for opened in &self.opened {
            write_place(columns.bytes(OPENED_ADDRESSES), end, opened.address);
            end = opened.address + opened.bytes;
            columns.number(OPENED_BYTES, opened.bytes);
            columns.bytes(OPENED_KINDS).push(opened.kind.number());
            columns.number(OPENED_PLAIN, opened.plain_bytes);
        }
        for closed in &self.closed {
            columns.bytes(CLOSED_KINDS).push(closed.kind.number());
            columns.number(CLOSED_COUNTS, u64::from(closed.inner));
        }
        for bytes in &self.inner_bytes {
            columns.number(INNER_BYTES, *bytes);
        }
        for coder in &self.coders {
            columns.number(CODERS, u64::from(*coder));
        }
        for compression in &self.compressions {
            columns.number(COMPRESSION_BYTES, compression.len() as u64);
            columns.bytes(COMPRESSIONS).extend_from_slice(compression);
        }
    }

    /// Reads the archives of the base, which make the address space longer.
    pub(super) fn read_opened(
        columns: &[Vec<u8>],
        sources: u64,
        limits: &ReadLimits,
    ) -> Result<Vec<Opened>> {
        let [mut addresses, mut lengths, mut kinds, mut plain] =
            [OPENED_ADDRESSES, OPENED_BYTES, OPENED_KINDS, OPENED_PLAIN]
                .map(|column| Fields::new(NAMES[column], &columns[column]));
        let (mut space, mut end) = (sources, 0);
        let mut list = Vec::new();
        while !kinds.is_empty() {
            admit(limits.archives, list.len() as u64 + 1, "archives of the base")?;
            let kind = Archive::read(&mut kinds)?;
            let address = addresses.place_near(end, "address of an archive")?;
            let bytes = lengths.number("length of an archive")?;
            end = address.saturating_add(bytes);
            // In what is there before it is opened: none lies in itself.
            if end > space {
                return Err(addresses.malformed("end of an archive", space, end));
            }
            let plain_bytes = plain.number("length of an archive's parts")?;
            space = space.saturating_add(plain_bytes);
            if space > MAX_PLACE {
                return Err(plain.malformed("length of the address space", MAX_PLACE, space));
            }
            list.push(Opened { address, bytes, kind, plain_bytes });
        }
        [addresses, lengths, plain].iter().try_for_each(Fields::end)?;
        Ok(list)
    }

    /// Reads the rest, and holds it against the origins.
    pub(super) fn read(
        columns: &[Vec<u8>],
        opened: Vec<Opened>,
        origins: &[Origin],
    ) -> Result<Self> {
        let [mut kinds, mut counts, mut inner_bytes, mut coders, mut lengths, mut bytes] =
            [CLOSED_KINDS, CLOSED_COUNTS, INNER_BYTES, CODERS, COMPRESSION_BYTES, COMPRESSIONS]
                .map(|column| Fields::new(NAMES[column], &columns[column]));
        let mut nested = Self { opened, ..Self::default() };
        let expected = origins.iter().filter(|origin| **origin == Origin::Closed).count();
        let mut inner = 0_u64;
        while !kinds.is_empty() {
            admit(expected as u64, nested.closed.len() as u64 + 1, "archives of the target")?;
            let kind = Archive::read(&mut kinds)?;
            let count = counts.number("count of inner payloads")?;
            inner = inner.saturating_add(count);
            if inner > origins.len() as u64 {
                let most = origins.len() as u64;
                return Err(counts.malformed("count of inner payloads", most, inner));
            }
            let count = u32::try_from(count).expect("as many as there are origins");
            nested.closed.push(Closed { kind, inner: count });
        }
        if nested.closed.len() != expected {
            let found = nested.closed.len() as u64;
            return Err(kinds.malformed("count of archives", expected as u64, found));
        }
        let outer = origins.len() - usize::try_from(inner).expect("compared above");
        for origin in &origins[outer..] {
            if is_length_told(*origin) {
                let length = inner_bytes.number("length of an inner payload")?;
                if length == 0 || length > MAX_PLACE {
                    return Err(inner_bytes.malformed("length of an inner payload", 1, length));
                }
                nested.inner_bytes.push(length);
            }
        }
        while !lengths.is_empty() {
            let count = lengths.number("length of a compression")?;
            nested.compressions.push(bytes.bytes(count, "compression")?.to_vec());
        }
        let known = nested.compressions.len() as u64;
        for _ in 0..inner {
            let coder = coders.number("compression of an inner payload")?;
            if coder > known {
                return Err(coders.malformed("compression of an inner payload", known, coder));
            }
            nested.coders.push(u32::try_from(coder).unwrap_or(u32::MAX));
        }
        [counts, inner_bytes, coders, bytes].iter().try_for_each(Fields::end)?;
        Ok(nested)
    }

    /// Whether nothing is opened or closed.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Appends the number of a part, mostly the one after the last.
pub(super) fn write_part(out: &mut Vec<u8>, next: &mut u64, part: u32) {
    write_place(out, *next, u64::from(part));
    *next = u64::from(part) + 1;
}

/// Reads the number of a part.
pub(super) fn read_part(parts: &mut Fields<'_>, next: &mut u64) -> Result<u32> {
    let found = parts.place_near(*next, "part of an archive")?;
    *next = found + 1;
    u32::try_from(found).map_err(|_| parts.malformed("part of an archive", u32::MAX.into(), found))
}
