//! Zip files: a part for each member with content, then the structure.
//! Holds the directory in memory, never the members.
//!
//! A zip file is read by the directory at its end. It is refused if members overlap or leave the
//! file, or if their headers contradict the directory. The part of an encrypted member, or of one
//! with a method other than deflate, is its stored bytes.

mod close;
mod structure;

pub(super) use close::close;

use super::{ArchiveBytes, ArchivePart, END_BYTES, OpenedArchive, PartCompression};
use imgdelta_core::{Result, sort::SharedSort};
use imgdelta_wire::Cursor;
use std::ops::Range;
use structure::{DirectoryTail, LocalHeader, ZipMember};

/// Reads a zip file's directory and headers.
pub(super) fn read(slice: &ArchiveBytes<'_>) -> Result<Option<OpenedArchive>> {
    let Some(end) = EndRecord::find(slice)? else { return Ok(None) };
    if end.directory.end - end.directory.start > MOST_DIRECTORY_BYTES || end.entries > MOST_MEMBERS
    {
        return Ok(None);
    }
    let count = end.directory.end - end.directory.start;
    let Some(directory) = slice.read(end.directory.start, count)? else { return Ok(None) };
    let Some(mut members) = central(&directory, end.entries) else { return Ok(None) };
    // The structure has the members in the order of their offsets.
    let mut order: Vec<u32> = (0..).take(members.len()).collect();
    order.shared_sort_by_key(|&member| members[member as usize].offset);
    let mut places = vec![0; order.len()];
    for (place, &member) in (0_u32..).zip(&order) {
        places[member as usize] = place;
    }
    let is_in_order = order.is_sorted();
    members.shared_sort_by_key(|member| member.offset);
    let mut at = 0;
    let mut lead = Vec::new();
    for i in 0..members.len() {
        let start = members[i].offset;
        let Some(local) = LocalHeader::read(slice, start)? else { return Ok(None) };
        let Some(gap) = start.checked_sub(at) else { return Ok(None) };
        if gap > MOST_GAP_BYTES {
            return Ok(None);
        }
        let Some(between) = slice.read(at, gap)? else { return Ok(None) };
        match i.checked_sub(1) {
            Some(before) => members[before].end(&between),
            None => lead = between,
        }
        let data = start + local.bytes();
        let Some(end) = data.checked_add(members[i].packed_bytes) else { return Ok(None) };
        members[i].data = data..end;
        members[i].local = local;
        at = end;
    }
    let Some(gap) = end.directory.start.checked_sub(at).filter(|gap| *gap <= MOST_GAP_BYTES) else {
        return Ok(None);
    };
    let Some(between) = slice.read(at, gap)? else { return Ok(None) };
    match members.last_mut() {
        Some(last) => last.end(&between),
        None => lead = between,
    }
    let parts = members.iter().filter_map(part).collect();
    let order = if is_in_order { Vec::new() } else { places };
    Ok(Some(OpenedArchive {
        parts,
        structure: structure::write(&members, &order, &lead, &end.tail),
    }))
}

/// Returns a member's part, if the member has content.
fn part(member: &ZipMember) -> Option<ArchivePart> {
    if member.data.is_empty() {
        return None;
    }
    let compression = if member.is_inflated() {
        PartCompression::Deflate { crc: member.crc, bytes: member.plain_bytes }
    } else {
        PartCompression::Plain
    };
    Some(ArchivePart { name: member.local.name.clone(), stored: member.data.clone(), compression })
}

/// The end record of a zip file, with the large one if there is one.
struct EndRecord {
    directory: Range<u64>,
    entries: u64,
    tail: DirectoryTail,
}

impl EndRecord {
    /// Finds the end record: the last one whose comment ends with the file.
    fn find(slice: &ArchiveBytes<'_>) -> Result<Option<Self>> {
        let window = slice.bytes().min(END_BYTES as u64 + u64::from(u16::MAX));
        let start = slice.bytes() - window;
        let Some(bytes) = slice.read(start, window)? else { return Ok(None) };
        let is_end = |at: &usize| {
            let comment = bytes.len() - at - END_BYTES;
            bytes[*at..].starts_with(&END) && bytes[at + 20..at + 22] == low_bytes(comment)
        };
        let last = (bytes.len() + 1).checked_sub(END_BYTES);
        let Some(at) = (0..last.unwrap_or(0)).rev().find(is_end) else { return Ok(None) };
        Self::read(slice, &bytes[at..], start + at as u64)
    }

    fn read(slice: &ArchiveBytes<'_>, record: &[u8], at: u64) -> Result<Option<Self>> {
        let mut cursor = Cursor::new(&record[4..]);
        let numbers = (|| {
            let disks = (cursor.u16_le().ok()?, cursor.u16_le().ok()?);
            let entries = (cursor.u16_le().ok()?, cursor.u16_le().ok()?);
            Some((disks, entries, cursor.u32_le().ok()?, cursor.u32_le().ok()?))
        })();
        let Some((disks, entries, bytes, offset)) = numbers else { return Ok(None) };
        let is_large = entries.1 == u16::MAX || bytes == u32::MAX || offset == u32::MAX;
        if disks != (0, 0) || entries.0 != entries.1 {
            return Ok(None);
        }
        let (directory, entries) = if is_large {
            match zip64(slice, at)? {
                Some(large) => large,
                None => return Ok(None),
            }
        } else {
            let (start, bytes) = (u64::from(offset), u64::from(bytes));
            (start..start + bytes, u64::from(entries.1))
        };
        if directory.end > at {
            return Ok(None);
        }
        let tail = if !is_large && directory.end == at {
            DirectoryTail::Usual(record[END_BYTES..].to_vec())
        } else {
            let count = slice.bytes() - directory.end;
            if count > MOST_GAP_BYTES {
                return Ok(None);
            }
            match slice.read(directory.end, count)? {
                Some(bytes) => DirectoryTail::Literal(bytes),
                None => return Ok(None),
            }
        };
        Ok(Some(Self { directory, entries, tail }))
    }
}

/// Reads the large end record, to which the locator before the end record points.
fn zip64(slice: &ArchiveBytes<'_>, end: u64) -> Result<Option<(Range<u64>, u64)>> {
    let Some(at) = end.checked_sub(LOCATOR_BYTES) else { return Ok(None) };
    let Some(locator) = slice.read(at, LOCATOR_BYTES)? else { return Ok(None) };
    let mut cursor = Cursor::new(&locator);
    let offset = (|| {
        (cursor.take(4).ok()? == LOCATOR).then_some(())?;
        cursor.u32_le().ok()?;
        cursor.u64_le().ok()
    })();
    let Some(offset) = offset else { return Ok(None) };
    let Some(record) = slice.read(offset, LARGE_END_BYTES)? else { return Ok(None) };
    let mut cursor = Cursor::new(&record);
    let numbers = (|| {
        (cursor.take(4).ok()? == LARGE_END).then_some(())?;
        // Record length, version made by, version needed, two disk numbers, entries on this disk.
        cursor.take(8 + 2 + 2 + 4 + 4 + 8).ok()?;
        let (entries, bytes, start) =
            (cursor.u64_le().ok()?, cursor.u64_le().ok()?, cursor.u64_le().ok()?);
        Some((start..start.checked_add(bytes)?, entries))
    })();
    Ok(numbers)
}

/// Reads the directory; `None` unless it holds exactly `entries` entries.
fn central(directory: &[u8], entries: u64) -> Option<Vec<ZipMember>> {
    let mut cursor = Cursor::new(directory);
    let mut members = Vec::new();
    for _ in 0..entries {
        members.push(ZipMember::read(&mut cursor)?);
    }
    cursor.is_empty().then_some(members)
}

/// Returns the low two bytes of a count.
fn low_bytes(count: usize) -> [u8; 2] {
    let [low, high, ..] = count.to_le_bytes();
    [low, high]
}

pub(super) const END: [u8; 4] = *b"PK\x05\x06";
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_BYTES: u64 = 20;
const LARGE_END: [u8; 4] = *b"PK\x06\x06";
const LARGE_END_BYTES: u64 = 56;
/// Far beyond the largest jars; a member takes some hundred bytes of memory.
const MOST_MEMBERS: u64 = 200_000;
/// The directory is held whole.
const MOST_DIRECTORY_BYTES: u64 = 64 << 20;
/// Data descriptors and signature blocks lie between members.
const MOST_GAP_BYTES: u64 = 16 << 20;
