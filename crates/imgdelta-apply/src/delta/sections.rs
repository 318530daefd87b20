//! The sections of a delta file, located by its end section.
//! Never holds more than a small piece of the file.
//!
//! Each byte is hashed once. Digests come before versions, so that a damaged file is not reported as
//! one of a later version.

use super::read_range;
use imgdelta_core::{
    Difference, Error, Result,
    limits::{Ceiling, DeltaLimits},
};
use imgdelta_format::container::{
    self, DIGEST_BYTES, HEAD_BYTES, MAJOR, SectionDigest, SectionHead, SectionKind, TRAILER_BYTES,
};
use imgdelta_image::store::source::ReadAt;
use std::ops::Range;

/// Kind and place of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its kind.
    pub kind: SectionKind,
    /// True if a reader that does not know the kind must refuse the file.
    pub is_required: bool,
    /// Offset of its payload.
    pub offset: u64,
    /// Length of its payload.
    pub bytes: u64,
}

impl Section {
    /// Returns the range of its payload.
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes
    }
}

/// All sections except the end.
#[derive(Clone, Debug)]
pub(super) struct SectionList {
    pub list: Vec<Section>,
    pub size_bytes: u64,
}

impl SectionList {
    pub(super) fn of(&self, kind: SectionKind) -> impl Iterator<Item = &Section> {
        self.list.iter().filter(move |section| section.kind == kind)
    }

    /// Locates the sections and compares all digests.
    pub(super) fn check(
        source: &dyn ReadAt,
        place: &str,
        ceiling: Ceiling,
        limits: &DeltaLimits,
    ) -> Result<Self> {
        let size_bytes = source.size_bytes().map_err(Error::io(place))?;
        ceiling.admit(size_bytes, "number of bytes", place)?;
        let head = check_head(source, place, size_bytes)?;
        let end = EndSection::find(source, place, size_bytes, limits)?;
        let mut whole = blake3::Hasher::new();
        whole.update(&head);
        let mut list = Vec::new();
        let mut at = HEAD_BYTES as u64;
        for head in &end.table {
            let bytes = head.section_bytes();
            if bytes > end.at - at {
                let what = format!(
                    "offset {at}: a section of {bytes} bytes, but there are {}",
                    end.at - at
                );
                return Err(Error::bad_input(place, what));
            }
            let section = check_section(source, place, at, *head, &mut whole)?;
            list.push(section);
            at += bytes;
        }
        if at != end.at {
            let what = format!("offset {at}: {} bytes of no section", end.at - at);
            return Err(Error::bad_input(place, what));
        }
        whole.update(&end.head_and_table);
        compare(&whole, end.digest, || format!("{place}, end at {at}"))?;
        if let Some(new) = list.iter().find(|section| {
            section.is_required && matches!(section.kind, SectionKind::Other(_) | SectionKind::End)
        }) {
            let number = new.kind.number();
            let what = format!(
                "offset {}: a required section of unknown kind {number}; this program reads format \
                 version {MAJOR}.{}",
                new.offset,
                container::MINOR
            );
            return Err(Error::bad_input(place, what));
        }
        Ok(Self { list, size_bytes })
    }
}

fn check_head(source: &dyn ReadAt, place: &str, size_bytes: u64) -> Result<[u8; HEAD_BYTES]> {
    let count = size_bytes.min(HEAD_BYTES as u64);
    let start = read_range(source, 0, count, place)?;
    if !start.starts_with(&container::MAGIC) {
        return Err(Error::bad_input(place, "not a delta file"));
    }
    let head: [u8; HEAD_BYTES] =
        start.try_into().map_err(|_| Error::bad_input(place, "the file ends in its head"))?;
    match container::version(&head) {
        Some((MAJOR, _)) => Ok(head),
        Some((major, minor)) => {
            let what =
                format!("format version {major}.{minor}; this program reads version {MAJOR}");
            Err(Error::bad_input(place, what))
        }
        None => Err(Error::bad_input(place, "not a delta file")),
    }
}

/// The end section.
struct EndSection {
    at: u64,
    table: Vec<SectionHead>,
    head_and_table: Vec<u8>,
    digest: SectionDigest,
}

impl EndSection {
    fn find(
        source: &dyn ReadAt,
        place: &str,
        size_bytes: u64,
        limits: &DeltaLimits,
    ) -> Result<Self> {
        let cut = || {
            Error::bad_input(place, "no end mark at the end: the file is cut, or bytes were added")
        };
        let rest = size_bytes.saturating_sub(HEAD_BYTES as u64);
        let sections_bytes = rest.checked_sub(TRAILER_BYTES as u64).ok_or_else(cut)?;
        let trailer_at = size_bytes - TRAILER_BYTES as u64;
        let trailer = read_range(source, trailer_at, TRAILER_BYTES as u64, place)?;
        let trailer = trailer.try_into().expect("as many bytes as were read");
        let bytes = u64::from(container::read_trailer(trailer).ok_or_else(cut)?);
        let wrong = |what: &str| {
            Error::bad_input(place, format_args!("offset {trailer_at}: {what} of {bytes} bytes"))
        };
        if bytes > sections_bytes {
            return Err(wrong("an end section beyond the file"));
        }
        Ceiling::fixed(container::most_end_bytes(limits.read())).admit(
            bytes,
            "bytes of the end section",
            place,
        )?;
        let at = trailer_at - bytes;
        let mut section = read_range(source, at, bytes, place)?;
        let end_place = || format!("{place}, end at {at}");
        let (head, head_bytes) =
            SectionHead::read(&section).map_err(|error| limits.error(end_place(), &error))?;
        let around_bytes = (head_bytes + DIGEST_BYTES) as u64;
        let is_end = head.kind == SectionKind::End && head.is_required;
        if !is_end || bytes.checked_sub(around_bytes) != Some(head.bytes) {
            return Err(wrong("not an end section"));
        }
        let digest = section.split_off(section.len() - DIGEST_BYTES);
        let digest = digest.try_into().expect("split off at this length");
        let table = container::read_table(&section[head_bytes..], limits.read())
            .map_err(|error| limits.error(end_place(), &error))?;
        Ok(Self { at, table, head_and_table: section, digest })
    }
}

/// Hashes one section and compares it with its digest and with the table.
fn check_section(
    source: &dyn ReadAt,
    place: &str,
    at: u64,
    listed: SectionHead,
    whole: &mut blake3::Hasher,
) -> Result<Section> {
    let SectionHead { kind, is_required, bytes } = listed;
    let head = listed.to_bytes();
    let found = read_range(source, at, head.len() as u64, place)?;
    let offset = at + head.len() as u64;
    let section = Section { kind, is_required, offset, bytes };
    if found != head {
        let what = format!("offset {at}: a section's head that the table does not have");
        return Err(Error::bad_input(place, what));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head);
    let (mut at, end) = (offset, offset + bytes);
    while at < end {
        let count = (end - at).min(PIECE_BYTES);
        hasher.update(&read_range(source, at, count, place)?);
        at += count;
    }
    let digest = read_range(source, end, DIGEST_BYTES as u64, place)?;
    let digest: SectionDigest = digest.try_into().expect("as many bytes as were read");
    compare(&hasher, digest, || super::section_place(place, &section))?;
    whole.update(&head).update(&digest);
    Ok(section)
}

fn compare(
    hasher: &blake3::Hasher,
    expected: SectionDigest,
    place: impl Fn() -> String,
) -> Result<()> {
    let found = digest_of(hasher);
    if found == expected {
        return Ok(());
    }
    let hex = |digest: SectionDigest| format!("{:032x}", u128::from_be_bytes(digest));
    let difference = Difference::Section { expected: hex(expected), found: hex(found) };
    Err(Error::Mismatch { place: place(), difference })
}

/// Returns a hash in the short form of sections.
pub(super) fn digest_of(hasher: &blake3::Hasher) -> SectionDigest {
    let full = hasher.finalize();
    full.as_bytes()[..DIGEST_BYTES].try_into().expect("the length of the slice")
}

/// Large enough that reading and hashing cost no more than their bytes.
const PIECE_BYTES: u64 = 128 << 10;
