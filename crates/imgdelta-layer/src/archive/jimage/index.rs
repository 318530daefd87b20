//! The index of a runtime image, read to a list of resources and written from one.
//! Never reads a resource.
//!
//! The index is a header; for each bucket of the hash table a redirect; for each slot the offset of its row;
//! the rows; the strings. A row is a list of attributes, each a byte with kind and length and then the value,
//! and ends with a zero. Attributes that are zero are left out.

use super::{
    list::{
        LEAST_BYTES, MOST_LIST_BYTES, MOST_RESOURCES, NAMES, Resource, ResourceList, START_BYTES,
    },
    slots::{self, Slots},
};
use imgdelta_wire::fixed::u32_at;
use std::collections::{HashMap, hash_map::Entry};

/// Magic number of a runtime image.
pub(super) const MAGIC: u32 = 0xcafe_dada;
/// Most bytes of an index. That of the whole JDK has 1.5 MB.
const MOST_INDEX_BYTES: u64 = 16 << 20;

/// The header of a runtime image.
#[derive(Debug)]
pub(super) struct FileHeader {
    magic: u32,
    /// Resources, which are as many as the slots of the hash table.
    resources: u32,
    slots: u32,
    /// Bytes of the rows and of the strings.
    row_bytes: u32,
    string_bytes: u32,
}

impl FileHeader {
    pub(super) const BYTES: usize = 28;

    /// Reads the header from [`FileHeader::BYTES`] bytes.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let number = |field: usize| u32_at(bytes, 4 * field).expect("a whole header");
        Self {
            magic: number(0),
            resources: number(3),
            slots: number(4),
            row_bytes: number(5),
            string_bytes: number(6),
        }
    }

    /// Returns the length of the index; `None` if that cannot be.
    pub(super) fn index_bytes(&self) -> Option<u64> {
        let tables = 8 * u64::from(self.slots) + u64::from(self.row_bytes);
        let bytes = Self::BYTES as u64 + tables + u64::from(self.string_bytes);
        let is_right = self.magic == MAGIC && self.resources == self.slots;
        let is_short = self.resources <= MOST_RESOURCES && bytes <= MOST_INDEX_BYTES;
        (is_right && is_short).then_some(bytes)
    }

    /// Returns the offsets of rows and strings in the index.
    fn places(&self) -> (usize, usize) {
        let rows = Self::BYTES + 8 * self.slots as usize;
        (rows, rows + self.row_bytes as usize)
    }
}

/// Reads the resources of an index in the order of their content; `None` if it is not valid, or if their
/// list would be too long: many rows may share one long string.
pub(super) fn resources<'a>(header: &FileHeader, index: &'a [u8]) -> Option<ResourceList<'a>> {
    let (rows_start, strings_start) = header.places();
    let (rows, strings) = (index.get(rows_start..strings_start)?, index.get(strings_start..)?);
    let mut found = Vec::with_capacity(header.slots as usize);
    let mut room = MOST_LIST_BYTES;
    for slot in 0..header.slots as usize {
        let offset = u32_at(index, rows_start - 4 * (header.slots as usize - slot))?;
        let row = Row::read(rows.get(offset as usize..)?)?;
        let mut names = [&strings[..0]; NAMES];
        for (name, attribute) in names.iter_mut().zip(NAME_KINDS) {
            *name = string(strings, row.0[attribute], room)?;
            room -= name.len();
        }
        room = room.checked_sub(LEAST_BYTES)?;
        let bytes = u32::try_from(row.0[PLAIN_BYTES]).ok()?;
        let packed_bytes = u32::try_from(row.0[PACKED_BYTES]).ok()?;
        let resource = Resource { names, bytes, packed_bytes };
        found.push((row.0[OFFSET], resource.stored_bytes(), resource));
    }
    // Empty resources come before the one at their offset.
    found.sort_by_key(|(offset, bytes, _)| (*offset, *bytes));
    let resources: Vec<Resource<'a>> = found.into_iter().map(|(.., resource)| resource).collect();
    let is_usual = StringTable::of_names(&resources).bytes == strings;
    let strings = if is_usual { &strings[..0] } else { strings };
    Some(ResourceList { start: &index[..START_BYTES], resources, strings })
}

/// Writes the index of a list of resources; `None` if there is none.
pub(super) fn write(list: &ResourceList<'_>) -> Option<Vec<u8>> {
    let strings = if list.strings.is_empty() {
        StringTable::of_names(&list.resources)
    } else {
        StringTable::read(list.strings)
    };
    let keys: Vec<Vec<u8>> = list.resources.iter().map(|resource| key(&resource.names)).collect();
    let Slots { keys: order, redirects } = slots::assign(&keys)?;
    let mut rows = vec![vec![]; list.resources.len()];
    let mut offset = 0_u64;
    for (row, resource) in rows.iter_mut().zip(&list.resources) {
        let mut attributes = Row::default();
        for (kind, name) in NAME_KINDS.into_iter().zip(resource.names) {
            attributes.0[kind] = strings.offset(name)?.into();
        }
        attributes.0[OFFSET] = offset;
        attributes.0[PLAIN_BYTES] = resource.bytes.into();
        attributes.0[PACKED_BYTES] = resource.packed_bytes.into();
        attributes.write(row);
        offset += u64::from(resource.stored_bytes());
    }
    let (mut offsets, mut row_bytes) = (Vec::new(), vec![0]);
    for resource in order {
        offsets.extend_from_slice(&u32::try_from(row_bytes.len()).ok()?.to_le_bytes());
        row_bytes.extend_from_slice(&rows[resource as usize]);
    }
    pad(&mut row_bytes);
    let count = list.resources.len();
    let mut index = list.start.to_vec();
    for number in [count, count, row_bytes.len(), strings.bytes.len()] {
        index.extend_from_slice(&u32::try_from(number).ok()?.to_le_bytes());
    }
    index.extend(redirects.iter().flat_map(|redirect| redirect.to_le_bytes()));
    index.extend_from_slice(&offsets);
    index.extend_from_slice(&row_bytes);
    index.extend_from_slice(&strings.bytes);
    Some(index)
}

/// Returns the name of a resource as Java looks it up: `/module/package/name.extension`.
fn key([module, package, name, extension]: &[&[u8]; NAMES]) -> Vec<u8> {
    let mut key = Vec::new();
    if !module.is_empty() {
        key.extend_from_slice(&[b"/", *module, b"/"].concat());
    }
    if !package.is_empty() {
        key.extend_from_slice(&[*package, b"/"].concat());
    }
    key.extend_from_slice(name);
    if !extension.is_empty() {
        key.extend_from_slice(&[b".", *extension].concat());
    }
    key
}

/// The values of a resource's attributes, by their kinds.
#[derive(Debug, Default)]
struct Row([u64; 8]);

/// Kinds of attributes. The first four are offsets of strings, in the order of [`Resource::names`].
const NAME_KINDS: [usize; NAMES] = [1, 2, 3, 4];
const OFFSET: usize = 5;
const PACKED_BYTES: usize = 6;
const PLAIN_BYTES: usize = 7;

impl Row {
    /// Reads the attributes at the start of `bytes`; `None` if they are cut, not in the order of their kinds,
    /// or of an unknown kind. So a row is short.
    fn read(mut bytes: &[u8]) -> Option<Self> {
        let (mut row, mut before) = (Self::default(), 0);
        loop {
            let head = *bytes.split_off_first()?;
            let (kind, count) = (usize::from(head >> 3), usize::from(head & 7) + 1);
            if kind == 0 {
                return Some(row);
            }
            if kind <= before {
                return None;
            }
            before = kind;
            let value = bytes.split_off(..count)?;
            let value = value.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
            *row.0.get_mut(kind)? = value;
        }
    }

    /// Writes the attributes that are not zero, each in as few bytes as it takes.
    fn write(&self, out: &mut Vec<u8>) {
        for (kind, value) in (0_u8..).zip(self.0) {
            let bytes = value.to_be_bytes();
            let Some(first) = bytes.iter().position(|byte| *byte != 0) else { continue };
            let rest = &bytes[first..];
            out.push(kind << 3 | u8::try_from(rest.len() - 1).expect("at most 8 bytes"));
            out.extend_from_slice(rest);
        }
        out.push(0);
    }
}

/// A table of strings, each with a zero behind it.
struct StringTable<'a> {
    bytes: Vec<u8>,
    offsets: HashMap<&'a [u8], u32>,
}

impl<'a> StringTable<'a> {
    /// Returns the table of names in order, each once.
    fn of_names(resources: &[Resource<'a>]) -> Self {
        let mut table = Self { bytes: Vec::new(), offsets: HashMap::new() };
        let names = resources.iter().flat_map(|resource| resource.names);
        for name in FIRST_STRINGS.into_iter().chain(names) {
            if table.note(name, table.bytes.len()) {
                table.bytes.extend_from_slice(name);
                table.bytes.push(0);
            }
        }
        pad(&mut table.bytes);
        table
    }

    /// Reads a table.
    fn read(bytes: &'a [u8]) -> Self {
        let mut table = Self { bytes: bytes.to_vec(), offsets: HashMap::new() };
        let mut at = 0;
        for string in bytes.split(|byte| *byte == 0) {
            table.note(string, at);
            at += string.len() + 1;
        }
        table
    }

    /// Notes the first offset of a string; returns false if it has one.
    fn note(&mut self, string: &'a [u8], at: usize) -> bool {
        let Entry::Vacant(entry) = self.offsets.entry(string) else { return false };
        entry.insert(u32::try_from(at).expect("a table is shorter than a list"));
        true
    }

    fn offset(&self, string: &[u8]) -> Option<u32> {
        self.offsets.get(string).copied()
    }
}

/// Returns the string at an offset of a table; `None` if it does not end within `most_bytes`.
fn string(strings: &[u8], offset: u64, most_bytes: usize) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    let end = rest.iter().take(most_bytes + 1).position(|byte| *byte == 0)?;
    Some(&rest[..end])
}

/// Adds as many zeros as the linker of Java: the length minus one, modulo 4.
fn pad(bytes: &mut Vec<u8>) {
    let zeros = (bytes.len() - 1) & 3;
    bytes.resize(bytes.len() + zeros, 0);
}

/// Strings in front of all names.
const FIRST_STRINGS: [&[u8]; 2] = [b"", b"class"];
