//! Reads header columns: the gaps of a stream, and the lengths of the payloads between them.
//! Never holds more of the stream than a piece of a gap, or more of the base than a header.

use super::{
    block::{BLOCK_BYTES, HeaderBlocks},
    columns::{ALONE, BASED, Column, ColumnReader, KIND_BITS, LITERAL, PAYLOAD, ZEROS, broken},
    decode,
    memory::HeaderMemory,
    names,
    order::{DirectoryOrder, OrderBuilder, bits_for},
};
use imgdelta_core::{LimitName, Limits, Result, limits::Ceiling, work::WorkMeter};
use imgdelta_wire::varint::unzigzag;

/// Reader of the header columns that [`HeaderWriter`](super::HeaderWriter) writes.
#[derive(Debug)]
pub struct HeaderReader<'a> {
    cursor: ColumnReader<Vec<u8>>,
    meter: Option<&'a WorkMeter>,
    memory: HeaderMemory,
    extension_limit: u64,
    entry_limit: Ceiling,
    text_limit: Ceiling,
    entries: u64,
    /// Address at which the next base header is expected.
    expected: u64,
    walk: Option<DirectoryWalk>,
    /// Zeros of the current gap that are left.
    zero_bytes: u64,
    /// Literal bytes of the current gap that are left.
    literal_bytes: u64,
}

/// A payload of the stream, which the columns do not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPayload {
    /// Length; 0 between two pieces of a long gap.
    pub bytes: u64,
    /// Address and length of the base entry's payload, if the header has a base entry.
    pub own: Option<(u64, u64)>,
}

impl<'a> HeaderReader<'a> {
    /// Unpacks columns. Their values are checked as they are read.
    pub fn open(packed: &[u8], limits: &Limits) -> Result<Self> {
        Ok(Self {
            cursor: ColumnReader::open(packed, limits)?,
            meter: None,
            memory: HeaderMemory::new(),
            extension_limit: limits.extension_bytes,
            entry_limit: limits.ceiling(LimitName::LayerEntries),
            text_limit: limits.ceiling(LimitName::LayerTextBytes),
            entries: 0,
            expected: 0,
            walk: None,
            zero_bytes: 0,
            literal_bytes: 0,
        })
    }

    /// Charges the work of the columns to a meter, since columns of a few bytes can name long texts
    /// for each header.
    #[must_use]
    pub fn metered(mut self, meter: &'a WorkMeter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Writes the bytes up to the next payload to `gap`, and returns this payload.
    ///
    /// Returns `None` with the last bytes of the stream. `base` fills a buffer with base bytes at an
    /// address, and fails behind the last one.
    ///
    /// Hostile columns can give endless gaps, so the caller must stop at the stream's length.
    pub fn next(
        &mut self,
        base: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
        gap: &mut Vec<u8>,
    ) -> Result<Option<StreamPayload>> {
        gap.clear();
        if self.walk.is_none() && !self.cursor.is_at_end(Column::Jumps) {
            self.walk = Some(self.start_walk(base)?);
        }
        loop {
            self.put_pending(gap)?;
            if gap.len() >= GAP_BYTES {
                return Ok(Some(StreamPayload::default()));
            }
            if self.cursor.is_at_end(Column::Items) {
                self.cursor.finish()?;
                return Ok(None);
            }
            let payload = self.item(base, gap)?;
            if payload.bytes > 0 {
                return Ok(Some(payload));
            }
        }
    }

    fn item(
        &mut self,
        base: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
        gap: &mut Vec<u8>,
    ) -> Result<StreamPayload> {
        let item = self.cursor.number(Column::Items)?;
        let mask = item >> KIND_BITS;
        match item - (mask << KIND_BITS) {
            ALONE => self.entry(None, mask, gap),
            BASED => {
                let address = match &mut self.walk {
                    Some(walk) => walk.next(&mut self.cursor)?,
                    None => self.address()?,
                };
                let head = HeaderBlocks::read(address, self.extension_limit, base)?;
                self.charge(head.bytes.len(), BLOCK_BYTE)?;
                if let Some(walk) = &mut self.walk {
                    walk.path = names::full_names(&head).0;
                }
                self.follow(&head, address)?;
                self.entry(Some((&head, address)), mask, gap)
            }
            LITERAL if mask == 0 => {
                self.literal_bytes = self.cursor.number(Column::Lengths)?;
                Ok(StreamPayload::default())
            }
            ZEROS if mask == 0 => {
                self.zero_bytes = self.cursor.number(Column::Lengths)?;
                Ok(StreamPayload::default())
            }
            PAYLOAD if mask == 0 => {
                Ok(StreamPayload { bytes: self.cursor.number(Column::Lengths)?, own: None })
            }
            _ => Err(broken(Column::Items, "has an unknown item")),
        }
    }

    fn address(&mut self) -> Result<u64> {
        let number = self.cursor.number(Column::Addresses)?;
        let change = unzigzag(number >> 1);
        let block = i64::try_from(BLOCK_BYTES).expect("a small number");
        let change = if number & 1 == 0 { change.checked_mul(block) } else { Some(change) };
        let address = change.and_then(|change| self.expected.checked_add_signed(change));
        address.ok_or_else(|| broken(Column::Addresses, "exceeds the address space"))
    }

    /// Expects the next base header at the end of this entry.
    fn follow(&mut self, head: &HeaderBlocks, address: u64) -> Result<()> {
        let end = head.entry_bytes().and_then(|bytes| address.checked_add(bytes));
        self.expected =
            end.ok_or_else(|| broken(Column::Addresses, "exceeds the address space"))?;
        Ok(())
    }

    /// Reads all base headers that are used, in the base's order.
    fn start_walk(
        &mut self,
        base: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<DirectoryWalk> {
        let count = self.cursor.number(Column::Jumps)?;
        self.entry_limit.admit(count, "number of entries", "header columns")?;
        let mut entries = OrderBuilder::default();
        let mut text_bytes = 0;
        for _ in 0..count {
            let address = self.address()?;
            let head = HeaderBlocks::read(address, self.extension_limit, base)?;
            self.charge(head.bytes.len(), BLOCK_BYTE)?;
            self.follow(&head, address)?;
            let path = names::full_names(&head).0;
            text_bytes += path.len() as u64;
            self.text_limit.admit(text_bytes, "number of bytes", "header columns")?;
            entries.add(address, &path);
        }
        let order = entries.finish();
        let mut walk =
            DirectoryWalk { order, path: Vec::new(), until_jump: None, bits: 0, held: 0 };
        walk.read_distance(&mut self.cursor)?;
        Ok(walk)
    }

    fn entry(
        &mut self,
        base: Option<(&HeaderBlocks, u64)>,
        mask: u64,
        gap: &mut Vec<u8>,
    ) -> Result<StreamPayload> {
        self.entries += 1;
        self.entry_limit.admit(self.entries, "number of entries", "header columns")?;
        let own =
            base.map(|(head, address)| (address + head.bytes.len() as u64, head.payload_bytes()));
        let limit = usize::try_from(self.extension_limit).unwrap_or(usize::MAX);
        let base = base.map(|(head, _)| head);
        let entry = decode::entry(&mut self.cursor, &mut self.memory, base, mask, limit)?;
        self.charge(entry.head.bytes.len(), BLOCK_BYTE)?;
        self.charge(self.memory.path.len() + self.memory.link.len(), TEXT_BYTE)?;
        gap.extend_from_slice(&entry.head.bytes);
        if entry.is_padded {
            self.zero_bytes = padding_of(entry.payload_bytes);
        }
        Ok(StreamPayload { bytes: entry.payload_bytes, own })
    }

    /// Charges bytes; the columns are read twice, first for the lengths of payloads.
    fn charge(&self, bytes: usize, nanoseconds: u64) -> Result<()> {
        let Some(meter) = self.meter else { return Ok(()) };
        meter.charge((bytes as u64).saturating_mul(2 * nanoseconds))
    }

    fn put_pending(&mut self, gap: &mut Vec<u8>) -> Result<()> {
        let room = |gap: &Vec<u8>| GAP_BYTES.saturating_sub(gap.len()) as u64;
        let zeros = self.zero_bytes.min(room(gap));
        gap.resize(gap.len() + usize::try_from(zeros).expect("less than GAP_BYTES"), 0);
        self.zero_bytes -= zeros;
        let literals = self.literal_bytes.min(room(gap));
        gap.extend_from_slice(self.cursor.bytes(Column::Bytes, literals)?);
        self.literal_bytes -= literals;
        Ok(())
    }
}

/// Walk through the base entries, directory by directory.
#[derive(Debug)]
struct DirectoryWalk {
    order: DirectoryOrder,
    /// Path of the entry taken last.
    path: Vec<u8>,
    /// Number of picks before the next jump, if there is one.
    until_jump: Option<u64>,
    /// Bits that are read and not used yet.
    bits: u64,
    /// Number of these bits.
    held: u32,
}

impl DirectoryWalk {
    /// Reads the number of picks before the next jump.
    fn read_distance(&mut self, cursor: &mut ColumnReader<Vec<u8>>) -> Result<()> {
        let is_last = cursor.is_at_end(Column::Jumps);
        self.until_jump = if is_last { None } else { Some(cursor.number(Column::Jumps)?) };
        Ok(())
    }

    /// Returns the address of the next base entry.
    fn next(&mut self, cursor: &mut ColumnReader<Vec<u8>>) -> Result<u64> {
        if self.until_jump == Some(0) {
            let change = cursor.signed(Column::Jumps)?;
            self.read_distance(cursor)?;
            let address = self.order.jump(change);
            return address.ok_or_else(|| broken(Column::Jumps, "exceeds the base entries"));
        }
        self.until_jump = self.until_jump.map(|left| left - 1);
        let current = self.order.current(&self.path);
        let (slots, left) = current.ok_or_else(|| broken(Column::Picks, "has nothing to pick"))?;
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
            _ => Err(broken(Column::Picks, "picks an entry that is not there")),
        }
    }
}

/// Returns the number of zeros that fill a payload's last block.
pub(super) fn padding_of(payload_bytes: u64) -> u64 {
    let over = payload_bytes % BLOCK_BYTES as u64;
    if over == 0 { 0 } else { BLOCK_BYTES as u64 - over }
}

/// Nanoseconds for a byte of a header's blocks.
const BLOCK_BYTE: u64 = 2;
/// Nanoseconds for a byte of a header's path or link, which several rules copy and search.
const TEXT_BYTE: u64 = 12;
/// Longer gaps are returned in pieces of about this size, so that memory stays bounded.
const GAP_BYTES: usize = 1 << 20;
