//! Divides a file into code, tables and other data, and collects the fields of each.
//! Never looks at the target: the fields of a base follow from the base's bytes alone.
//!
//! Code is what the sections name as code, since a linker may put tables into the executable
//! segment. Without sections it is the executable segments. Tables with a known layout have their
//! own walkers; every other loaded byte is data. Cost: one pass over the file and 12 bytes per
//! field, one field in twenty bytes of code.

use crate::{
    eh_frame,
    elf::{self, Machine, MemoryImage, Section},
    fields::{Field, Fields, Form},
    fields_aarch64, fields_x86_64,
    gopclntab::GoTables,
    gotypes,
};
use imgdelta_wire::fixed::{u32_at, u64_at};

/// Code ranges nearer than this are merged: the bytes between are padding.
const MERGED: usize = 64;

/// Smaller numbers are not addresses, even in an image that starts at 0.
const LOWEST_POINTER: u64 = 0x400;

/// Kinds of ranges, each with its own way to find fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Code,
    EhFrameHdr,
    EhFrame,
    Symbols,
    DynamicSymbols,
    Relocations,
    GoFunctions,
    Debug,
    Data,
}

/// A zone with its range in the file.
#[derive(Debug, Clone, Copy)]
struct ZoneRange {
    start: usize,
    end: usize,
    zone: Zone,
    /// Number of the section it was made from, for the walkers that need it.
    section: usize,
}

/// Returns all fields of `file`, which `image` was parsed from.
pub(crate) fn fields(file: &[u8], image: &MemoryImage) -> Fields {
    let sections = elf::sections(file);
    let tables = GoTables::locate(file, image, &sections);
    let ranges = divide(file, image, &sections, tables.as_ref());
    // Code has a field in about twenty bytes.
    let list = Vec::with_capacity(file.len() / 20);
    let mut fields = Fields { list, anchors: Vec::new() };
    if let Some(tables) = &tables {
        // Found first: of two fields at one place, the sort below keeps the first.
        gotypes::collect(file, image, &sections, tables, &mut fields);
    }
    // The hull of all code: a word in data that points there may be an entry of a jump table.
    let code = ranges.iter().filter(|range| range.zone == Zone::Code);
    let starts = code.clone().filter_map(|range| image.address(range.start));
    let ends = code.filter_map(|range| image.address(range.end - 1));
    let hull = (starts.min().unwrap_or(0), ends.max().unwrap_or(0));
    for range in &ranges {
        let bytes = &file[range.start..range.end];
        let section = sections.get(range.section);
        let address = image.address(range.start);
        match (range.zone, address) {
            (Zone::Code, Some(address)) => match image.machine {
                Machine::X86_64 => {
                    fields_x86_64::collect(bytes, range.start, address, image, &mut fields.list);
                }
                Machine::Aarch64 => {
                    fields_aarch64::collect(bytes, range.start, address, image, &mut fields.list);
                }
                Machine::None => {}
            },
            (Zone::EhFrameHdr, Some(address)) => {
                anchored_words(bytes, range.start, address, image, &mut fields);
            }
            (Zone::EhFrame, Some(address)) => {
                eh_frame::collect(bytes, range.start, address, image, &mut fields.list);
            }
            (Zone::GoFunctions, _) => {
                tables.as_ref().and_then(|tables| tables.collect(file, image, &mut fields));
            }
            (Zone::Symbols | Zone::DynamicSymbols, _) => {
                let names = section.and_then(|section| sections.get(section.link));
                symbols(bytes, range.start, names, image, &mut fields);
            }
            (Zone::Relocations, Some(_)) => {
                let symbols = section.and_then(|section| sections.get(section.link));
                relocations(bytes, range.start, symbols, image, &mut fields);
            }
            (Zone::Debug, _) => debug(bytes, range.start, image, hull, &mut fields.list),
            (Zone::Data, Some(address)) => {
                let relative = image.machine == Machine::X86_64;
                data(
                    bytes,
                    range.start,
                    address,
                    image,
                    relative.then_some(hull),
                    &mut fields.list,
                );
            }
            (_, None) => {}
        }
    }
    // A hostile file may have one place walked twice; two fields on one byte would add up.
    let apart = |pair: &[Field]| pair[0].at as usize + pair[0].form.len() <= pair[1].at as usize;
    if fields.list.windows(2).all(apart) {
        return fields;
    }
    let mut end = 0;
    fields.list.sort_by_key(|field| field.at);
    fields.list.retain(|field| {
        let free = field.at as usize >= end;
        if free {
            end = field.at as usize + field.form.len();
        }
        free
    });
    fields
}

/// Returns the zones of a file, ascending and apart; loaded bytes outside all tables are data.
fn divide(
    file: &[u8],
    image: &MemoryImage,
    sections: &[Section<'_>],
    tables: Option<&GoTables>,
) -> Vec<ZoneRange> {
    let mut claimed: Vec<ZoneRange> = Vec::new();
    let mut claim = |start: usize, end: usize, zone, section| {
        if start < end && end <= file.len() {
            claimed.push(ZoneRange { start, end, zone, section });
        }
    };
    let mut code_known = false;
    for (number, section) in sections.iter().enumerate() {
        let end = section.offset + section.len;
        let loaded = section.flags & Section::LOADED != 0;
        let zone = match section.kind {
            Section::PROGRAM if loaded && section.flags & Section::EXECUTABLE != 0 => Zone::Code,
            Section::SYMBOLS if !loaded => Zone::Symbols,
            Section::DYNAMIC_SYMBOLS if loaded => Zone::DynamicSymbols,
            Section::RELOCATIONS if loaded => Zone::Relocations,
            Section::PROGRAM if !loaded && section.name.starts_with(b".debug_") => Zone::Debug,
            _ => continue,
        };
        code_known |= zone == Zone::Code;
        claim(section.offset, end, zone, number);
    }
    if let Some((address, len)) = image.eh_frame_hdr
        && let Some(start) = image.offset(address)
    {
        claim(start, start.saturating_add(len as usize), Zone::EhFrameHdr, usize::MAX);
        if let Some((start, end)) = eh_frame::locate(file, start, address, image) {
            claim(start, end, Zone::EhFrame, usize::MAX);
        }
    }
    if let Some(tables) = tables {
        claim(tables.offset, tables.end, Zone::GoFunctions, usize::MAX);
    }
    if !code_known {
        for segment in image.segments.iter().filter(|segment| segment.executable) {
            let start = segment.offset.max(image.header_len);
            claim(start, segment.offset_end(), Zone::Code, usize::MAX);
        }
    }
    // Of zones that overlap, the one that starts first keeps the bytes.
    claimed.sort_by_key(|range| range.start);
    let mut ranges: Vec<ZoneRange> = Vec::with_capacity(claimed.len() * 2);
    let mut loaded = image.segments.iter().peekable();
    let mut at = 0;
    for mut range in claimed {
        range.start = range.start.max(at);
        if range.start >= range.end {
            continue;
        }
        if let Some(last) = ranges.last_mut()
            && last.zone == Zone::Code
            && range.zone == Zone::Code
            && range.start - last.end < MERGED
            && image.address(last.start).is_some_and(|address| {
                image.address(range.start) == address.checked_add((range.start - last.start) as u32)
            })
        {
            last.end = range.end;
            at = range.end;
            continue;
        }
        unclaimed(&mut ranges, &mut loaded, at, range.start);
        // A zone ends with its segment, since addresses continue elsewhere.
        let segment = image.segments.iter().find(|s| s.offset_end() > range.start);
        if let Some(segment) = segment.filter(|segment| segment.offset <= range.start) {
            range.end = range.end.min(segment.offset_end());
        }
        at = range.end;
        ranges.push(range);
    }
    unclaimed(&mut ranges, &mut loaded, at, file.len());
    ranges
}

/// Adds the loaded bytes between `from` and `to` as data.
fn unclaimed<'a>(
    ranges: &mut Vec<ZoneRange>,
    loaded: &mut std::iter::Peekable<impl Iterator<Item = &'a elf::Segment>>,
    from: usize,
    to: usize,
) {
    while let Some(segment) = loaded.peek().filter(|segment| segment.offset < to) {
        let start = segment.offset.max(from);
        let end = segment.offset_end().min(to);
        if start < end {
            ranges.push(ZoneRange { start, end, zone: Zone::Data, section: usize::MAX });
        }
        if segment.offset_end() > to {
            break;
        }
        loaded.next();
    }
}

/// Adds words that count from the start of their own table.
fn anchored_words(bytes: &[u8], at: usize, address: u32, image: &MemoryImage, fields: &mut Fields) {
    let Some(anchor) = fields.anchor(address, 1) else { return };
    for (i, word) in bytes.as_chunks::<4>().0.iter().enumerate() {
        let target = i64::from(address) + i64::from(i32::from_le_bytes(*word));
        fields.push(at + i * 4, target, Form::Anchored32(anchor), image.span);
    }
}

/// Symbol tables: the address of each symbol, and the start of its name if names are loaded.
fn symbols(
    bytes: &[u8],
    at: usize,
    names: Option<&Section<'_>>,
    image: &MemoryImage,
    fields: &mut Fields,
) {
    const ENTRY: usize = 24;
    let names = names
        .filter(|names| names.flags & Section::LOADED != 0)
        .and_then(|names| image.relative(names.address));
    let names = names.and_then(|names| Some((names, fields.anchor(names, 1)?)));
    for (i, entry) in bytes.chunks_exact(ENTRY).enumerate() {
        if let (Some((names, anchor)), Some(name)) = (names, u32_at(entry, 0))
            && name > 0
        {
            let target = i64::from(names) + i64::from(name);
            fields.push(at + i * ENTRY, target, Form::Anchored32(anchor), image.span);
        }
        absolute(fields, at + i * ENTRY + 8, entry, 8, Form::Absolute64, image);
    }
}

/// Relocations: the relocated place, its symbol, and the addend.
fn relocations(
    bytes: &[u8],
    at: usize,
    symbols: Option<&Section<'_>>,
    image: &MemoryImage,
    fields: &mut Fields,
) {
    const ENTRY: usize = 24;
    const SYMBOL: u32 = 24;
    let symbols = symbols
        .filter(|symbols| symbols.kind == Section::DYNAMIC_SYMBOLS)
        .and_then(|symbols| image.relative(symbols.address));
    let symbols = symbols.and_then(|symbols| Some((symbols, fields.anchor(symbols, SYMBOL)?)));
    for (i, entry) in bytes.chunks_exact(ENTRY).enumerate() {
        let at = at + i * ENTRY;
        absolute(fields, at, entry, 0, Form::Absolute64, image);
        if let (Some((symbols, anchor)), Some(symbol)) = (symbols, u32_at(entry, 12))
            && symbol > 0
        {
            let target = i64::from(symbols) + i64::from(symbol) * i64::from(SYMBOL);
            fields.push(at + 12, target, Form::Anchored32(anchor), image.span);
        }
        absolute(fields, at + 16, entry, 16, Form::Absolute64, image);
    }
}

/// Loaded bytes without a known layout: words that look like addresses or distances to code.
fn data(
    bytes: &[u8],
    at: usize,
    address: u32,
    image: &MemoryImage,
    code: Option<(u32, u32)>,
    list: &mut Vec<Field>,
) {
    let absolute_start = image.low + u64::from(address);
    let skipped = (absolute_start.wrapping_neg() & 7) as usize;
    let relative = |list: &mut Vec<Field>, i: usize| {
        let (Some((low, high)), Some(value)) = (code, u32_at(bytes, i)) else { return };
        let target = i64::from(address) + i as i64 + i64::from(value.cast_signed());
        if value != 0 && target >= i64::from(low) && target <= i64::from(high) {
            let target = target as u32;
            list.push(Field { at: (at + i) as u32, target, form: Form::Relative32InData });
        }
    };
    if skipped >= 4 {
        relative(list, skipped - 4);
    }
    let aligned = bytes.get(skipped..).unwrap_or_default();
    let (words, rest) = aligned.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let i = skipped + i * 8;
        let value = u64::from_le_bytes(*word);
        if value == 0 {
            continue;
        }
        if let Some(target) = image.relative(value).filter(|_| value >= LOWEST_POINTER) {
            list.push(Field { at: (at + i) as u32, target, form: Form::Absolute64InData });
        } else {
            relative(list, i);
            relative(list, i + 4);
        }
    }
    if rest.len() >= 4 {
        relative(list, bytes.len() - rest.len());
    }
}

/// Debug sections: addresses of code at any offset, among numbers that do not look like them.
fn debug(
    bytes: &[u8],
    at: usize,
    image: &MemoryImage,
    (low, high): (u32, u32),
    list: &mut Vec<Field>,
) {
    // Addresses of programs are short, so the upper half rejects nearly every position.
    let upper = (image.low >> 32) as u32;
    let is_near = |half: u32| half == upper || half == upper.wrapping_add(1);
    let mut i = 0;
    while let Some(word) = bytes.get(i..).and_then(|rest| rest.first_chunk::<8>()) {
        let value = u64::from_le_bytes(*word);
        let target = is_near((value >> 32) as u32).then(|| image.relative(value)).flatten();
        match target.filter(|target| (low..=high).contains(target) && value >= LOWEST_POINTER) {
            Some(target) => {
                list.push(Field { at: (at + i) as u32, target, form: Form::Absolute64InData });
                i += 8;
            }
            None => i += 1,
        }
    }
}

/// Adds an eight-byte field, if its value is an address.
fn absolute(
    fields: &mut Fields,
    at: usize,
    bytes: &[u8],
    i: usize,
    form: Form,
    image: &MemoryImage,
) {
    let value = u64_at(bytes, i).filter(|&value| value >= LOWEST_POINTER);
    if let Some(target) = value.and_then(|value| image.relative(value)) {
        fields.list.push(Field { at: at as u32, target, form });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debuggers_addresses_are_found_at_any_offset() {
        let mut image = MemoryImage::flat(0x2000).unwrap();
        image.low = 0x40_0000;
        let mut bytes = vec![0x11; 3];
        for value in [0x40_1234_u64, 0x40_1fff, 0x40_0100] {
            bytes.extend(value.to_le_bytes());
        }
        let mut list = Vec::new();
        debug(&bytes, 100, &image, (0x1000, 0x1800), &mut list);
        let found: Vec<_> = list.iter().map(|field| (field.at, field.target)).collect();
        assert_eq!(found, [(103, 0x1234)]);
    }
}
