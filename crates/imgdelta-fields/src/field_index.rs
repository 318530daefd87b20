//! The fields of any range of a file, found when they are asked for.
//! Never holds more fields than its caller allows: all of them take up to three times the file's
//! length.
//!
//! The file is divided into blocks. One pass over it notes where the walk of each block begins, in
//! 40 bytes a block, unless a walk may begin there anyway. From there the block's fields are found
//! again at memory speed. The fields of Go's tables are kept, since a walk of those begins in their
//! middle nowhere. An encoder asks for the same blocks for every trial, so it also keeps the fields
//! of the first blocks that it reads.

#[cfg(feature = "encode")]
use crate::fields::Form;
use crate::{
    class_archive,
    elf::{self, Machine, MemoryImage},
    fields::{Anchor, Field, Fields},
    gopclntab::GoTables,
    gotypes,
    host::{self, Host},
    kept_fields::KeptFields,
    object::ObjectSections,
    view::View,
    zones::{self, WalkPlace, Zone, ZoneRange, ZoneWalk},
};
use std::{mem, ops::Range};

/// Bytes that may lie behind the start of a field and in it.
#[cfg(feature = "encode")]
const FIELD_ROOM: usize = 8;

/// Bytes of a block, as a power of two.
const BLOCK_BITS: u32 = 14;

/// The fields of a file in a view.
#[derive(Debug)]
pub struct FieldIndex<'a> {
    /// The file.
    pub file: &'a [u8],
    /// Places of its bytes in memory.
    pub image: MemoryImage,
    /// Addresses from which fields count.
    pub anchors: Vec<Anchor>,
    /// Ascending and apart, each with its anchor.
    zones: Vec<(ZoneRange, Option<(Anchor, u8)>)>,
    code: (u32, u32),
    tables: TableFields,
    /// The sections of a relocatable file.
    pub object: Option<ObjectSections>,
    /// The place at which the walk of each block begins.
    places: Vec<BlockPlace>,
    kept: KeptFields,
}

/// Fields that are found beforehand; each list ascends, and equal offsets keep the order in which
/// they were found.
#[derive(Debug, Default)]
struct TableFields {
    /// Those of Go's types, which precede all others at the same offset.
    types: Vec<Field>,
    /// Those of Go's functions, which precede those of zones behind theirs at the same offset.
    functions: Vec<Field>,
    functions_zone: usize,
}

/// Bytes of an unwind table in front of the number of its rows. The others may be computed.
pub const UNWIND_TABLE_HEAD: usize = 8;

/// The state of the walk at the start of a block.
#[derive(Debug, Clone, Copy, Default)]
struct BlockPlace {
    walk: WalkPlace,
    /// End of the last field before the block.
    field_end: u32,
}

impl<'a> FieldIndex<'a> {
    /// Reads a file; `None` if it does not suit the view. Keeps at most `kept_bytes` of fields, and has
    /// none of an unwind table that is computed.
    pub fn open(
        (view, has_table): (View, bool),
        file: &'a [u8],
        kept_bytes: usize,
        host: &dyn Host,
    ) -> Option<Self> {
        let image = view.image_of(file)?;
        let mut index = match (view, image.machine) {
            (View::Elf, Machine::ClassData) => Self::class_archive(file, image),
            (View::Elf, _) => Self::program(file, image),
            _ => {
                let zone = Zone::Offsets(view);
                let range = ZoneRange { start: 0, end: file.len(), zone, section: usize::MAX };
                Self::new(file, image, vec![(range, None)])
            }
        };
        if has_table {
            index.cut_table();
        }
        index.kept = KeptFields::new(index.block_count(), kept_bytes);
        index.note_places(host);
        Some(index)
    }

    /// Returns the index of a file whose fields are known.
    pub fn with_fields(file: &'a [u8], image: MemoryImage, fields: Vec<Field>) -> Self {
        use host::NoHost;
        let mut index = Self::new(file, image, Vec::new());
        index.tables.types = fields;
        index.note_places(&NoHost);
        index
    }

    fn note_places(&mut self, host: &dyn Host) {
        const RELEASED_BLOCKS: usize = host::RELEASED_BYTES >> BLOCK_BITS;
        let (mut place, mut list) = (BlockPlace::default(), Vec::new());
        for block in 0..self.block_count() {
            if block % RELEASED_BLOCKS == RELEASED_BLOCKS - 1 {
                host.release();
            }
            self.places.push(place);
            if self.is_continued((block + 1) << BLOCK_BITS) {
                list.clear();
                place = self.walk(block, place, &mut list);
                self.kept.keep(block, &list);
            } else {
                place = BlockPlace::default();
            }
        }
    }

    /// Returns true if the walk from `offset` on depends on what lies before.
    ///
    /// Fields of two zones never share a byte; those of tables may reach anywhere.
    fn is_continued(&self, offset: usize) -> bool {
        let next = self.zones.partition_point(|(zone, _)| zone.end <= offset);
        let zone = self.zones.get(next).map(|(zone, _)| zone).filter(|zone| zone.start < offset);
        let is_walked = zone.is_some_and(|zone| match zone.zone {
            Zone::Code => self.image.machine == Machine::X86_64 || zone.start % 4 != 0,
            Zone::Debug | Zone::EhFrame | Zone::Types => true,
            _ => false,
        });
        is_walked || !self.tables.types.is_empty() || !self.tables.functions.is_empty()
    }

    fn new(
        file: &'a [u8],
        image: MemoryImage,
        zones: Vec<(ZoneRange, Option<(Anchor, u8)>)>,
    ) -> Self {
        let (anchors, tables) = (Vec::new(), TableFields::default());
        let (code, object, places) = ((0, 0), None, Vec::new());
        let kept = KeptFields::default();
        Self { file, image, anchors, zones, code, tables, object, places, kept }
    }

    /// Leaves only the front of unwind tables to their zones.
    fn cut_table(&mut self) {
        for (range, _) in &mut self.zones {
            if range.zone == Zone::EhFrameHdr {
                range.end = range.end.min(range.start + UNWIND_TABLE_HEAD);
            }
        }
    }

    fn class_archive(file: &'a [u8], image: MemoryImage) -> Self {
        let start = image.segments[0].offset;
        let range = ZoneRange { start, end: file.len(), zone: Zone::Data, section: usize::MAX };
        let anchors = class_archive::anchors(&image);
        Self { anchors, ..Self::new(file, image, vec![(range, None)]) }
    }

    fn program(file: &'a [u8], image: MemoryImage) -> Self {
        let sections = elf::sections(file);
        let tables =
            if image.is_object() { None } else { GoTables::locate(file, &image, &sections) };
        let ranges = zones::divide(file, &image, &sections, tables.as_ref());
        let code = zones::code_hull(&ranges, &image);
        // Anchors are numbered in the order of the specification: types, then zones.
        let mut fields = Fields::default();
        let mut kept = TableFields::default();
        if let Some(tables) = &tables {
            gotypes::collect(file, &image, &sections, tables, &mut fields);
            kept.types = mem::take(&mut fields.list);
        }
        let object =
            ObjectSections::open(file, &image, |address, stride| fields.anchor(address, stride));
        let mut zones = Vec::with_capacity(ranges.len());
        for (number, range) in ranges.into_iter().enumerate() {
            if range.zone == Zone::GoFunctions {
                tables.as_ref().and_then(|tables| tables.collect(file, &image, &mut fields));
                (kept.functions, kept.functions_zone) = (mem::take(&mut fields.list), number);
            }
            let anchor = zones::anchor(&range, &sections, &image);
            let numbered = anchor
                .and_then(|anchor| Some((anchor, fields.anchor(anchor.address, anchor.stride)?)));
            zones.push((range, numbered));
        }
        for list in [&mut kept.types, &mut kept.functions] {
            list.sort_by_key(|field| field.at);
            list.shrink_to_fit();
        }
        let index = Self::new(file, image, zones);
        Self { anchors: fields.anchors, code, tables: kept, object, ..index }
    }

    /// Returns the number of blocks.
    pub fn block_count(&self) -> usize {
        self.file.len().div_ceil(1 << BLOCK_BITS)
    }

    /// Returns the block of an offset.
    pub fn block_of(offset: usize) -> usize {
        offset >> BLOCK_BITS
    }

    /// Returns the fields that start in a block, if they are kept.
    fn kept_block(&self, block: usize) -> Option<&[Field]> {
        self.kept.block(block, || {
            let mut list = Vec::new();
            self.walk_block(block, &mut list);
            list
        })
    }

    /// Replaces `list` by the fields that start in a block.
    fn walk_block(&self, block: usize, list: &mut Vec<Field>) {
        list.clear();
        if let Some(place) = self.places.get(block) {
            self.walk(block, *place, list);
        }
    }

    /// Calls `visit` for every field that starts in a range, in ascending order.
    #[cfg(feature = "encode")]
    pub fn each(&self, range: Range<usize>, mut visit: impl FnMut(&Field)) {
        let mut list = Vec::new();
        let blocks = Self::block_of(range.start)..range.end.div_ceil(1 << BLOCK_BITS);
        for block in blocks {
            let fields = self.kept_block(block).unwrap_or_else(|| {
                self.walk_block(block, &mut list);
                &list
            });
            let place = |offset| fields.partition_point(|field| (field.at as usize) < offset);
            fields[place(range.start)..place(range.end)].iter().for_each(&mut visit);
        }
    }

    /// Returns the start of the field that a cut at `offset` would divide, if there is one.
    #[cfg(feature = "encode")]
    pub fn divided_at(&self, offset: usize) -> Option<usize> {
        let mut found = None;
        self.each(offset.saturating_sub(FIELD_ROOM - 1)..offset, |field| {
            found = divided_in(std::slice::from_ref(field), offset).or(found);
        });
        found
    }

    /// Replaces `list` by the fields that a walk of this range alone finds.
    ///
    /// The range may begin anywhere; code reads alike from the start of a function.
    #[cfg(feature = "encode")]
    pub fn alone(&self, range: Range<usize>, list: &mut Vec<Field>) {
        list.clear();
        let next = self.zones.partition_point(|(zone, _)| zone.start <= range.start);
        let Some((zone, anchor)) = next.checked_sub(1).map(|number| &self.zones[number]) else {
            return;
        };
        let end = zone.end.min(range.end);
        if range.start >= end {
            return;
        }
        let mut cut = ZoneRange { end: zone.end.min(range.end + FIELD_ROOM), ..*zone };
        match zone.zone {
            Zone::EhFrame => {
                // The record's length, its common record, its function.
                let at = (range.start + 8) as u32;
                list.push(Field { at: at - 4, target: 0, form: Form::Backward32 });
                list.push(Field { at, target: 0, form: Form::Relative32 });
                return;
            }
            // A walk of types begins nowhere else than at their start.
            Zone::Types => return,
            Zone::Code if self.image.machine == Machine::Aarch64 => cut.start = range.start,
            _ => {}
        }
        let within = range.start - cut.start..end - cut.start;
        self.walker().collect(&cut, *anchor, within, &mut WalkPlace::default(), list);
        if let Some((types, functions)) = self.tables.within(range) {
            list.extend_from_slice(types);
            list.extend_from_slice(functions);
        }
    }

    fn walker(&self) -> ZoneWalk<'_> {
        let object = self.object.as_ref();
        ZoneWalk { file: self.file, image: &self.image, code: self.code, object }
    }

    /// Adds the fields that start in a block, and returns the place behind it.
    fn walk(&self, block: usize, from: BlockPlace, list: &mut Vec<Field>) -> BlockPlace {
        let start = block << BLOCK_BITS;
        let end = self.file.len().min(start + (1 << BLOCK_BITS));
        let tables = self.tables.within(start..end);
        let mut order = Vec::new();
        let mut walk = from.walk;
        let first = self.zones.partition_point(|(zone, _)| zone.end <= start);
        for (number, (zone, anchor)) in self.zones.iter().enumerate().skip(first) {
            if zone.start >= end {
                break;
            }
            if zone.start >= start {
                walk = WalkPlace::default();
            }
            let within = start.max(zone.start) - zone.start..end.min(zone.end) - zone.start;
            self.walker().collect(zone, *anchor, within, &mut walk, list);
            if tables.is_some() {
                order.resize(list.len(), number);
            }
        }
        if let Some((types, functions)) = tables {
            let zones = list.iter().copied().zip(order.into_iter().map(|number| 2 * number + 3));
            let functions_order = 2 * self.tables.functions_zone + 2;
            let mut all: Vec<(Field, usize)> = zones.collect();
            all.extend(types.iter().map(|field| (*field, 0)));
            all.extend(functions.iter().map(|field| (*field, functions_order)));
            all.sort_by_key(|(field, order)| (field.at, *order));
            list.clear();
            list.extend(all.into_iter().map(|(field, _)| field));
        }
        // Where two fields share a byte, the first one counts; both together would add up.
        let mut field_end = from.field_end as usize;
        list.retain(|field| {
            let free = field.at as usize >= field_end;
            if free {
                field_end = field.at as usize + field.form.size();
            }
            free
        });
        BlockPlace { walk, field_end: field_end as u32 }
    }
}

impl TableFields {
    /// Returns the fields that start in a range, or `None` if there are none.
    fn within(&self, range: Range<usize>) -> Option<(&[Field], &[Field])> {
        let part = |list: &'_ [Field]| {
            let place = |offset| list.partition_point(|field| (field.at as usize) < offset);
            place(range.start)..place(range.end)
        };
        let (types, functions) = (part(&self.types), part(&self.functions));
        let is_empty = types.is_empty() && functions.is_empty();
        (!is_empty).then(|| (&self.types[types], &self.functions[functions]))
    }
}

/// Blocks of fields that were used last.
#[derive(Debug)]
pub struct FieldCache<'a> {
    /// The fields of the file.
    pub index: &'a FieldIndex<'a>,
    /// The number of a block plus 1, or 0, and its fields; a block has one slot.
    slots: Vec<(usize, Vec<Field>)>,
    /// Bytes of the file that were walked, or would have been if no fields were kept.
    pub walked_bytes: u64,
}

impl<'a> FieldCache<'a> {
    /// Starts an empty cache. The fields of any 16 MiB of a file fit in it.
    pub fn new(index: &'a FieldIndex<'a>) -> Self {
        let slots = index.block_count().clamp(1, CACHED_BLOCKS);
        Self { index, slots: vec![(0, Vec::new()); slots], walked_bytes: 0 }
    }

    /// Returns the fields that start in a block.
    #[inline]
    pub fn block(&mut self, block: usize) -> &[Field] {
        let place = block % self.slots.len();
        let slot = &mut self.slots[place];
        let is_new = slot.0 != block + 1;
        if is_new {
            slot.0 = block + 1;
            self.walked_bytes += 1 << BLOCK_BITS;
        }
        if let Some(fields) = self.index.kept_block(block) {
            return fields;
        }
        if is_new {
            self.index.walk_block(block, &mut slot.1);
        }
        &slot.1
    }

    /// Returns the start of the field that a cut at `offset` would divide, if there is one.
    pub fn divided_at(&mut self, offset: usize) -> Option<usize> {
        // A field is shorter than a block.
        let block = FieldIndex::block_of(offset);
        divided_in(self.block(block), offset)
            .or_else(|| divided_in(self.block(block.checked_sub(1)?), offset))
    }
}

/// Returns the start of the field in `list` that a cut at `offset` would divide.
fn divided_in(list: &[Field], offset: usize) -> Option<usize> {
    let before = list.partition_point(|field| (field.at as usize) < offset);
    let field = list[..before].last()?;
    let end = field.at as usize + field.form.size();
    (end > offset).then_some(field.at as usize)
}

/// Most blocks in a cache.
const CACHED_BLOCKS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_testkit::noise;

    /// Unwind records, some of them common records, of many lengths.
    fn records(len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let common = [&20_u32.to_le_bytes()[..], &[0; 4], b"\x01zR\0\x01\x78\x10\x01\x1b", &[0; 7]];
        let mut last = 0;
        for number in 0.. {
            if bytes.len() >= len {
                break;
            }
            if number % 50 == 0 {
                last = bytes.len();
                bytes.extend(common.concat());
            }
            let content = noise(number, 16 + (number * 7 % 90) as usize);
            bytes.extend((content.len() as u32 + 8).to_le_bytes());
            bytes.extend(((bytes.len() - last) as u32).to_le_bytes());
            bytes.extend((number as u32 * 91 % 4096).wrapping_sub(900).to_le_bytes());
            bytes.extend(content);
        }
        bytes
    }

    /// Code, debug information, data, unwind records and relocations of a file, all of them noise.
    fn noisy(machine: Machine) -> (Vec<u8>, MemoryImage, Vec<ZoneRange>) {
        let patterns = [0xE8, 0x05, 0x0D, 0x94, 0x90, 0x91, 0x39, 0x00, 0xFF, 0x54];
        let mut file: Vec<u8> = noise(1, 200_003)
            .chunks_exact(4)
            .zip(noise(2, 1 << 20).chunks_exact(4))
            .flat_map(|(a, b)| [a[0], a[1], b[0] % 2, patterns[usize::from(b[1]) % 10]])
            .collect();
        let mut ends = vec![file.len()];
        let words = noise(3, 100_000);
        // Short addresses at odd places.
        file.extend(words.chunks_exact(5).flat_map(|w| [w[0], w[1], 1, 0, 0, 0, 0, 0, w[2]]));
        ends.push(file.len());
        file.extend(noise(4, 90_000).chunks(8).flat_map(|w| [&w[..3], &[0; 5]].concat()));
        ends.push(file.len());
        file.extend(records(120_000));
        ends.push(file.len());
        file.extend(noise(5, 60_000).chunks(8).flat_map(|w| [&w[..2], &[0; 6]].concat()));
        ends.push(file.len());
        let kinds = [Zone::Code, Zone::Debug, Zone::Data, Zone::EhFrame, Zone::Relocations];
        let starts = [0].into_iter().chain(ends.clone());
        let zones = kinds.into_iter().zip(starts.zip(ends.clone()));
        let zones = zones.map(|(zone, (start, end))| ZoneRange { start, end, zone, section: 0 });
        let zones = zones.collect();
        let mut image = MemoryImage::flat(file.len()).unwrap();
        image.machine = machine;
        (file, image, zones)
    }

    #[test]
    fn blocks_have_the_fields_of_one_walk() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let (file, image, zones) = noisy(machine);
            let anchor = Some((Anchor { address: 0x400, stride: 24 }, 0));
            let zones: Vec<_> = zones.into_iter().map(|zone| (zone, anchor)).collect();
            let mut index = FieldIndex::new(&file, image, zones.clone());
            index.code = (0, 0x3_0000);
            index.note_places(&host::NoHost);
            let mut whole = Vec::new();
            for (zone, anchor) in &zones {
                let (before, within) = (whole.len(), 0..zone.end - zone.start);
                let place = &mut WalkPlace::default();
                index.walker().collect(zone, *anchor, within, place, &mut whole);
                assert!(whole.len() > before + 400, "{zone:?}: {}", whole.len() - before);
            }
            let mut end = 0;
            whole.retain(|field| {
                let free = field.at >= end;
                end = if free { field.at + field.form.size() as u32 } else { end };
                free
            });
            let (mut all, mut list) = (Vec::new(), Vec::new());
            // Backwards: a block does not depend on the one before.
            for block in (0..index.block_count()).rev() {
                index.walk_block(block, &mut list);
                all.splice(0..0, list.iter().copied());
            }
            assert_eq!(all.len(), whole.len());
            assert_eq!(all, whole);
            let mut cache = FieldCache::new(&index);
            let is_long = |field: &&Field| field.form.size() > 3;
            for field in whole.iter().filter(is_long).step_by(97) {
                let at = field.at as usize;
                assert_eq!(cache.divided_at(at + 1), Some(at));
                assert_eq!(index.divided_at(at + 3), Some(at));
                assert!(cache.divided_at(at).is_none_or(|start| start < at));
            }
        }
    }
}
