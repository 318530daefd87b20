//! Reads the structure of a blob from the headers of its frames and blocks.
//!
//! Decodes only where the headers do not have the plain size. Never compresses.

use super::DetectOptions;
use crate::frame::{BlockHeader, FrameHeader, LONGEST_HEADER, skippable};
use crate::source::{ByteSource, PIECE_BYTES, SourceReader};
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

/// The frames of a blob and the bytes between them.
pub(super) struct BlobSurvey {
    pub(super) pieces: Vec<BlobPiece>,
}

/// A frame, or bytes that are copied.
pub(super) enum BlobPiece {
    Literal(Vec<u8>),
    Frame(FrameSurvey),
}

/// The facts about a frame that its headers have.
pub(super) struct FrameSurvey {
    pub(super) header: FrameHeader,
    pub(super) header_bytes: Vec<u8>,
    /// Plain bytes in the frame. `None` until the frame is decoded, if the headers lack them.
    pub(super) plain_bytes: Option<u64>,
    /// Offset of the first block in the blob.
    first_block: u64,
    /// End of the first block in the blob.
    first_end: u64,
    /// End of the frame in the blob.
    end: u64,
    /// Number of blocks.
    blocks: u64,
    /// Plain bytes of the first block, if its header has them.
    first_plain: Option<u64>,
    /// Plain bytes of each block. `None` until the frame is decoded.
    block_sizes: Option<Vec<u32>>,
}

/// Most flushes of a frame. Frames with more of them are not modelled.
const MOST_CUTS: usize = 1 << 16;
/// Bytes of one read for headers. Blocks are far apart, and frames may be close together.
const AHEAD_BYTES: usize = 256;

impl BlobSurvey {
    /// Reads all headers. `None` if the blob is not zstd or exceeds the options.
    pub(super) fn of<B: ByteSource + ?Sized>(
        blob: &B,
        options: &DetectOptions,
    ) -> Result<Option<Self>, B::Error> {
        let mut reader = SourceReader::new(blob);
        let mut survey = Self { pieces: Vec::new() };
        let mut literal_bytes = 0;
        let mut at = 0;
        while at < blob.bytes() {
            let head = reader.at(at, LONGEST_HEADER, AHEAD_BYTES)?;
            let left = blob.bytes() - at;
            let (end, frame) = if let Some(bytes) = skippable(head).filter(|&bytes| bytes <= left) {
                (at + bytes, None)
            } else if let Some(header) = FrameHeader::read(head) {
                let header_bytes = head[..header.bytes].to_vec();
                match FrameSurvey::walk(&mut reader, at, header, header_bytes, blob.bytes())? {
                    // An empty frame becomes a literal part.
                    Some(frame) if frame.plain_bytes != Some(0) => (frame.end, Some(frame)),
                    Some(frame) => (frame.end, None),
                    None => return Ok(None),
                }
            } else if survey.frames().next().is_some() {
                // Other bytes behind the last frame become a literal part.
                (blob.bytes(), None)
            } else {
                return Ok(None);
            };
            if let Some(frame) = frame {
                survey.pieces.push(BlobPiece::Frame(frame));
            } else {
                literal_bytes += end - at;
                if literal_bytes > options.literal_bytes {
                    return Ok(None);
                }
                survey.literal(blob, at, end)?;
            }
            if survey.pieces.len() > options.parts {
                return Ok(None);
            }
            at = end;
        }
        let has_frames = survey.frames().next().is_some();
        Ok(has_frames.then_some(survey))
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &FrameSurvey> {
        self.pieces.iter().filter_map(|piece| match piece {
            BlobPiece::Frame(frame) => Some(frame),
            BlobPiece::Literal(_) => None,
        })
    }

    fn literal<B: ByteSource + ?Sized>(
        &mut self,
        blob: &B,
        at: u64,
        end: u64,
    ) -> Result<(), B::Error> {
        if !matches!(self.pieces.last(), Some(BlobPiece::Literal(_))) {
            self.pieces.push(BlobPiece::Literal(Vec::new()));
        }
        if let Some(BlobPiece::Literal(bytes)) = self.pieces.last_mut() {
            let from = bytes.len();
            bytes.resize(from + (end - at) as usize, 0);
            blob.read(at, &mut bytes[from..])?;
        }
        Ok(())
    }

    /// Finds the plain bytes of all frames. False if their sum is not `plain_bytes`.
    pub(super) fn settle_sizes<B: ByteSource + ?Sized>(
        &mut self,
        blob: &B,
        plain_bytes: u64,
    ) -> Result<bool, B::Error> {
        let known: Option<u64> =
            (self.frames().filter_map(|frame| frame.plain_bytes)).try_fold(0u64, u64::checked_add);
        let Some(rest) = known.and_then(|known| plain_bytes.checked_sub(known)) else {
            return Ok(false);
        };
        let unknown = self.frames().filter(|frame| frame.plain_bytes.is_none()).count();
        let mut left = rest;
        for piece in &mut self.pieces {
            if let BlobPiece::Frame(frame) = piece
                && frame.plain_bytes.is_none()
            {
                let bytes = if unknown == 1 { Some(rest) } else { frame.decode(blob)? };
                let Some(after) = bytes.and_then(|bytes| left.checked_sub(bytes)) else {
                    return Ok(false);
                };
                frame.plain_bytes = bytes;
                left = after;
            }
        }
        Ok(left == 0)
    }
}

impl FrameSurvey {
    /// Returns the offset of the frame in the blob.
    pub(super) fn offset(&self) -> u64 {
        self.first_block - self.header.bytes as u64
    }

    /// Returns the end of the first block in the blob.
    pub(super) fn first_end(&self) -> u64 {
        self.first_end
    }

    /// Returns the end of the frame in the blob.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Reads the block headers of the frame at `at`. `None` if the frame is damaged or needs a
    /// dictionary.
    fn walk<B: ByteSource + ?Sized>(
        reader: &mut SourceReader<B>,
        at: u64,
        header: FrameHeader,
        header_bytes: Vec<u8>,
        end: u64,
    ) -> Result<Option<Self>, B::Error> {
        let first_block = at + header.bytes as u64;
        let mut at = first_block;
        let mut blocks = 0;
        let mut first_plain = None;
        let mut first_end = at;
        let mut known = Some(0u64);
        loop {
            let head = reader.at(at, BlockHeader::BYTES, AHEAD_BYTES)?;
            let Some(block) = head.try_into().ok().and_then(BlockHeader::read) else {
                return Ok(None);
            };
            if blocks == 0 {
                first_plain = block.plain_bytes;
                first_end = at + BlockHeader::BYTES as u64 + block.bytes;
            }
            known = known.zip(block.plain_bytes).map(|(known, plain)| known + plain);
            blocks += 1;
            at += BlockHeader::BYTES as u64 + block.bytes;
            if block.last {
                break;
            }
        }
        at += if header.checksum { 4 } else { 0 };
        if at > end || header.dictionary {
            return Ok(None);
        }
        let plain_bytes = header.plain_bytes.or(known);
        let block_sizes = None;
        let frame = Self {
            header,
            header_bytes,
            plain_bytes,
            first_block,
            first_end,
            end: at,
            blocks,
            first_plain,
            block_sizes,
        };
        Ok(Some(frame))
    }

    /// Returns the cuts that the number of blocks suggests, for an encoder whose full blocks have
    /// `full` bytes. `None` if it suggests none.
    ///
    /// This costs nothing and is right in most cases. It fails if a cut does not add a block,
    /// because the bytes still fit into the last block.
    pub(super) fn likely_cuts(&self, full: u64) -> Option<Vec<u64>> {
        let plain = self.plain_bytes?;
        // All blocks are full except the last one, which may be empty.
        if self.blocks == plain / full + 1 {
            return Some(Vec::new());
        }
        // One short block at the start: skopeo writes the eight bytes that it read to recognise the
        // compression, and the copy of the rest flushes them.
        let first =
            self.first_plain.filter(|&first| 0 < first && first < full && first <= plain)?;
        (self.blocks == 1 + (plain - first) / full + 1).then(|| vec![first])
    }

    /// Returns the cuts of the decoded blocks. `None` if the encoder does not make such blocks.
    pub(super) fn decoded_cuts<B: ByteSource + ?Sized>(
        &mut self,
        full: u64,
        blob: &B,
    ) -> Result<Option<Vec<u64>>, B::Error> {
        if self.block_sizes.is_none() {
            self.decode(blob)?;
        }
        let Some(sizes) = &self.block_sizes else { return Ok(None) };
        let mut cuts = Vec::new();
        let mut at = 0;
        for &size in &sizes[..sizes.len() - 1] {
            at += u64::from(size);
            if u64::from(size) > full || size == 0 || cuts.len() > MOST_CUTS {
                return Ok(None);
            }
            if u64::from(size) < full {
                cuts.push(at);
            }
        }
        Ok(Some(cuts))
    }

    /// Decodes the frame block by block and returns its plain bytes. `None` if it is damaged.
    fn decode<B: ByteSource + ?Sized>(&mut self, blob: &B) -> Result<Option<u64>, B::Error> {
        let Some(mut decoder) = DCtx::try_create() else { return Ok(None) };
        let mut reader = SourceReader::new(blob);
        let mut plain = Vec::with_capacity(DCtx::out_size());
        let mut sizes = Vec::new();
        let mut total = 0;
        if decode(&mut decoder, &self.header_bytes, &mut plain).is_none() {
            return Ok(None);
        }
        let mut at = self.first_block;
        loop {
            let head = reader.at(at, BlockHeader::BYTES, PIECE_BYTES)?;
            let Some(block) = head.try_into().ok().and_then(BlockHeader::read) else {
                return Ok(None);
            };
            let mut size = 0;
            let end = at + BlockHeader::BYTES as u64 + block.bytes;
            while at < end {
                let piece = (end - at).min(PIECE_BYTES as u64) as usize;
                let bytes = reader.at(at, piece, PIECE_BYTES)?;
                let decoded =
                    (bytes.len() == piece).then(|| decode(&mut decoder, bytes, &mut plain));
                let Some(decoded_bytes) = decoded.flatten() else { return Ok(None) };
                size += decoded_bytes;
                at += piece as u64;
            }
            total += size;
            sizes.push(u32::try_from(size).unwrap_or(u32::MAX));
            if block.last {
                break;
            }
        }
        self.block_sizes = Some(sizes);
        Ok(Some(total))
    }
}

/// Decodes bytes and returns the number of plain bytes that came out.
fn decode(decoder: &mut DCtx, bytes: &[u8], plain: &mut Vec<u8>) -> Option<u64> {
    let mut input = InBuffer::around(bytes);
    let mut decoded_bytes = 0;
    loop {
        plain.clear();
        let mut output = OutBuffer::around(plain);
        decoder.decompress_stream(&mut output, &mut input).ok()?;
        let now = output.pos();
        decoded_bytes += now as u64;
        // The decoder returns all its output unless the buffer is full.
        if input.pos() == bytes.len() && now < plain.capacity() {
            return Some(decoded_bytes);
        }
        if now == 0 && input.pos() < bytes.len() && input.pos() == 0 {
            return None;
        }
    }
}
