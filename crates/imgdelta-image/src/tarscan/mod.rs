//! A streaming scan of a tar archive: its members, with exact byte ranges.
//!
//! The scan unpacks nothing, follows no link, and loses no byte. Each member reaches to the next
//! one's start, and the bytes after the last are the tail. So every input scans to some result; where
//! it stops being a tar stream, the scan reports [`StreamDamage`], and the rest is tail.
//!
//! Go's archive/tar decides what a member is, since container runtimes unpack with it. Where Go gives
//! up and GNU tar reads on, the scan reads on: Solaris headers, members after the end mark. Payload is
//! passed on in slices of the caller's chunks, so large files cost nothing here.

mod header;
mod member;
mod pax;
mod sparse;

pub use header::number;
pub use member::{EntryKind, ExtendedAttribute, SparseMap, StreamDamage, TarMember};

use header::RawHeader;
use imgdelta_core::{LimitName, Limits, Result, limits::Ceiling};
use pax::PaxRecords;
use sparse::{OldMap, TextMapProgress, TextMapReader};

/// Receives the members of a stream in their order.
pub trait MemberVisitor {
    /// Receives a member whose headers are complete.
    fn begin(&mut self, member: TarMember);

    /// Receives a part of its payload; all parts together are the bytes of [`TarMember::payload`].
    fn payload(&mut self, bytes: &[u8]);

    /// Called when its payload is complete.
    ///
    /// A member without this call was cut by the end of the stream, and is part of the tail.
    fn end(&mut self);
}

/// The result of a scan at the end of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanSummary {
    /// The length of the stream.
    pub stream_bytes: u64,
    /// The end of the last member with its padding.
    pub tail_start: u64,
    /// The place at which the stream stops being a tar stream before its end mark.
    pub damage: Option<StreamDamage>,
}

/// Scans a tar stream in chunks of any size.
#[derive(Debug)]
pub struct TarScanner {
    extension_limit: Ceiling,
    entry_limit: Ceiling,
    members: u64,
    /// The offset of the next byte.
    at: u64,
    state: ScanState,
    /// The first part of a block whose rest has not arrived.
    partial: Vec<u8>,
    pending: PendingHeaders,
    globals: PaxRecords,
    is_after_end: bool,
    tail_start: u64,
    damage: Option<StreamDamage>,
}

/// The meaning of the next bytes.
#[derive(Debug)]
enum ScanState {
    /// A header block.
    Header,
    /// The body of an extension header, with its padding.
    Extension { flag: u8, body: Vec<u8>, body_bytes: u64, left_bytes: u64 },
    /// More blocks of an old GNU sparse map.
    OldMap { member: Box<TarMember>, map: OldMap, stored_bytes: u64 },
    /// Blocks of a map before the data.
    TextMap { member: Box<TarMember>, reader: TextMapReader, seen: Vec<u8> },
    /// Either the body of a member that should have none, or the next header; its bytes decide.
    Either { member: Box<TarMember>, stored_bytes: u64 },
    /// Payload, then padding.
    Payload { start: u64, left_bytes: u64, padding_bytes: u64 },
    /// Padding.
    Padding { left_bytes: u64 },
    /// The tail, to the end of the stream.
    Tail,
}

/// Extension headers for the next member.
#[derive(Debug, Default)]
struct PendingHeaders {
    start: Option<u64>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<PaxRecords>,
}

impl TarScanner {
    /// Starts before the first byte.
    pub fn new(limits: &Limits) -> Self {
        Self {
            extension_limit: limits.ceiling(LimitName::ExtensionBytes),
            entry_limit: limits.ceiling(LimitName::LayerEntries),
            members: 0,
            at: 0,
            state: ScanState::Header,
            partial: Vec::new(),
            pending: PendingHeaders::default(),
            globals: PaxRecords::default(),
            is_after_end: false,
            tail_start: 0,
            damage: None,
        }
    }

    /// Takes the next bytes. The only errors are limits; after one the scanner is unusable.
    pub fn feed(&mut self, mut chunk: &[u8], sink: &mut impl MemberVisitor) -> Result<()> {
        while !chunk.is_empty() {
            match &mut self.state {
                ScanState::Tail => {
                    self.at += chunk.len() as u64;
                    return Ok(());
                }
                ScanState::Payload { left_bytes, padding_bytes, .. } => {
                    let slice = split_front(&mut chunk, *left_bytes);
                    self.at += slice.len() as u64;
                    *left_bytes -= slice.len() as u64;
                    let (is_whole, padding) = (*left_bytes == 0, *padding_bytes);
                    sink.payload(slice);
                    if is_whole {
                        self.end_member(padding, sink);
                    }
                }
                ScanState::Padding { left_bytes } => {
                    let skipped = split_front(&mut chunk, *left_bytes).len() as u64;
                    self.at += skipped;
                    *left_bytes -= skipped;
                    if *left_bytes == 0 {
                        self.state = ScanState::Header;
                    }
                }
                ScanState::Extension { body, body_bytes, left_bytes, .. } => {
                    let slice = split_front(&mut chunk, *left_bytes);
                    self.at += slice.len() as u64;
                    *left_bytes -= slice.len() as u64;
                    let wanted = split_front(&mut &*slice, *body_bytes - body.len() as u64).len();
                    body.extend_from_slice(&slice[..wanted]);
                    if *left_bytes == 0 {
                        self.end_extension();
                    }
                }
                _ => self.feed_block(&mut chunk, sink)?,
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(mut self, sink: &mut impl MemberVisitor) -> ScanSummary {
        let cut = match std::mem::replace(&mut self.state, ScanState::Tail) {
            ScanState::Either { member, stored_bytes } => {
                // Less than a block is left, so it is not a header; it is the body if long enough.
                let has_body = stored_bytes <= self.partial.len() as u64;
                let rest = std::mem::take(&mut self.partial);
                let mut body = &rest[..];
                let body = split_front(&mut body, if has_body { stored_bytes } else { 0 });
                self.at -= rest.len() as u64;
                self.begin_member(*member, body.len() as u64, sink);
                if !body.is_empty() {
                    self.at += body.len() as u64;
                    sink.payload(body);
                    self.end_member(padding_of(stored_bytes), sink);
                }
                self.at += rest.len() as u64 - body.len() as u64;
                let is_cut = !has_body && !rest.is_empty();
                is_cut.then(|| (self.at - rest.len() as u64, "the stream ends inside a header"))
            }
            ScanState::Header if !self.partial.is_empty() => {
                Some((self.at - self.partial.len() as u64, "the stream ends inside a header"))
            }
            ScanState::Extension { .. } => {
                let start = self.pending.start.unwrap_or(self.at);
                Some((start, "the stream ends inside an extension header"))
            }
            ScanState::OldMap { member, .. } | ScanState::TextMap { member, .. } => {
                Some((member.start, "the stream ends inside a sparse file's map"))
            }
            ScanState::Payload { start, .. } => Some((start, "the stream ends inside this member")),
            ScanState::Header | ScanState::Padding { .. } | ScanState::Tail => None,
        };
        if let Some((offset, what)) = cut {
            self.stop(offset, what);
        }
        // The last member's padding may be missing.
        let tail_start = self.tail_start.min(self.at);
        ScanSummary { stream_bytes: self.at, tail_start, damage: self.damage }
    }

    /// Collects a whole block, in place where the chunk holds it.
    fn feed_block(&mut self, chunk: &mut &[u8], sink: &mut impl MemberVisitor) -> Result<()> {
        let missing = (BLOCK_BYTES - self.partial.len()) as u64;
        let front = split_front(chunk, missing);
        self.at += front.len() as u64;
        if let Ok(block) = <&[u8; BLOCK_BYTES]>::try_from(front) {
            return self.take_block(block, sink);
        }
        self.partial.extend_from_slice(front);
        if self.partial.len() < BLOCK_BYTES {
            return Ok(());
        }
        let held = std::mem::take(&mut self.partial);
        let block = held[..].try_into().expect("just counted");
        let outcome = self.take_block(block, sink);
        self.partial = held;
        self.partial.clear();
        outcome
    }

    /// Acts on the block that ends at `self.at`.
    fn take_block(
        &mut self,
        block: &[u8; BLOCK_BYTES],
        sink: &mut impl MemberVisitor,
    ) -> Result<()> {
        match std::mem::replace(&mut self.state, ScanState::Header) {
            ScanState::Either { member, stored_bytes } => {
                self.at -= BLOCK_BYTES as u64;
                if *block == [0; BLOCK_BYTES] || RawHeader(block).is_sound() {
                    self.begin_member(*member, 0, sink);
                    self.at += BLOCK_BYTES as u64;
                    return self.take_header(block, sink);
                }
                self.begin_member(*member, stored_bytes, sink);
                self.feed(block, sink)
            }
            ScanState::OldMap { member, mut map, stored_bytes } => match map.extend(block) {
                None => {
                    self.stop(member.start, BROKEN_MAP);
                    Ok(())
                }
                Some(true) => {
                    let bytes = (map.pairs.len() as u64).saturating_mul(24);
                    self.admit_extension(bytes, member.start)?;
                    self.state = ScanState::OldMap { member, map, stored_bytes };
                    Ok(())
                }
                Some(false) => {
                    self.begin_sparse(*member, &map.pairs, map.size_bytes, stored_bytes, sink);
                    Ok(())
                }
            },
            ScanState::TextMap { member, reader, seen } => {
                self.take_text_map(block, member, reader, seen, sink)
            }
            _ => self.take_header(block, sink),
        }
    }

    fn take_header(
        &mut self,
        block: &[u8; BLOCK_BYTES],
        sink: &mut impl MemberVisitor,
    ) -> Result<()> {
        let offset = self.at - BLOCK_BYTES as u64;
        if *block == [0; BLOCK_BYTES] {
            // GNU tar ends the archive at one zero block. Go needs two, and refuses any other block
            // after the first.
            self.is_after_end = true;
            self.pending = PendingHeaders::default();
            self.globals = PaxRecords::default();
            return Ok(());
        }
        let header = RawHeader(block);
        if !header.is_sound() {
            self.stop(offset, "not a tar header: its checksum is wrong");
            return Ok(());
        }
        let Some(size) = header.size() else {
            self.stop(offset, "the header's size is not a number");
            return Ok(());
        };
        let start = *self.pending.start.get_or_insert(offset);
        match header.flag() {
            flag @ (b'L' | b'K' | b'x' | b'X' | b'g') => {
                self.admit_extension(size, offset)?;
                let left_bytes = size + padding_of(size);
                let body = Vec::new();
                self.state = ScanState::Extension { flag, body, body_bytes: size, left_bytes };
                if size == 0 {
                    self.end_extension();
                }
                Ok(())
            }
            _ => self.take_member(header, start, size, sink),
        }
    }

    fn end_extension(&mut self) {
        let ScanState::Extension { flag, body, .. } =
            std::mem::replace(&mut self.state, ScanState::Header)
        else {
            return;
        };
        match flag {
            b'L' => self.pending.name = Some(header::text(&body).to_vec()),
            b'K' => self.pending.link = Some(header::text(&body).to_vec()),
            _ => match PaxRecords::parse(&body) {
                Err(what) => self.stop(self.pending.start.unwrap_or(self.at), what),
                Ok(records) if flag == b'g' => {
                    self.globals.merge_global(records);
                    // To Go a global header is a member, which uses up the headers before it.
                    self.pending =
                        PendingHeaders { start: self.pending.start, ..PendingHeaders::default() };
                }
                Ok(records) => self.pending.records = Some(records),
            },
        }
    }

    /// Merges the headers of one member and decides the range of its payload.
    fn take_member(
        &mut self,
        header: RawHeader<'_>,
        start: u64,
        header_size: u64,
        sink: &mut impl MemberVisitor,
    ) -> Result<()> {
        self.members += 1;
        let place = format_args!("tar stream, offset {start}");
        self.entry_limit.admit(self.members, "number of entries", place)?;
        let pending = std::mem::take(&mut self.pending);
        let records = pending.records.unwrap_or_default();
        let size = records.size.unwrap_or(header_size);
        // Go counts in 63 bits. No stream is longer, and the sums below would overflow.
        if i64::try_from(size).is_err() || self.at.checked_add(size).is_none() {
            self.stop(start, "the member's size is larger than any stream");
            return Ok(());
        }
        let sparse_name = records.sparse.as_ref().and_then(|sparse| sparse.name.clone());
        let long_name = pending.name.filter(|name| !name.is_empty());
        let name = sparse_name.or(long_name).or(records.path).unwrap_or_else(|| header.name());
        let (kind, has_body_anyway) = kind_of(header.flag(), &name);
        let is_link = kind.is_link();
        let long_link = pending.link.filter(|link| !link.is_empty());
        let link = long_link.or(records.link).unwrap_or_else(|| header.link().to_vec());
        let (uid, gid) = header.ids();
        let (user, group) = header.names();
        let or_global = |own: Option<Vec<u8>>, global: &Option<Vec<u8>>, plain: &[u8]| {
            own.or_else(|| global.clone()).unwrap_or_else(|| plain.to_vec())
        };
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let (major, minor) = header.device();
        let member = TarMember {
            start,
            payload: 0..0,
            kind,
            name,
            link: if is_link { link } else { Vec::new() },
            size_bytes: 0,
            mode: header.mode(),
            uid: records.uid.or(self.globals.uid).unwrap_or(uid),
            gid: records.gid.or(self.globals.gid).unwrap_or(gid),
            user: or_global(records.user, &self.globals.user, user),
            group: or_global(records.group, &self.globals.group, group),
            mtime: records.mtime.or(self.globals.mtime).unwrap_or((header.mtime(), 0)),
            device: is_device
                .then(|| (records.device.0.unwrap_or(major), records.device.1.unwrap_or(minor))),
            attributes: records.attributes,
            sparse: None,
            is_after_end: self.is_after_end,
        };
        if header.flag() == b'S' {
            self.take_old_sparse(header, member, size, sink);
        } else if let Some(sparse) = records.sparse.filter(|_| kind == EntryKind::File) {
            let real_size = sparse.size_bytes.unwrap_or(size);
            if let Some(pairs) = sparse.pairs {
                self.begin_sparse(member, &pairs, real_size, size, sink);
            } else {
                let member = Box::new(TarMember {
                    size_bytes: real_size,
                    payload: self.at..self.at + size,
                    ..member
                });
                self.state =
                    ScanState::TextMap { member, reader: TextMapReader::new(), seen: Vec::new() };
            }
        } else if kind.is_header_only() && size > 0 && !has_body_anyway {
            // A PAX hard link may repeat its file; other writers state a size without a body.
            self.state = ScanState::Either { member: Box::new(member), stored_bytes: size };
        } else {
            self.begin_member(member, size, sink);
        }
        Ok(())
    }

    fn take_old_sparse(
        &mut self,
        header: RawHeader<'_>,
        member: TarMember,
        stored_bytes: u64,
        sink: &mut impl MemberVisitor,
    ) {
        match OldMap::begin(header.0) {
            None => self.stop(member.start, BROKEN_MAP),
            Some((map, true)) => {
                self.state = ScanState::OldMap { member: Box::new(member), map, stored_bytes };
            }
            Some((map, false)) => {
                self.begin_sparse(member, &map.pairs, map.size_bytes, stored_bytes, sink);
            }
        }
    }

    fn take_text_map(
        &mut self,
        block: &[u8; BLOCK_BYTES],
        member: Box<TarMember>,
        mut reader: TextMapReader,
        mut seen: Vec<u8>,
        sink: &mut impl MemberVisitor,
    ) -> Result<()> {
        self.admit_extension((seen.len() + BLOCK_BYTES) as u64, member.start)?;
        seen.extend_from_slice(block);
        let stored_bytes = member.payload.end - member.payload.start;
        match reader.block(block) {
            // A map longer than its member would be read from the next member.
            _ if seen.len() as u64 > stored_bytes => self.stop(member.start, BROKEN_MAP),
            TextMapProgress::Broken => self.stop(member.start, BROKEN_MAP),
            TextMapProgress::Unfinished => self.state = ScanState::TextMap { member, reader, seen },
            TextMapProgress::Done(pairs) => {
                let size_bytes = member.size_bytes;
                self.at -= seen.len() as u64;
                self.begin_sparse(*member, &pairs, size_bytes, stored_bytes, sink);
                if matches!(self.state, ScanState::Tail) {
                    self.at += seen.len() as u64;
                } else {
                    self.feed(&seen, sink)?;
                }
            }
        }
        Ok(())
    }

    fn begin_sparse(
        &mut self,
        member: TarMember,
        pairs: &[(u64, u64)],
        size_bytes: u64,
        stored_bytes: u64,
        sink: &mut impl MemberVisitor,
    ) {
        match SparseMap::new(pairs, size_bytes) {
            None => self.stop(member.start, "a sparse file's map goes past the end of the file"),
            Some(map) => {
                let member = TarMember { size_bytes, sparse: Some(map), ..member };
                self.begin_member(member, stored_bytes, sink);
            }
        }
    }

    /// Begins a member whose payload starts at `self.at`.
    fn begin_member(
        &mut self,
        mut member: TarMember,
        stored_bytes: u64,
        sink: &mut impl MemberVisitor,
    ) {
        member.payload = self.at..self.at + stored_bytes;
        if member.sparse.is_none() {
            member.size_bytes = stored_bytes;
        }
        let start = member.start;
        sink.begin(member);
        let padding_bytes = padding_of(stored_bytes);
        if stored_bytes == 0 {
            self.end_member(0, sink);
        } else {
            self.state = ScanState::Payload { start, left_bytes: stored_bytes, padding_bytes };
        }
    }

    fn end_member(&mut self, padding_bytes: u64, sink: &mut impl MemberVisitor) {
        sink.end();
        self.tail_start = self.at + padding_bytes;
        self.state = match padding_bytes {
            0 => ScanState::Header,
            left_bytes => ScanState::Padding { left_bytes },
        };
    }

    /// Ends the scan. After the end mark this is not damage, since runtimes stop at the mark.
    fn stop(&mut self, offset: u64, what: &str) {
        if !self.is_after_end {
            self.damage = Some(StreamDamage { offset, what: what.into() });
        }
        self.state = ScanState::Tail;
    }

    fn admit_extension(&self, bytes: u64, offset: u64) -> Result<u64> {
        let place = format_args!("tar stream, offset {offset}");
        self.extension_limit.admit(bytes, "number of bytes in an extension header", place)
    }
}

/// Returns the kind for a type flag, and true for a directory by name whose flag is a file's.
fn kind_of(flag: u8, name: &[u8]) -> (EntryKind, bool) {
    let has_slash = name.ends_with(b"/");
    let kind = match flag {
        0 | b'0' | b'7' if has_slash => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => EntryKind::Other(other),
    };
    // To Go, `0` and `7` with a slash are files and their bodies count.
    (kind, has_slash && matches!(flag, b'0' | b'7'))
}

/// Returns the bytes that fill a payload's last block.
fn padding_of(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes
}

/// Splits up to `limit` bytes off the front.
fn split_front<'a>(chunk: &mut &'a [u8], limit: u64) -> &'a [u8] {
    let len = usize::try_from(limit).map_or(chunk.len(), |limit| limit.min(chunk.len()));
    let (front, rest) = chunk.split_at(len);
    *chunk = rest;
    front
}

/// The unit of the tar format.
const BLOCK_BYTES: usize = 512;

const BROKEN_MAP: &str = "a sparse file's map is malformed";
