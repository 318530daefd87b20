//! All of a zip file but the contents of its members: headers, directory, and what stands between,
//! by columns, so that two versions of a file are alike where they are alike.
//!
//! What follows from the contents and their places (checksums, lengths, offsets) is left out where
//! it is what it should be. Knows nothing of where the contents come from.

use super::{
    super::{
        Slice,
        bytes::{Front, length},
    },
    MOST_MEMBERS,
};
use imgdelta_core::Result;
use imgdelta_format::varint;
use std::ops::Range;

/// A member: its entry in the directory, its own header, and what follows its data.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) local: Local,
    made_by: u16,
    common: Common,
    name: Vec<u8>,
    extra: Vec<u8>,
    comment: Vec<u8>,
    disk: u16,
    internal: u16,
    external: u32,
    /// Checksum and lengths as its entry has them, and the offset.
    fields: Fields,
    offset_field: u32,
    /// What they really are.
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) plain_bytes: u64,
    pub(super) offset: u64,
    pub(super) data: Range<u64>,
    descriptor: u8,
    gap: Vec<u8>,
    shape: Shape,
}

/// What both headers of a member say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Common {
    needed: u16,
    flags: u16,
    method: u16,
    time: u32,
}

/// Checksum, stored length and plain length, as 32 bits.
type Fields = [u32; 3];

/// A member's own header.
#[derive(Debug, Default)]
pub(super) struct Local {
    common: Common,
    fields: Fields,
    pub(super) name: Vec<u8>,
    extra: Vec<u8>,
}

/// What of a member is not told, as it follows.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    local: u8,
    central: u8,
}

/// What follows the directory.
#[derive(Debug)]
pub(super) enum Tail {
    /// An end record that says nothing but what follows, and a comment.
    Usual(Vec<u8>),
    /// Anything else.
    Literal(Vec<u8>),
}

/// What a member's contents came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) plain_bytes: u64,
}

impl Content {
    /// Returns what a header of 32 bits says of it; `None` if it cannot.
    fn fields(&self) -> Option<Fields> {
        let packed = u32::try_from(self.packed_bytes).ok()?;
        Some([self.crc, packed, u32::try_from(self.plain_bytes).ok()?])
    }
}

impl Local {
    /// Reads the header at an offset; `None` if there is none.
    pub(super) fn read(slice: &Slice<'_>, at: u64) -> Result<Option<Self>> {
        let Some(bytes) = slice.read(at, LOCAL_BYTES)? else { return Ok(None) };
        let mut front = Front(&bytes);
        let fixed = (|| {
            (front.bytes(4)? == LOCAL).then_some(())?;
            let common = Common::read(&mut front)?;
            Some((common, fields(&mut front)?, front.u16()?, front.u16()?))
        })();
        let Some((common, fields, name, extra)) = fixed else { return Ok(None) };
        let count = u64::from(name) + u64::from(extra);
        let Some(mut text) = slice.read(at + LOCAL_BYTES, count)? else { return Ok(None) };
        let extra = text.split_off(usize::from(name));
        Ok(Some(Self { common, fields, name: text, extra }))
    }

    /// Returns its length.
    pub(super) fn bytes(&self) -> u64 {
        LOCAL_BYTES + self.name.len() as u64 + self.extra.len() as u64
    }
}

impl Common {
    fn read(front: &mut Front<'_>) -> Option<Self> {
        let (needed, flags, method) = (front.u16()?, front.u16()?, front.u16()?);
        Some(Self { needed, flags, method, time: front.u32()? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        for word in [self.needed, self.flags, self.method] {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.time.to_le_bytes());
    }
}

fn fields(front: &mut Front<'_>) -> Option<Fields> {
    Some([front.u32()?, front.u32()?, front.u32()?])
}

impl Member {
    /// Reads an entry of the directory.
    pub(super) fn read(front: &mut Front<'_>) -> Option<Self> {
        (front.bytes(4)? == CENTRAL).then_some(())?;
        let made_by = front.u16()?;
        let common = Common::read(front)?;
        let fields = fields(front)?;
        let lengths = [front.u16()?, front.u16()?, front.u16()?].map(usize::from);
        let (disk, internal, external) = (front.u16()?, front.u16()?, front.u32()?);
        let offset_field = front.u32()?;
        let [name, extra, comment] = [
            front.bytes(lengths[0])?.to_vec(),
            front.bytes(lengths[1])?.to_vec(),
            front.bytes(lengths[2])?.to_vec(),
        ];
        // Lengths beyond 32 bits stand in a field of their own, those that are, in this order.
        let mut large = Front(large_field(&extra));
        let mut real = |field: u32| {
            if field == u32::MAX { large.u64() } else { Some(u64::from(field)) }
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

    /// Whether its content is seen into.
    pub(super) fn is_inflated(&self) -> bool {
        self.common.method == DEFLATE && !self.is_encrypted() && self.plain_bytes > 0
    }

    fn is_encrypted(&self) -> bool {
        self.common.flags & ENCRYPTED != 0
    }

    /// Whether checksum and plain length follow from what is stored.
    fn is_derived(&self) -> bool {
        if self.packed_bytes == 0 {
            return self.crc == 0 && self.plain_bytes == 0;
        }
        let is_stored = self.common.method == STORED && self.packed_bytes == self.plain_bytes;
        !self.is_encrypted() && (self.common.method == DEFLATE || is_stored)
    }

    /// Takes what stands between its data and the next member.
    pub(super) fn end(&mut self, between: &[u8]) {
        let is_descriptor = |form: &u8| {
            let bytes = descriptor(*form, &self.content());
            bytes.is_some_and(|bytes| between.starts_with(&bytes))
        };
        let forms: &[u8] = if self.common.flags & DESCRIPTOR == 0 { &[] } else { &[2, 1, 4, 3] };
        // All that stands there, rather than its beginning.
        let exact = |form: &u8| {
            let bytes = descriptor(*form, &self.content());
            bytes.is_some_and(|bytes| between == bytes)
        };
        let found = forms.iter().copied().find(exact).or(forms.iter().copied().find(is_descriptor));
        self.descriptor = found.unwrap_or(0);
        let count = descriptor(self.descriptor, &self.content()).map_or(0, |bytes| bytes.len());
        self.gap = between[count..].to_vec();
    }

    fn content(&self) -> Content {
        Content { crc: self.crc, packed_bytes: self.packed_bytes, plain_bytes: self.plain_bytes }
    }

    fn shape_of(&self, offset: u64) -> Shape {
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
        local |= if self.is_derived() { 0 } else { IS_TOLD };
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
        Shape { local, central }
    }
}

/// The field of an entry's extra ones that holds what 32 bits cannot.
fn large_field(extra: &[u8]) -> &[u8] {
    let mut front = Front(extra);
    while let (Some(id), Some(count)) = (front.u16(), front.u16()) {
        let Some(field) = front.bytes(usize::from(count)) else { break };
        if id == LARGE {
            return field;
        }
    }
    &[]
}

/// A data descriptor of one of four forms; `None` if there is none of that form.
fn descriptor(form: u8, content: &Content) -> Option<Vec<u8>> {
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

/// Writes the structure. `order` tells for each entry of the directory which member it is;
/// empty if they are in the order of the members.
pub(super) fn write(members: &[Member], order: &[u32], lead: &[u8], tail: &Tail) -> Vec<u8> {
    let shapes: Vec<Shape> = members.iter().map(|member| member.shape_of(member.offset)).collect();
    let mut out = Vec::new();
    varint::write(&mut out, members.len() as u64);
    out.extend(shapes.iter().map(|shape| shape.local));
    out.extend(shapes.iter().map(|shape| shape.central));
    let mut column = |write: &dyn Fn(&Member, Shape, &mut Vec<u8>)| {
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
        if shape.local & IS_TOLD != 0 {
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
        Tail::Usual(comment) => (0, comment),
        Tail::Literal(bytes) => (1, bytes),
    };
    out.push(form);
    out.extend_from_slice(bytes);
    out
}

/// A structure read again.
#[derive(Debug)]
pub(super) struct Structure {
    pub(super) lead: Vec<u8>,
    pub(super) members: Vec<Member>,
    order: Vec<u32>,
    tail: Tail,
}

/// Reads a structure; `None` if it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Structure> {
    let mut front = Front(bytes);
    let count = front.number()?;
    // Memory follows what is there: a member takes more than a byte, and there may not be so many.
    let is_possible = |count: &usize| *count <= front.0.len() && *count as u64 <= MOST_MEMBERS;
    let count = usize::try_from(count).ok().filter(is_possible)?;
    let mut members: Vec<Member> = Vec::new();
    members.resize_with(count, Member::default);
    for (member, byte) in members.iter_mut().zip(front.bytes(count)?) {
        member.shape.local = *byte;
    }
    for (member, byte) in members.iter_mut().zip(front.bytes(count)?) {
        member.shape.central = *byte;
    }
    let mut lengths = Lengths { lists: Default::default() };
    read_columns(&mut front, &mut members, &mut lengths)?;
    read_text(&mut front, &mut members, lengths)?;
    let order = match front.byte()? {
        0 => Vec::new(),
        _ => (0..count).map(|_| front.u32()).collect::<Option<Vec<u32>>>()?,
    };
    let lead = front.number()?;
    let lead = front.bytes(length(lead))?.to_vec();
    let tail = match front.byte()? {
        0 => Tail::Usual(front.0.to_vec()),
        _ => Tail::Literal(front.0.to_vec()),
    };
    let is_permutation = order.iter().all(|&member| (member as usize) < count);
    is_permutation.then_some(Structure { lead, members, order, tail })
}

/// The lengths of the texts, which follow all other columns.
struct Lengths {
    lists: [Vec<usize>; 6],
}

const LOCAL_NAME: usize = 0;
const LOCAL_EXTRA: usize = 1;
const NAME: usize = 2;
const EXTRA: usize = 3;
const COMMENT: usize = 4;
const GAP: usize = 5;

fn read_columns(
    front: &mut Front<'_>,
    members: &mut [Member],
    lengths: &mut Lengths,
) -> Option<()> {
    members.iter_mut().try_for_each(|m| front.u16().map(|n| m.local.common.needed = n))?;
    members.iter_mut().try_for_each(|m| front.u16().map(|n| m.local.common.flags = n))?;
    members.iter_mut().try_for_each(|m| front.u16().map(|n| m.local.common.method = n))?;
    members.iter_mut().try_for_each(|m| front.u32().map(|n| m.local.common.time = n))?;
    let list = |front: &mut Front<'_>, members: &[Member], wants: &dyn Fn(Shape) -> bool| {
        let one = |member: &Member| {
            if wants(member.shape) { front.number().map(length) } else { Some(0) }
        };
        members.iter().map(one).collect::<Option<Vec<usize>>>()
    };
    lengths.lists[LOCAL_NAME] = list(front, members, &|_| true)?;
    lengths.lists[LOCAL_EXTRA] = list(front, members, &|_| true)?;
    for member in members.iter_mut().filter(|m| m.shape.local & FORM == FORM_LITERAL) {
        member.local.fields = fields(front)?;
    }
    lengths.lists[GAP] = list(front, members, &|shape| shape.local & HAS_GAP != 0)?;
    for member in members.iter_mut().filter(|m| m.shape.local & IS_TOLD != 0) {
        member.crc = front.u32()?;
        member.plain_bytes = front.u64()?;
    }
    members.iter_mut().try_for_each(|m| front.u16().map(|n| m.made_by = n))?;
    members.iter_mut().try_for_each(|m| front.u16().map(|n| m.internal = n))?;
    members.iter_mut().try_for_each(|m| front.u32().map(|n| m.external = n))?;
    lengths.lists[COMMENT] = list(front, members, &|_| true)?;
    for member in members.iter_mut() {
        let is_same = member.shape.central & SAME_COMMON != 0;
        member.common = if is_same { member.local.common } else { Common::read(front)? };
    }
    lengths.lists[NAME] = list(front, members, &|shape| shape.central & SAME_NAME == 0)?;
    lengths.lists[EXTRA] = list(front, members, &|shape| shape.central & SAME_EXTRA == 0)?;
    for member in members.iter_mut().filter(|m| m.shape.central & REAL_FIELDS == 0) {
        member.fields = fields(front)?;
    }
    for member in members.iter_mut().filter(|m| m.shape.central & REAL_OFFSET == 0) {
        member.offset_field = front.u32()?;
    }
    for member in members.iter_mut().filter(|m| m.shape.central & NO_DISK == 0) {
        member.disk = front.u16()?;
    }
    Some(())
}

fn read_text(front: &mut Front<'_>, members: &mut [Member], lengths: Lengths) -> Option<()> {
    for (list, counts) in lengths.lists.into_iter().enumerate() {
        for (member, count) in members.iter_mut().zip(counts) {
            // A header has sixteen bits for each of these, the gap excepted.
            (list == GAP || u16::try_from(count).is_ok()).then_some(())?;
            let text = front.bytes(count)?.to_vec();
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

impl Member {
    /// Whether it has content.
    pub(super) fn has_content(&self) -> bool {
        self.shape.local & HAS_CONTENT != 0
    }

    /// Whether what it stores is deflate, of which checksum and plain length are wanted.
    pub(super) fn is_deflated(&self) -> bool {
        self.common.method == DEFLATE && self.shape.local & IS_TOLD == 0
    }

    /// Puts what the structure tells over what the contents came to.
    pub(super) fn told(&self, content: Content) -> Content {
        match self.shape.local & IS_TOLD {
            0 => content,
            _ => Content { crc: self.crc, plain_bytes: self.plain_bytes, ..content },
        }
    }

    /// Returns the length of its own header.
    pub(super) fn header_bytes(&self) -> u64 {
        self.local.bytes()
    }

    /// Returns its own header; `None` if its form cannot say the lengths.
    pub(super) fn header(&self, content: &Content) -> Option<Vec<u8>> {
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

    /// Returns what follows its data.
    pub(super) fn footer(&self, content: &Content) -> Option<Vec<u8>> {
        let mut out = match self.shape.local >> DESCRIPTOR_SHIFT & 7 {
            0 => Vec::new(),
            form => descriptor(form, content)?,
        };
        out.extend_from_slice(&self.gap);
        Some(out)
    }

    fn entry(&self, content: &Content, offset: u64, out: &mut Vec<u8>) -> Option<()> {
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

impl Structure {
    /// Returns the directory and what follows it, which begin at `at`. For each member what its
    /// content came to, and where its header stands.
    pub(super) fn directory(&self, placed: &[(Content, u64)], at: u64) -> Option<Vec<u8>> {
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
            Tail::Literal(bytes) => out.extend_from_slice(bytes),
            Tail::Usual(comment) => {
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

// The local shape: how its header tells checksum and lengths, …
const FORM: u8 = 3;
const FORM_ZERO: u8 = 0;
const FORM_REAL: u8 = 1;
const FORM_LARGE: u8 = 2;
const FORM_LITERAL: u8 = 3;
// … the descriptor's form, three bits, …
const DESCRIPTOR_SHIFT: u8 = 2;
// … and what else there is.
const HAS_GAP: u8 = 32;
const HAS_CONTENT: u8 = 64;
const IS_TOLD: u8 = 128;
// The central shape: what is as it usually is.
const SAME_COMMON: u8 = 1;
const SAME_NAME: u8 = 2;
const SAME_EXTRA: u8 = 4;
const REAL_FIELDS: u8 = 8;
const REAL_OFFSET: u8 = 16;
const NO_DISK: u8 = 32;
