//! How a chunked blob is made, as a value and as bytes.
//!
//! docs/encoders.md describes the bytes. Reading checks every length before memory is taken. Never
//! makes anything itself.

use imgdelta_format::varint;
use imgdelta_zstd::{Limits, Model};

/// Everything but the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What made the frames and compressed the texts.
    pub model: Model,
    /// The header of frames that are a block or more; empty where it is not known.
    pub header: Vec<u8>,
    /// Bytes of the table of contents.
    pub contents_bytes: u64,
    /// Bytes of the tar's headers, where they are kept.
    pub split_bytes: Option<u64>,
    /// Program and version whose texts are repeated.
    pub style: Style,
    /// What follows: where the texts lie.
    pub rest: Vec<u8>,
}

/// How the table of contents is written, which differs with its writer's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Times that are not known are written all the same.
    pub has_zero_times: bool,
    /// It names the digest of the tar's headers.
    pub has_split_digest: bool,
    /// The last frame and that of the tar's headers were flushed before they were ended.
    pub is_flushed: bool,
}

/// Bytes that are no recipe. A caller refuses the file they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecipe {
    #[error("recipe version {0} is not known")]
    Version(u8),
    #[error(
        "recipe of a chunked layer is malformed, or has a text of more than {MOST_TEXT_BYTES} bytes"
    )]
    Malformed,
    #[error(transparent)]
    Model(#[from] imgdelta_zstd::BadRecipe),
}

impl Recipe {
    /// Returns the header of a frame of so many plain bytes.
    pub(super) fn header_of(&self, plain_bytes: u64) -> Vec<u8> {
        self.model.short_header(plain_bytes).unwrap_or_else(|| self.header.clone())
    }

    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Style { has_zero_times, has_split_digest, is_flushed } = self.style;
        let flags = [
            (has_zero_times, ZERO_TIMES),
            (self.split_bytes.is_some(), SPLIT),
            (has_split_digest, SPLIT_DIGEST),
            (is_flushed, FLUSHED),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
        let mut out = vec![VERSION, flags];
        put(&mut out, &imgdelta_zstd::Recipe { model: self.model, parts: Vec::new() }.to_bytes());
        put(&mut out, &self.header);
        varint::write(&mut out, self.contents_bytes);
        if let Some(split_bytes) = self.split_bytes {
            varint::write(&mut out, split_bytes);
        }
        out.extend_from_slice(&self.rest);
        out
    }

    /// Reads what [`Recipe::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecipe> {
        let (&[version, flags], mut rest) =
            bytes.split_first_chunk().ok_or(BadRecipe::Malformed)?;
        if version != VERSION {
            return Err(BadRecipe::Version(version));
        }
        if flags & !(ZERO_TIMES | SPLIT | SPLIT_DIGEST | FLUSHED) != 0 {
            return Err(BadRecipe::Malformed);
        }
        let model = imgdelta_zstd::Recipe::from_bytes(string(&mut rest)?, Limits::default())?;
        let header = string(&mut rest)?.to_vec();
        let contents_bytes = length(&mut rest)?;
        let split_bytes = (flags & SPLIT != 0).then(|| length(&mut rest)).transpose()?;
        if !model.parts.is_empty() {
            return Err(BadRecipe::Malformed);
        }
        Ok(Self {
            model: model.model,
            header,
            contents_bytes,
            split_bytes,
            style: Style {
                has_zero_times: flags & ZERO_TIMES != 0,
                has_split_digest: flags & SPLIT_DIGEST != 0,
                is_flushed: flags & FLUSHED != 0,
            },
            rest: rest.to_vec(),
        })
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn string<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], BadRecipe> {
    let count = varint::read(input).and_then(|count| usize::try_from(count).ok());
    let split = count.and_then(|count| input.split_at_checked(count));
    let (string, rest) = split.ok_or(BadRecipe::Malformed)?;
    *input = rest;
    Ok(string)
}

/// Reads the length of a text.
fn length(input: &mut &[u8]) -> Result<u64, BadRecipe> {
    let bytes = varint::read(input).filter(|&bytes| bytes <= MOST_TEXT_BYTES);
    bytes.ok_or(BadRecipe::Malformed)
}

const VERSION: u8 = 1;
const ZERO_TIMES: u8 = 1;
const SPLIT: u8 = 2;
const SPLIT_DIGEST: u8 = 4;
const FLUSHED: u8 = 8;

/// Bytes of a text: the headers of some 180,000 members, in base64. It is never held, but what
/// becomes of it is.
pub const MOST_TEXT_BYTES: u64 = 256 << 20;
