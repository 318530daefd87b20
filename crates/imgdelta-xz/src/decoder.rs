//! Unpacks xz streams that come in pieces.
//! Never holds more than a window and a chunk, and compares every checksum and length.

use crate::{
    check::{Check, CheckKind},
    container::{
        BlockHeader, BlockRecord, EDGE_BYTES, index, read_stream_header, stream_footer,
        window_bytes,
    },
    error::XzError,
    filters::{Direction, FilterChain},
    lzma2::{ChunkHeader, Lzma2Decoder},
};

/// Unpacks streams one after another, as xz does.
pub struct XzDecoder {
    most_window: u64,
    stage: Stage,
    /// Bytes of the next part so far.
    held: Vec<u8>,
    /// Length of the next part.
    needed: usize,
    /// Bytes before the next part.
    at: u64,
    check: CheckKind,
    records: Vec<BlockRecord>,
    block: Option<Block>,
    streams: u64,
}

/// The part of a stream that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Header of a stream, or padding behind one.
    Stream,
    /// The rest of a stream's header.
    StreamRest,
    /// First byte of a block or of the index.
    Block,
    /// The rest of a block's header.
    BlockHeader,
    /// First byte of a chunk.
    Chunk,
    /// The rest of a chunk's header.
    ChunkHeader,
    ChunkBody(ChunkHeader),
    /// Padding and checksum of a block.
    BlockEnd,
    /// The rest of the index and the footer.
    End,
}

/// The block that is being unpacked.
struct Block {
    header: BlockHeader,
    decoder: Lzma2Decoder,
    filters: FilterChain,
    check: Check,
    packed_bytes: u64,
    plain_bytes: u64,
}

/// Parts of a file that a decoder reports, in order.
#[derive(Debug)]
pub(crate) enum XzEvent<'a> {
    Stream(CheckKind),
    /// Header of a block, and where its chunks begin.
    Block(&'a BlockHeader, u64),
    Plain(&'a [u8]),
    /// Plain bytes of the block that ends.
    BlockEnd(u64),
    /// Four bytes of padding behind a stream.
    Padding,
}

/// Limits of [`XzDecoder`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// Most bytes of a window, 16 MiB by default: that of preset 7, twice that of the default.
    pub window_bytes: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { window_bytes: 16 << 20 }
    }
}

impl XzDecoder {
    /// Starts before the first stream.
    pub fn new(options: DecodeOptions) -> Self {
        Self {
            most_window: options.window_bytes,
            stage: Stage::Stream,
            held: Vec::new(),
            needed: STEP_BYTES,
            at: 0,
            check: CheckKind::None,
            records: Vec::new(),
            block: None,
            streams: 0,
        }
    }

    /// Takes the next bytes, and passes plain bytes to `plain`.
    pub fn push(&mut self, bytes: &[u8], plain: &mut dyn FnMut(&[u8])) -> Result<(), XzError> {
        self.push_events(bytes, &mut |event| {
            if let XzEvent::Plain(bytes) = event {
                plain(bytes);
            }
        })
    }

    /// Takes the next bytes, and reports what they are.
    pub(crate) fn push_events(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(XzEvent<'_>),
    ) -> Result<(), XzError> {
        loop {
            let count = (self.needed - self.held.len()).min(bytes.len());
            self.held.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.held.len() < self.needed {
                return Ok(());
            }
            self.step(each)?;
        }
    }

    /// Checks that the bytes end behind a stream.
    pub fn finish(&self) -> Result<(), XzError> {
        if self.stage == Stage::Stream && self.held.is_empty() && self.streams > 0 {
            Ok(())
        } else {
            Err(XzError::Truncated)
        }
    }

    /// Takes the part that is held.
    fn step(&mut self, each: &mut dyn FnMut(XzEvent<'_>)) -> Result<(), XzError> {
        match self.stage {
            Stage::Stream => {
                if self.streams > 0 && self.held == [0; STEP_BYTES] {
                    each(XzEvent::Padding);
                    self.next(Stage::Stream, STEP_BYTES);
                } else {
                    self.more(Stage::StreamRest, EDGE_BYTES);
                }
            }
            Stage::StreamRest => {
                self.check = read_stream_header(&self.held)?;
                self.records.clear();
                each(XzEvent::Stream(self.check));
                self.next(Stage::Block, 1);
            }
            Stage::Block => match self.held[0] {
                0 => {
                    let bytes = index(&self.records).len() + EDGE_BYTES;
                    self.more(Stage::End, bytes);
                }
                size => self.more(Stage::BlockHeader, (usize::from(size) + 1) * 4),
            },
            Stage::BlockHeader => {
                self.start_block(each)?;
                self.next(Stage::Chunk, 1);
            }
            Stage::Chunk => {
                let control = self.held[0];
                let bytes = ChunkHeader::bytes(control);
                let bytes = bytes.ok_or(XzError::Damaged("header of a chunk"))?;
                self.more(Stage::ChunkHeader, bytes);
            }
            Stage::ChunkHeader => {
                let header = ChunkHeader::read(&self.held)?;
                let block = self.block.as_mut().ok_or(STRAY)?;
                block.packed_bytes += self.held.len() as u64;
                if header == ChunkHeader::End {
                    let padding =
                        (block.packed_bytes.next_multiple_of(4) - block.packed_bytes) as usize;
                    self.next(Stage::BlockEnd, padding + self.check.bytes());
                } else {
                    self.next(Stage::ChunkBody(header), header.body_bytes());
                }
            }
            Stage::ChunkBody(header) => {
                let block = self.block.as_mut().ok_or(STRAY)?;
                block.packed_bytes += self.held.len() as u64;
                let unpacked = block.decoder.chunk(header, &self.held)?;
                if block.filters.is_empty() {
                    block.check.update(unpacked);
                    block.plain_bytes += unpacked.len() as u64;
                    each(XzEvent::Plain(unpacked));
                } else {
                    let filtered = block.filters.push(unpacked.to_vec());
                    block.put(&filtered, each);
                }
                self.next(Stage::Chunk, 1);
            }
            Stage::BlockEnd => {
                self.end_block(each)?;
                self.next(Stage::Block, 1);
            }
            Stage::End => {
                let mut expected = index(&self.records);
                let footer = stream_footer(self.check, expected.len());
                expected.extend(footer);
                if self.held != expected {
                    return Err(XzError::Damaged("index or footer"));
                }
                self.streams += 1;
                self.next(Stage::Stream, STEP_BYTES);
            }
        }
        Ok(())
    }

    /// Goes on with another part.
    fn next(&mut self, stage: Stage, needed: usize) {
        self.at += self.held.len() as u64;
        self.held.clear();
        (self.stage, self.needed) = (stage, needed);
    }

    /// Goes on with the rest of this part, which has `needed` bytes in all.
    fn more(&mut self, stage: Stage, needed: usize) {
        (self.stage, self.needed) = (stage, needed);
    }

    fn start_block(&mut self, each: &mut dyn FnMut(XzEvent<'_>)) -> Result<(), XzError> {
        if self.records.len() >= MOST_BLOCKS {
            return Err(XzError::Unsupported("number of blocks"));
        }
        let header = BlockHeader::read(&self.held)?;
        let window = window_bytes(header.window_code).ok_or(XzError::Damaged("window"))?;
        if window > self.most_window {
            return Err(XzError::Window { expected: self.most_window, found: window });
        }
        each(XzEvent::Block(&header, self.at + self.held.len() as u64));
        self.block = Some(Block {
            decoder: Lzma2Decoder::new(usize::try_from(window).unwrap_or(usize::MAX)),
            filters: FilterChain::new(&header.filters, Direction::Decode),
            check: Check::new(self.check),
            header,
            packed_bytes: 0,
            plain_bytes: 0,
        });
        Ok(())
    }

    fn end_block(&mut self, each: &mut dyn FnMut(XzEvent<'_>)) -> Result<(), XzError> {
        let mut block = self.block.take().ok_or(STRAY)?;
        let filtered = block.filters.finish();
        block.put(&filtered, each);
        let (padding, check) = self.held.split_at(self.held.len() - self.check.bytes());
        let Block { header, packed_bytes, plain_bytes, check: sum, .. } = block;
        if padding.iter().any(|byte| *byte != 0)
            || header.packed_bytes.is_some_and(|stated| stated != packed_bytes)
            || header.plain_bytes.is_some_and(|stated| stated != plain_bytes)
        {
            return Err(XzError::Damaged("lengths of a block"));
        }
        if sum.finish() != check {
            return Err(XzError::Damaged("checksum of a block"));
        }
        let stored_bytes = header.header_bytes as u64 + packed_bytes + check.len() as u64;
        self.records.push(BlockRecord { stored_bytes, plain_bytes });
        each(XzEvent::BlockEnd(plain_bytes));
        Ok(())
    }
}

impl Block {
    /// Passes plain bytes on.
    fn put(&mut self, plain: &[u8], each: &mut dyn FnMut(XzEvent<'_>)) {
        self.check.update(plain);
        self.plain_bytes += plain.len() as u64;
        each(XzEvent::Plain(plain));
    }
}

/// Streams and their padding have lengths that are multiples of this.
const STEP_BYTES: usize = 4;
/// More blocks than any file has: xz makes them of a mebibyte at least.
const MOST_BLOCKS: usize = 1 << 20;
/// Stages between the header and the end of a block have one.
const STRAY: XzError = XzError::Damaged("order of parts");
