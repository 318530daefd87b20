//! The file around a delta: a head, sections one after another, and an end that lists them.
//!
//! A section is a head (kind, flags, length), its payload and a digest of both. The end section's
//! payload is the heads of all sections again, and its digest covers the file's head and all heads
//! and digests, so that the whole is checked and each byte is hashed once. A trailer of fixed size
//! says where the end section begins. So a file can be read from a pipe, front to back, and from a
//! disk in any order. Nothing here hashes: digests are the caller's to make and to compare.
//!
//! Digests are BLAKE3 cut to 16 bytes. They find damage, which no more bytes would find better:
//! who writes a delta writes its digests too, and trust lies in the target's digests alone.

use crate::{
    ReadLimits,
    error::Result,
    fields::{Fields, MAX_PLACE, admit},
};
use imgdelta_wire::varint;

/// The first bytes of every delta file.
pub const MAGIC: [u8; 8] = *b"imgdelta";
/// Who knows another major version refuses the file.
pub const MAJOR: u8 = 1;
/// Later minor versions add what may be passed over.
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
pub type Digest = [u8; DIGEST_BYTES];

/// Returns the file's head.
pub fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    head[MAGIC.len()..].copy_from_slice(&[MAJOR, MINOR]);
    head
}

/// Returns the major and the minor version of a file's head, or `None` if it is of no delta.
pub fn version(head: &[u8; HEAD_BYTES]) -> Option<(u8, u8)> {
    let (magic, version) = head.split_at(MAGIC.len());
    (magic == MAGIC).then_some((version[0], version[1]))
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The list of all sections; the last.
    End,
    /// What the delta makes, and how; the first. See [`crate::outline`].
    Outline,
    /// A recipe and the bytes of its groups.
    Recipe,
    /// A layer's blob as it is.
    Carried,
    /// Where the delta's bytes go, for people. See [`crate::cost`].
    Cost,
    /// Something of a later version.
    Other(u8),
}

impl Kind {
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

    /// Returns the kind of a number.
    pub fn of(number: u8) -> Self {
        let known = [Self::End, Self::Outline, Self::Recipe, Self::Carried, Self::Cost];
        known.get(usize::from(number)).copied().unwrap_or(Self::Other(number))
    }

    /// Returns how errors and listings name it.
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
    /// What it holds.
    pub kind: Kind,
    /// Whether a reader that does not know the kind must refuse the file.
    pub is_required: bool,
    /// Bytes of its payload.
    pub bytes: u64,
}

impl SectionHead {
    /// Makes the head of a section of this version; only costs can be passed over.
    pub fn new(kind: Kind, bytes: u64) -> Self {
        Self { kind, is_required: kind != Kind::Cost, bytes }
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

    /// Reads a head from the front of `bytes`; returns how many bytes it took as well.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize)> {
        let mut fields = Fields::new("section head", bytes);
        let head = Self::take(&mut fields)?;
        Ok((head, bytes.len() - fields.rest().len()))
    }

    /// Returns how many bytes the section takes in the file: head, payload and digest.
    pub fn section_bytes(&self) -> u64 {
        let mut head = Vec::new();
        self.write(&mut head);
        // Payloads stay below 2^63.
        (head.len() + DIGEST_BYTES) as u64 + self.bytes
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self> {
        let kind = Kind::of(fields.byte("kind of a section")?);
        let flags = fields.byte("flags of a section")?;
        // What an unknown flag means cannot be passed over.
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
    let mut fields = Fields::new("table of sections", payload);
    let mut sections = Vec::new();
    while !fields.is_empty() {
        admit(limits.sections, sections.len() as u64 + 1, "sections of a delta")?;
        let section = SectionHead::take(&mut fields)?;
        if section.kind == Kind::End {
            return Err(fields.malformed("kind of a listed section", 1, 0));
        }
        sections.push(section);
    }
    Ok(sections)
}

/// Returns the most bytes an end section may have, from its head to its digest.
pub fn most_end_bytes(limits: &ReadLimits) -> u64 {
    let heads = limits.sections.saturating_add(1).saturating_mul(MOST_SECTION_HEAD_BYTES as u64);
    heads.saturating_add(DIGEST_BYTES as u64)
}

/// Returns the trailer: how many bytes the end section has, and a mark.
pub fn trailer(end_bytes: u32) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..4].copy_from_slice(&end_bytes.to_le_bytes());
    trailer[4..].copy_from_slice(&END_MARK);
    trailer
}

/// Returns how many bytes the end section has, or `None` if these bytes end no delta.
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
            assert_eq!(Kind::of(number).number(), number);
        }
        assert_eq!(Kind::of(5), Kind::Other(5));
    }

    #[test]
    fn heads_come_back_from_the_table_and_lies_are_refused() {
        let sections = [
            SectionHead::new(Kind::Outline, 300),
            SectionHead::new(Kind::Cost, 0),
            SectionHead { kind: Kind::Other(9), is_required: false, bytes: MAX_PLACE },
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
    fn heads_and_trailers_of_other_files_are_told_apart() {
        assert_eq!(version(&head()), Some((MAJOR, MINOR)));
        assert_eq!(version(b"imgdeltb\x01\0"), None);
        assert_eq!(read_trailer(trailer(77)), Some(77));
        assert_eq!(read_trailer([0; 8]), None);
    }
}
