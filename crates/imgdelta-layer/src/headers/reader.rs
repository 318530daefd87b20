//! Header columns read back: frames, and the payloads between them.
//!
//! It holds no more of the stream than a frame, and of the base no more than a header.

use super::{
    block::{BLOCK_BYTES, Head},
    columns::{ALONE, BASED, Column, Cursor, KIND_BITS, LITERAL, PAYLOAD, ZEROS, broken},
    decode,
    memory::Memory,
    names,
    order::{Order, bits_for},
};
use imgdelta_core::{Limits, Result};
use imgdelta_format::varint::unzigzag;

/// Reads what [`HeaderWriter`](super::HeaderWriter) wrote.
#[derive(Debug)]
pub struct HeaderReader {
    cursor: Cursor<Vec<u8>>,
    memory: Memory,
    extension_limit: u64,
    entry_limit: u64,
    text_limit: u64,
    entries: u64,
    /// Where the next base header is expected.
    expected: u64,
    walk: Option<Walk>,
    /// Bytes that belong to the frame and are not yet in it.
    zero_bytes: u64,
    literal_bytes: u64,
}

/// A stretch of the stream that is not in the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// How long it is; 0 where a frame was only cut because it is long.
    pub bytes: u64,
    /// Address and length of the payload of the base entry that its header was written against.
    pub own: Option<(u64, u64)>,
}

impl HeaderReader {
    /// Unpacks columns. Nothing in them is believed yet.
    pub fn open(packed: &[u8], limits: &Limits) -> Result<Self> {
        Ok(Self {
            cursor: Cursor::open(packed, limits)?,
            memory: Memory::new(),
            extension_limit: limits.extension_bytes,
            entry_limit: limits.layer_entries,
            text_limit: limits.layer_text_bytes,
            entries: 0,
            expected: 0,
            walk: None,
            zero_bytes: 0,
            literal_bytes: 0,
        })
    }

    /// Puts the bytes up to the next payload into `frame` and returns that payload; at the end
    /// `None`, with the last bytes. `base` reads base bytes at an address and fails past their end.
    ///
    /// Frames can add up to more than any stream holds: who knows the stream's length stops there.
    pub fn next(
        &mut self,
        base: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
        frame: &mut Vec<u8>,
    ) -> Result<Option<Payload>> {
        frame.clear();
        if self.walk.is_none() && !self.cursor.is_at_end(Column::Jumps) {
            self.walk = Some(self.start_walk(base)?);
        }
        loop {
            self.put_pending(frame)?;
            if frame.len() >= FRAME_BYTES {
                return Ok(Some(Payload::default()));
            }
            if self.cursor.is_at_end(Column::Items) {
                self.cursor.finish()?;
                return Ok(None);
            }
            let payload = self.item(base, frame)?;
            if payload.bytes > 0 {
                return Ok(Some(payload));
            }
        }
    }

    fn item(
        &mut self,
        base: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
        frame: &mut Vec<u8>,
    ) -> Result<Payload> {
        let item = self.cursor.number(Column::Items)?;
        let mask = item >> KIND_BITS;
        match item - (mask << KIND_BITS) {
            ALONE => self.entry(None, mask, frame),
            BASED => {
                let address = match &mut self.walk {
                    Some(walk) => walk.next(&mut self.cursor)?,
                    None => self.address()?,
                };
                let head = Head::read(address, self.extension_limit, base)?;
                if let Some(walk) = &mut self.walk {
                    walk.path = names::full_names(&head).0;
                }
                self.follow(&head, address)?;
                self.entry(Some((&head, address)), mask, frame)
            }
            LITERAL if mask == 0 => {
                self.literal_bytes = self.cursor.number(Column::Lengths)?;
                Ok(Payload::default())
            }
            ZEROS if mask == 0 => {
                self.zero_bytes = self.cursor.number(Column::Lengths)?;
                Ok(Payload::default())
            }
            PAYLOAD if mask == 0 => {
                Ok(Payload { bytes: self.cursor.number(Column::Lengths)?, own: None })
            }
            _ => Err(broken(Column::Items, "has an unknown item")),
        }
    }

    fn address(&mut self) -> Result<u64> {
        let told = self.cursor.number(Column::Addresses)?;
        let change = unzigzag(told >> 1);
        let block = i64::try_from(BLOCK_BYTES).expect("a small number");
        let change = if told & 1 == 0 { change.checked_mul(block) } else { Some(change) };
        let address = change.and_then(|change| self.expected.checked_add_signed(change));
        address.ok_or_else(|| broken(Column::Addresses, "leaves all addresses"))
    }

    /// Expects the next base header behind this one's entry.
    fn follow(&mut self, head: &Head, address: u64) -> Result<()> {
        let end = head.entry_bytes().and_then(|bytes| address.checked_add(bytes));
        self.expected = end.ok_or_else(|| broken(Column::Addresses, "leaves all addresses"))?;
        Ok(())
    }

    /// Reads all base headers that will be used, in the base's order.
    fn start_walk(&mut self, base: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>) -> Result<Walk> {
        let count = self.cursor.number(Column::Jumps)?;
        Limits::admit(self.entry_limit, count, "number of entries", "header columns")?;
        let mut entries: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut text_bytes = 0;
        for _ in 0..count {
            let address = self.address()?;
            let head = Head::read(address, self.extension_limit, base)?;
            self.follow(&head, address)?;
            let path = names::full_names(&head).0;
            text_bytes += path.len() as u64;
            Limits::admit(self.text_limit, text_bytes, "number of bytes", "header columns")?;
            entries.push((address, path));
        }
        let order = Order::new(entries.iter().map(|(address, path)| (*address, &path[..])));
        let mut walk = Walk { order, path: Vec::new(), until_jump: None, bits: 0, held: 0 };
        walk.read_gap(&mut self.cursor)?;
        Ok(walk)
    }

    fn entry(
        &mut self,
        base: Option<(&Head, u64)>,
        mask: u64,
        frame: &mut Vec<u8>,
    ) -> Result<Payload> {
        self.entries += 1;
        Limits::admit(self.entry_limit, self.entries, "number of entries", "header columns")?;
        let own =
            base.map(|(head, address)| (address + head.bytes.len() as u64, head.payload_bytes()));
        let limit = usize::try_from(self.extension_limit).unwrap_or(usize::MAX);
        let base = base.map(|(head, _)| head);
        let entry = decode::entry(&mut self.cursor, &mut self.memory, base, mask, limit)?;
        frame.extend_from_slice(&entry.head.bytes);
        if entry.is_padded {
            self.zero_bytes = padding_of(entry.payload_bytes);
        }
        Ok(Payload { bytes: entry.payload_bytes, own })
    }

    fn put_pending(&mut self, frame: &mut Vec<u8>) -> Result<()> {
        let room = |frame: &Vec<u8>| FRAME_BYTES.saturating_sub(frame.len()) as u64;
        let zeros = self.zero_bytes.min(room(frame));
        frame.resize(frame.len() + usize::try_from(zeros).expect("less than a frame"), 0);
        self.zero_bytes -= zeros;
        let literals = self.literal_bytes.min(room(frame));
        frame.extend_from_slice(self.cursor.bytes(Column::Bytes, literals)?);
        self.literal_bytes -= literals;
        Ok(())
    }
}

/// Base entries being taken directory by directory.
#[derive(Debug)]
struct Walk {
    order: Order,
    /// The path of the last one.
    path: Vec<u8>,
    /// How many are picked before the next jump, if there is one.
    until_jump: Option<u64>,
    /// Bits read and not yet used.
    bits: u64,
    held: u32,
}

impl Walk {
    fn read_gap(&mut self, cursor: &mut Cursor<Vec<u8>>) -> Result<()> {
        let is_last = cursor.is_at_end(Column::Jumps);
        self.until_jump = if is_last { None } else { Some(cursor.number(Column::Jumps)?) };
        Ok(())
    }

    /// Returns the address of the next base entry.
    fn next(&mut self, cursor: &mut Cursor<Vec<u8>>) -> Result<u64> {
        if self.until_jump == Some(0) {
            let change = cursor.signed(Column::Jumps)?;
            self.read_gap(cursor)?;
            let address = self.order.jump(change);
            return address.ok_or_else(|| broken(Column::Jumps, "leaves the base entries"));
        }
        self.until_jump = self.until_jump.map(|left| left - 1);
        let at_hand = self.order.at_hand(&self.path);
        let (slots, left) = at_hand.ok_or_else(|| broken(Column::Picks, "has nothing to pick"))?;
        let wanted = bits_for(left);
        while self.held < wanted {
            self.bits |= u64::from(cursor.byte(Column::Picks)?) << self.held;
            self.held += 8;
        }
        let place = self.bits & ((1 << wanted) - 1);
        self.bits >>= wanted;
        self.held -= wanted;
        match usize::try_from(place) {
            Ok(place) if place < left => Ok(self.order.pick(&slots, place)),
            _ => Err(broken(Column::Picks, "picks more than there is")),
        }
    }
}

/// Returns the zeros that fill a payload's last block.
pub(super) fn padding_of(payload_bytes: u64) -> u64 {
    let over = payload_bytes % BLOCK_BYTES as u64;
    if over == 0 { 0 } else { BLOCK_BYTES as u64 - over }
}

/// Longer frames are handed out in pieces of about this size, so that memory stays bounded.
const FRAME_BYTES: usize = 1 << 20;
