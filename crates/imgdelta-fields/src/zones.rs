//! Divides a file into code, tables and other data, and walks any range of a zone for its fields.
//! Never looks at the target: the fields of a base follow from the base's bytes alone.
//!
//! Code is what the sections name as code, since a linker may put tables into the executable
//! segment. Without sections it is the executable segments. Tables with a known layout have their
//! own walkers; every other loaded byte is data. A walk may begin anywhere in a zone: it takes the
//! place that the walk of the bytes before has returned.

use crate::{
    btf, class_archive,
    eh_frame::{self, RecordPlace},
    elf::{self, Machine, MemoryImage, Section},
    fields::{Anchor, Field, Form},
    fields_aarch64, fields_x86_64,
    gopclntab::GoTables,
    object::{ObjectSections, TableWalk},
    view::View,
};
use imgdelta_wire::fixed::{u32_at, u64_at};
use std::ops::Range;

/// Code ranges nearer than this are merged: the bytes between are padding.
const MERGED: usize = 64;

/// Smaller numbers are not addresses, even in an image that starts at 0.
const LOWEST_POINTER: u64 = 0x400;

/// Kinds of ranges, each with its own way to find fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Code,
    EhFrameHdr,
    EhFrame,
    Symbols,
    DynamicSymbols,
    Relocations,
    GoFunctions,
    Debug,
    /// Type records of a relocatable file.
    Types,
    Data,
    /// A file with 32-bit offsets into itself.
    Offsets(View),
}

/// A zone with its range in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ZoneRange {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) zone: Zone,
    /// Number of the section it was made from, for the walkers that need it.
    pub(crate) section: usize,
}

/// The state of a walk at some byte of a zone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WalkPlace {
    /// Position in the zone before which no field starts.
    free: usize,
    record: RecordPlace,
}

/// The inputs of a walk besides the zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ZoneWalk<'a> {
    pub(crate) file: &'a [u8],
    pub(crate) image: &'a MemoryImage,
    /// The hull of all code: a word in data that points there may be an entry of a jump table.
    pub(crate) code: (u32, u32),
    /// The sections of a relocatable file.
    pub(crate) object: Option<&'a ObjectSections>,
}

impl ZoneWalk<'_> {
    /// Adds the fields of a zone that start in `within`, in order, and moves `place` to its end.
    ///
    /// `within` counts from the start of the zone; `anchor` is the one that the zone's entries count
    /// from.
    pub(crate) fn collect(
        &self,
        range: &ZoneRange,
        anchor: Option<(Anchor, u8)>,
        within: Range<usize>,
        place: &mut WalkPlace,
        list: &mut Vec<Field>,
    ) {
        let image = self.image;
        let bytes = &self.file[range.start..range.end];
        let address = image.address(range.start);
        let at = (range.start, address.unwrap_or(0));
        match (range.zone, address, image.machine) {
            (Zone::Code, Some(_), Machine::X86_64) => {
                place.free = fields_x86_64::collect(bytes, at, within, place.free, image, list);
                return;
            }
            (Zone::Code, Some(_), Machine::Aarch64) => {
                fields_aarch64::collect(bytes, at, within, image, list);
                return;
            }
            (Zone::EhFrame, Some(_), _) => {
                place.record = eh_frame::collect(bytes, at, within, place.record, image, list);
                return;
            }
            (Zone::Data, Some(_), Machine::ClassData) => {
                class_archive::collect(bytes, within, image, list);
                return;
            }
            _ => {}
        }
        if let Some(object) = self.object {
            if range.zone == Zone::Types {
                place.free = btf::collect(bytes, range.start, within, place.free, image, list);
                return;
            }
            let table = TableWalk { bytes, at: range.start, within, image, list };
            match range.zone {
                Zone::Symbols => object.symbols(table, range.section),
                Zone::Relocations => object.relocations(table, range.section, self.file),
                _ => {}
            }
            return;
        }
        let mut entries = Entries { bytes, at: range.start, within, image, list };
        match (range.zone, address) {
            (Zone::EhFrameHdr, Some(_)) => anchor.map_or((), |anchor| entries.words(anchor)),
            (Zone::Symbols | Zone::DynamicSymbols, _) => entries.symbols(anchor),
            (Zone::Relocations, Some(_)) => entries.relocations(anchor),
            (Zone::Debug, _) => place.free = entries.debug(self.code, place.free),
            (Zone::Data, Some(address)) => {
                let relative = image.machine == Machine::X86_64;
                entries.data(address, relative.then_some(self.code));
            }
            (Zone::Offsets(view), _) => entries.offsets(view),
            // The fields of Go's tables are found beforehand.
            (Zone::Types | Zone::GoFunctions | Zone::Code | Zone::EhFrame, _) | (_, None) => {}
        }
    }
}

/// Returns the hull of all code zones.
pub(crate) fn code_hull(ranges: &[ZoneRange], image: &MemoryImage) -> (u32, u32) {
    let code = ranges.iter().filter(|range| range.zone == Zone::Code);
    let starts = code.clone().filter_map(|range| image.address(range.start));
    let ends = code.filter_map(|range| image.address(range.end - 1));
    (starts.min().unwrap_or(0), ends.max().unwrap_or(0))
}

/// Returns the anchor that the entries of a zone count from, if there is one.
pub(crate) fn anchor(
    range: &ZoneRange,
    sections: &[Section<'_>],
    image: &MemoryImage,
) -> Option<Anchor> {
    if image.is_object() {
        return None;
    }
    let linked = || sections.get(sections.get(range.section)?.link);
    let anchor = |linked: &Section<'_>, stride| {
        image.relative(linked.address).map(|address| Anchor { address, stride })
    };
    match range.zone {
        Zone::EhFrameHdr => image.address(range.start).map(|address| Anchor { address, stride: 1 }),
        Zone::Symbols | Zone::DynamicSymbols => linked()
            .filter(|names| names.flags & Section::LOADED != 0)
            .and_then(|names| anchor(names, 1)),
        Zone::Relocations if image.address(range.start).is_some() => linked()
            .filter(|symbols| symbols.kind == Section::DYNAMIC_SYMBOLS)
            .and_then(|symbols| anchor(symbols, SYMBOL_BYTES as u32)),
        _ => None,
    }
}

/// Returns the zones of a file, ascending and apart; loaded bytes outside all tables are data.
pub(crate) fn divide(
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
            Section::RELOCATIONS if loaded || image.is_object() => Zone::Relocations,
            Section::PROGRAM | Section::UNWIND
                if image.is_object() && section.name == b".eh_frame" =>
            {
                Zone::EhFrame
            }
            Section::PROGRAM if image.is_object() && section.name == b".BTF" => Zone::Types,
            Section::PROGRAM
                if !loaded && !image.is_object() && section.name.starts_with(b".debug_") =>
            {
                Zone::Debug
            }
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

/// Bytes of an entry of a symbol table, and of one of a relocation table.
const SYMBOL_BYTES: usize = 24;
const RELOCATION_BYTES: usize = 24;

/// A zone of words or entries at fixed places, which is walked between two of its bytes.
struct Entries<'a> {
    bytes: &'a [u8],
    /// Offset of the zone in the file.
    at: usize,
    within: Range<usize>,
    image: &'a MemoryImage,
    list: &'a mut Vec<Field>,
}

impl Entries<'_> {
    /// Adds a field at a position of the zone, if it starts in the walked range and refers to the
    /// image.
    #[inline]
    fn push(&mut self, i: usize, target: i64, form: Form) {
        let target = u32::try_from(target).ok().filter(|&target| target < self.image.span);
        if let Some(target) = target.filter(|_| self.within.contains(&i)) {
            self.list.push(Field { at: (self.at + i) as u32, target, form });
        }
    }

    /// Returns the numbers of the entries of `len` bytes that start or continue in the walked range.
    fn numbers(&self, len: usize) -> Range<usize> {
        self.within.start / len..self.within.end.div_ceil(len).min(self.bytes.len() / len)
    }

    /// Words that count from the start of their own table.
    fn words(&mut self, (anchor, number): (Anchor, u8)) {
        for i in self.numbers(4).map(|i| i * 4) {
            let word = u32_at(self.bytes, i).unwrap_or(0).cast_signed();
            let target = i64::from(anchor.address) + i64::from(word);
            self.push(i, target, Form::Anchored32(number));
        }
    }

    /// Symbol tables: the address of each symbol, and the start of its name if names are loaded.
    fn symbols(&mut self, names: Option<(Anchor, u8)>) {
        for i in self.numbers(SYMBOL_BYTES).map(|i| i * SYMBOL_BYTES) {
            self.anchored(i, names);
            self.absolute(i + 8);
        }
    }

    /// Relocations: the relocated place, its symbol, and the addend.
    fn relocations(&mut self, symbols: Option<(Anchor, u8)>) {
        for i in self.numbers(RELOCATION_BYTES).map(|i| i * RELOCATION_BYTES) {
            self.absolute(i);
            self.anchored(i + 12, symbols);
            self.absolute(i + 16);
        }
    }

    /// Adds a four-byte field that counts from an anchor, if its value is not 0.
    fn anchored(&mut self, i: usize, anchor: Option<(Anchor, u8)>) {
        if let (Some((anchor, number)), Some(value)) = (anchor, u32_at(self.bytes, i))
            && value > 0
        {
            let target = i64::from(anchor.address) + i64::from(value) * i64::from(anchor.stride);
            self.push(i, target, Form::Anchored32(number));
        }
    }

    /// Adds an eight-byte field, if its value is an address.
    fn absolute(&mut self, i: usize) {
        let value = u64_at(self.bytes, i).filter(|&value| value >= LOWEST_POINTER);
        if let Some(target) = value.and_then(|value| self.image.relative(value)) {
            self.push(i, target.into(), Form::Absolute64);
        }
    }

    /// Loaded bytes without a known layout: words that look like addresses or distances to code.
    fn data(&mut self, address: u32, code: Option<(u32, u32)>) {
        let bytes = self.bytes;
        let absolute_start = self.image.low + u64::from(address);
        let skipped = (absolute_start.wrapping_neg() & 7) as usize;
        let relative = |i: usize| {
            let ((low, high), value) = (code?, u32_at(bytes, i)?);
            let target = i64::from(address) + i as i64 + i64::from(value.cast_signed());
            let is_code = target >= i64::from(low) && target <= i64::from(high);
            (value != 0 && is_code).then_some(target)
        };
        let add_relative = |own: &mut Self, i: usize| {
            if let Some(target) = relative(i) {
                own.push(i, target, Form::Relative32InData);
            }
        };
        if skipped >= 4 {
            add_relative(self, skipped - 4);
        }
        let (words, rest) = bytes.get(skipped..).unwrap_or_default().as_chunks::<8>();
        let first = self.within.start.saturating_sub(skipped) / 8;
        let last = self.within.end.saturating_sub(skipped).div_ceil(8).min(words.len());
        for (number, word) in words.iter().enumerate().take(last).skip(first) {
            let i = skipped + number * 8;
            let value = u64::from_le_bytes(*word);
            if value == 0 {
                continue;
            }
            if let Some(target) = self.image.relative(value).filter(|_| value >= LOWEST_POINTER) {
                self.push(i, target.into(), Form::Absolute64InData);
            } else {
                add_relative(self, i);
                add_relative(self, i + 4);
            }
        }
        if rest.len() >= 4 {
            add_relative(self, bytes.len() - rest.len());
        }
    }

    /// Debug sections: addresses of code at any offset, among numbers that do not look like them.
    ///
    /// Returns the first position behind the last field.
    fn debug(&mut self, (low, high): (u32, u32), free: usize) -> usize {
        // Addresses of programs are short, so the upper half rejects nearly every position.
        let upper = (self.image.low >> 32) as u32;
        let is_near = |half: u32| half == upper || half == upper.wrapping_add(1);
        let mut i = self.within.start.max(free);
        while i < self.within.end
            && let Some(word) = self.bytes.get(i..).and_then(|rest| rest.first_chunk::<8>())
        {
            let value = u64::from_le_bytes(*word);
            let near = is_near((value >> 32) as u32);
            let target = near.then(|| self.image.relative(value)).flatten();
            match target.filter(|target| (low..=high).contains(target) && value >= LOWEST_POINTER) {
                Some(target) => {
                    self.push(i, target.into(), Form::Absolute64InData);
                    i += 8;
                }
                None => i += 1,
            }
        }
        i
    }

    /// Files that hold 32-bit offsets into themselves, such as message catalogues.
    ///
    /// Any aligned word that could be an offset counts as one; page flags turn others off.
    fn offsets(&mut self, view: View) {
        let big = view == View::OffsetsBig;
        let form = if big { Form::Offset32Big } else { Form::Offset32 };
        for i in self.numbers(4).map(|i| i * 4) {
            let word = u32_at(self.bytes, i).unwrap_or(0);
            let target = if big { word.swap_bytes() } else { word };
            if target != 0 {
                self.push(i, target.into(), form);
            }
        }
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
        let (image, within) = (&image, 0..bytes.len());
        let mut entries = Entries { bytes: &bytes, at: 100, within, image, list: &mut list };
        assert_eq!(entries.debug((0x1000, 0x1800), 0), 20);
        let found: Vec<_> = list.iter().map(|field| (field.at, field.target)).collect();
        assert_eq!(found, [(103, 0x1234)]);
    }
}
