//! The structure of a zip file: everything except the contents of its members.
//! Knows nothing of where the contents come from.
//!
//! Headers, directory and gaps are written by columns, so that two versions of a file give similar
//! bytes. Checksums, lengths and offsets that follow from the contents are omitted.

use super::{
    super::{ArchiveBytes, bytes::length},
    MOST_MEMBERS,
};
use imgdelta_core::Result;
use imgdelta_wire::{Cursor, varint};
use std::ops::Range;

/// A member: its directory entry, its local header and the bytes behind its data.
#[derive(Debug, Default)]
pub(super) struct ZipMember {
    pub(super) local: LocalHeader,
    made_by: u16,
    common: CommonFields,
    name: Vec<u8>,
    extra: Vec<u8>,
    comment: Vec<u8>,
    disk: u16,
    internal: u16,
    external: u32,
    /// Checksum, lengths and offset as the directory entry spells them.
    fields: SizeFields,
    offset_field: u32,
    /// The real values of these fields.
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) plain_bytes: u64,
    pub(super) offset: u64,
    pub(super) data: Range<u64>,
    descriptor: u8,
    gap: Vec<u8>,
    shape: MemberShape,
}

/// Fields that the local header and the directory entry share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CommonFields {
    needed: u16,
    flags: u16,
    method: u16,
    time: u32,
}

/// Checksum, stored length and plain length, as 32 bits.
type SizeFields = [u32; 3];

/// The header in front of a member's data.
#[derive(Debug, Default)]
pub(super) struct LocalHeader {
    common: CommonFields,
    fields: SizeFields,
    pub(super) name: Vec<u8>,
    extra: Vec<u8>,
}

/// Flags of the fields that are omitted because they follow from others.
#[derive(Clone, Copy, Debug, Default)]
struct MemberShape {
    local: u8,
    central: u8,
}

/// The bytes behind the directory.
#[derive(Debug)]
pub(super) enum DirectoryTail {
    /// An end record that follows from the directory, with this comment.
    Usual(Vec<u8>),
    /// Any other bytes.
    Literal(Vec<u8>),
}

/// Checksum and lengths of a member's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ContentSummary {
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) plain_bytes: u64,
}

impl ContentSummary {
    /// Returns the fields of a 32-bit header; `None` if a length does not fit.
    fn fields(&self) -> Option<SizeFields> {
        let packed = u32::try_from(self.packed_bytes).ok()?;
        Some([self.crc, packed, u32::try_from(self.plain_bytes).ok()?])
    }
}

impl LocalHeader {
    /// Reads the header at an offset; `None` if none starts there.
    pub(super) fn read(slice: &ArchiveBytes<'_>, at: u64) -> Result<Option<Self>> {
        let Some(bytes) = slice.read(at, LOCAL_BYTES)? else { return Ok(None) };
        let mut cursor = Cursor::new(&bytes);
        let fixed = (|| {
            (cursor.take(4).ok()? == LOCAL).then_some(())?;
            let common = CommonFields::read(&mut cursor)?;
            Some((common, fields(&mut cursor)?, cursor.u16_le().ok()?, cursor.u16_le().ok()?))
        })();
        let Some((common, fields, name, extra)) = fixed else { return Ok(None) };
        let count = u64::from(name) + u64::from(extra);
        let Some(mut text) = slice.read(at + LOCAL_BYTES, count)? else { return Ok(None) };
        let extra = text.split_off(usize::from(name));
        Ok(Some(Self { common, fields, name: text, extra }))
    }

    /// Returns the length of the header.
    pub(super) fn bytes(&self) -> u64 {
        LOCAL_BYTES + self.name.len() as u64 + self.extra.len() as u64
    }
}

impl CommonFields {
    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let (needed, flags, method) =
            (cursor.u16_le().ok()?, cursor.u16_le().ok()?, cursor.u16_le().ok()?);
        Some(Self { needed, flags, method, time: cursor.u32_le().ok()? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        for word in [self.needed, self.flags, self.method] {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.time.to_le_bytes());
    }
}

fn fields(cursor: &mut Cursor<'_>) -> Option<SizeFields> {
    Some([cursor.u32_le().ok()?, cursor.u32_le().ok()?, cursor.u32_le().ok()?])
}

impl ZipMember {
    /// Reads a directory entry.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        (cursor.take(4).ok()? == CENTRAL).then_some(())?;
        let made_by = cursor.u16_le().ok()?;
        let common = CommonFields::read(cursor)?;
        let fields = fields(cursor)?;
        let lengths =
            [cursor.u16_le().ok()?, cursor.u16_le().ok()?, cursor.u16_le().ok()?].map(usize::from);
        let (disk, internal, external) =
            (cursor.u16_le().ok()?, cursor.u16_le().ok()?, cursor.u32_le().ok()?);
        let offset_field = cursor.u32_le().ok()?;
        let [name, extra, comment] = [
            cursor.take(lengths[0] as u64).ok()?.to_vec(),
            cursor.take(lengths[1] as u64).ok()?.to_vec(),
            cursor.take(lengths[2] as u64).ok()?.to_vec(),
        ];
        // Lengths beyond 32 bits stand in an extra field, in this order; others are absent there.
        let mut large = Cursor::new(large_field(&extra));
        let mut real = |field: u32| {
            if field == u32::MAX { large.u64_le().ok() } else { Some(u64::from(field)) }
        };
        let plain_bytes = real(fields[2])?;
        let packed_bytes = real(fields[1])?;
        let offset = real(offset_field)?;
        Some(Self {
            made_by,
            common,
            name,
            extra,
            comment,
            disk,
            internal,
            external,
            fields,
            offset_field,
            crc: fields[0],
            packed_bytes,
            plain_bytes,
            offset,
            ..Self::default()
        })
    }

    /// True if the part is the inflated content.
    pub(super) fn is_inflated(&self) -> bool {
        self.common.method == DEFLATE && !self.is_encrypted() && self.plain_bytes > 0
    }

    fn is_encrypted(&self) -> bool {
        self.common.flags & ENCRYPTED != 0
    }

    /// True if checksum and plain length follow from the stored bytes.
    fn is_derived(&self) -> bool {
        if self.packed_bytes == 0 {
            return self.crc == 0 && self.plain_bytes == 0;
        }
        let is_stored = self.common.method == STORED && self.packed_bytes == self.plain_bytes;
        !self.is_encrypted() && (self.common.method == DEFLATE || is_stored)
    }

    /// Adds the bytes between this member's data and the next member.
    pub(super) fn end(&mut self, between: &[u8]) {
        let is_descriptor = |form: &u8| {
            let bytes = descriptor(*form, &self.content());
            bytes.is_some_and(|bytes| between.starts_with(&bytes))
        };
        let forms: &[u8] = if self.common.flags & DESCRIPTOR == 0 { &[] } else { &[2, 1, 4, 3] };
        // A form that makes all of these bytes is better than one that makes their beginning.
        let is_exact = |form: &u8| {
            let bytes = descriptor(*form, &self.content());
            bytes.is_some_and(|bytes| between == bytes)
        };
        let exact = forms.iter().copied().find(is_exact);
        let form = exact.or_else(|| forms.iter().copied().find(is_descriptor));
        self.descriptor = form.unwrap_or(0);
        let count = descriptor(self.descriptor, &self.content()).map_or(0, |bytes| bytes.len());
        self.gap = between[count..].to_vec();
    }

    fn content(&self) -> ContentSummary {
        ContentSummary {
            crc: self.crc,
            packed_bytes: self.packed_bytes,
            plain_bytes: self.plain_bytes,
        }
    }

    fn shape_of(&self, offset: u64) -> MemberShape {
        let real = self.content().fields();
        let form = match self.local.fields {
            [0, 0, 0] => FORM_ZERO,
            fields if Some(fields) == real => FORM_REAL,
            [crc, u32::MAX, u32::MAX] if crc == self.crc => FORM_LARGE,
            _ => FORM_LITERAL,
        };
        let mut local = form | self.descriptor << DESCRIPTOR_SHIFT;
        local |= if self.gap.is_empty() { 0 } else { HAS_GAP };
        local |= if self.packed_bytes == 0 { 0 } else { HAS_CONTENT };
        local |= if self.is_derived() { 0 } else { IS_EXPLICIT };
        let mut central = 0;
        for (bit, holds) in [
            (SAME_COMMON, self.common == self.local.common),
            (SAME_NAME, self.name == self.local.name),
            (SAME_EXTRA, self.extra == self.local.extra),
            (REAL_FIELDS, Some(self.fields) == real),
            (REAL_OFFSET, u64::from(self.offset_field) == offset),
            (NO_DISK, self.disk == 0),
        ] {
            central |= if holds { bit } else { 0 };
        }
        MemberShape { local, central }
    }
}

/// Returns the extra field for values beyond 32 bits; empty if there is none.
fn large_field(extra: &[u8]) -> &[u8] {
    let mut cursor = Cursor::new(extra);
    while let (Some(id), Some(count)) = (cursor.u16_le().ok(), cursor.u16_le().ok()) {
        let Ok(field) = cursor.take(u64::from(count)) else { break };
        if id == LARGE {
            return field;
        }
    }
    &[]
}

/// Returns a data descriptor of form 1 to 4; `None` for another form, or if a length does not fit.
fn descriptor(form: u8, content: &ContentSummary) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if matches!(form, 2 | 4) {
        out.extend(DATA);
    }
    out.extend(content.crc.to_le_bytes());
    match form {
        1 | 2 => {
            let [_, packed, plain] = content.fields()?;
            out.extend(packed.to_le_bytes());
            out.extend(plain.to_le_bytes());
        }
        3 | 4 => {
            out.extend(content.packed_bytes.to_le_bytes());
            out.extend(content.plain_bytes.to_le_bytes());
        }
        _ => return None,
    }
    Some(out)
}

/// Returns a structure as bytes.
///
/// `order` has the member's number for each directory entry; it is empty if both orders are equal.
pub(super) fn write(
    members: &[ZipMember],
    order: &[u32],
    lead: &[u8],
    tail: &DirectoryTail,
) -> Vec<u8> {
    let shapes: Vec<MemberShape> =
        members.iter().map(|member| member.shape_of(member.offset)).collect();
    let mut out = Vec::new();
    varint::write(&mut out, members.len() as u64);
    out.extend(shapes.iter().map(|shape| shape.local));
    out.extend(shapes.iter().map(|shape| shape.central));
    let mut column = |write: &dyn Fn(&ZipMember, MemberShape, &mut Vec<u8>)| {
        for (member, shape) in members.iter().zip(&shapes) {
            write(member, *shape, &mut out);
        }
    };
    column(&|member, _, out| out.extend(member.local.common.needed.to_le_bytes()));
    column(&|member, _, out| out.extend(member.local.common.flags.to_le_bytes()));
    column(&|member, _, out| out.extend(member.local.common.method.to_le_bytes()));
    column(&|member, _, out| out.extend(member.local.common.time.to_le_bytes()));
    column(&|member, _, out| varint::write(out, member.local.name.len() as u64));
    column(&|member, _, out| varint::write(out, member.local.extra.len() as u64));
    column(&|member, shape, out| {
        if shape.local & FORM == FORM_LITERAL {
            out.extend(member.local.fields.iter().flat_map(|field| field.to_le_bytes()));
        }
    });
    column(&|member, shape, out| {
        if shape.local & HAS_GAP != 0 {
            varint::write(out, member.gap.len() as u64);
        }
    });
    column(&|member, shape, out| {
        if shape.local & IS_EXPLICIT != 0 {
            out.extend(member.crc.to_le_bytes());
            out.extend(member.plain_bytes.to_le_bytes());
        }
    });
    column(&|member, _, out| out.extend(member.made_by.to_le_bytes()));
    column(&|member, _, out| out.extend(member.internal.to_le_bytes()));
    column(&|member, _, out| out.extend(member.external.to_le_bytes()));
    column(&|member, _, out| varint::write(out, member.comment.len() as u64));
    column(&|member, shape, out| {
        if shape.central & SAME_COMMON == 0 {
            member.common.write(out);
        }
    });
    column(&|member, shape, out| {
        if shape.central & SAME_NAME == 0 {
            varint::write(out, member.name.len() as u64);
        }
    });
    column(&|member, shape, out| {
        if shape.central & SAME_EXTRA == 0 {
            varint::write(out, member.extra.len() as u64);
        }
    });
    column(&|member, shape, out| {
        if shape.central & REAL_FIELDS == 0 {
            out.extend(member.fields.iter().flat_map(|field| field.to_le_bytes()));
        }
    });
    column(&|member, shape, out| {
        if shape.central & REAL_OFFSET == 0 {
            out.extend(member.offset_field.to_le_bytes());
        }
    });
    column(&|member, shape, out| {
        if shape.central & NO_DISK == 0 {
            out.extend(member.disk.to_le_bytes());
        }
    });
    column(&|member, _, out| out.extend_from_slice(&member.local.name));
    column(&|member, _, out| out.extend_from_slice(&member.local.extra));
    column(&|member, shape, out| {
        if shape.central & SAME_NAME == 0 {
            out.extend_from_slice(&member.name);
        }
    });
    column(&|member, shape, out| {
        if shape.central & SAME_EXTRA == 0 {
            out.extend_from_slice(&member.extra);
        }
    });
    column(&|member, _, out| out.extend_from_slice(&member.comment));
    column(&|member, _, out| out.extend_from_slice(&member.gap));
    out.push(u8::from(!order.is_empty()));
    for member in order {
        out.extend(member.to_le_bytes());
    }
    varint::write(&mut out, lead.len() as u64);
    out.extend_from_slice(lead);
    let (form, bytes) = match tail {
        DirectoryTail::Usual(comment) => (0, comment),
        DirectoryTail::Literal(bytes) => (1, bytes),
    };
    out.push(form);
    out.extend_from_slice(bytes);
    out
}

/// A structure, parsed from its bytes.
#[derive(Debug)]
pub(super) struct ZipStructure {
    pub(super) lead: Vec<u8>,
    pub(super) members: Vec<ZipMember>,
    order: Vec<u32>,
    tail: DirectoryTail,
}

/// Parses a structure; `None` if it is not valid.
pub(super) fn read(bytes: &[u8]) -> Option<ZipStructure> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.varint().ok()?;
    // A member takes more than a byte here, so the count is bounded before memory is taken.
    let is_possible =
        |count: &usize| *count <= cursor.rest().len() && *count as u64 <= MOST_MEMBERS;
    let count = usize::try_from(count).ok().filter(is_possible)?;
    let mut members: Vec<ZipMember> = Vec::new();
    members.resize_with(count, ZipMember::default);
    for (member, byte) in members.iter_mut().zip(cursor.take(count as u64).ok()?) {
        member.shape.local = *byte;
    }
    for (member, byte) in members.iter_mut().zip(cursor.take(count as u64).ok()?) {
        member.shape.central = *byte;
    }
    let mut lengths = TextLengths { lists: Default::default() };
    read_columns(&mut cursor, &mut members, &mut lengths)?;
    read_text(&mut cursor, &mut members, lengths)?;
    let order = match cursor.u8().ok()? {
        0 => Vec::new(),
        _ => (0..count).map(|_| cursor.u32_le().ok()).collect::<Option<Vec<u32>>>()?,
    };
    let lead = cursor.varint().ok()?;
    let lead = cursor.take(lead).ok()?.to_vec();
    let tail = match cursor.u8().ok()? {
        0 => DirectoryTail::Usual(cursor.take_rest().to_vec()),
        _ => DirectoryTail::Literal(cursor.take_rest().to_vec()),
    };
    let is_permutation = order.iter().all(|&member| (member as usize) < count);
    is_permutation.then_some(ZipStructure { lead, members, order, tail })
}

/// Lengths of the texts, which follow all other columns.
struct TextLengths {
    lists: [Vec<usize>; 6],
}

const LOCAL_NAME: usize = 0;
const LOCAL_EXTRA: usize = 1;
const NAME: usize = 2;
const EXTRA: usize = 3;
const COMMENT: usize = 4;
const GAP: usize = 5;

fn read_columns(
    cursor: &mut Cursor<'_>,
    members: &mut [ZipMember],
    lengths: &mut TextLengths,
) -> Option<()> {
    members.iter_mut().try_for_each(|m| cursor.u16_le().ok().map(|n| m.local.common.needed = n))?;
    members.iter_mut().try_for_each(|m| cursor.u16_le().ok().map(|n| m.local.common.flags = n))?;
    members.iter_mut().try_for_each(|m| cursor.u16_le().ok().map(|n| m.local.common.method = n))?;
    members.iter_mut().try_for_each(|m| cursor.u32_le().ok().map(|n| m.local.common.time = n))?;
    let list = |cursor: &mut Cursor<'_>,
                members: &[ZipMember],
                has_length: &dyn Fn(MemberShape) -> bool| {
        let one = |member: &ZipMember| {
            if has_length(member.shape) { cursor.varint().ok().map(length) } else { Some(0) }
        };
        members.iter().map(one).collect::<Option<Vec<usize>>>()
    };
    lengths.lists[LOCAL_NAME] = list(cursor, members, &|_| true)?;
    lengths.lists[LOCAL_EXTRA] = list(cursor, members, &|_| true)?;
    for member in members.iter_mut().filter(|m| m.shape.local & FORM == FORM_LITERAL) {
        member.local.fields = fields(cursor)?;
    }
    lengths.lists[GAP] = list(cursor, members, &|shape| shape.local & HAS_GAP != 0)?;
    for member in members.iter_mut().filter(|m| m.shape.local & IS_EXPLICIT != 0) {
        member.crc = cursor.u32_le().ok()?;
        member.plain_bytes = cursor.u64_le().ok()?;
    }
    members.iter_mut().try_for_each(|m| cursor.u16_le().ok().map(|n| m.made_by = n))?;
    members.iter_mut().try_for_each(|m| cursor.u16_le().ok().map(|n| m.internal = n))?;
    members.iter_mut().try_for_each(|m| cursor.u32_le().ok().map(|n| m.external = n))?;
    lengths.lists[COMMENT] = list(cursor, members, &|_| true)?;
    for member in members.iter_mut() {
        let is_same = member.shape.central & SAME_COMMON != 0;
        member.common = if is_same { member.local.common } else { CommonFields::read(cursor)? };
    }
    lengths.lists[NAME] = list(cursor, members, &|shape| shape.central & SAME_NAME == 0)?;
    lengths.lists[EXTRA] = list(cursor, members, &|shape| shape.central & SAME_EXTRA == 0)?;
    for member in members.iter_mut().filter(|m| m.shape.central & REAL_FIELDS == 0) {
        member.fields = fields(cursor)?;
    }
    for member in members.iter_mut().filter(|m| m.shape.central & REAL_OFFSET == 0) {
        member.offset_field = cursor.u32_le().ok()?;
    }
    for member in members.iter_mut().filter(|m| m.shape.central & NO_DISK == 0) {
        member.disk = cursor.u16_le().ok()?;
    }
    Some(())
}

fn read_text(
    cursor: &mut Cursor<'_>,
    members: &mut [ZipMember],
    lengths: TextLengths,
) -> Option<()> {
    for (list, counts) in lengths.lists.into_iter().enumerate() {
        for (member, count) in members.iter_mut().zip(counts) {
            // A header has sixteen bits for each of these lengths; a gap has no header.
            (list == GAP || u16::try_from(count).is_ok()).then_some(())?;
            let text = cursor.take(count as u64).ok()?.to_vec();
            match list {
                LOCAL_NAME => member.local.name = text,
                LOCAL_EXTRA => member.local.extra = text,
                NAME => member.name = text,
                EXTRA => member.extra = text,
                COMMENT => member.comment = text,
                _ => member.gap = text,
            }
        }
    }
    for member in members {
        if member.shape.central & SAME_NAME != 0 {
            member.name.clone_from(&member.local.name);
        }
        if member.shape.central & SAME_EXTRA != 0 {
            member.extra.clone_from(&member.local.extra);
        }
    }
    Some(())
}

impl ZipMember {
    /// True if the member stores at least a byte.
    pub(super) fn has_content(&self) -> bool {
        self.shape.local & HAS_CONTENT != 0
    }

    /// True if checksum and plain length follow from inflating the stored bytes.
    pub(super) fn is_deflated(&self) -> bool {
        self.common.method == DEFLATE && self.shape.local & IS_EXPLICIT == 0
    }

    /// Replaces checksum and plain length by explicit ones, where the structure has them.
    pub(super) fn with_explicit(&self, content: ContentSummary) -> ContentSummary {
        match self.shape.local & IS_EXPLICIT {
            0 => content,
            _ => ContentSummary { crc: self.crc, plain_bytes: self.plain_bytes, ..content },
        }
    }

    /// Returns the length of the local header.
    pub(super) fn header_bytes(&self) -> u64 {
        self.local.bytes()
    }

    /// Returns the local header; `None` if a length does not fit its fields.
    pub(super) fn header(&self, content: &ContentSummary) -> Option<Vec<u8>> {
        let mut out = LOCAL.to_vec();
        self.local.common.write(&mut out);
        let fields = match self.shape.local & FORM {
            FORM_ZERO => [0, 0, 0],
            FORM_REAL => content.fields()?,
            FORM_LARGE => [content.crc, u32::MAX, u32::MAX],
            _ => self.local.fields,
        };
        out.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        out.extend(low(self.local.name.len()));
        out.extend(low(self.local.extra.len()));
        out.extend_from_slice(&self.local.name);
        out.extend_from_slice(&self.local.extra);
        Some(out)
    }

    /// Returns the bytes behind the member's data; `None` if a length does not fit.
    pub(super) fn footer(&self, content: &ContentSummary) -> Option<Vec<u8>> {
        let mut out = match self.shape.local >> DESCRIPTOR_SHIFT & 7 {
            0 => Vec::new(),
            form => descriptor(form, content)?,
        };
        out.extend_from_slice(&self.gap);
        Some(out)
    }

    fn entry(&self, content: &ContentSummary, offset: u64, out: &mut Vec<u8>) -> Option<()> {
        out.extend(CENTRAL);
        out.extend(self.made_by.to_le_bytes());
        self.common.write(out);
        let is_real = self.shape.central & REAL_FIELDS != 0;
        let fields = if is_real { content.fields()? } else { self.fields };
        out.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        for text in [&self.name, &self.extra, &self.comment] {
            out.extend(low(text.len()));
        }
        out.extend(self.disk.to_le_bytes());
        out.extend(self.internal.to_le_bytes());
        out.extend(self.external.to_le_bytes());
        let is_real = self.shape.central & REAL_OFFSET != 0;
        let offset = if is_real { u32::try_from(offset).ok()? } else { self.offset_field };
        out.extend(offset.to_le_bytes());
        for text in [&self.name, &self.extra, &self.comment] {
            out.extend_from_slice(text);
        }
        Some(())
    }
}

impl ZipStructure {
    /// Returns the directory, which begins at `at`, and the bytes behind it.
    ///
    /// `placed` has each member's checksum and lengths, and the offset of its local header. Returns
    /// `None` if a number does not fit its field.
    pub(super) fn directory(&self, placed: &[(ContentSummary, u64)], at: u64) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let usual: Vec<u32>;
        let order = if self.order.is_empty() {
            usual = (0..).take(self.members.len()).collect();
            &usual
        } else {
            &self.order
        };
        for &member in order {
            let (content, offset) = placed.get(member as usize)?;
            self.members[member as usize].entry(content, *offset, &mut out)?;
        }
        match &self.tail {
            DirectoryTail::Literal(bytes) => out.extend_from_slice(bytes),
            DirectoryTail::Usual(comment) => {
                let bytes = u32::try_from(out.len()).ok()?;
                let count = u16::try_from(order.len()).ok()?;
                out.extend(super::END);
                out.extend([0; 4]);
                out.extend(count.to_le_bytes());
                out.extend(count.to_le_bytes());
                out.extend(bytes.to_le_bytes());
                out.extend(u32::try_from(at).ok()?.to_le_bytes());
                out.extend(u16::try_from(comment.len()).ok()?.to_le_bytes());
                out.extend_from_slice(comment);
            }
        }
        Some(out)
    }
}

fn low(count: usize) -> [u8; 2] {
    super::low_bytes(count)
}

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_BYTES: u64 = 30;
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const DATA: [u8; 4] = *b"PK\x07\x08";
const STORED: u16 = 0;
const DEFLATE: u16 = 8;
const ENCRYPTED: u16 = 1;
const DESCRIPTOR: u16 = 8;
/// The extra field for lengths beyond 32 bits.
const LARGE: u16 = 1;

// Bits of the local shape: how the local header spells checksum and lengths, …
const FORM: u8 = 3;
const FORM_ZERO: u8 = 0;
const FORM_REAL: u8 = 1;
const FORM_LARGE: u8 = 2;
const FORM_LITERAL: u8 = 3;
// … the descriptor's form, three bits, …
const DESCRIPTOR_SHIFT: u8 = 2;
// … a gap, content, explicit checksum and plain length.
const HAS_GAP: u8 = 32;
const HAS_CONTENT: u8 = 64;
const IS_EXPLICIT: u8 = 128;
// Bits of the central shape: fields that have their usual value.
const SAME_COMMON: u8 = 1;
const SAME_NAME: u8 = 2;
const SAME_EXTRA: u8 = 4;
const REAL_FIELDS: u8 = 8;
const REAL_OFFSET: u8 = 16;
const NO_DISK: u8 = 32;
