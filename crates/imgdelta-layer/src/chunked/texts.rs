//! Writes the texts behind the frames: the table of contents and, if present, the tar headers.
//! Never writes the frames of the stream.
//!
//! Small texts are held until the end; larger ones are compressed as they grow. The compressed texts
//! are held.

use super::{SKIPPABLE, UnsupportedStream, files::FileRecorder, recipe::ChunkedRecipe};
use imgdelta_core::{Algorithm, Limits, error::Cause, verify::Hasher};
use imgdelta_image::tarscan::TarScanner;
use imgdelta_zstd::{EncoderModel, FrameRecipe, FrameWriter, RemakeError};

/// Writer of both texts, fed while the stream passes.
pub(super) struct TextWriter<'a> {
    recipe: &'a ChunkedRecipe,
    scanner: Option<TarScanner>,
    files: FileRecorder,
    contents: TextCompressor,
    split: Option<TextCompressor>,
}

impl<'a> TextWriter<'a> {
    pub(super) fn new(recipe: &'a ChunkedRecipe, limits: &Limits) -> Self {
        Self {
            recipe,
            scanner: Some(TarScanner::new(limits)),
            files: FileRecorder::new(recipe.style, recipe.split_bytes.is_some(), limits),
            contents: TextCompressor::new(recipe, recipe.contents_bytes, false),
            split: recipe
                .split_bytes
                .map(|bytes| TextCompressor::new(recipe, bytes, recipe.style.is_flushed)),
        }
    }

    /// Notes that a frame begins, with the number of its plain bytes if it is known.
    pub(super) fn begin_frame(&mut self, plain_bytes: Option<u64>) {
        self.files.begin_frame(plain_bytes);
    }

    /// Notes the offset in the blob at which the frame ends.
    pub(super) fn end_frame(&mut self, end: u64) -> Result<(), Cause> {
        self.files.end_frame(end);
        self.pack()
    }

    /// Adds the next bytes of the stream, none of them behind the current frame.
    pub(super) fn push(&mut self, mut plain: &[u8]) -> Result<(), Cause> {
        let scanner = self.scanner.as_mut().ok_or(RemakeError::Finished)?;
        while !plain.is_empty() {
            let (now, later) = plain.split_at(self.files.next_bytes(plain.len()));
            self.files.pass(now);
            scanner.feed(now, &mut self.files)?;
            plain = later;
        }
        self.pack()
    }

    /// Appends the texts and the footer to `out`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        let scanner = self.scanner.take().ok_or(RemakeError::Finished)?;
        let scan = scanner.finish(&mut self.files);
        self.files.finish(&scan);
        self.pack()?;
        let split = self.split.as_mut().map(TextCompressor::finish).transpose()?;
        let digest = split.as_ref().map(|split| {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(split);
            hasher.finish_blob()
        });
        self.files.finish_contents(digest);
        self.pack()?;
        let contents = self.contents.finish()?;
        for text in [Some(contents), split].into_iter().flatten() {
            out.extend(SKIPPABLE);
            out.extend(u32::try_from(text.len()).map_err(|_| UnsupportedStream)?.to_le_bytes());
            out.extend(text);
        }
        out.extend_from_slice(&self.recipe.rest);
        Ok(())
    }

    /// Passes the texts as far as they are written to their compressors.
    fn pack(&mut self) -> Result<(), Cause> {
        if self.files.is_unsupported() {
            return Err(UnsupportedStream.into());
        }
        let (contents, split) = self.files.texts();
        self.contents.write(contents)?;
        if let (Some(compressor), Some(split)) = (&mut self.split, split) {
            compressor.write(split)?;
        }
        Ok(())
    }
}

/// Compressor of one text.
struct TextCompressor {
    model: EncoderModel,
    header: Vec<u8>,
    /// Bytes of the text that are left.
    left_bytes: u64,
    is_flushed: bool,
    /// Text that is not compressed yet.
    held: Vec<u8>,
    frames: Option<FrameWriter>,
    out: Vec<u8>,
}

impl TextCompressor {
    /// Starts a text of `bytes` bytes. The header of a flushed frame does not have the length.
    fn new(recipe: &ChunkedRecipe, bytes: u64, is_flushed: bool) -> Self {
        let header = if is_flushed { recipe.header.clone() } else { recipe.header_of(bytes) };
        Self {
            model: recipe.model,
            header,
            left_bytes: bytes,
            is_flushed,
            held: Vec::new(),
            frames: None,
            out: Vec::new(),
        }
    }

    /// Moves all of `text` in.
    fn write(&mut self, text: &mut Vec<u8>) -> Result<(), RemakeError> {
        let (expected_bytes, found_bytes) = (self.left_bytes, text.len() as u64);
        let left_bytes = expected_bytes.checked_sub(found_bytes);
        self.left_bytes = left_bytes.ok_or(RemakeError::TooLong { expected_bytes, found_bytes })?;
        self.held.append(text);
        if self.held.len() > HELD_BYTES { self.pack() } else { Ok(()) }
    }

    /// Ends the text and drops the encoder; returns the compressed text.
    fn finish(&mut self) -> Result<Vec<u8>, RemakeError> {
        if self.left_bytes > 0 {
            let (expected_bytes, found_bytes) = (self.left_bytes, 0);
            return Err(RemakeError::TooShort { expected_bytes, found_bytes });
        }
        self.pack()?;
        let mut frames = self.frames.take().ok_or(RemakeError::Finished)?;
        if self.is_flushed {
            frames.flush(&mut self.out)?;
        }
        frames.end(&mut self.out)?;
        Ok(std::mem::take(&mut self.out))
    }

    /// Compresses the held text.
    fn pack(&mut self) -> Result<(), RemakeError> {
        let frames = match &mut self.frames {
            Some(frames) => frames,
            none => {
                let frames = none.insert(FrameWriter::new(self.model));
                let header = std::mem::take(&mut self.header);
                frames.begin(&FrameRecipe { header, ..FrameRecipe::default() }, &mut self.out)?;
                frames
            }
        };
        frames.write(&self.held, &mut self.out)?;
        self.held.clear();
        Ok(())
    }
}

/// Text that is held before an encoder is opened; the best level's takes several times this memory.
const HELD_BYTES: usize = 8 << 20;
