//! What a blob consists of, from the headers of its frames and blocks.
//!
//! Decodes only where headers do not say how many plain bytes there are. Never compresses.

use super::DetectOptions;
use crate::frame::{BlockHeader, Header, LONGEST_HEADER, skippable};
use crate::source::{PIECE_BYTES, Reader, Source};
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

/// A blob in pieces.
pub(super) struct Survey {
    pub(super) pieces: Vec<Piece>,
}

pub(super) enum Piece {
    Literal(Vec<u8>),
    Frame(FrameSurvey),
}

/// A frame as its headers tell it.
pub(super) struct FrameSurvey {
    pub(super) header: Header,
    pub(super) header_bytes: Vec<u8>,
    /// Plain bytes, once known.
    pub(super) plain_bytes: Option<u64>,
    /// Where its first block begins in the blob.
    first_block: u64,
    /// Where it ends there.
    end: u64,
    /// How many blocks it has.
    blocks: u64,
    /// Plain bytes of the first block, if its header tells them.
    first_plain: Option<u64>,
    /// Plain bytes of each block, once decoded.
    block_sizes: Option<Vec<u32>>,
}

/// Frames of more flushed blocks are not modelled.
const MOST_CUTS: usize = 1 << 16;
/// Read ahead for headers: blocks are far apart, frames may be near.
const AHEAD_BYTES: usize = 256;

impl Survey {
    /// Walks through the headers; `None` if the blob is no zstd or exceeds the options.
    pub(super) fn of<B: Source + ?Sized>(
        blob: &B,
        options: &DetectOptions,
    ) -> Result<Option<Self>, B::Error> {
        let mut reader = Reader::new(blob);
        let mut survey = Self { pieces: Vec::new() };
        let mut literal_bytes = 0;
        let mut at = 0;
        while at < blob.bytes() {
            let head = reader.at(at, LONGEST_HEADER, AHEAD_BYTES)?;
            let left = blob.bytes() - at;
            let (end, frame) = if let Some(bytes) = skippable(head).filter(|&bytes| bytes <= left) {
                (at + bytes, None)
            } else if let Some(header) = Header::read(head) {
                let header_bytes = head[..header.bytes].to_vec();
                match FrameSurvey::walk(&mut reader, at, header, header_bytes, blob.bytes())? {
                    // An empty frame is kept as it is.
                    Some(frame) if frame.plain_bytes != Some(0) => (frame.end, Some(frame)),
                    Some(frame) => (frame.end, None),
                    None => return Ok(None),
                }
            } else if survey.frames().next().is_some() {
                // Anything else behind the last frame.
                (blob.bytes(), None)
            } else {
                return Ok(None);
            };
            if let Some(frame) = frame {
                survey.pieces.push(Piece::Frame(frame));
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
            Piece::Frame(frame) => Some(frame),
            Piece::Literal(_) => None,
        })
    }

    fn literal<B: Source + ?Sized>(&mut self, blob: &B, at: u64, end: u64) -> Result<(), B::Error> {
        if !matches!(self.pieces.last(), Some(Piece::Literal(_))) {
            self.pieces.push(Piece::Literal(Vec::new()));
        }
        if let Some(Piece::Literal(bytes)) = self.pieces.last_mut() {
            let from = bytes.len();
            bytes.resize(from + (end - at) as usize, 0);
            blob.read(at, &mut bytes[from..])?;
        }
        Ok(())
    }

    /// Learns the plain bytes of all frames; false if they do not sum up to `plain_bytes`.
    pub(super) fn settle_sizes<B: Source + ?Sized>(
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
            if let Piece::Frame(frame) = piece
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
    /// Where it begins in the blob.
    pub(super) fn offset(&self) -> u64 {
        self.first_block - self.header.bytes as u64
    }

    /// Where it ends there.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Walks through the blocks of the frame at `at`. `None` if it is damaged or needs a dictionary.
    fn walk<B: Source + ?Sized>(
        reader: &mut Reader<B>,
        at: u64,
        header: Header,
        header_bytes: Vec<u8>,
        end: u64,
    ) -> Result<Option<Self>, B::Error> {
        let first_block = at + header.bytes as u64;
        let mut at = first_block;
        let mut blocks = 0;
        let mut first_plain = None;
        let mut known = Some(0u64);
        loop {
            let head = reader.at(at, BlockHeader::BYTES, AHEAD_BYTES)?;
            let Some(block) = head.try_into().ok().and_then(BlockHeader::read) else {
                return Ok(None);
            };
            if blocks == 0 {
                first_plain = block.plain_bytes;
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
            end: at,
            blocks,
            first_plain,
            block_sizes,
        };
        Ok(Some(frame))
    }

    /// Where blocks end that are not full although the encoder's are of `full` bytes, as their
    /// number suggests; `None` if it suggests nothing.
    ///
    /// Mostly right and free, but no more than likely: a block cut short adds no block if what it
    /// lacks still fits into the last one.
    pub(super) fn likely_cuts(&self, full: u64) -> Option<Vec<u64>> {
        let plain = self.plain_bytes?;
        // Full blocks, and a last one that is not, if only because it is empty.
        if self.blocks == plain / full + 1 {
            return Some(Vec::new());
        }
        // A first piece written before all others are copied: skopeo looks at eight bytes to
        // recognise compression, and they are flushed as a block.
        let first =
            self.first_plain.filter(|&first| 0 < first && first < full && first <= plain)?;
        (self.blocks == 1 + (plain - first) / full + 1).then(|| vec![first])
    }

    /// The same for certain, from the decoded blocks; `None` if no such encoder makes them.
    pub(super) fn cuts<B: Source + ?Sized>(
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

    /// Decodes the frame block by block and returns its plain bytes; `None` if it is damaged.
    fn decode<B: Source + ?Sized>(&mut self, blob: &B) -> Result<Option<u64>, B::Error> {
        let Some(mut decoder) = DCtx::try_create() else { return Ok(None) };
        let mut reader = Reader::new(blob);
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
                let made = (bytes.len() == piece).then(|| decode(&mut decoder, bytes, &mut plain));
                let Some(made) = made.flatten() else { return Ok(None) };
                size += made;
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

/// Gives the decoder bytes and returns how many it made of them.
fn decode(decoder: &mut DCtx, bytes: &[u8], plain: &mut Vec<u8>) -> Option<u64> {
    let mut input = InBuffer::around(bytes);
    let mut made = 0;
    loop {
        plain.clear();
        let mut output = OutBuffer::around(plain);
        decoder.decompress_stream(&mut output, &mut input).ok()?;
        let now = output.pos();
        made += now as u64;
        // All it has comes at once unless the room is full.
        if input.pos() == bytes.len() && now < plain.capacity() {
            return Some(made);
        }
        if now == 0 && input.pos() < bytes.len() && input.pos() == 0 {
            return None;
        }
    }
}
