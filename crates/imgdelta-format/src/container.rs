//! The file around a delta: a head, sections one after another, and an end that lists them.
//! Never hashes: callers make and compare the digests.
//!
//! A section is a head (kind, flags, length), its payload and a digest of both. The end section's
//! payload repeats the heads of all sections. Its digest covers the file's head, all heads and all
//! digests, so the whole file is checked and each byte is hashed once. A trailer of fixed size
//! gives the length of the end section. So a file can be read front to back from a pipe, and in any
//! order from a disk.
//!
//! Digests are BLAKE3 cut to 16 bytes. They find damage and prove nothing: a delta's author writes
//! its digests too. Only the target's digests are trusted.

use crate::{ReadLimitName, ReadLimits, bounds::admit, error::Result, fields::FieldReader};
use imgdelta_wire::{MAX_PLACE, varint};

/// The first bytes of every delta file.
pub const MAGIC: [u8; 8] = *b"imgdelta";
/// A reader of another major version refuses the file.
pub const MAJOR: u8 = 1;
/// Later minor versions add only sections and streams that a reader may skip.
pub const MINOR: u8 = 0;
/// Bytes of the file's head.
pub const HEAD_BYTES: usize = MAGIC.len() + 2;
/// Bytes of the digest behind each section.
pub const DIGEST_BYTES: usize = 16;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 8;
/// The most bytes a section's head can have: kind, flags and a number.
pub const MOST_SECTION_HEAD_BYTES: usize = 12;

/// A section's digest.
pub type SectionDigest = [u8; DIGEST_BYTES];

/// Returns the file's head.
pub fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    head[MAGIC.len()..].copy_from_slice(&[MAJOR, MINOR]);
    head
}

/// Returns major and minor version from a file's head, or `None` if the file is not a delta.
pub fn version(head: &[u8; HEAD_BYTES]) -> Option<(u8, u8)> {
    let (magic, version) = head.split_at(MAGIC.len());
    (magic == MAGIC).then_some((version[0], version[1]))
}

/// The kind of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// The list of all sections; the last.
    End,
    /// The target's documents and how each layer is made; the first. See [`crate::outline`].
    Outline,
    /// A recipe and the bytes of its groups.
    Recipe,
    /// A layer's blob, byte for byte.
    Carried,
    /// The delta's bytes by layer and file, for people. See [`crate::cost`].
    Cost,
    /// A kind of a later version.
    Other(u8),
}

impl SectionKind {
    /// Returns the number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::End => 0,
            Self::Outline => 1,
            Self::Recipe => 2,
            Self::Carried => 3,
            Self::Cost => 4,
            Self::Other(number) => number,
        }
    }

    /// Returns the kind with this number on the wire.
    pub fn of(number: u8) -> Self {
        let known = [Self::End, Self::Outline, Self::Recipe, Self::Carried, Self::Cost];
        known.get(usize::from(number)).copied().unwrap_or(Self::Other(number))
    }

    /// Returns the name for errors and listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Outline => "outline",
            Self::Recipe => "recipe",
            Self::Carried => "carried",
            Self::Cost => "cost",
            Self::Other(_) => "unknown",
        }
    }
}

/// The head of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionHead {
    /// Its kind.
    pub kind: SectionKind,
    /// True if a reader that does not know the kind must refuse the file.
    pub is_required: bool,
    /// Length of its payload.
    pub bytes: u64,
}

impl SectionHead {
    /// Returns the head of a section of this version; only costs may be skipped.
    pub fn new(kind: SectionKind, bytes: u64) -> Self {
        Self { kind, is_required: kind != SectionKind::Cost, bytes }
    }

    /// Appends the head as bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind.number(), u8::from(self.is_required)]);
        varint::write(out, self.bytes);
    }

    /// Returns the head as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MOST_SECTION_HEAD_BYTES);
        self.write(&mut out);
        out
    }

    /// Reads a head from the front of `bytes`; also returns its length.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize)> {
        let mut fields = FieldReader::new("section head", bytes);
        let head = Self::take(&mut fields)?;
        Ok((head, bytes.len() - fields.rest().len()))
    }

    /// Returns the length of the section in the file: head, payload and digest.
    pub fn section_bytes(&self) -> u64 {
        let mut head = Vec::new();
        self.write(&mut head);
        // Payloads stay below 2^63.
        (head.len() + DIGEST_BYTES) as u64 + self.bytes
    }

    fn take(fields: &mut FieldReader<'_>) -> Result<Self> {
        let kind = SectionKind::of(fields.byte("kind of a section")?);
        let flags = fields.byte("flags of a section")?;
        // An unknown flag may change the meaning of the section.
        if flags & !REQUIRED != 0 {
            return Err(fields.malformed("flags of a section", REQUIRED.into(), flags.into()));
        }
        let bytes = fields.number("length of a section")?;
        if bytes > MAX_PLACE {
            return Err(fields.malformed("length of a section", MAX_PLACE, bytes));
        }
        Ok(Self { kind, is_required: flags & REQUIRED != 0, bytes })
    }
}

/// Returns the end section's payload.
pub fn table(sections: &[SectionHead]) -> Vec<u8> {
    let mut out = Vec::new();
    for section in sections {
        section.write(&mut out);
    }
    out
}

/// Reads the end section's payload.
pub fn read_table(payload: &[u8], limits: &ReadLimits) -> Result<Vec<SectionHead>> {
    let mut fields = FieldReader::new("table of sections", payload);
    let mut sections = Vec::new();
    while !fields.is_empty() {
        admit(limits, ReadLimitName::Sections, sections.len() as u64 + 1, "sections of a delta")?;
        let section = SectionHead::take(&mut fields)?;
        if section.kind == SectionKind::End {
            return Err(fields.malformed("kind of a listed section", 1, 0));
        }
        sections.push(section);
    }
    Ok(sections)
}

/// Returns the longest end section within the limits, from its head to its digest.
pub fn most_end_bytes(limits: &ReadLimits) -> u64 {
    let heads = limits.sections.saturating_add(1).saturating_mul(MOST_SECTION_HEAD_BYTES as u64);
    heads.saturating_add(DIGEST_BYTES as u64)
}

/// Returns the trailer: the length of the end section, and a mark.
pub fn trailer(end_bytes: u32) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..4].copy_from_slice(&end_bytes.to_le_bytes());
    trailer[4..].copy_from_slice(&END_MARK);
    trailer
}

/// Returns the length of the end section, or `None` if these bytes do not end a delta.
pub fn read_trailer(trailer: [u8; TRAILER_BYTES]) -> Option<u32> {
    let [a, b, c, d, mark @ ..] = trailer;
    (mark == END_MARK).then(|| u32::from_le_bytes([a, b, c, d]))
}

const REQUIRED: u8 = 1;
const END_MARK: [u8; 4] = *b"imgE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_numbers_agree_both_ways() {
        for number in 0..=u8::MAX {
            assert_eq!(SectionKind::of(number).number(), number);
        }
        assert_eq!(SectionKind::of(5), SectionKind::Other(5));
    }

    #[test]
    fn heads_come_back_from_the_table_and_lies_are_refused() {
        let sections = [
            SectionHead::new(SectionKind::Outline, 300),
            SectionHead::new(SectionKind::Cost, 0),
            SectionHead { kind: SectionKind::Other(9), is_required: false, bytes: MAX_PLACE },
        ];
        let limits = ReadLimits::default();
        assert_eq!(read_table(&table(&sections), &limits).unwrap(), sections);
        assert_eq!(SectionHead::read(&table(&sections)).unwrap(), (sections[0], 4));
        assert_eq!(sections[0].section_bytes(), 4 + 300 + 16);
        let few = ReadLimits { sections: 2, ..limits.clone() };
        assert!(read_table(&table(&sections), &few).is_err());
        for (bytes, what) in [
            (&[1, 2, 0][..], "an unknown flag"),
            (&[0, 1, 0], "an end inside"),
            (&[1, 1], "a cut head"),
            (&[1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "a length of 64 bits"),
        ] {
            assert!(read_table(bytes, &limits).is_err(), "{what}");
        }
    }

    #[test]
    fn the_longest_end_section_has_a_head_for_each_section_and_a_digest() {
        let limits = ReadLimits { sections: 2, ..ReadLimits::default() };
        let widest = SectionHead { kind: SectionKind::Other(255), is_required: true, bytes: 0 };
        let widest = SectionHead { bytes: u64::MAX, ..widest }.to_bytes();
        assert_eq!(widest.len(), MOST_SECTION_HEAD_BYTES);
        // Its own head, two more, and the digest.
        assert_eq!(most_end_bytes(&limits), 3 * 12 + 16);
        assert_eq!(most_end_bytes(&ReadLimits { sections: u64::MAX, ..limits }), u64::MAX);
    }

    #[test]
    fn heads_and_trailers_of_other_files_are_told_apart() {
        assert_eq!(version(&head()), Some((MAJOR, MINOR)));
        assert_eq!(version(b"imgdeltb\x01\0"), None);
        assert_eq!(read_trailer(trailer(77)), Some(77));
        assert_eq!(read_trailer([0; 8]), None);
    }
}
