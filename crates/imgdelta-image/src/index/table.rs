//! The entries of a layer as rows of 64 bytes, with side tables for the rest.
//! Never reads a stream.
//!
//! A layer may have millions of entries, and both images of a comparison are in memory. Paths and
//! links lie in one text. Equal owners and equal lists of attributes are stored once, and digests
//! only for payloads that are not empty.

use super::{Entry, EntryKind, ExtendedAttribute, Owner};
use imgdelta_core::{PayloadDigest, Result, limits::Ceiling, path::LayerPathRef};
use std::{collections::HashMap, mem::size_of, ops::Range, sync::Arc};

/// The entries of one layer, in the order of its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryTable {
    rows: Vec<EntryRow>,
    /// The path and then the link of each entry.
    text: Vec<u8>,
    /// Digests of payloads that are not empty.
    digests: Vec<PayloadDigest>,
    owners: Vec<Arc<Owner>>,
    attributes: Vec<Arc<[ExtendedAttribute]>>,
    /// Fields that few entries have, ascending by entry.
    rare: Vec<(u32, RareFields)>,
    text_bytes: u64,
}

/// The fixed part of an entry; numbers point into the side tables.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EntryRow {
    start: u64,
    payload_start: u64,
    payload_bytes: u64,
    seconds: i64,
    text_start: u64,
    path_bytes: u32,
    nanoseconds: u32,
    owner: u32,
    digest: u32,
    attributes: u32,
    /// Twelve bits of permissions, and two flags.
    mode: u16,
    kind: EntryKind,
}

/// Fields of devices and of sparse files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RareFields {
    device: Option<(u32, u32)>,
    sparse_bytes: Option<u64>,
}

impl EntryTable {
    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the entry of this ordinal.
    pub fn get(&self, ordinal: usize) -> Option<Entry<'_>> {
        (ordinal < self.len()).then(|| self.at(ordinal))
    }

    /// Returns the first entry.
    pub fn first(&self) -> Option<Entry<'_>> {
        self.get(0)
    }

    /// Returns the entry of this ordinal, which must exist.
    pub fn at(&self, ordinal: usize) -> Entry<'_> {
        let row = &self.rows[ordinal];
        let payload = self.payload(ordinal);
        let path = self.path(ordinal);
        let rare = if row.mode & HAS_RARE_FIELDS == 0 { None } else { self.rare(ordinal) };
        let sparse_bytes = rare.and_then(|rare| rare.sparse_bytes);
        Entry {
            path,
            start: row.start,
            size_bytes: sparse_bytes.unwrap_or(row.payload_bytes),
            payload,
            kind: row.kind,
            digest: match row.digest {
                NO_DIGEST => None,
                EMPTY_DIGEST => Some(DIGEST_OF_EMPTY),
                place => Some(self.digests[place as usize]),
            },
            link: row.kind.is_link().then(|| {
                let end = self.rows.get(ordinal + 1).map_or(self.text.len(), EntryRow::text_start);
                &self.text[row.text_start() + path.as_bytes().len()..end]
            }),
            mode: u32::from(row.mode & MODE_BITS),
            owner: &self.owners[row.owner as usize],
            mtime: (row.seconds, row.nanoseconds),
            device: rare.and_then(|rare| rare.device),
            attributes: match row.attributes.checked_sub(1) {
                None => &[],
                Some(place) => &self.attributes[place as usize],
            },
            is_sparse: sparse_bytes.is_some(),
            is_after_end: row.mode & IS_AFTER_END != 0,
        }
    }

    /// Returns the path of an entry, which must exist.
    pub fn path(&self, ordinal: usize) -> LayerPathRef<'_> {
        let row = &self.rows[ordinal];
        LayerPathRef::of_known(&self.text[row.text_start()..][..row.path_bytes as usize])
    }

    /// Returns the first byte of an entry, which must exist, counted in the stream.
    pub fn start(&self, ordinal: usize) -> u64 {
        self.rows[ordinal].start
    }

    /// Returns the range of an entry's payload; the entry must exist.
    pub fn payload(&self, ordinal: usize) -> Range<u64> {
        let row = &self.rows[ordinal];
        row.payload_start..row.payload_start + row.payload_bytes
    }

    /// Returns all entries.
    pub fn iter(&self) -> EntryIter<'_> {
        EntryIter { table: self, left: 0..self.len() }
    }

    /// Returns the bytes of names, links and attributes, as [`imgdelta_core::Limits`] count them.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Returns the memory that the table takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let attribute = |one: &ExtendedAttribute| {
            size_of::<ExtendedAttribute>() + one.name.len() + one.value.len()
        };
        let lists = self.attributes.iter().map(|list| list.iter().map(attribute).sum::<usize>());
        let owners = self.owners.iter().map(|owner| {
            size_of::<Arc<Owner>>() + size_of::<Owner>() + owner.user.len() + owner.group.len()
        });
        self.rows.capacity() * size_of::<EntryRow>()
            + self.text.capacity()
            + self.digests.capacity() * size_of::<PayloadDigest>()
            + self.rare.capacity() * size_of::<(u32, RareFields)>()
            + lists.sum::<usize>()
            + owners.sum::<usize>()
    }

    fn rare(&self, ordinal: usize) -> Option<&RareFields> {
        let found = self.rare.binary_search_by_key(&ordinal, |&(entry, _)| entry as usize);
        found.ok().map(|place| &self.rare[place].1)
    }
}

impl<'a> IntoIterator for &'a EntryTable {
    type Item = Entry<'a>;
    type IntoIter = EntryIter<'a>;

    fn into_iter(self) -> EntryIter<'a> {
        self.iter()
    }
}

/// Entries in the order of their stream.
#[derive(Clone, Debug)]
pub struct EntryIter<'a> {
    table: &'a EntryTable,
    left: Range<usize>,
}

impl<'a> Iterator for EntryIter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left.next().map(|ordinal| self.table.at(ordinal))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl ExactSizeIterator for EntryIter<'_> {}

impl EntryRow {
    fn text_start(&self) -> usize {
        usize::try_from(self.text_start).expect("text in memory")
    }
}

/// Collects entries, and finds equal owners and attributes.
#[derive(Debug, Default)]
pub struct EntryTableBuilder {
    table: EntryTable,
    owners: HashMap<Arc<Owner>, u32>,
    attributes: HashMap<Arc<[ExtendedAttribute]>, u32>,
}

impl EntryTableBuilder {
    /// Returns the entries so far.
    pub fn table(&self) -> &EntryTable {
        &self.table
    }

    /// Appends an entry; fails if the numbers of a table do not suffice.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<()> {
        let count = self.table.rows.len() as u64 + 1;
        let place = "layer index";
        Ceiling::fixed(MAX_ENTRIES).admit(count, "number of entries", place)?;
        let path_bytes = entry.path.as_bytes().len() as u64;
        Ceiling::fixed(u32::MAX.into()).admit(path_bytes, "bytes of a path", place)?;
        let owner = self.owner(entry.owner);
        let attributes = self.attributes(entry.attributes);
        let table = &mut self.table;
        let text_start = table.text.len() as u64;
        table.text.extend_from_slice(entry.path.as_bytes());
        let link = entry.link.filter(|_| entry.kind.is_link()).unwrap_or_default();
        table.text.extend_from_slice(link);
        table.text_bytes += path_bytes + link.len() as u64;
        let sparse_bytes = entry.is_sparse.then_some(entry.size_bytes);
        let has_rare_fields = sparse_bytes.is_some() || entry.device.is_some();
        if has_rare_fields {
            let fields = RareFields { device: entry.device, sparse_bytes };
            table.rare.push((number(table.rows.len()), fields));
        }
        let digest = match entry.digest {
            None => NO_DIGEST,
            Some(DIGEST_OF_EMPTY) => EMPTY_DIGEST,
            Some(digest) => {
                table.digests.push(digest);
                number(table.digests.len() - 1)
            }
        };
        let bits = u16::try_from(entry.mode & u32::from(MODE_BITS)).expect("twelve bits");
        let rare = if has_rare_fields { HAS_RARE_FIELDS } else { 0 };
        let after_end = if entry.is_after_end { IS_AFTER_END } else { 0 };
        table.rows.push(EntryRow {
            start: entry.start,
            payload_start: entry.payload.start,
            payload_bytes: entry.payload.end - entry.payload.start,
            seconds: entry.mtime.0,
            text_start,
            path_bytes: u32::try_from(path_bytes).expect("admitted above"),
            nanoseconds: entry.mtime.1,
            owner,
            digest,
            attributes,
            mode: bits | rare | after_end,
            kind: entry.kind,
        });
        Ok(())
    }

    /// Ends the table, and returns memory that was taken in advance.
    pub fn finish(self) -> EntryTable {
        let mut table = self.table;
        table.rows.shrink_to_fit();
        table.text.shrink_to_fit();
        table.digests.shrink_to_fit();
        table.rare.shrink_to_fit();
        table
    }

    fn owner(&mut self, owner: &Owner) -> u32 {
        // Neighbours have one owner, so that most entries need no lookup.
        let last = self.table.rows.last().map(|row| row.owner);
        if let Some(last) = last.filter(|&last| *self.table.owners[last as usize] == *owner) {
            return last;
        }
        if let Some(&known) = self.owners.get(owner) {
            return known;
        }
        let shared = Arc::new(owner.clone());
        let place = number(self.table.owners.len());
        self.table.text_bytes += (owner.user.len() + owner.group.len()) as u64;
        self.table.owners.push(Arc::clone(&shared));
        self.owners.insert(shared, place);
        place
    }

    /// Returns the number of a list, from 1; 0 for an empty one.
    fn attributes(&mut self, list: &[ExtendedAttribute]) -> u32 {
        if list.is_empty() {
            return 0;
        }
        let bytes = |one: &ExtendedAttribute| one.name.len() + one.value.len() + ATTRIBUTE_BYTES;
        self.table.text_bytes += list.iter().map(bytes).sum::<usize>() as u64;
        if let Some(&known) = self.attributes.get(list) {
            return known;
        }
        let shared: Arc<[ExtendedAttribute]> = list.into();
        self.table.attributes.push(Arc::clone(&shared));
        let place = number(self.table.attributes.len());
        self.attributes.insert(shared, place);
        place
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("at most one for each entry, and entries are limited")
}

/// The two numbers above are [`NO_DIGEST`] and [`EMPTY_DIGEST`].
const MAX_ENTRIES: u64 = u32::MAX as u64 - 2;
const NO_DIGEST: u32 = u32::MAX;
/// Files without content, which images have by thousands, share one digest.
const EMPTY_DIGEST: u32 = u32::MAX - 1;

/// BLAKE3 of no bytes.
const DIGEST_OF_EMPTY: PayloadDigest = PayloadDigest([
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49,
    0x9b, 0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
]);

const MODE_BITS: u16 = 0o7777;
const HAS_RARE_FIELDS: u16 = 1 << 15;
const IS_AFTER_END: u16 = 1 << 14;

/// Memory of an attribute in addition to its text.
const ATTRIBUTE_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_that_of_the_hasher() {
        assert_eq!(DIGEST_OF_EMPTY.0, *blake3::hash(b"").as_bytes());
    }

    #[test]
    fn a_row_takes_64_bytes() {
        assert_eq!(size_of::<EntryRow>(), 64);
    }
}
