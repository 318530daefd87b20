//! Encoder only: the places of a program's functions.
//! Never reads an instruction: bounds come from unwind records, or from the symbols of a relocatable
//! file. Programs with neither, such as Go's, have no functions here.

use crate::{
    eh_frame,
    elf::{MemoryImage, Segment},
    object::ObjectSections,
};
use imgdelta_instructions::FunctionRange;

/// Returns the ranges of a file's functions, ascending and apart.
///
/// `object` are the sections of a relocatable file.
pub fn ranges(
    file: &[u8],
    image: &MemoryImage,
    object: Option<&ObjectSections>,
) -> Vec<FunctionRange> {
    match object {
        Some(object) => within_code(object.functions(file), image),
        None => recorded(file, image),
    }
}

/// Returns the ranges of the functions that have unwind records.
fn recorded(file: &[u8], image: &MemoryImage) -> Vec<FunctionRange> {
    let records = image.eh_frame_hdr.and_then(|(table, _)| {
        let (start, end) = eh_frame::locate(file, image.offset(table)?, table, image)?;
        Some(imgdelta_instructions::unwind::functions(&file[start..end], image.address(start)?))
    });
    within_code(records.unwrap_or_default(), image)
}

/// Returns the ranges in the file of functions with these addresses and lengths.
fn within_code(mut functions: Vec<(u32, u32)>, image: &MemoryImage) -> Vec<FunctionRange> {
    functions.sort_unstable();
    let mut ranges: Vec<FunctionRange> = Vec::with_capacity(functions.len());
    let code: Vec<&Segment> = image.segments.iter().filter(|s| s.executable).collect();
    for (start, len) in functions {
        let Some(segment) = code.iter().find(|segment| segment.data_end() > start) else { break };
        let Some(within) = start.checked_sub(segment.start) else { continue };
        let offset = segment.offset + within as usize;
        let end = offset.saturating_add(len as usize).min(segment.offset_end());
        if offset < end && ranges.last().is_none_or(|last| last.1 <= offset) {
            ranges.push((offset, end));
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_from_unwind_records_ascending_and_apart() {
        const RECORDS: u32 = 0x300;
        let mut file = vec![0x90; RECORDS as usize];
        file[0x200..0x204].copy_from_slice(&[1, 0x1b, 3, 0x3b]);
        file[0x204..0x208].copy_from_slice(&(RECORDS - 0x204).to_le_bytes());
        // The common record: distances of four bytes, relative to their place.
        file.extend([20, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b]);
        file.resize(file.len() + 7, 0);
        for (start, len) in
            [(0x100_u32, 0x20_u32), (0x40, 0x30), (0x110, 8), (0x150, 0), (0x9999, 9)]
        {
            let here = file.len() as u32;
            let pointer = here + 4 - RECORDS;
            for word in [16, pointer, start.wrapping_sub(here + 8), len, 0] {
                file.extend(word.to_le_bytes());
            }
        }
        file.extend([0; 4]);
        let mut image = MemoryImage::flat(file.len()).unwrap();
        image.segments[0].executable = true;
        image.eh_frame_hdr = Some((0x200, 8));
        assert_eq!(recorded(&file, &image), [(0x40, 0x70), (0x100, 0x120)]);
        image.segments[0].executable = false;
        assert_eq!(recorded(&file, &image), []);
    }
}
