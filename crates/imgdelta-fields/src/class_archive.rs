//! The class-data archives of Java virtual machines (`classes.jsa`), as memory images.
//! Never interprets the objects: the headers say where they are mapped, and their words refer.
//!
//! `HotSpot` writes its own objects into such an archive as they lie in memory, with absolute pointers
//! for a requested address, and objects of Java with references of 32 bits. Its header has a record
//! for each region of the file. The layout of the header changes with versions, so the records are
//! found by what they must say: each region begins on the page behind the one before.

use crate::{
    elf::{HeapRegion, Machine, MemoryImage, Segment},
    fields::{Anchor, Field, Form},
};
use imgdelta_wire::fixed::{u32_at, u64_at};
use std::ops::Range;

/// The first four bytes of an archive.
const MAGIC: [u8; 4] = 0xf00b_aba2_u32.to_le_bytes();

/// Bytes at the front that are read: they hold the records and the requested address.
const HEADER: usize = 1024;

/// Regions begin at multiples of this, and the first one not far behind the front.
const PAGE: u64 = 4096;
const LAST_START: u64 = 64 << 10;

/// Values of the requested address, which is a multiple of 4 GiB: 32 GiB in all archives seen. Other
/// words of the header are flags and small numbers.
const REQUESTED: Range<u64> = 2 << 32..1 << 40;

/// Archives have one or two; more would make every word slow.
const MOST_HEAPS: usize = 4;

/// A record of the header.
struct RegionRecord {
    offset: u64,
    /// Distance from the requested address, or the reference to the first byte.
    place: u64,
    len: u64,
}

/// Reads the header at the front of `bytes`; the file is `file_len` bytes long.
pub(crate) fn image(bytes: &[u8], file_len: usize) -> Option<MemoryImage> {
    if bytes.get(..HEADER)?.first_chunk() != Some(&MAGIC) {
        return None;
    }
    let regions = regions(bytes, file_len as u64);
    let first = regions.first()?;
    let mut words = (8..HEADER).step_by(8).filter_map(|at| u64_at(bytes, at));
    let low = words.find(|word| REQUESTED.contains(word) && word << 32 == 0)?;
    // Newer machines keep the page of the header in front of the first region.
    let (offset, start) = (usize::try_from(first.offset).ok()?, u32::try_from(first.place).ok()?);
    let memory_len = u32::try_from(file_len.checked_sub(offset)?).ok()?;
    let span = start.checked_add(memory_len).filter(|&span| span < u32::MAX)?;
    let heaps = regions.iter().filter_map(|region| {
        let reference = u32::try_from(region.place).ok()?;
        let len =
            u32::try_from(region.len).ok().filter(|len| reference.checked_add(*len).is_some())?;
        let start = start + u32::try_from(region.offset - first.offset).ok()?;
        // What the first regions say there lies in the file.
        (region.place > file_len as u64).then_some(HeapRegion { start, len, reference })
    });
    let heaps = heaps.take(MOST_HEAPS).collect();
    let segment =
        Segment { offset, file_len: memory_len as usize, start, memory_len, executable: false };
    Some(MemoryImage {
        machine: Machine::ClassData,
        low,
        span,
        segments: vec![segment],
        eh_frame_hdr: None,
        header_len: HEADER,
        heaps,
        sections_at: None,
    })
}

/// Returns the regions of a file in their order.
fn regions(bytes: &[u8], file_len: u64) -> Vec<RegionRecord> {
    let mut regions: Vec<RegionRecord> = Vec::new();
    let mut at = 8;
    while at + RECORD <= HEADER
        && let Some(region) = record(bytes, at)
    {
        let is_next = match regions.last() {
            None => {
                let is_near = region.offset > 0 && region.offset <= LAST_START;
                is_near && (region.place == 0 || region.place == region.offset)
            }
            Some(last) => region.offset == (last.offset + last.len).next_multiple_of(PAGE),
        };
        let end = region.offset.checked_add(region.len).filter(|&end| end <= file_len);
        if is_next && region.offset % PAGE == 0 && region.len > 0 && end.is_some() {
            regions.push(region);
            at += RECORD;
        } else {
            at += 8;
        }
    }
    regions
}

/// Bytes of a record that matter.
const RECORD: usize = 24;

fn record(bytes: &[u8], at: usize) -> Option<RegionRecord> {
    Some(RegionRecord {
        offset: u64_at(bytes, at)?,
        place: u64_at(bytes, at + 8)?,
        len: u64_at(bytes, at + 16)?,
    })
}

/// Returns the anchors of references to Java objects: the starts of the heap regions.
pub(crate) fn anchors(image: &MemoryImage) -> Vec<Anchor> {
    image.heaps.iter().map(|heap| Anchor { address: heap.start, stride: 1 }).collect()
}

/// Adds the fields that start in `within`, which counts from the first byte of the image's segment.
pub(crate) fn collect(
    bytes: &[u8],
    within: Range<usize>,
    image: &MemoryImage,
    list: &mut Vec<Field>,
) {
    let segment = image.segments[0];
    let mut push = |i: usize, target: u32, form| {
        if within.contains(&i) && target < image.span {
            list.push(Field { at: (segment.offset + i) as u32, target, form });
        }
    };
    let heap_of = |word: u32, start: fn(&HeapRegion) -> u32| {
        (0..).zip(&image.heaps).find(|(_, heap)| word.wrapping_sub(start(heap)) < heap.len)
    };
    for i in (within.start / 8 * 8..within.end).step_by(8) {
        let Some(value) = u64_at(bytes, i) else { break };
        if let Some(target) = image.relative(value) {
            push(i, target, Form::Absolute64InData);
            continue;
        }
        if heap_of(segment.start + i as u32, |heap| heap.start).is_none() {
            continue;
        }
        for i in [i, i + 4] {
            let word = u32_at(bytes, i).unwrap_or(0);
            if let Some((number, heap)) = heap_of(word, |heap| heap.reference) {
                push(i, heap.start + (word - heap.reference), Form::Anchored32(number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of an archive of 40 KiB: three regions, of which the last is a heap.
    fn header() -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        let mut put =
            |at: usize, number: u64| bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        for (at, record) in [
            (0x30, [4096, 0, 5000]),
            (0x90, [12_288, 8192, 8000]),
            (0xf0, [20_480, 0xffe0_0000, 20_000]),
        ] {
            record.into_iter().enumerate().for_each(|(i, number)| put(at + 8 * i, number));
        }
        put(0x200, 0x1_0000_0000);
        put(0x390, 0x8_0000_0000);
        bytes
    }

    const LEN: usize = 40_960;

    #[test]
    fn the_header_says_where_regions_are_mapped() {
        let found = image(&header(), LEN).unwrap();
        assert_eq!((found.low, found.span), (0x8_0000_0000, 36_864));
        let heap = HeapRegion { start: 16_384, len: 20_000, reference: 0xffe0_0000 };
        assert_eq!(found.heaps, [heap]);
        assert_eq!(found.address(4096), Some(0));
        // A machine that maps the page of the header, too.
        let mut newer = header();
        newer[0x38..0x40].copy_from_slice(&4096_u64.to_le_bytes());
        let found = image(&newer, LEN).unwrap();
        assert_eq!((found.address(4096), found.heaps[0].start), (Some(4096), 20_480));
    }

    #[test]
    fn headers_that_make_no_sense_are_of_no_image() {
        let without = |range: Range<usize>| {
            let mut bytes = header();
            bytes[range].fill(0);
            image(&bytes, LEN)
        };
        assert_eq!(without(0..1), None, "another magic");
        assert_eq!(without(0x30..0x48), None, "no first region");
        assert_eq!(without(0x390..0x398), None, "no address");
        assert_eq!(image(&header()[..HEADER - 1], LEN), None, "a header that is cut");
        assert_eq!(image(&header(), 9000), None, "a region behind the end");
        assert!(without(0xf0..0x108).unwrap().heaps.is_empty());
    }

    #[test]
    fn pointers_and_references_of_heaps_are_fields() {
        let found = image(&header(), LEN).unwrap();
        let mut bytes = vec![0; LEN - 4096];
        let mut put = |at: usize, word: u64| bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        put(16, 0x8_0000_0100);
        put(24, 0x8_0001_0000); // behind the image
        put(32, 0xffe0_0010); // not in a heap
        put(16_392, 0xffe0_0010 << 32 | 7);
        put(16_400, 0x8_0000_0200);
        let fields = |within| {
            let mut list = Vec::new();
            collect(&bytes, within, &found, &mut list);
            list.iter().map(|field| (field.at, field.target, field.form)).collect::<Vec<_>>()
        };
        let all = [
            (4112, 0x100, Form::Absolute64InData),
            (20_492, 16_400, Form::Anchored32(0)),
            (20_496, 0x200, Form::Absolute64InData),
        ];
        assert_eq!(fields(0..bytes.len()), all);
        assert_eq!(fields(16..17), all[..1]);
        assert_eq!(fields(17..16_396), []);
        assert_eq!(fields(16_396..16_397), all[1..2]);
    }
}
