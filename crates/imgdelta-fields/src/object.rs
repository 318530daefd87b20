//! Relocatable ELF files, such as kernel modules and members of static libraries, as images.
//! Never interprets a relocation: the entries say which places refer to which.
//!
//! All addresses in such a file are 0, and code has zeros where a linker puts references. Here the
//! address of a byte is its place in the file, and sections without bytes follow behind the end.
//! Relocations and symbols count from the section that they refer to, which is their anchor. Tables
//! with one relocation for each of their words are common; there, the place follows from the number
//! of the entry.

use crate::{
    elf::{FILE_HEADER, Machine, MemoryImage, NAMES, Section, Segment, TYPES},
    fields::{Anchor, Field, Form},
};
use imgdelta_wire::fixed::{u16_at, u32_at, u64_at};
use std::ops::Range;

/// Bytes of a section's header, of a symbol and of a relocation.
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;
const RELOCATION: usize = 24;

/// Places of numbers in the headers.
const TABLE_PLACE: usize = 40;
const KIND: usize = 4;
const OFFSET: usize = 24;
const LEN: usize = 32;
const ALIGNMENT: usize = 48;

const NO_BITS: u32 = 8;

/// As in programs; more would make every look-up of an address slow.
const MAX_SEGMENTS: usize = 64;

/// Returns true if the file with this front may be an object.
pub fn is_object(front: &[u8]) -> bool {
    const OBJECT: u16 = 1;
    front.starts_with(b"\x7fELF\x02\x01\x01")
        && u16_at(front, 16) == Some(OBJECT)
        && machine(front).is_some()
        && u64_at(front, 32) == Some(0)
        && u16_at(front, 58) == Some(SECTION_HEADER as u16)
}

fn machine(front: &[u8]) -> Option<Machine> {
    match u16_at(front, 18)? {
        62 => Some(Machine::X86_64),
        183 => Some(Machine::Aarch64),
        _ => None,
    }
}

/// Returns the headers of a whole file: that of the file, and those of its sections.
pub fn headers(file: &[u8]) -> Option<Vec<u8>> {
    let at = usize::try_from(u64_at(file, TABLE_PLACE).filter(|_| is_object(file))?).ok()?;
    let len = usize::from(u16_at(file, 60)?) * SECTION_HEADER;
    let table = file.get(at..at.checked_add(len)?)?;
    Some([&file[..FILE_HEADER], table].concat())
}

/// Reads the headers of a file of `file_len` bytes.
pub fn image(headers: &[u8], file_len: usize) -> Option<MemoryImage> {
    let at = usize::try_from(u64_at(headers, TABLE_PLACE).filter(|_| is_object(headers))?).ok()?;
    let len = usize::from(u16_at(headers, 60)?) * SECTION_HEADER;
    let table = headers.get(FILE_HEADER..FILE_HEADER + len)?;
    let is_inside = at.checked_add(len).is_some_and(|end| end <= file_len);
    if len == 0 || at < FILE_HEADER || !is_inside {
        return None;
    }
    let mut span = u32::try_from(file_len).ok()?;
    let mut code: Vec<Range<usize>> = Vec::new();
    for header in table.as_chunks::<SECTION_HEADER>().0 {
        let flags = u64_at(header, 8)?;
        let is_code = flags & (Section::LOADED | Section::EXECUTABLE)
            == Section::LOADED | Section::EXECUTABLE;
        if u32_at(header, KIND)? == NO_BITS {
            span = span.checked_add(u32::try_from(u64_at(header, LEN)?).ok()?)?;
        } else if u32_at(header, KIND)? == Section::PROGRAM && is_code {
            code.extend(extent(header, file_len));
        }
    }
    span.checked_add(NAMES + TYPES)?;
    Some(MemoryImage {
        machine: machine(headers)?,
        low: 0,
        span,
        segments: segments(code, file_len, span),
        eh_frame_hdr: None,
        header_len: FILE_HEADER + len,
        heaps: Vec::new(),
        sections_at: Some(at),
    })
}

/// Returns the range of a section in the file, if it lies inside.
fn extent(header: &[u8], file_len: usize) -> Option<Range<usize>> {
    let start = usize::try_from(u64_at(header, OFFSET)?).ok()?;
    let end = start.checked_add(usize::try_from(u64_at(header, LEN)?).ok()?)?;
    (end <= file_len).then_some(start..end)
}

/// Divides a file into segments at the borders of its code; the last one has the memory behind.
fn segments(mut code: Vec<Range<usize>>, file_len: usize, span: u32) -> Vec<Segment> {
    code.sort_by_key(|range| range.start);
    let mut segments: Vec<Segment> = Vec::new();
    let mut push = |range: Range<usize>, executable| {
        if range.start < range.end {
            let (offset, file_len) = (range.start, range.len());
            let (start, memory_len) = (offset as u32, file_len as u32);
            segments.push(Segment { offset, file_len, start, memory_len, executable });
        }
    };
    let mut at = 0;
    for range in code {
        push(at..range.start, false);
        push(at.max(range.start)..range.end, true);
        at = at.max(range.end);
    }
    push(at..file_len, false);
    if segments.len() > MAX_SEGMENTS {
        let memory_len = file_len as u32;
        segments = vec![Segment { offset: 0, file_len, start: 0, memory_len, executable: false }];
    }
    if let Some(last) = segments.last_mut() {
        last.memory_len = span - last.start;
    }
    segments
}

/// The order of a base's sections in its file, by which headers are folded.
pub struct SectionOrder(Vec<usize>);

impl SectionOrder {
    /// Reads the order from the headers of a relocatable file.
    pub fn of(headers: &[u8]) -> Self {
        let table = headers.get(FILE_HEADER..).unwrap_or_default().as_chunks::<SECTION_HEADER>().0;
        let mut order: Vec<usize> = (0..table.len()).collect();
        order.sort_by_key(|&number| u64_at(&table[number], OFFSET));
        Self(order)
    }

    /// Subtracts from each place the one that it has if the sections follow each other in this
    /// order, or adds it if `unfold` is set.
    pub fn fold(&self, headers: &mut [u8], unfold: bool) {
        let mut end = 0_u64;
        let fold = |place: &mut [u8], expected: u64| {
            let Some(place) = place.first_chunk_mut() else { return 0 };
            let old = u64::from_le_bytes(*place);
            let new = if unfold { old.wrapping_add(expected) } else { old.wrapping_sub(expected) };
            *place = new.to_le_bytes();
            if unfold { new } else { old }
        };
        let aligned = |end: u64, to: u64| end.checked_next_multiple_of(to.max(1)).unwrap_or(end);
        for &number in &self.0 {
            let at = FILE_HEADER + number * SECTION_HEADER;
            let Some(header) = headers.get_mut(at..at + SECTION_HEADER) else { continue };
            let number = |at| u64_at(header, at).unwrap_or(0);
            let (len, alignment) = (number(LEN), number(ALIGNMENT));
            let is_stored = u32_at(header, KIND) != Some(NO_BITS);
            let offset = fold(&mut header[OFFSET..], aligned(end, alignment));
            end = offset.wrapping_add(if is_stored { len } else { 0 });
        }
        fold(headers.get_mut(TABLE_PLACE..).unwrap_or_default(), aligned(end, 8));
    }
}

/// A section, with its place in memory.
#[derive(Debug)]
struct PlacedSection {
    kind: u32,
    is_code: bool,
    /// Address and length, if it lies in the image.
    place: Option<Range<u32>>,
    link: usize,
    info: usize,
    anchor: Option<(Anchor, u8)>,
}

/// The sections of a file, which symbols and relocations refer to.
#[derive(Debug)]
pub struct ObjectSections(Vec<PlacedSection>);

impl ObjectSections {
    /// Reads the headers of a file, and calls `number` for each anchor.
    pub fn open(
        file: &[u8],
        image: &MemoryImage,
        mut number: impl FnMut(u32, u32) -> Option<u8>,
    ) -> Option<Self> {
        let table = file.get(image.sections_at?..)?.get(..image.header_len - FILE_HEADER)?;
        let mut behind = file.len() as u32;
        let mut sections = Vec::new();
        for header in table.as_chunks::<SECTION_HEADER>().0 {
            let kind = u32_at(header, KIND)?;
            let place = if kind == NO_BITS {
                let start = behind;
                behind += u64_at(header, LEN)? as u32;
                Some(start..behind)
            } else {
                extent(header, file.len()).map(|range| range.start as u32..range.end as u32)
            };
            let place = place.filter(|place| kind != 0 && place.start < place.end);
            let stride = place.as_ref().and_then(|place| match kind {
                Section::SYMBOLS => Some(SYMBOL as u32),
                Section::RELOCATIONS => {
                    regular_stride(&file[place.start as usize..place.end as usize])
                }
                _ => Some(1),
            });
            let anchor = place.as_ref().zip(stride).and_then(|(place, stride)| {
                let anchor = Anchor { address: place.start, stride };
                Some((anchor, number(anchor.address, stride)?))
            });
            sections.push(PlacedSection {
                kind,
                is_code: u64_at(header, 8)? & Section::EXECUTABLE != 0,
                place,
                link: u32_at(header, 40)? as usize,
                info: u32_at(header, 44)? as usize,
                anchor,
            });
        }
        Some(Self(sections))
    }

    /// Adds the fields of a table of symbols that start in `within`.
    pub(crate) fn symbols(&self, mut table: TableWalk<'_>, section: usize) {
        let names = self.0.get(section).and_then(|own| self.anchor(own.link));
        for i in table.entries(SYMBOL) {
            let word = |at| u32_at(table.bytes, i + at).unwrap_or(0);
            let (name, value) = (word(0), word(8));
            let owner = u16_at(table.bytes, i + 6).map(usize::from);
            table.push(i, names, name.into(), name);
            table.push(i + 8, owner.and_then(|owner| self.anchor(owner)), value.into(), value);
        }
    }

    /// Adds the fields of a table of relocations that start in `within`.
    pub(crate) fn relocations(&self, mut table: TableWalk<'_>, section: usize, file: &[u8]) {
        let Some(own) = self.0.get(section) else { return };
        let (is_code, target) = match self.0.get(own.info) {
            Some(target) => (target.is_code, target.anchor),
            None => (false, None),
        };
        let symbols = self.0.get(own.link).filter(|symbols| symbols.kind == Section::SYMBOLS);
        let is_x86_64 = table.image.machine == Machine::X86_64;
        for i in table.entries(RELOCATION) {
            let word = |at| u32_at(table.bytes, i + at).unwrap_or(0);
            let (place, kind, symbol, addend) = (word(0), word(8), word(12), word(16));
            match own.anchor {
                Some(regular) if u64::from(place) * u64::from(regular.0.stride) == i as u64 => {
                    table.push(i, own.anchor, i as i64, place);
                }
                _ => table.push(i, target, place.into(), place),
            }
            let Some(symbols) = symbols else { continue };
            table.push(i + 12, symbols.anchor, i64::from(symbol) * SYMBOL as i64, symbol);
            let named = symbols.place.as_ref().and_then(|place| {
                let start = (symbol as usize).checked_mul(SYMBOL)?;
                file[place.start as usize..place.end as usize].get(start..)?.get(..SYMBOL)
            });
            let owner = named.and_then(named_section);
            // A distance counts from behind the field.
            let behind = if is_x86_64 && is_code && matches!(kind, 2 | 4) { 4 } else { 0 };
            let aim = i64::from(addend.cast_signed()) + behind;
            table.push(i + 16, owner.and_then(|owner| self.anchor(owner)), aim, addend);
        }
    }

    fn anchor(&self, section: usize) -> Option<(Anchor, u8)> {
        self.0.get(section)?.anchor
    }

    /// Returns the address and the length of each function that a symbol names.
    #[cfg(feature = "encode")]
    pub fn functions(&self, file: &[u8]) -> Vec<(u32, u32)> {
        const FUNCTION: u8 = 2;
        let mut functions = Vec::new();
        for symbols in self.0.iter().filter(|section| section.kind == Section::SYMBOLS) {
            let Some(place) = &symbols.place else { continue };
            let table = &file[place.start as usize..place.end as usize];
            for entry in table.as_chunks::<SYMBOL>().0 {
                let owner = u16_at(entry, 6).and_then(|owner| self.0.get(usize::from(owner)));
                let start = owner.and_then(|owner| owner.place.as_ref()).map(|place| place.start);
                let word = |at| u32_at(entry, at).unwrap_or(0);
                if let (FUNCTION, Some(start)) = (entry[4] & 15, start) {
                    functions.push((start.saturating_add(word(8)), word(16)));
                }
            }
        }
        functions
    }
}

/// Returns the section of a symbol that stands for a section.
fn named_section(entry: &[u8]) -> Option<usize> {
    const NAMES_SECTION: u8 = 3;
    (entry.get(4)? & 15 == NAMES_SECTION).then(|| u16_at(entry, 6).map(usize::from))?
}

/// Returns the bytes of this table for each byte of the section that it relocates, if there is one
/// entry for each word of that section.
fn regular_stride(table: &[u8]) -> Option<u32> {
    let last = (table.len() / RELOCATION).checked_sub(1).filter(|&last| last > 0)? * RELOCATION;
    let place = u64_at(table, last)?;
    [6, 3].into_iter().find(|&stride| place.checked_mul(stride.into()) == Some(last as u64))
}

/// A walk over the entries of a table.
pub(crate) struct TableWalk<'a> {
    pub(crate) bytes: &'a [u8],
    /// Offset of the table in the file.
    pub(crate) at: usize,
    pub(crate) within: Range<usize>,
    pub(crate) image: &'a MemoryImage,
    pub(crate) list: &'a mut Vec<Field>,
}

impl TableWalk<'_> {
    /// Returns the places of the whole entries that start or continue in the walked range.
    fn entries(&self, len: usize) -> impl Iterator<Item = usize> + use<> {
        let last = self.within.end.div_ceil(len).min(self.bytes.len() / len);
        (self.within.start / len..last).map(move |number| number * len)
    }

    /// Adds a field that has a `value` other than 0 and refers to `distance` bytes behind an anchor.
    #[inline]
    fn push(&mut self, i: usize, anchor: Option<(Anchor, u8)>, distance: i64, value: u32) {
        let Some((anchor, number)) = anchor.filter(|_| value != 0 && self.within.contains(&i))
        else {
            return;
        };
        let target = u32::try_from(i64::from(anchor.address) + distance).ok();
        if let Some(target) = target.filter(|&target| target < self.image.span) {
            let form = Form::Anchored32(number);
            self.list.push(Field { at: (self.at + i) as u32, target, form });
        }
    }
}
