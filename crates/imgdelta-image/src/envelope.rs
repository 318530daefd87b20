//! From a layer's blob to its tar stream: recognise the compression, decode, verify.
//!
//! Decoding holds one buffer of the blob and one of the stream, for layers of any size, and
//! hashes both sides. The bytes decide the compression, since media types are often wrong. Bytes of
//! no known compression are the stream itself. Never looks inside the stream; `tarscan` does.
//!
//! A blob that does not decode is hashed to its end before the error is chosen. With the right
//! digest the image is at fault; with a wrong digest the copy is damaged, and a new copy helps.

mod gzip;
mod input;
mod output;
mod zstandard;

use imgdelta_core::{
    DiffId, Error, Limits, Result,
    progress::Progress,
    verify::{BlobCheck, VerifiedBlob},
};
use input::BlobInput;
use output::StreamOutput;
use std::{fmt, io::Read};

/// Compression of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// The blob is the stream.
    None,
    /// One or more gzip members.
    Gzip,
    /// One or more Zstandard frames, skippable ones among them.
    Zstd,
}

impl Compression {
    /// Recognises the compression from the first bytes of a blob.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the compression that a media type states, or `None` if it states none.
    pub fn claimed_by(media_type: &str) -> Option<Self> {
        if !media_type.contains("tar") {
            None
        } else if media_type.ends_with("gzip") {
            Some(Self::Gzip)
        } else if media_type.ends_with("zstd") {
            Some(Self::Zstd)
        } else {
            media_type.ends_with("tar").then_some(Self::None)
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// The treatment of a stream's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCheck {
    /// The digest is computed.
    Compute,
    /// The digest is computed, and must be this one.
    Compare(DiffId),
    /// The digest is assumed, and the stream is not hashed.
    ///
    /// Only for callers that verify everything they make of the stream.
    Assume(DiffId),
}

/// The outcome of reading a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// The blob, compared with its digest and size.
    pub blob: VerifiedBlob,
    /// The digest of the stream, computed or assumed.
    pub diff_id: DiffId,
    /// The length of the stream.
    pub stream_bytes: u64,
    /// Compression of the blob.
    pub compression: Compression,
    /// Bytes after the last gzip member: zeros or rubbish, which gzip(1) ignores too.
    pub trailing_bytes: u64,
}

/// Reads a layer once: verifies the blob, decodes it, and passes the stream to `sink` in pieces.
///
/// The pieces are unverified until this returns `Ok`; nothing made of them may become visible
/// before. `progress` advances by stored bytes; each piece checks for cancellation.
pub fn read_layer(
    blob: Box<dyn Read + Send>,
    check: BlobCheck,
    digest: StreamCheck,
    limits: &Limits,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<LayerSummary> {
    read_layer_in(BlobForm::Recognised, blob, check, digest, limits, progress, sink)
}

/// Form of the bytes that a store has of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlobForm {
    /// The blob, whose first bytes show its compression.
    Recognised,
    /// The stream, even if its first bytes look like a compression.
    Stream,
}

/// Reads a layer as [`read_layer`] does, from a blob of a known form.
pub(crate) fn read_layer_in(
    form: BlobForm,
    blob: Box<dyn Read + Send>,
    check: BlobCheck,
    digest: StreamCheck,
    limits: &Limits,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<LayerSummary> {
    let place = check.place();
    let mut input = BlobInput::new(blob, check, progress);
    let mut output = StreamOutput::new(&place, digest, limits, progress, sink);
    let decoded = match form {
        BlobForm::Recognised => decode(&mut input, &mut output, limits),
        BlobForm::Stream => pass(&mut input, &mut output).map(|()| (Compression::None, 0)),
    };
    let (compression, trailing_bytes) = match decoded {
        Ok(outcome) => outcome,
        Err(DecodeError::Other(error)) if input.has_failed() => return Err(error),
        Err(DecodeError::Malformed { what, offset }) => {
            input.finish()?;
            return Err(Error::bad_input(place, format_args!("{what} at byte {offset}")));
        }
        Err(DecodeError::Other(error @ (Error::BadInput { .. } | Error::OverLimit { .. }))) => {
            input.finish()?;
            return Err(error);
        }
        Err(DecodeError::Other(error)) => return Err(error),
    };
    let blob = input.finish()?;
    let (diff_id, stream_bytes) = output.finish(&blob)?;
    Ok(LayerSummary { blob, diff_id, stream_bytes, compression, trailing_bytes })
}

fn decode(
    input: &mut BlobInput<'_>,
    output: &mut StreamOutput<'_>,
    limits: &Limits,
) -> std::result::Result<(Compression, u64), DecodeError> {
    let start = input.peek(PEEKED_BYTES)?;
    let compression = Compression::of(start);
    if let Some(name) = unsupported(start) {
        return Err(input.malformed(format_args!("{name} compression is not supported")));
    }
    let trailing_bytes = match compression {
        Compression::None => {
            pass(input, output)?;
            0
        }
        Compression::Gzip => gzip::decode(input, output)?,
        Compression::Zstd => {
            zstandard::decode(input, output, limits.zstd_window_log)?;
            0
        }
    };
    Ok((compression, trailing_bytes))
}

fn pass(
    input: &mut BlobInput<'_>,
    output: &mut StreamOutput<'_>,
) -> std::result::Result<(), DecodeError> {
    output.blob_is_stream(input.algorithm());
    loop {
        let bytes = input.fill()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let count = bytes.len();
        output.push(bytes, u64::MAX)?;
        input.consume(count);
    }
}

/// Recognises compressions that some tools write and no runtime reads, for a clear message.
fn unsupported(start: &[u8]) -> Option<&'static str> {
    const BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    if start.starts_with(b"BZh") && start.get(4..10) == Some(BLOCK) {
        return Some("bzip2");
    }
    start.starts_with(b"\xfd7zXZ\0").then_some("xz")
}

/// Returns true if a blob that starts so is not the stream itself.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    Compression::of(start) != Compression::None || unsupported(start).is_some()
}

/// The reason that decoding ended early.
enum DecodeError {
    /// The bytes do not decode; with the right digest the image is at fault.
    Malformed {
        /// The problem.
        what: String,
        /// Its offset in the blob.
        offset: u64,
    },
    /// Any other error, passed on.
    Other(Error),
}

impl From<Error> for DecodeError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// The longest signature: bzip2's, with that of its first block.
pub(crate) const PEEKED_BYTES: usize = 10;
