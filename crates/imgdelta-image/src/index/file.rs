//! The file of an index: a short head with a digest of everything, then columns in a zstd frame.
//!
//! It is a cache file and not an exchange format: a reader refuses every version except its own, and
//! the caller scans the layer again. Neighbours in a layer are alike: paths share prefixes, times and
//! owners repeat. So each field has its own column, and zstd compresses them well.
//!
//! ```text
//! magic[8]  version u32  columns_bytes u64  digest[32]  zstd frame
//! ```
//! The digest is BLAKE3 of everything else in that order; numbers are little-endian.

use super::{Entry, EntryKind, EntryTableBuilder, ExtendedAttribute, LayerIndex, Owner};
use crate::tarscan::StreamDamage;
use imgdelta_core::{
    Algorithm, DiffId, Error, Limits, PayloadDigest, Result, limits::Ceiling, path::LayerPathRef,
};
use imgdelta_wire::{Columns, Cursor, varint};
use std::{collections::HashMap, io::Read as _};

impl LayerIndex {
    /// Returns the index as bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let columns = IndexColumns::of(self).join();
        let frame = zstd::bulk::compress(&columns, LEVEL).map_err(Error::io("index"))?;
        let mut out = Vec::with_capacity(HEAD_BYTES + frame.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(columns.len() as u64).to_le_bytes());
        let digest = digest_of(&out, &frame);
        out.extend_from_slice(&digest);
        out.extend_from_slice(&frame);
        Ok(out)
    }

    /// Reads what [`LayerIndex::to_bytes`] wrote; anything else is an error.
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self> {
        let (head, frame) =
            bytes.split_at_checked(HEAD_BYTES).ok_or_else(|| invalid("shorter than its head"))?;
        let (fields, digest) = head.split_at(HEAD_BYTES - 32);
        if fields[..8] != *MAGIC {
            return Err(invalid("not an index file"));
        }
        let version = u32::from_le_bytes(fields[8..12].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(invalid(format_args!("version is {version}, should be {VERSION}")));
        }
        if digest_of(fields, frame) != *digest {
            return Err(invalid("digest is wrong"));
        }
        let columns_bytes = u64::from_le_bytes(fields[12..20].try_into().expect("eight bytes"));
        Ceiling::fixed(columns_limit(limits)).admit(columns_bytes, "number of bytes", "index")?;
        // Grows with the decoded bytes, not to the length that the head states.
        let mut columns = Vec::new();
        zstd::Decoder::new(frame)
            .and_then(|decoder| decoder.take(columns_bytes + 1).read_to_end(&mut columns))
            .map_err(|source| Error::bad_input_because("index", "the frame is damaged", source))?;
        if columns.len() as u64 != columns_bytes {
            let found = columns.len();
            return Err(invalid(format_args!("{found} bytes of columns, not {columns_bytes}")));
        }
        read(&columns, limits).ok_or_else(|| invalid("the columns are malformed"))
    }
}

/// The fields of all entries, one column for each kind of field.
#[derive(Default)]
struct IndexColumns(Columns<COLUMNS>);

/// Numbers of the columns; the first holds the fields of the index itself.
const WHOLE: usize = 0;
const PATHS: usize = 1;
const SPANS: usize = 2;
const KINDS: usize = 3;
const SIZES: usize = 4;
const MODES: usize = 5;
const OWNERS: usize = 6;
const TIMES: usize = 7;
const LINKS: usize = 8;
const REST: usize = 9;
const DIGESTS: usize = 10;
const COLUMNS: usize = 11;

impl IndexColumns {
    fn of(index: &LayerIndex) -> Self {
        let mut columns = Self::default();
        columns.put_whole(index);
        let mut owners: HashMap<&Owner, usize> = HashMap::new();
        let mut previous: &[u8] = b"";
        let (mut end, mut time) = (0, 0i64);
        for entry in &index.entries {
            let path = entry.path.as_bytes();
            let shared = path.iter().zip(previous).take_while(|(a, b)| a == b).count();
            columns.number(PATHS, shared as u64);
            columns.text(PATHS, &path[shared..]);
            previous = path;

            columns.number(SPANS, entry.start - end);
            columns.number(SPANS, entry.payload.start - entry.start);
            columns.number(SPANS, entry.payload.end - entry.payload.start);
            end = entry.payload.end;

            columns.put_kind(&entry);
            if entry.is_sparse {
                columns.number(SIZES, entry.size_bytes);
            }
            columns.number(MODES, entry.mode.into());
            columns.put_owner(entry.owner, &mut owners);

            columns.0.signed(TIMES, entry.mtime.0.wrapping_sub(time));
            columns.number(TIMES, entry.mtime.1.into());
            time = entry.mtime.0;

            if let Some(link) = entry.link {
                columns.text(LINKS, link);
            }
            if let Some((major, minor)) = entry.device {
                columns.number(REST, major.into());
                columns.number(REST, minor.into());
            }
            if !entry.attributes.is_empty() {
                columns.number(REST, entry.attributes.len() as u64);
                for attribute in entry.attributes {
                    columns.text(REST, &attribute.name);
                    columns.text(REST, &attribute.value);
                }
            }
            if let Some(digest) = &entry.digest {
                columns.0.bytes(DIGESTS, &digest.0);
            }
        }
        columns
    }

    fn put_whole(&mut self, index: &LayerIndex) {
        self.text(WHOLE, index.diff_id.algorithm().name().as_bytes());
        self.text(WHOLE, index.diff_id.as_bytes());
        self.number(WHOLE, index.stream_bytes);
        self.number(WHOLE, index.tail_start);
        self.number(WHOLE, index.entries.len() as u64);
        self.number(WHOLE, index.damage.is_some().into());
        if let Some(damage) = &index.damage {
            self.number(WHOLE, damage.offset);
            self.text(WHOLE, damage.what.as_bytes());
        }
        self.text(WHOLE, &index.findings);
    }

    /// Writes a kind, with flags for the fields in other columns.
    fn put_kind(&mut self, entry: &Entry<'_>) {
        let (code, other) = match entry.kind {
            EntryKind::Other(flag) => (OTHER, Some(flag)),
            kind => (KIND_CODES.iter().position(|&one| one == kind).unwrap_or_default(), None),
        };
        let flags = [
            entry.is_sparse,
            entry.is_after_end,
            entry.digest.is_some(),
            entry.link.is_some(),
            entry.device.is_some(),
            !entry.attributes.is_empty(),
        ];
        let bits = flags.iter().rev().fold(0, |bits, &flag| bits << 1 | u64::from(flag));
        self.number(KINDS, bits << 3 | code as u64);
        self.0.bytes(KINDS, other.as_slice());
    }

    /// Writes an owner's number in order of first use, and the owner itself at its first use.
    fn put_owner<'a>(&mut self, owner: &'a Owner, numbers: &mut HashMap<&'a Owner, usize>) {
        let next = numbers.len();
        let place = *numbers.entry(owner).or_insert(next);
        self.number(OWNERS, place as u64);
        if place == next {
            self.number(OWNERS, owner.uid);
            self.number(OWNERS, owner.gid);
            self.text(OWNERS, &owner.user);
            self.text(OWNERS, &owner.group);
        }
    }

    fn number(&mut self, column: usize, value: u64) {
        self.0.varint(column, value);
    }

    fn text(&mut self, column: usize, bytes: &[u8]) {
        self.0.prefixed(column, bytes);
    }

    fn join(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.total_bytes() + 10 * COLUMNS);
        for column in self.0.all() {
            varint::write_prefixed(&mut out, column);
        }
        out
    }
}

/// Reads columns; `None` for bytes that [`IndexColumns::of`] does not write.
fn read(bytes: &[u8], limits: &Limits) -> Option<LayerIndex> {
    let mut cursor = Cursor::new(bytes);
    let mut columns = [const { Cursor::new(&[]) }; COLUMNS];
    for column in &mut columns {
        *column = Cursor::new(cursor.prefixed().ok()?);
    }
    let whole = &mut columns[WHOLE];
    let algorithm = match whole.prefixed().ok()? {
        b"sha256" => Algorithm::Sha256,
        b"sha512" => Algorithm::Sha512,
        _ => return None,
    };
    let diff_id = DiffId::new(algorithm, whole.prefixed().ok()?)?;
    let stream_bytes = whole.varint().ok()?;
    let tail_start = whole.varint().ok()?;
    let count = whole.varint().ok().filter(|&count| count <= limits.layer_entries)?;
    let damage = match whole.varint().ok()? {
        0 => None,
        1 => Some(StreamDamage {
            offset: whole.varint().ok()?,
            what: std::str::from_utf8(whole.prefixed().ok()?).ok()?.into(),
        }),
        _ => return None,
    };
    let findings = whole.prefixed().ok()?.into();
    let mut reader =
        ColumnReader { columns, owners: Vec::new(), path: Vec::new(), end: 0, time: 0 };
    // Each entry takes at least a byte here, so a false count takes no memory.
    let count =
        usize::try_from(count).ok().filter(|&count| count <= reader.columns[MODES].rest().len())?;
    let mut entries = EntryTableBuilder::default();
    for _ in 0..count {
        reader.entry(&mut entries)?;
        // Paths share prefixes here, so that a small file may hold much text.
        if entries.table().text_bytes() > limits.layer_text_bytes {
            return None;
        }
    }
    let is_used_up = cursor.is_empty() && reader.columns.iter().all(Cursor::is_empty);
    let is_ordered = reader.end <= tail_start && tail_start <= stream_bytes;
    (is_used_up && is_ordered).then_some(LayerIndex {
        diff_id,
        stream_bytes,
        entries: entries.finish(),
        tail_start,
        damage,
        findings,
    })
}

/// Columns with the state that entries share.
struct ColumnReader<'a> {
    columns: [Cursor<'a>; COLUMNS],
    owners: Vec<Owner>,
    path: Vec<u8>,
    end: u64,
    time: i64,
}

impl<'a> ColumnReader<'a> {
    /// Reads an entry and appends it.
    fn entry(&mut self, entries: &mut EntryTableBuilder) -> Option<()> {
        self.path()?;
        let start = self.end.checked_add(self.number(SPANS)?)?;
        let payload_start = start.checked_add(self.number(SPANS)?)?;
        self.end = payload_start.checked_add(self.number(SPANS)?)?;
        let payload = payload_start..self.end;

        let bits = self.number(KINDS).filter(|&bits| bits < 1 << 9)?;
        let flag = |place: u32| bits >> (3 + place) & 1 == 1;
        let kind = match usize::try_from(bits & 7).ok()? {
            OTHER => EntryKind::Other(self.columns[KINDS].u8().ok()?),
            code => *KIND_CODES.get(code)?,
        };
        let is_sparse = flag(0);
        let size_bytes = if is_sparse { self.number(SIZES)? } else { payload.end - payload.start };
        let mode = u32::try_from(self.number(MODES)?).ok().filter(|&mode| mode <= 0o7777)?;
        let owner = self.owner()?;
        let seconds = self.time.wrapping_add(self.columns[TIMES].signed().ok()?);
        self.time = seconds;
        let mtime = (seconds, u32::try_from(self.number(TIMES)?).ok()?);
        let digest =
            if flag(2) { Some(PayloadDigest(self.columns[DIGESTS].array().ok()?)) } else { None };
        if flag(3) != kind.is_link() {
            return None;
        }
        let link = if flag(3) { Some(self.text(LINKS)?) } else { None };
        let device = if flag(4) {
            let mut part = || u32::try_from(self.number(REST)?).ok();
            Some((part()?, part()?))
        } else {
            None
        };
        let attributes = if flag(5) { self.attributes()? } else { Box::default() };
        let is_after_end = flag(1);
        let entry = Entry {
            path: LayerPathRef::of_clean(&self.path)?,
            start,
            payload,
            kind,
            size_bytes,
            digest,
            link,
            mode,
            owner: self.owners.get(owner)?,
            mtime,
            device,
            attributes: &attributes,
            is_sparse,
            is_after_end,
        };
        entries.push(&entry).ok()
    }

    /// Reads a path into `self.path`.
    fn path(&mut self) -> Option<()> {
        let shared = usize::try_from(self.number(PATHS)?).ok()?;
        let rest = self.text(PATHS)?;
        if shared > self.path.len() {
            return None;
        }
        self.path.truncate(shared);
        self.path.extend_from_slice(rest);
        Some(())
    }

    /// Returns the number of an owner.
    fn owner(&mut self) -> Option<usize> {
        let place = usize::try_from(self.number(OWNERS)?).ok()?;
        if place == self.owners.len() {
            let owner = Owner {
                uid: self.number(OWNERS)?,
                gid: self.number(OWNERS)?,
                user: self.text(OWNERS)?.into(),
                group: self.text(OWNERS)?.into(),
            };
            self.owners.push(owner);
        }
        Some(place)
    }

    fn attributes(&mut self) -> Option<Box<[ExtendedAttribute]>> {
        // Each takes at least two bytes.
        let count = usize::try_from(self.number(REST)?).ok()?;
        if count > self.columns[REST].rest().len() / 2 {
            return None;
        }
        let one = |_| {
            Some(ExtendedAttribute {
                name: self.text(REST)?.into(),
                value: self.text(REST)?.into(),
            })
        };
        (0..count).map(one).collect()
    }

    fn number(&mut self, column: usize) -> Option<u64> {
        self.columns[column].varint().ok()
    }

    fn text(&mut self, column: usize) -> Option<&'a [u8]> {
        self.columns[column].prefixed().ok()
    }
}

fn digest_of(fields: &[u8], frame: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(fields).update(frame).finalize().as_bytes()
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::bad_input("index", what)
}

/// Returns the largest length of columns that these limits allow.
fn columns_limit(limits: &Limits) -> u64 {
    let findings = limits.database_bytes;
    limits
        .layer_entries
        .saturating_mul(ENTRY_BYTES)
        .saturating_add(limits.layer_text_bytes)
        .saturating_add(findings)
        .saturating_add(1 << 16)
}

/// Kinds in the order of their codes.
const KIND_CODES: [EntryKind; OTHER] = [
    EntryKind::File,
    EntryKind::HardLink,
    EntryKind::Symlink,
    EntryKind::CharDevice,
    EntryKind::BlockDevice,
    EntryKind::Directory,
    EntryKind::Fifo,
];

/// The code of [`EntryKind::Other`], whose type flag follows.
const OTHER: usize = 7;

/// Bound on the numbers and the digest of an entry.
const ENTRY_BYTES: u64 = 160;

const MAGIC: &[u8; 8] = b"imgdxidx";

/// Raised with every change of the file, and of a scan's result for the same stream.
const VERSION: u32 = 2;

const HEAD_BYTES: usize = 8 + 4 + 8 + 32;

/// Higher levels gain little: most of the file is digests, which do not compress.
const LEVEL: i32 = 3;
