//! The search for the envelope of a zstd blob.
//! Never holds a blob: it is read again for each promising trial.

use super::{EnvelopeSearch, PIECE_BYTES};
use imgdelta_apply::delta::Envelope;
use imgdelta_core::{Error, Result, error::Cause};
use imgdelta_image::{image::Image, store::Descriptor, volume::LayerStream};
use imgdelta_layer::{
    chunked::{ChunkedRecipe, ChunkedRemaker, FrameEncoder, MOST_TEXT_BYTES, SKIPPABLE, TextStyle},
    remake::Remake,
};
use imgdelta_zstd::{
    ByteSource, DetectOptions, EncoderModel, FrameRecipe, Recipe, RecipeLimits, RecipePart, detect,
    frame_ends,
};
use std::{cell::RefCell, io::Read};

/// Memory of the search. The reference encoder at its highest usual level takes most of it.
pub(super) const SEARCH_BYTES: u64 = 192 << 20;

impl EnvelopeSearch<'_> {
    /// Returns the envelope of a zstd blob; `None` for another format or an unknown encoder.
    pub(super) fn zstd(&self) -> Result<Option<Envelope>> {
        let Some(stream) = self.volume.stream(&self.layer.diff_id) else { return Ok(None) };
        let blob = RandomAccessBlob::new(self.image, &self.layer.descriptor);
        let plain = PlainStream { stream, search: self };
        let Some(recipe) = detect(&blob, &plain, DetectOptions::default())? else {
            return Ok(None);
        };
        if let Some(bytes) = self.chunked(&recipe, &blob, &plain)? {
            return Ok(Some(Envelope::Chunked(bytes)));
        }
        let bytes = recipe.to_bytes();
        let read = Recipe::from_bytes(&bytes, RecipeLimits::default());
        let is_worth_it = bytes.len() as u64 <= self.most_bytes;
        Ok((is_worth_it && read == Ok(recipe)).then_some(Envelope::Zstd(bytes)))
    }

    /// Returns a recipe of a zstd:chunked blob; `None` for another blob, or if texts differ.
    ///
    /// `recipe` is proved for the frames of the blob.
    fn chunked(
        &self,
        recipe: &Recipe,
        blob: &RandomAccessBlob,
        plain: &PlainStream,
    ) -> Result<Option<Vec<u8>>> {
        let Some((RecipePart::Literal(after), parts)) = recipe.parts.split_last() else {
            return Ok(None);
        };
        let Some(ends) = frame_ends(blob, DetectOptions::default())? else { return Ok(None) };
        let mut frames = Vec::with_capacity(ends.len());
        for (part, end) in parts.iter().zip(ends) {
            match part {
                RecipePart::Frame(frame) => frames.push((frame, end)),
                RecipePart::Literal(_) => return Ok(None),
            }
        }
        let Some(recipe) = describe(recipe.model, &frames, after) else { return Ok(None) };
        let Some(block_bytes) = recipe.model.block_bytes() else { return Ok(None) };
        let known = ProvedFrames {
            frames: frames.into_iter(),
            running: None,
            plain_bytes: 0,
            cuts: Vec::new(),
            block_bytes,
        };
        let mut chunked = ChunkedRemaker::with(&recipe, known, self.image.limits());
        let (mut piece, mut out, mut at) = (Vec::new(), Vec::new(), 0);
        while at < plain.bytes() {
            let bytes = (plain.bytes() - at).min(PIECE_BYTES as u64);
            piece.resize(usize::try_from(bytes).expect("a piece is in memory"), 0);
            plain.read(at, &mut piece)?;
            at += bytes;
            if chunked.push(&piece, &mut out).is_err() {
                return Ok(None);
            }
        }
        if chunked.finish(&mut out).is_err() || out != *after {
            return Ok(None);
        }
        let bytes = recipe.to_bytes();
        Ok((ChunkedRecipe::from_bytes(&bytes) == Ok(recipe)).then_some(bytes))
    }
}

/// An encoder that compares requested frames with the frames of the blob.
struct ProvedFrames<'a> {
    frames: std::vec::IntoIter<(&'a FrameRecipe, u64)>,
    running: Option<(&'a FrameRecipe, u64)>,
    plain_bytes: u64,
    cuts: Vec<u64>,
    block_bytes: u64,
}

impl FrameEncoder for ProvedFrames<'_> {
    fn begin(&mut self, header: Vec<u8>, _: &mut Vec<u8>) -> std::result::Result<(), Cause> {
        self.running = self.frames.next().filter(|(frame, _)| frame.header == header);
        self.plain_bytes = 0;
        self.cuts.clear();
        self.running.map(|_| ()).ok_or_else(|| "another header".into())
    }

    fn write(&mut self, plain: &[u8], _: &mut Vec<u8>) -> std::result::Result<(), Cause> {
        self.plain_bytes += plain.len() as u64;
        Ok(())
    }

    fn flush(&mut self, _: &mut Vec<u8>) -> std::result::Result<(), Cause> {
        let start = self.cuts.last().copied().unwrap_or(0);
        if !(self.plain_bytes - start).is_multiple_of(self.block_bytes) {
            self.cuts.push(self.plain_bytes);
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<u8>) -> std::result::Result<u64, Cause> {
        let is_right =
            |frame: &FrameRecipe| frame.plain_bytes == self.plain_bytes && frame.cuts == self.cuts;
        let running = self.running.take();
        let right = running.filter(|(frame, _)| is_right(frame));
        right.map(|(_, end)| end).ok_or_else(|| "another length".into())
    }
}

/// Reads the texts after the frames of a zstd:chunked blob; `None` if there are none.
fn describe(
    model: EncoderModel,
    frames: &[(&FrameRecipe, u64)],
    mut after: &[u8],
) -> Option<ChunkedRecipe> {
    let contents = ChunkedText::read(skippable(&mut after)?)?;
    if !contents.start.starts_with(b"{\"version\":1,") {
        return None;
    }
    let mut behind = after;
    let split = skippable(&mut behind).and_then(ChunkedText::read);
    let rest = if split.is_some() { behind } else { after }.to_vec();
    // All frames without a length in the header have the same header.
    let frames = frames.iter().map(|(frame, _)| (&frame.header, frame.plain_bytes));
    let texts = [Some(&contents), split.as_ref()].into_iter().flatten();
    let mut headers = frames.chain(texts.map(|text| (&text.header, text.bytes)));
    let long = headers.find(|(header, bytes)| model.short_header(*bytes).as_ref() != Some(*header));
    let header = long.map(|(header, _)| header.clone()).unwrap_or_default();
    let style = TextStyle {
        has_zero_times: has(&contents.start, b"\"accesstime\":\"0001-01-01T00:00:00Z\""),
        has_split_digest: has(&contents.end, b"\"tarSplitDigest\":"),
        is_flushed: split.as_ref().is_some_and(|split| split.is_flushed),
    };
    Some(ChunkedRecipe {
        model,
        header,
        contents_bytes: contents.bytes,
        split_bytes: split.as_ref().map(|split| split.bytes),
        style,
        rest,
    })
}

fn has(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}

/// Takes a skippable frame off the front and returns its content.
fn skippable<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (count, rest) = input.strip_prefix(&SKIPPABLE)?.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*count) as usize)?;
    *input = rest;
    Some(content)
}

/// Start, end and length of a text that is one frame.
struct ChunkedText {
    header: Vec<u8>,
    bytes: u64,
    start: Vec<u8>,
    end: Vec<u8>,
    /// True if its last block is empty.
    is_flushed: bool,
}

impl ChunkedText {
    fn read(packed: &[u8]) -> Option<Self> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).ok()?;
        decoder.window_log_max(WINDOW_LOG).ok()?;
        let mut decoder = decoder.take(MOST_TEXT_BYTES + 1);
        let mut start = Vec::new();
        decoder.by_ref().take(SEEN_BYTES as u64).read_to_end(&mut start).ok()?;
        let mut end = start.clone();
        let mut bytes = start.len() as u64;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = decoder.read(&mut piece).ok()?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            end.extend_from_slice(&piece[..count]);
            end.drain(..end.len().saturating_sub(SEEN_BYTES));
        }
        let header = packed[..LONG_BYTES.min(packed.len())].to_vec();
        let is_flushed =
            packed.len().checked_sub(EMPTY_BYTES).is_some_and(|at| packed[at..].starts_with(EMPTY));
        (bytes <= MOST_TEXT_BYTES).then_some(Self { header, bytes, start, end, is_flushed })
    }
}

/// Bytes of a header with a window and without a length.
const LONG_BYTES: usize = 6;
/// An empty last block.
const EMPTY: &[u8] = &[1, 0, 0];
/// Bytes of an empty last block and the checksum.
const EMPTY_BYTES: usize = 7;
/// Bytes at the start and end of a text that show its style.
const SEEN_BYTES: usize = 4096;
/// Enough for the usual window of 8 MiB and for the 32 MiB of the best level.
const WINDOW_LOG: u32 = 25;

/// A stream in the volume, which stops after a cancellation.
struct PlainStream<'a> {
    stream: &'a LayerStream,
    search: &'a EnvelopeSearch<'a>,
}

impl ByteSource for PlainStream<'_> {
    type Error = Error;

    fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.search.progress.check()?;
        self.stream.read_exact_at(offset, buffer)
    }
}

/// A blob that is opened again to read earlier bytes.
struct RandomAccessBlob<'a> {
    image: &'a Image,
    descriptor: &'a Descriptor,
    open: RefCell<Option<(Box<dyn Read + Send>, u64)>>,
}

impl<'a> RandomAccessBlob<'a> {
    fn new(image: &'a Image, descriptor: &'a Descriptor) -> Self {
        Self { image, descriptor, open: RefCell::new(None) }
    }
}

impl ByteSource for RandomAccessBlob<'_> {
    type Error = Error;

    fn bytes(&self) -> u64 {
        self.descriptor.size_bytes
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut open = self.open.borrow_mut();
        if open.as_ref().is_none_or(|(_, position)| *position > offset) {
            *open = Some((self.image.store().open(self.descriptor)?, 0));
        }
        let Some((reader, position)) = open.as_mut() else { unreachable!("opened above") };
        let place = || format!("blob {}", self.descriptor.digest);
        let gap = offset - *position;
        let skipped = std::io::copy(&mut reader.by_ref().take(gap), &mut std::io::sink());
        let outcome = match skipped {
            Ok(bytes) if bytes < gap => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => reader.read_exact(buffer),
            Err(error) => Err(error),
        };
        outcome.map_err(Error::io(place()))?;
        *position = offset + buffer.len() as u64;
        Ok(())
    }
}
