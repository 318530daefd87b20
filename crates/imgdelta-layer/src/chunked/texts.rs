//! What stands behind the frames, written while the stream passes: the table of contents, and the
//! tar's headers where they are kept.
//!
//! Told where frames begin and end, it makes none. Large texts are compressed as they grow; small
//! ones, and what becomes of them, are held. Never compares.

use super::{SKIPPABLE, Unlike, files::Files, recipe::Recipe};
use imgdelta_core::{Algorithm, Limits, error::Cause, verify::Hasher};
use imgdelta_image::tarscan::Scanner;
use imgdelta_zstd::{Frame, FrameWriter, Model, RemakeError};

/// The texts on their way.
pub(super) struct Texts<'a> {
    recipe: &'a Recipe,
    scanner: Option<Scanner>,
    files: Files,
    contents: Packed,
    split: Option<Packed>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(recipe: &'a Recipe, limits: &Limits) -> Self {
        Self {
            recipe,
            scanner: Some(Scanner::new(limits)),
            files: Files::new(recipe.style, recipe.split_bytes.is_some(), limits),
            contents: Packed::new(recipe, recipe.contents_bytes, false),
            split: recipe
                .split_bytes
                .map(|bytes| Packed::new(recipe, bytes, recipe.style.is_flushed)),
        }
    }

    /// A frame begins, of so many plain bytes if that is known.
    pub(super) fn begin_frame(&mut self, plain_bytes: Option<u64>) {
        self.files.begin_frame(plain_bytes);
    }

    /// It ended there in the blob.
    pub(super) fn end_frame(&mut self, end: u64) -> Result<(), Cause> {
        self.files.end_frame(end);
        self.pack()
    }

    /// Takes the stream's next bytes, none beyond the running frame.
    pub(super) fn push(&mut self, mut plain: &[u8]) -> Result<(), Cause> {
        let scanner = self.scanner.as_mut().ok_or(RemakeError::TooLong)?;
        while !plain.is_empty() {
            let (now, later) = plain.split_at(self.files.next_bytes(plain.len()));
            self.files.pass(now);
            scanner.feed(now, &mut self.files)?;
            plain = later;
        }
        self.pack()
    }

    /// Appends what stands behind the frames to `out`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Cause> {
        let scanner = self.scanner.take().ok_or(RemakeError::TooLong)?;
        let scan = scanner.finish(&mut self.files);
        self.files.finish(&scan);
        self.pack()?;
        let split = self.split.as_mut().map(Packed::finish).transpose()?;
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
            out.extend(u32::try_from(text.len()).map_err(|_| Unlike)?.to_le_bytes());
            out.extend(text);
        }
        out.extend_from_slice(&self.recipe.rest);
        Ok(())
    }

    /// Compresses what was written of the texts.
    fn pack(&mut self) -> Result<(), Cause> {
        if self.files.is_unlike() {
            return Err(Unlike.into());
        }
        let (contents, split) = self.files.texts();
        self.contents.write(contents)?;
        if let (Some(packed), Some(split)) = (&mut self.split, split) {
            packed.write(split)?;
        }
        Ok(())
    }
}

/// A text on its way through an encoder.
struct Packed {
    model: Model,
    header: Vec<u8>,
    /// What the text lacks.
    left_bytes: u64,
    is_flushed: bool,
    /// The text, while it is small beside what an encoder holds.
    held: Vec<u8>,
    frames: Option<FrameWriter>,
    out: Vec<u8>,
}

impl Packed {
    /// A text of so many bytes; a frame that is flushed cannot tell its length in its header.
    fn new(recipe: &Recipe, bytes: u64, is_flushed: bool) -> Self {
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

    /// Takes all of `text`.
    fn write(&mut self, text: &mut Vec<u8>) -> Result<(), RemakeError> {
        let left_bytes = self.left_bytes.checked_sub(text.len() as u64);
        self.left_bytes = left_bytes.ok_or(RemakeError::TooLong)?;
        self.held.append(text);
        if self.held.len() > HELD_BYTES { self.pack() } else { Ok(()) }
    }

    /// Ends the text, and lets go of the encoder.
    fn finish(&mut self) -> Result<Vec<u8>, RemakeError> {
        if self.left_bytes > 0 {
            return Err(RemakeError::TooShort);
        }
        self.pack()?;
        let mut frames = self.frames.take().ok_or(RemakeError::TooShort)?;
        if self.is_flushed {
            frames.flush(&mut self.out)?;
        }
        frames.end(&mut self.out)?;
        Ok(std::mem::take(&mut self.out))
    }

    /// Compresses what is held.
    fn pack(&mut self) -> Result<(), RemakeError> {
        let frames = match &mut self.frames {
            Some(frames) => frames,
            none => {
                let frames = none.insert(FrameWriter::new(self.model));
                let header = std::mem::take(&mut self.header);
                frames.begin(&Frame { header, ..Frame::default() }, &mut self.out)?;
                frames
            }
        };
        frames.write(&self.held, &mut self.out)?;
        self.held.clear();
        Ok(())
    }
}

/// A text is held so far: the best level's encoder takes several times as much.
const HELD_BYTES: usize = 8 << 20;
