//! The archives inside a layer that a recipe opens or closes.
//! Never unpacks one: `docs/format-archives.md` specifies that for each kind.
//!
//! Archives of the base are *opened*: their parts, inflated, follow the sources in the address
//! space. Archives of the target are *closed*: they are made from inner payloads, whose origins are
//! like those of the stream's payloads.

use super::{
    columns::{
        CLOSED_COUNTS, CLOSED_KINDS, CODERS, COMPRESSION_BYTES, COMPRESSIONS, INNER_BYTES,
        OPENED_ADDRESSES, OPENED_BYTES, OPENED_KINDS, OPENED_PLAIN, RecipeColumns, readers,
    },
    origins::PayloadOrigin,
};
use crate::{
    ReadLimitName, ReadLimits,
    bounds::{admit, admit_up_to},
    error::Result,
    fields::FieldReader,
};
use imgdelta_wire::MAX_PLACE;

/// The archives that a recipe opens and closes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NestedArchives {
    /// Archives of the base, in the order of their parts in the address space. One may lie in a
    /// part of an earlier one.
    pub opened: Vec<ArchiveSource>,
    /// Archives of the target: one for each payload of [`PayloadOrigin::Closed`], in order. The
    /// inner payloads of all follow those of the stream, in the same order.
    pub closed: Vec<ArchiveTarget>,
    /// Lengths of the inner payloads whose origin does not give one, in order.
    pub inner_bytes: Vec<u64>,
    /// For each inner payload its compression in the archive: 0 for none, else an ordinal in
    /// `compressions`, counted from 1.
    pub coders: Vec<u32>,
    /// Recipes of `imgdelta-deflate`, of `imgdelta-xz`, of `imgdelta-zstd` and for LZ4.
    pub compressions: Vec<Vec<u8>>,
}

/// An archive of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveSource {
    /// Address of its first byte.
    pub address: u64,
    /// Its length in the address space.
    pub bytes: u64,
    /// Its kind.
    pub kind: ArchiveKind,
    /// Length of all its parts together.
    pub plain_bytes: u64,
}

/// An archive of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveTarget {
    /// Its kind.
    pub kind: ArchiveKind,
    /// Number of inner payloads that it is made of.
    pub inner: u32,
}

/// A kind of archive that a recipe can open and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArchiveKind {
    /// Gzip members one after another.
    Gzip,
    /// A zip file, such as a jar or a wheel.
    Zip,
    /// A tar file.
    Tar,
    /// An ELF file with compressed sections.
    Elf,
    /// Xz streams one after another.
    Xz,
    /// An ar file that is a Debian package.
    Ar,
    /// An ELF file with compressed programs for graphics processors.
    Fatbin,
    /// Zstd frames one after another.
    Zstd,
    /// A runtime image of Java.
    Jimage,
}

impl ArchiveKind {
    fn number(self) -> u8 {
        match self {
            Self::Gzip => 0,
            Self::Zip => 1,
            Self::Tar => 2,
            Self::Elf => 3,
            Self::Xz => 4,
            Self::Ar => 5,
            Self::Fatbin => 6,
            Self::Zstd => 7,
            Self::Jimage => 8,
        }
    }

    fn read(column: &mut FieldReader<'_>) -> Result<Self> {
        match column.byte("kind of an archive")? {
            0 => Ok(Self::Gzip),
            1 => Ok(Self::Zip),
            2 => Ok(Self::Tar),
            3 => Ok(Self::Elf),
            4 => Ok(Self::Xz),
            5 => Ok(Self::Ar),
            6 => Ok(Self::Fatbin),
            7 => Ok(Self::Zstd),
            8 => Ok(Self::Jimage),
            other => Err(column.malformed("kind of an archive", 8, other.into())),
        }
    }
}

impl NestedArchives {
    /// Returns the number of inner payloads.
    pub fn inner_payloads(&self) -> u64 {
        self.closed.iter().map(|closed| u64::from(closed.inner)).sum()
    }

    /// Returns the length of all opened parts together.
    pub fn plain_bytes(&self) -> u64 {
        self.opened.iter().fold(0, |sum, opened| sum.saturating_add(opened.plain_bytes))
    }

    /// True if nothing is opened or closed.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn write(&self, columns: &mut RecipeColumns) {
        let mut end = 0;
        for opened in &self.opened {
            columns.place(OPENED_ADDRESSES, end, opened.address);
            end = opened.address + opened.bytes;
            columns.varint(OPENED_BYTES, opened.bytes);
            columns.byte(OPENED_KINDS, opened.kind.number());
            columns.varint(OPENED_PLAIN, opened.plain_bytes);
        }
        for closed in &self.closed {
            columns.byte(CLOSED_KINDS, closed.kind.number());
            columns.varint(CLOSED_COUNTS, u64::from(closed.inner));
        }
        for bytes in &self.inner_bytes {
            columns.varint(INNER_BYTES, *bytes);
        }
        for coder in &self.coders {
            columns.varint(CODERS, u64::from(*coder));
        }
        for compression in &self.compressions {
            columns.varint(COMPRESSION_BYTES, compression.len() as u64);
            columns.bytes(COMPRESSIONS, compression);
        }
    }

    /// Reads the archives of the base, which extend an address space of `sources` bytes.
    pub(super) fn read_opened(
        columns: &RecipeColumns,
        sources: u64,
        limits: &ReadLimits,
    ) -> Result<Vec<ArchiveSource>> {
        let [mut addresses, mut lengths, mut kinds, mut plain] =
            readers(columns, [OPENED_ADDRESSES, OPENED_BYTES, OPENED_KINDS, OPENED_PLAIN]);
        let (mut space, mut end) = (sources, 0);
        let mut list = Vec::new();
        while !kinds.is_empty() {
            admit(limits, ReadLimitName::Archives, list.len() as u64 + 1, "archives of the base")?;
            let kind = ArchiveKind::read(&mut kinds)?;
            let address = addresses.place_near(end, "address of an archive")?;
            let bytes = lengths.number("length of an archive")?;
            end = address.saturating_add(bytes);
            // The space before it is opened: an archive does not lie in its own parts.
            if end > space {
                return Err(addresses.malformed("end of an archive", space, end));
            }
            let plain_bytes = plain.number("length of an archive's parts")?;
            space = space.saturating_add(plain_bytes);
            if space > MAX_PLACE {
                return Err(plain.malformed("length of the address space", MAX_PLACE, space));
            }
            list.push(ArchiveSource { address, bytes, kind, plain_bytes });
        }
        [addresses, lengths, plain].iter().try_for_each(FieldReader::end)?;
        Ok(list)
    }

    /// Reads the rest and compares it with the origins.
    pub(super) fn read(
        columns: &RecipeColumns,
        opened: Vec<ArchiveSource>,
        origins: &[PayloadOrigin],
    ) -> Result<Self> {
        let [mut kinds, mut counts, mut inner_bytes, mut coders, mut lengths, mut bytes] = readers(
            columns,
            [CLOSED_KINDS, CLOSED_COUNTS, INNER_BYTES, CODERS, COMPRESSION_BYTES, COMPRESSIONS],
        );
        let mut nested = Self { opened, ..Self::default() };
        let expected = origins.iter().filter(|origin| **origin == PayloadOrigin::Closed).count();
        let mut inner = 0_u64;
        while !kinds.is_empty() {
            admit_up_to(
                expected as u64,
                None,
                nested.closed.len() as u64 + 1,
                "archives of the target",
            )?;
            let kind = ArchiveKind::read(&mut kinds)?;
            let count = counts.number("count of inner payloads")?;
            inner = inner.saturating_add(count);
            if inner > origins.len() as u64 {
                let most = origins.len() as u64;
                return Err(counts.malformed("count of inner payloads", most, inner));
            }
            let count = u32::try_from(count).expect("as many as there are origins");
            nested.closed.push(ArchiveTarget { kind, inner: count });
        }
        if nested.closed.len() != expected {
            let found = nested.closed.len() as u64;
            return Err(kinds.malformed("count of archives", expected as u64, found));
        }
        let outer = origins.len() - usize::try_from(inner).expect("compared above");
        for origin in &origins[outer..] {
            if origin.has_stored_length() {
                let length = inner_bytes.number("length of an inner payload")?;
                if length == 0 || length > MAX_PLACE {
                    return Err(inner_bytes.malformed("length of an inner payload", 1, length));
                }
                nested.inner_bytes.push(length);
            }
        }
        while !lengths.is_empty() {
            // Each one is used by a payload, and none is empty.
            admit_up_to(
                inner,
                None,
                nested.compressions.len() as u64 + 1,
                "compressions of a recipe",
            )?;
            let count = lengths.number("length of a compression")?;
            if count == 0 {
                return Err(lengths.malformed("length of a compression", 1, 0));
            }
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
        [counts, inner_bytes, coders, bytes].iter().try_for_each(FieldReader::end)?;
        Ok(nested)
    }
}
