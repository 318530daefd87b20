//! A streaming decoder for raw deflate, which also reports blocks and tokens.
//!
//! The caller owns both buffers. The output buffer is also the history, so that no byte is copied
//! twice: the bytes before the write position must be the last 32 KiB of plain bytes.
//! A fast loop runs while both buffers have room. It reads eight bytes at a time, looks up two
//! literals at once and copies sixteen bytes at a time. It may write up to [`OUTPUT_SLACK`] bytes
//! behind the write position. A careful loop decodes single tokens near the ends of the buffers.
//!
//! Cost: 300 to 700 MB/s of plain bytes per core on container layers. The decoder accepts every
//! legal stream, also those that zlib never writes. An illegal stream gives an [`InflateError`],
//! which has the position of the bit. Never allocates after construction, and never reads past the
//! end of the stream.

mod fast;
mod fault;
mod header;
mod observer;
mod reader;
mod stream;
mod table;

pub use fault::{InflateError, InflateFault};
pub use observer::{BlockHeader, BlockKind, DynamicBlock, InflateObserver};
pub use stream::InflateStream;

use crate::alphabet::fixed_litlen_length;
use crate::token::Token;
use header::HeaderReader;
use reader::{BitReader, CallBuffers};
use table::{BLOCK_END, DecodeTables, LITERAL, SPECIAL, copy_token, value};

/// Bytes behind the write position that [`Inflater::inflate`] may overwrite.
pub const OUTPUT_SLACK: usize = 320;

/// A decoder for raw deflate. The caller keeps the window.
pub struct Inflater {
    bits: BitReader,
    state: InflateState,
    is_final: bool,
    tables: DecodeTables,
    fixed_loaded: bool,
    header: HeaderReader,
    /// Bits read from the input so far, including the unused bits in `bits`.
    bits_in: u64,
    plain_bytes: u64,
}

/// The reason why [`Inflater::inflate`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflateStatus {
    /// All input was read, and the stream goes on.
    NeedInput,
    /// The output buffer is full.
    NeedOutput,
    /// The stream has ended. The input behind `consumed` does not belong to it.
    Done,
}

/// The result of a call of [`Inflater::inflate`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InflateProgress {
    /// Input bytes that were read.
    pub consumed: usize,
    /// Index in the output buffer of the next byte.
    pub position: usize,
    /// The reason of the return.
    pub status: InflateStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InflateState {
    BlockStart,
    StoredLength,
    Stored {
        left: usize,
    },
    Header,
    Tokens,
    /// A copy that did not fit into the output.
    Copy {
        left: usize,
        distance: usize,
    },
    Done,
    Failed(InflateFault),
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    /// Makes a decoder at the first bit of a stream.
    pub fn new() -> Self {
        Self {
            bits: BitReader::default(),
            state: InflateState::BlockStart,
            is_final: false,
            tables: DecodeTables::new(),
            fixed_loaded: false,
            header: HeaderReader::default(),
            bits_in: 0,
            plain_bytes: 0,
        }
    }

    /// Resets the decoder to the first bit of another stream, and keeps its memory.
    pub fn reset(&mut self) {
        self.bits = BitReader::default();
        self.state = InflateState::BlockStart;
        self.is_final = false;
        self.bits_in = 0;
        self.plain_bytes = 0;
    }

    /// Returns the position of the next bit.
    pub fn bit_position(&self) -> u64 {
        self.bits_in - u64::from(self.bits.count)
    }

    /// Returns the number of plain bytes so far.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Returns the unused bits of the last byte after the end of the stream, and their number. All
    /// known encoders write zeros.
    pub fn final_padding(&self) -> (u8, u32) {
        (self.bits.buffer as u8, self.bits.count)
    }

    /// Inflates from `input` into `output`, starting at `position`.
    ///
    /// `output[..position]` must end with the last 32 KiB of plain bytes, or with all of them. The
    /// call may overwrite up to [`OUTPUT_SLACK`] bytes behind the returned position.
    ///
    /// # Errors
    /// If the stream is not deflate. The plain bytes before the error are in the output. Further
    /// calls return the same error.
    pub fn inflate<S: InflateObserver>(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        position: usize,
        observer: &mut S,
    ) -> Result<InflateProgress, InflateError> {
        let mut cursor = CallBuffers { input, read: 0, output, position };
        let result = self.run(&mut cursor, observer);
        let (consumed, end) = (cursor.read, cursor.position);
        self.plain_bytes += (end - position) as u64;
        match result {
            Ok(status) => {
                let mut consumed = consumed;
                self.bits_in += consumed as u64 * 8;
                if status != InflateStatus::NeedInput {
                    // Whole bytes that are not needed yet go back to the caller.
                    let back = (self.bits.count as usize / 8).min(consumed);
                    self.bits.give_back(back);
                    consumed -= back;
                    self.bits_in -= back as u64 * 8;
                }
                Ok(InflateProgress { consumed, position: end, status })
            }
            Err(fault) => {
                self.bits_in += consumed as u64 * 8;
                self.state = InflateState::Failed(fault);
                Err(InflateError { bit: self.bit_position(), fault })
            }
        }
    }

    fn run<S: InflateObserver>(
        &mut self,
        io: &mut CallBuffers<'_>,
        observer: &mut S,
    ) -> Result<InflateStatus, InflateFault> {
        let plain_before = self.plain_bytes - io.position as u64;
        loop {
            match self.state {
                InflateState::BlockStart => {
                    self.bits.refill(io);
                    if !self.bits.has(3) {
                        return Ok(InflateStatus::NeedInput);
                    }
                    self.block_start(io, observer)?;
                }
                InflateState::StoredLength => {
                    self.bits.refill(io);
                    if !self.bits.has(32) {
                        return Ok(InflateStatus::NeedInput);
                    }
                    self.stored_length(observer)?;
                }
                InflateState::Stored { left } => {
                    let left = self.copy_stored(io, left);
                    self.state = InflateState::Stored { left };
                    if left == 0 {
                        self.block_end(io, plain_before, observer);
                    } else if io.position == io.output.len() {
                        return Ok(InflateStatus::NeedOutput);
                    } else {
                        return Ok(InflateStatus::NeedInput);
                    }
                }
                InflateState::Header => {
                    if !self.header.read(&mut self.bits, io)? {
                        return Ok(InflateStatus::NeedInput);
                    }
                    self.load_dynamic()?;
                    observer.block(&self.header.block(self.is_final));
                    self.state = InflateState::Tokens;
                }
                InflateState::Tokens => {
                    if self.fast_loop(io, observer)? || self.careful_loop(io, observer)? {
                        self.block_end(io, plain_before, observer);
                    } else if io.position == io.output.len() {
                        return Ok(InflateStatus::NeedOutput);
                    } else {
                        return Ok(InflateStatus::NeedInput);
                    }
                }
                InflateState::Copy { left, distance } => {
                    let left = io.copy(left, distance);
                    if left > 0 {
                        self.state = InflateState::Copy { left, distance };
                        return Ok(InflateStatus::NeedOutput);
                    }
                    self.state = InflateState::Tokens;
                }
                InflateState::Done => return Ok(InflateStatus::Done),
                InflateState::Failed(fault) => return Err(fault),
            }
        }
    }

    /// Reads the three header bits, and the padding behind those of a stored block. The padding is
    /// in the same byte, so its bits are already available.
    fn block_start<S: InflateObserver>(
        &mut self,
        io: &CallBuffers<'_>,
        observer: &mut S,
    ) -> Result<(), InflateFault> {
        let start_bit = self.position_bit(io);
        let head = self.bits.buffer & 7;
        self.is_final = head & 1 != 0;
        match head >> 1 {
            0 => {
                let padding_bits = (self.bits.count - 3) % 8;
                let padding = (self.bits.buffer >> 3) as u8 & ((1u16 << padding_bits) - 1) as u8;
                self.header.set_start(start_bit);
                self.header.padding = padding;
                self.bits.drop(3 + padding_bits);
                self.state = InflateState::StoredLength;
            }
            1 => {
                self.bits.drop(3);
                self.load_fixed();
                self.state = InflateState::Tokens;
                observer.block(&BlockHeader {
                    start_bit,
                    is_final: self.is_final,
                    kind: BlockKind::Fixed,
                });
            }
            2 => {
                self.bits.drop(3);
                self.header.set_start(start_bit);
                self.state = InflateState::Header;
            }
            _ => return Err(InflateFault::BlockType),
        }
        Ok(())
    }

    fn stored_length<S: InflateObserver>(&mut self, observer: &mut S) -> Result<(), InflateFault> {
        let length = self.bits.buffer as u16;
        let check = (self.bits.buffer >> 16) as u16;
        if length != !check {
            return Err(InflateFault::StoredLength);
        }
        self.bits.drop(32);
        self.state = InflateState::Stored { left: usize::from(length) };
        let kind = BlockKind::Stored { padding: self.header.padding, plain_bytes: length };
        observer.block(&BlockHeader {
            start_bit: self.header.start_bit,
            is_final: self.is_final,
            kind,
        });
        Ok(())
    }

    /// Copies stored bytes, first those in the bit buffer. Returns the number of bytes left.
    fn copy_stored(&mut self, io: &mut CallBuffers<'_>, mut left: usize) -> usize {
        while left > 0 && self.bits.count >= 8 && io.position < io.output.len() {
            io.output[io.position] = self.bits.buffer as u8;
            self.bits.drop(8);
            io.position += 1;
            left -= 1;
        }
        if self.bits.count >= 8 {
            return left;
        }
        let n = left.min(io.input.len() - io.read).min(io.output.len() - io.position);
        io.output[io.position..io.position + n].copy_from_slice(&io.input[io.read..io.read + n]);
        io.read += n;
        io.position += n;
        left - n
    }

    fn block_end<S: InflateObserver>(
        &mut self,
        io: &CallBuffers<'_>,
        plain_before: u64,
        observer: &mut S,
    ) {
        self.state = if self.is_final { InflateState::Done } else { InflateState::BlockStart };
        observer.block_end(self.position_bit(io), plain_before + io.position as u64);
    }

    fn position_bit(&self, io: &CallBuffers<'_>) -> u64 {
        self.bits_in + io.read as u64 * 8 - u64::from(self.bits.count)
    }

    fn load_fixed(&mut self) {
        if self.fixed_loaded {
            return;
        }
        let lengths: [u8; 288] = std::array::from_fn(fixed_litlen_length);
        self.tables.set_litlen(&lengths).expect("the fixed code is complete");
        self.tables.set_distance(&[5; 32]).expect("the fixed code is complete");
        self.fixed_loaded = true;
    }

    fn load_dynamic(&mut self) -> Result<(), InflateFault> {
        self.fixed_loaded = false;
        let (litlen, distance) = self.header.lengths();
        self.tables.set_litlen(litlen).map_err(|_| InflateFault::LitlenCode)?;
        self.tables.set_distance(distance).map_err(|_| InflateFault::DistanceCode)
    }

    /// Decodes one token at a time. True at the end of the block, false at the end of a buffer.
    fn careful_loop<S: InflateObserver>(
        &mut self,
        io: &mut CallBuffers<'_>,
        observer: &mut S,
    ) -> Result<bool, InflateFault> {
        loop {
            if io.position == io.output.len() {
                return Ok(false);
            }
            self.bits.refill(io);
            let mut entry = self.tables.litlen_entry(self.bits.buffer);
            if entry & LITERAL != 0 && entry >> 24 & 3 == 2 {
                // Takes one literal: the second may not be in the input yet.
                entry = table::first_of_pair(entry);
            }
            if !self.bits.has(entry & 0xff) {
                return Ok(false);
            }
            if entry & LITERAL != 0 {
                let byte = (entry >> 8) as u8;
                io.output[io.position] = byte;
                io.position += 1;
                self.bits.drop(entry & 0xff);
                if S::TOKENS {
                    observer.token(Token::literal(byte));
                }
                continue;
            }
            if entry & SPECIAL != 0 {
                if entry & BLOCK_END == 0 {
                    return Err(InflateFault::LitlenSymbol);
                }
                self.bits.drop(entry & 0xff);
                return Ok(true);
            }
            let length = value(entry, self.bits.buffer);
            let rest = self.bits.buffer >> (entry & 0xff);
            let left = self.bits.count - (entry & 0xff);
            let second = self.tables.distance_entry(rest);
            if left < second & 0xff {
                return Ok(false);
            }
            if second & SPECIAL != 0 {
                return Err(InflateFault::DistanceSymbol);
            }
            let distance = value(second, rest);
            if distance > io.position {
                return Err(InflateFault::Distance);
            }
            self.bits.drop((entry & 0xff) + (second & 0xff));
            if S::TOKENS {
                observer.token(copy_token(entry, length, distance));
            }
            let left = io.copy(length, distance);
            if left > 0 {
                self.state = InflateState::Copy { left, distance };
                return Ok(false);
            }
        }
    }
}
