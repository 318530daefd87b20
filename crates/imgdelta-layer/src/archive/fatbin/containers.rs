//! The containers with programs for graphics processors in an ELF file.
//! Reads headers only, never a compressed program: with zeros for these the result is the same.

use super::super::elf::{ReadBytes, SectionTable};
use imgdelta_core::{Result, sort::SharedSort};
use imgdelta_wire::fixed::{u16_at, u32_at, u64_at};
use imgdelta_zstd::lz4::MOST_PLAIN_BYTES;
use std::ops::Range;

/// A compressed program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackedProgram {
    /// Range of its LZ4 block in the file.
    pub(super) stored: Range<u64>,
    pub(super) plain_bytes: u64,
    /// 1 for assembly, 2 for machine code.
    pub(super) kind: u16,
    /// Version of the processor, such as 86.
    pub(super) architecture: u32,
}

/// Finds the compressed programs, in the order of the file; `None` if there is none or the headers
/// are not valid.
pub(super) fn programs(bytes: u64, read: &mut ReadBytes<'_>) -> Result<Option<Vec<PackedProgram>>> {
    let Some(table) = SectionTable::read(bytes, read)? else { return Ok(None) };
    let has_containers = |number: &usize| {
        let is_named = |prefix: &&[u8]| table.has_name_prefix(*number, prefix);
        table.has_content(*number) && SECTIONS.iter().any(is_named)
    };
    let numbers = (0..table.count()).filter(has_containers);
    let mut sections: Vec<Range<u64>> = numbers.map(|number| table.content(number)).collect();
    sections.shared_sort_by_key(|section| (section.start, section.end));
    let mut walk = ContainerWalk { read, programs: Vec::new(), entries: 0 };
    let mut end = 0;
    for section in sections {
        // A section that overlaps another one could have a header in a program.
        if section.start < end || section.end > bytes {
            continue;
        }
        end = section.end;
        if !walk.section(section)? {
            return Ok(None);
        }
    }
    let programs = walk.programs;
    // The headers of the file must not change when programs become zeros.
    let mut fixed = table.ranges().into_iter();
    let overlaps = |fixed: &Range<u64>| {
        let behind = programs.partition_point(|program| program.stored.end <= fixed.start);
        programs.get(behind).is_some_and(|program| program.stored.start < fixed.end)
    };
    let is_right = !programs.is_empty() && !fixed.any(|fixed| overlaps(&fixed));
    Ok(is_right.then_some(programs))
}

struct ContainerWalk<'a, 'b> {
    read: &'a mut ReadBytes<'b>,
    programs: Vec<PackedProgram>,
    entries: usize,
}

impl ContainerWalk<'_, '_> {
    /// Reads the containers of a section, up to what is not one; false if there are too many entries.
    fn section(&mut self, section: Range<u64>) -> Result<bool> {
        let mut at = section.start;
        while section.end.saturating_sub(at) >= CONTAINER_BYTES {
            let Some(header) = (self.read)(at, CONTAINER_BYTES)? else { break };
            let start = at + CONTAINER_BYTES;
            let end = u64_at(&header, 8).and_then(|bytes| start.checked_add(bytes));
            let Some(end) = end.filter(|end| *end <= section.end) else { break };
            if !header.starts_with(CONTAINER_START) {
                break;
            }
            if !self.container(start..end)? {
                return Ok(false);
            }
            at = section.start + (end - section.start).next_multiple_of(ALIGNMENT);
        }
        Ok(true)
    }

    /// Reads the entries of a container, up to one that is not valid.
    fn container(&mut self, range: Range<u64>) -> Result<bool> {
        let mut at = range.start;
        while range.end - at >= ENTRY_BYTES {
            let Some(header) = (self.read)(at, ENTRY_BYTES)? else { break };
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Ok(false);
            }
            let Some((end, program)) = entry(&header, at, range.end) else { break };
            self.programs.extend(program);
            at = end;
        }
        Ok(true)
    }
}

/// Returns the end of an entry, and its program if that is compressed; `None` if the header is not
/// valid.
fn entry(header: &[u8], at: u64, most_end: u64) -> Option<(u64, Option<PackedProgram>)> {
    let header_bytes = u64::from(u32_at(header, 4)?);
    let start = at.checked_add(header_bytes).filter(|_| header_bytes >= ENTRY_BYTES)?;
    let body_bytes = u64_at(header, 8)?;
    let end = start.checked_add(body_bytes).filter(|end| *end <= most_end)?;
    let stored_bytes = u64::from(u32_at(header, 16)?);
    let plain_bytes = u64_at(header, 56)?;
    let is_packed = u64_at(header, 40)? & (IS_LZ4 | IS_HIDDEN) == IS_LZ4
        && (1..=body_bytes).contains(&stored_bytes)
        && (1..=MOST_PLAIN_BYTES).contains(&stored_bytes)
        && (1..=MOST_PLAIN_BYTES).contains(&plain_bytes);
    let program = PackedProgram {
        stored: start..start + stored_bytes,
        plain_bytes,
        kind: u16_at(header, 0)?,
        architecture: u32_at(header, 28)?,
    };
    Some((end, is_packed.then_some(program)))
}

/// Beginnings of the names of sections with containers: of programs and of object files.
const SECTIONS: [&[u8]; 2] = [b".nv_fatbin", b"__nv_relfatbin"];
/// Magic number, version 1, and length of the header.
const CONTAINER_START: &[u8] = b"\x50\xed\x55\xba\x01\x00\x10\x00";
const CONTAINER_BYTES: u64 = 16;
/// Least length of an entry's header.
const ENTRY_BYTES: u64 = 64;
const ALIGNMENT: u64 = 8;
/// Flag of a program that is an LZ4 block.
const IS_LZ4: u64 = 0x2000;
/// Flag of a program whose block is encrypted. Libraries have such programs next to others.
const IS_HIDDEN: u64 = 0x1_0000;
/// Far more than the largest libraries have.
const MOST_ENTRIES: usize = 65_536;
