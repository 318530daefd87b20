//! Writes header columns: the gaps of a stream, entry by entry.
//! Never chooses a base entry; it reports if it could use the given one.

use super::{
    block::{BLOCK_BYTES, HeaderBlocks},
    columns::{ALONE, BASED, Column, ColumnWriter, KIND_BITS, LITERAL, PAYLOAD, ZEROS, fact},
    encode,
    memory::HeaderMemory,
    names,
    order::{DirectoryOrder, bits_for},
    reader::padding_of,
};
use imgdelta_coding::pack::Packer;
use imgdelta_core::{Limits, sort::SharedSort};
use imgdelta_wire::varint::zigzag;

/// Writer of the gaps of one stream.
#[derive(Debug)]
pub struct HeaderWriter {
    columns: ColumnWriter,
    memory: HeaderMemory,
    extension_limit: u64,
    /// The base entries used, in the order of the target.
    bases: Vec<UsedBase>,
    packer: Packer,
    /// Memory of a reader that reads back every entry.
    #[cfg(debug_assertions)]
    reader_memory: HeaderMemory,
}

/// A base entry that an entry may refer to.
#[derive(Clone, Copy, Debug)]
pub struct BaseHeader<'a> {
    /// Header blocks, extensions included.
    pub header: &'a [u8],
    /// Address of the header in the recipe's address space.
    pub address: u64,
    /// Length of the payload.
    pub payload_bytes: u64,
}

impl HeaderWriter {
    /// Starts a stream whose columns are packed at `level` of zstd.
    pub fn new(level: i32) -> Self {
        Self {
            columns: ColumnWriter::default(),
            memory: HeaderMemory::new(),
            extension_limit: Limits::default().extension_bytes,
            bases: Vec::new(),
            packer: Packer::new(level),
            #[cfg(debug_assertions)]
            reader_memory: HeaderMemory::new(),
        }
    }

    /// Writes the next entry: header blocks, the payload's length, and the bytes behind the payload.
    ///
    /// True if the entry refers to the base entry; the reader then returns the base entry's payload
    /// as [`StreamPayload::own`](super::StreamPayload::own). A base entry that contradicts its header is not
    /// used.
    #[must_use = "an entry without a base entry has no own payload"]
    pub fn entry(
        &mut self,
        header: &[u8],
        payload_bytes: u64,
        padding: &[u8],
        base: Option<BaseHeader<'_>>,
    ) -> bool {
        let base = base.and_then(|base| {
            let head = HeaderBlocks::parse(base.header, self.extension_limit)?;
            let end = base.address.checked_add(head.entry_bytes()?)?;
            (head.payload_bytes() == base.payload_bytes).then_some((head, base.address, end))
        });
        let base_head = base.as_ref().map(|(head, ..)| head);
        #[cfg(debug_assertions)]
        let places = self.columns.places();
        let mask = HeaderBlocks::parse(header, self.extension_limit).and_then(|head| {
            encode::entry(&mut self.columns, &mut self.memory, base_head, &head, payload_bytes)
        });
        let Some(mut mask) = mask else {
            self.raw(header);
            self.raw_payload(payload_bytes);
            self.raw(padding);
            return false;
        };
        let zeros = usize::try_from(padding_of(payload_bytes)).expect("less than a block");
        let is_padded =
            padding.get(..zeros).is_some_and(|padding| padding.iter().all(|&byte| byte == 0));
        mask |= if is_padded { 0 } else { fact::NO_PADDING };
        #[cfg(debug_assertions)]
        self.prove(places, base_head, mask, (header, payload_bytes));
        let kind = if base.is_some() { BASED } else { ALONE };
        self.columns.number(Column::Items, mask << KIND_BITS | kind);
        self.raw(&padding[if is_padded { zeros } else { 0 }..]);
        let is_based = base.is_some();
        self.bases.extend(base.map(|(head, address, end)| UsedBase {
            address,
            end,
            path: names::full_names(&head).0,
        }));
        is_based
    }

    /// Writes bytes that belong to no entry.
    pub fn raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let (kind, count) = if zeros >= MIN_ZEROS || zeros == bytes.len() {
                (ZEROS, zeros)
            } else {
                (LITERAL, literals(bytes))
            };
            self.columns.number(Column::Items, kind);
            self.columns.number(Column::Lengths, count as u64);
            let (front, rest) = bytes.split_at(count);
            if kind == LITERAL {
                self.columns.bytes(Column::Bytes, front);
            }
            bytes = rest;
        }
    }

    /// Writes that a payload without a header follows.
    pub fn raw_payload(&mut self, bytes: u64) {
        if bytes > 0 {
            self.columns.number(Column::Items, PAYLOAD);
            self.columns.number(Column::Lengths, bytes);
        }
    }

    /// Returns the columns, packed.
    pub fn finish(mut self) -> Vec<u8> {
        let straight = straight(&self.bases);
        let chosen = if self.bases.is_sorted_by_key(|used| used.address) {
            straight
        } else {
            let walked = walked(&self.bases);
            let mut cost = |columns: &ColumnWriter| -> usize {
                columns.all().iter().map(|column| self.packer.estimate(column)).sum()
            };
            if cost(&walked) < cost(&straight) { walked } else { straight }
        };
        self.columns.append(&chosen);
        self.packer.pack(self.columns.all())
    }

    /// Reads back the entry that was just written.
    #[cfg(debug_assertions)]
    fn prove(
        &mut self,
        places: [usize; super::columns::COLUMNS],
        base: Option<&HeaderBlocks>,
        mask: u64,
        (header, payload_bytes): (&[u8], u64),
    ) {
        let mut cursor =
            super::columns::ColumnReader::from_places(self.columns.all().each_ref(), places);
        let memory = &mut self.reader_memory;
        let entry = super::decode::entry(&mut cursor, memory, base, mask, usize::MAX)
            .expect("facts just written are readable");
        assert!(entry.head.bytes == header, "the header comes back");
        assert_eq!(entry.payload_bytes, payload_bytes, "the payload's length comes back");
    }
}

/// A base entry that an entry refers to.
#[derive(Clone, Debug)]
struct UsedBase {
    address: u64,
    end: u64,
    path: Vec<u8>,
}

/// Writes the addresses of base entries, in the given order.
fn straight<'a>(bases: impl IntoIterator<Item = &'a UsedBase>) -> ColumnWriter {
    let mut columns = ColumnWriter::default();
    let block = i64::try_from(BLOCK_BYTES).expect("a small number");
    let mut expected = 0;
    for used in bases {
        let change = used.address.wrapping_sub(expected).cast_signed();
        let number = match change % block {
            0 => zigzag(change / block) << 1,
            _ => zigzag(change) << 1 | 1,
        };
        columns.number(Column::Addresses, number);
        expected = used.end;
    }
    columns
}

/// Writes the addresses of base entries in the base's order, and a walk through the entries.
fn walked(bases: &[UsedBase]) -> ColumnWriter {
    let mut sorted: Vec<&UsedBase> = bases.iter().collect();
    sorted.shared_sort_by_key(|used| used.address);
    let mut columns = straight(sorted.iter().copied());
    let mut order = DirectoryOrder::new(sorted.iter().map(|used| (used.address, &used.path[..])));
    columns.number(Column::Jumps, bases.len() as u64);
    let (mut bits, mut held, mut picks) = (0u64, 0, 0);
    let mut path: &[u8] = b"";
    for used in bases {
        let pick = order.current(path).and_then(|(slots, left)| {
            let place = order.place_of(&slots, used.address)?;
            Some((slots, left, place))
        });
        if let Some((slots, left, place)) = pick {
            order.pick(&slots, place);
            bits |= (place as u64) << held;
            held += bits_for(left);
            while held >= 8 {
                columns.bytes(Column::Picks, &bits.to_le_bytes()[..1]);
                bits >>= 8;
                held -= 8;
            }
            picks += 1;
        } else {
            let change = order.distance(&used.path, used.address);
            let change = change.expect("every entry used has a slot of its own");
            order.jump(change);
            columns.number(Column::Jumps, picks);
            columns.signed(Column::Jumps, change);
            picks = 0;
        }
        path = &used.path;
    }
    if held > 0 {
        columns.bytes(Column::Picks, &bits.to_le_bytes()[..1]);
    }
    columns
}

/// Returns the number of bytes before the next long run of zeros.
fn literals(bytes: &[u8]) -> usize {
    let mut run = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        run = if byte == 0 { run + 1 } else { 0 };
        if run == MIN_ZEROS {
            return at + 1 - MIN_ZEROS;
        }
    }
    bytes.len()
}

/// Shorter runs of zeros are literal bytes.
const MIN_ZEROS: usize = 64;
