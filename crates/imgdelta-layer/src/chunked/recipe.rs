//! The recipe of a zstd:chunked blob, as a value and as bytes.
//! Reading checks every length before memory is taken. Never compresses.
//!
//! docs/encoders.md describes the bytes.

use imgdelta_wire::{Cursor, WireError, varint};
use imgdelta_zstd::{EncoderModel, RecipeLimits};
use std::fmt;

/// Everything that rebuilds a zstd:chunked blob, except the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkedRecipe {
    /// Model of the encoder, for frames and texts.
    pub model: EncoderModel,
    /// Header of frames that are a block or longer; empty if there are none.
    pub header: Vec<u8>,
    /// Bytes of the table of contents.
    pub contents_bytes: u64,
    /// Bytes of the tar headers, if the blob has them.
    pub split_bytes: Option<u64>,
    /// Variant of the texts.
    pub style: TextStyle,
    /// The footer, which says where the texts lie.
    pub rest: Vec<u8>,
}

/// Variant of the texts, which depends on the version of the program that wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// Access and change times are written although they are unknown.
    pub has_zero_times: bool,
    /// The table of contents has the digest of the tar headers.
    pub has_split_digest: bool,
    /// The last frame, and the frame of the tar headers, were flushed before their end.
    pub is_flushed: bool,
}

/// Bytes that are not a recipe; the caller refuses the file that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkedRecipeError {
    Version(u8),
    Malformed,
    Model(imgdelta_zstd::RecipeError),
}

impl fmt::Display for ChunkedRecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "unknown version {version} of a zstd:chunked recipe")
            }
            Self::Malformed => write!(
                f,
                "zstd:chunked recipe is malformed, or has a text of more than {MOST_TEXT_BYTES} \
                 bytes"
            ),
            Self::Model(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChunkedRecipeError {}

impl From<imgdelta_zstd::RecipeError> for ChunkedRecipeError {
    fn from(error: imgdelta_zstd::RecipeError) -> Self {
        Self::Model(error)
    }
}

impl ChunkedRecipe {
    /// Returns the header of a frame with this number of plain bytes.
    pub(super) fn header_of(&self, plain_bytes: u64) -> Vec<u8> {
        self.model.short_header(plain_bytes).unwrap_or_else(|| self.header.clone())
    }

    /// Estimates the nanoseconds of rebuilding the blob of a stream on one core.
    ///
    /// The cuts follow from the stream. A member has one or two frames and takes at least 1 KiB.
    pub fn nanoseconds(&self, stream_bytes: u64) -> u64 {
        let frames =
            (stream_bytes / 512).saturating_mul(self.model.nanoseconds_per_frame(&self.header));
        let texts = self.contents_bytes + self.split_bytes.unwrap_or(0);
        let bytes = stream_bytes.saturating_add(texts);
        let content = bytes.saturating_mul(self.model.nanoseconds_per_byte());
        self.model.nanoseconds_to_start().saturating_add(frames).saturating_add(content)
    }

    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let TextStyle { has_zero_times, has_split_digest, is_flushed } = self.style;
        let flags = [
            (has_zero_times, ZERO_TIMES),
            (self.split_bytes.is_some(), SPLIT),
            (has_split_digest, SPLIT_DIGEST),
            (is_flushed, FLUSHED),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
        let mut out = vec![VERSION, flags];
        varint::write_prefixed(
            &mut out,
            &imgdelta_zstd::Recipe { model: self.model, parts: Vec::new() }.to_bytes(),
        );
        varint::write_prefixed(&mut out, &self.header);
        varint::write(&mut out, self.contents_bytes);
        if let Some(split_bytes) = self.split_bytes {
            varint::write(&mut out, split_bytes);
        }
        out.extend_from_slice(&self.rest);
        out
    }

    /// Reads the bytes of [`ChunkedRecipe::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChunkedRecipeError> {
        let mut cursor = Cursor::new(bytes);
        let [version, flags] = cursor.array()?;
        if version != VERSION {
            return Err(ChunkedRecipeError::Version(version));
        }
        if flags & !(ZERO_TIMES | SPLIT | SPLIT_DIGEST | FLUSHED) != 0 {
            return Err(ChunkedRecipeError::Malformed);
        }
        let model = imgdelta_zstd::Recipe::from_bytes(cursor.prefixed()?, RecipeLimits::default())?;
        let header = cursor.prefixed()?.to_vec();
        let contents_bytes = length(&mut cursor)?;
        let split_bytes = (flags & SPLIT != 0).then(|| length(&mut cursor)).transpose()?;
        if !model.parts.is_empty() {
            return Err(ChunkedRecipeError::Malformed);
        }
        Ok(Self {
            model: model.model,
            header,
            contents_bytes,
            split_bytes,
            style: TextStyle {
                has_zero_times: flags & ZERO_TIMES != 0,
                has_split_digest: flags & SPLIT_DIGEST != 0,
                is_flushed: flags & FLUSHED != 0,
            },
            rest: cursor.take_rest().to_vec(),
        })
    }
}

impl From<WireError> for ChunkedRecipeError {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

/// Reads the length of a text.
fn length(cursor: &mut Cursor<'_>) -> Result<u64, ChunkedRecipeError> {
    let bytes = cursor.varint()?;
    if bytes <= MOST_TEXT_BYTES { Ok(bytes) } else { Err(ChunkedRecipeError::Malformed) }
}

const VERSION: u8 = 1;
const ZERO_TIMES: u8 = 1;
const SPLIT: u8 = 2;
const SPLIT_DIGEST: u8 = 4;
const FLUSHED: u8 = 8;

/// Largest text: the headers of some 180,000 members, in base64. Only its compressed form is held.
pub const MOST_TEXT_BYTES: u64 = 256 << 20;
