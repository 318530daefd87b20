//! Unpacks the chunks of an LZMA2 stream.
//! Never reads before the start of its window, and never makes more bytes than a chunk states.

use crate::error::XzError;
use crate::model::{LengthModel, LiteralModel, Model, low_bits_at};
use crate::state::{
    ALIGN_BITS, FIRST_BASED_SLOT, FIRST_DIRECT_SLOT, LEAST_RANGE, MAX_CHUNK_PLAIN, MIN_MATCH,
    PROBABILITY_BITS, Properties, RATE, REPEATS, SHORT_LENGTHS, State, length_class, slot_base,
};

/// Unpacks a stream chunk by chunk.
pub(crate) struct Lzma2Decoder {
    /// Bytes of the window, and those of the last chunk behind them.
    bytes: Vec<u8>,
    window: usize,
    /// Bytes of the stream before `bytes`; only its low bits matter.
    dropped: usize,
    lzma: Option<Box<Lzma>>,
    is_started: bool,
}

/// The header of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkHeader {
    /// The end of the stream.
    End,
    /// Stored bytes.
    Stored { is_fresh: bool, plain: usize },
    /// Packed bytes.
    Packed { reset: ChunkReset, plain: usize, packed: usize },
}

/// The part of the decoder that a chunk starts afresh; each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkReset {
    Nothing,
    State,
    Properties(Properties),
    Window(Properties),
}

impl ChunkHeader {
    /// Bytes of the header that a control byte begins; `None` if the byte is not one.
    pub(crate) fn bytes(control: u8) -> Option<usize> {
        match control {
            0 => Some(1),
            1 | 2 => Some(3),
            0x80..0xc0 => Some(5),
            0xc0.. => Some(6),
            _ => None,
        }
    }

    /// Reads a header of the right length.
    pub(crate) fn read(header: &[u8]) -> Result<Self, XzError> {
        let size = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        match (header[0], header.len()) {
            (0, 1) => Ok(Self::End),
            (control @ (1 | 2), 3) => {
                Ok(Self::Stored { is_fresh: control == 1, plain: size(1) + 1 })
            }
            (control @ 0x80.., 5 | 6) => {
                let properties = match header.get(5) {
                    Some(byte) => Some(
                        Properties::from_byte(*byte)
                            .ok_or(XzError::Damaged("properties of a chunk"))?,
                    ),
                    None => None,
                };
                let reset = match (control >> 5 & 3, properties) {
                    (3, Some(properties)) => ChunkReset::Window(properties),
                    (2, Some(properties)) => ChunkReset::Properties(properties),
                    (1, None) => ChunkReset::State,
                    (0, None) => ChunkReset::Nothing,
                    _ => return Err(XzError::Damaged("header of a chunk")),
                };
                let plain = (usize::from(control & 0x1f) << 16) + size(1) + 1;
                Ok(Self::Packed { reset, plain, packed: size(3) + 1 })
            }
            _ => Err(XzError::Damaged("header of a chunk")),
        }
    }

    /// Bytes of the chunk behind the header.
    pub(crate) fn body_bytes(&self) -> usize {
        match *self {
            Self::End => 0,
            Self::Stored { plain, .. } => plain,
            Self::Packed { packed, .. } => packed,
        }
    }
}

/// Facts that the symbols of a stream depend on, besides its bytes.
struct Lzma {
    model: Model,
    state: State,
    /// The last distances, each less one.
    distances: [u32; REPEATS],
}

impl Lzma {
    fn new(properties: Properties) -> Box<Self> {
        Box::new(Self {
            model: Model::new(properties),
            state: State::default(),
            distances: [0; REPEATS],
        })
    }
}

impl Lzma2Decoder {
    /// Starts a stream. The window takes memory as the stream gets longer.
    pub(crate) fn new(window: usize) -> Self {
        Self { bytes: Vec::new(), window, dropped: 0, lzma: None, is_started: false }
    }

    /// Unpacks a chunk, and returns its plain bytes.
    pub(crate) fn chunk(&mut self, header: ChunkHeader, body: &[u8]) -> Result<&[u8], XzError> {
        self.drop_old();
        let start = match header {
            ChunkHeader::End => self.bytes.len(),
            ChunkHeader::Stored { is_fresh, .. } => {
                if is_fresh {
                    self.clear();
                } else if !self.is_started {
                    return Err(XzError::Damaged("first chunk of a block"));
                }
                self.is_started = true;
                let start = self.bytes.len();
                self.bytes.extend_from_slice(body);
                start
            }
            ChunkHeader::Packed { reset, plain, .. } => {
                self.reset(reset)?;
                let start = self.bytes.len();
                self.unpack(body, plain)?;
                start
            }
        };
        Ok(&self.bytes[start..])
    }

    fn clear(&mut self) {
        self.dropped = 0;
        self.bytes.clear();
    }

    fn drop_old(&mut self) {
        let needless = self.bytes.len().saturating_sub(self.window);
        if needless > (self.window / 2).max(MAX_CHUNK_PLAIN) {
            self.bytes.drain(..needless);
            self.dropped = self.dropped.wrapping_add(needless);
        }
    }

    fn reset(&mut self, reset: ChunkReset) -> Result<(), XzError> {
        match reset {
            ChunkReset::Window(properties) => {
                self.clear();
                self.is_started = true;
                self.lzma = Some(Lzma::new(properties));
            }
            ChunkReset::Properties(properties) => self.lzma = Some(Lzma::new(properties)),
            ChunkReset::State => {
                let properties = self.lzma.as_ref().map(|lzma| lzma.model.properties);
                self.lzma = properties.map(Lzma::new);
            }
            ChunkReset::Nothing => {}
        }
        if self.is_started && self.lzma.is_some() {
            Ok(())
        } else {
            Err(XzError::Damaged("first chunk of a block"))
        }
    }

    fn unpack(&mut self, packed: &[u8], plain: usize) -> Result<(), XzError> {
        let Some(lzma) = &mut self.lzma else { return Err(DAMAGED) };
        let mut at = self.bytes.len();
        let end = at + plain;
        self.bytes.resize(end, 0);
        let bytes = &mut self.bytes[..];
        let mut bits = BitReader::new(packed)?;
        let Lzma { model, state, distances } = &mut **lzma;
        let properties = model.properties;
        let mask = properties.position_mask();
        let shift = self.dropped;
        while at < end {
            let (row, position) = (state.row(), shift.wrapping_add(at));
            let class = position & mask;
            if !bits.take(&mut model.is_match[row][class]) {
                let before = if at > 0 { bytes[at - 1] } else { 0 };
                let literals = &mut model.literals[properties.literal_model(position, before)];
                bytes[at] = if state.is_after_literal() {
                    bits.literal(literals)
                } else {
                    // The symbol before was a match, whose distance was checked.
                    bits.literal_unlike(literals, bytes[at - distances[0] as usize - 1])
                };
                at += 1;
                *state = state.after_literal();
                continue;
            }
            let mut len = 1;
            if bits.take(&mut model.is_repeat[row]) {
                let mut is_long = true;
                if bits.take(&mut model.is_older[row]) {
                    let age = if !bits.take(&mut model.is_second_older[row]) {
                        1
                    } else if bits.take(&mut model.is_third_older[row]) {
                        3
                    } else {
                        2
                    };
                    distances[..=age].rotate_right(1);
                } else {
                    is_long = bits.take(&mut model.is_long_repeat[row][class]);
                }
                if is_long {
                    len = bits.length(&mut model.repeat_lengths, class);
                    *state = state.after_repeat();
                } else {
                    *state = state.after_short_repeat();
                }
            } else {
                len = bits.length(&mut model.match_lengths, class);
                distances.rotate_right(1);
                distances[0] = bits.distance(model, len);
                *state = state.after_match();
            }
            let distance = distances[0] as usize + 1;
            if len > end - at || distance > at || distance > self.window {
                return Err(DAMAGED);
            }
            if distance >= len {
                bytes.copy_within(at - distance..at - distance + len, at);
            } else {
                for step in at..at + len {
                    bytes[step] = bytes[step - distance];
                }
            }
            at += len;
        }
        bits.finish()
    }
}

const DAMAGED: XzError = XzError::Damaged("content of a chunk");

/// Reads bits; missing bytes read as zero, and are an error at the end.
struct BitReader<'a> {
    packed: &'a [u8],
    /// Bytes read so far, missing ones included.
    read: usize,
    range: u32,
    code: u32,
}

impl<'a> BitReader<'a> {
    fn new(packed: &'a [u8]) -> Result<Self, XzError> {
        match packed {
            [0, a, b, c, d, ..] => {
                let code = u32::from_be_bytes([*a, *b, *c, *d]);
                Ok(Self { packed, read: 5, range: u32::MAX, code })
            }
            _ => Err(DAMAGED),
        }
    }

    /// Checks that the chunk ends here.
    fn finish(mut self) -> Result<(), XzError> {
        self.widen();
        if self.code == 0 && self.read == self.packed.len() { Ok(()) } else { Err(DAMAGED) }
    }

    #[inline]
    fn widen(&mut self) {
        if self.range < LEAST_RANGE {
            self.range <<= 8;
            let next = self.packed.get(self.read).copied().unwrap_or(0);
            self.read += 1;
            self.code = self.code << 8 | u32::from(next);
        }
    }

    /// Reads a bit and moves its probability.
    #[inline]
    fn take(&mut self, probability: &mut u16) -> bool {
        self.widen();
        let zero = (self.range >> PROBABILITY_BITS) * u32::from(*probability);
        let bit = self.code >= zero;
        if bit {
            self.range -= zero;
            self.code -= zero;
            *probability -= *probability >> RATE;
        } else {
            self.range = zero;
            *probability += ((1 << PROBABILITY_BITS) - *probability) >> RATE;
        }
        bit
    }

    #[inline]
    fn tree(&mut self, probabilities: &mut [u16], bits: u32) -> u32 {
        let mut node = 1;
        for _ in 0..bits {
            node = node << 1 | usize::from(self.take(&mut probabilities[node]));
        }
        node as u32 - (1 << bits)
    }

    #[inline]
    fn reverse_tree(&mut self, probabilities: &mut [u16], bits: u32) -> u32 {
        let (mut node, mut symbol) = (1, 0);
        for place in 0..bits {
            let bit = self.take(&mut probabilities[node]);
            node = node << 1 | usize::from(bit);
            symbol |= u32::from(bit) << place;
        }
        symbol
    }

    #[inline]
    fn direct(&mut self, bits: u32) -> u32 {
        let mut value = 0;
        for _ in 0..bits {
            self.widen();
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            value = value << 1 | u32::from(bit);
        }
        value
    }

    #[inline]
    fn literal(&mut self, model: &mut LiteralModel) -> u8 {
        let mut node = 1;
        while node < 0x100 {
            node = node << 1 | usize::from(self.take(&mut model[node]));
        }
        node as u8
    }

    /// Reads a literal, which mostly differs from the byte at the last distance.
    #[inline]
    fn literal_unlike(&mut self, model: &mut LiteralModel, other: u8) -> u8 {
        let (mut other, mut offset, mut node) = (usize::from(other), 0x100, 1);
        while node < 0x100 {
            other <<= 1;
            let other_bit = other & offset;
            let bit = self.take(&mut model[offset + other_bit + node]);
            node = node << 1 | usize::from(bit);
            if (other_bit != 0) != bit {
                offset = 0;
            }
        }
        node as u8
    }

    #[inline]
    fn length(&mut self, model: &mut LengthModel, class: usize) -> usize {
        if !self.take(&mut model.is_middle) {
            MIN_MATCH + self.tree(&mut model.low[class], 3) as usize
        } else if !self.take(&mut model.is_high) {
            MIN_MATCH + SHORT_LENGTHS + self.tree(&mut model.middle[class], 3) as usize
        } else {
            MIN_MATCH + 2 * SHORT_LENGTHS + self.tree(&mut model.high, 8) as usize
        }
    }

    /// Reads a distance, less one.
    #[inline]
    fn distance(&mut self, model: &mut Model, len: usize) -> u32 {
        let slot = self.tree(&mut model.slots[length_class(len)], 6) as usize;
        let (bits, base) = slot_base(slot);
        if slot < FIRST_BASED_SLOT {
            return base;
        }
        if slot < FIRST_DIRECT_SLOT {
            return base + self.reverse_tree(&mut model.low_bits[low_bits_at(slot)..], bits);
        }
        let high = self.direct(bits - ALIGN_BITS) << ALIGN_BITS;
        base + high + self.reverse_tree(&mut model.align, ALIGN_BITS)
    }
}
