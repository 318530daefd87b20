//! How a layer's tar stream became the blob that is stored, and how to get the stream back.
//!
//! A blob is decoded as it passes: one buffer of compressed bytes and one of the stream, whatever
//! the layer's size. Both sides are hashed on the way. The compression is recognised by the bytes;
//! media types are written by people and are often wrong. Nothing here guesses: bytes of no known
//! compression are the stream itself, and whether that is a tar is for `tarscan` to say.
//!
//! A fault is only called the image's own once the rest of the blob was hashed and its digest is
//! right. With a wrong digest the blob is merely damaged, and fetching it again helps.

mod gzip;
mod input;
mod output;
mod zstandard;

use imgdelta_core::{
    DiffId, Error, Limits, Result,
    progress::Progress,
    verify::{BlobCheck, VerifiedBlob},
};
use input::Input;
use output::Output;
use std::{fmt, io::Read};

/// How a stream is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// As it is.
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

    /// Returns what a media type says, or `None` where it says nothing.
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

/// What is known of a stream before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamDigest {
    /// Nothing: it is computed.
    Unknown,
    /// It must be this one.
    Compared(DiffId),
    /// It is said to be this one, and taken so without hashing: only for who compares what is made
    /// of the stream.
    Believed(DiffId),
}

/// What reading a layer found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRead {
    /// The blob, compared with its digest and size.
    pub blob: VerifiedBlob,
    /// The digest of the stream: the one that was compared or believed, else computed.
    pub diff_id: DiffId,
    /// The length of the stream.
    pub stream_bytes: u64,
    /// How the stream was stored.
    pub compression: Compression,
    /// Bytes after the last gzip member that belong to none: padding with zeros, or rubbish, both
    /// of which gzip(1) ignores.
    pub trailing_bytes: u64,
}

/// Reads a layer once: checks the blob, decodes it, and hands the stream to `sink` in pieces.
///
/// The pieces are unverified until this returns `Ok`; keep what is made of them out of sight until
/// then. `progress` advances by stored bytes and is asked for cancellation at every piece.
pub fn read_layer(
    blob: Box<dyn Read + Send>,
    check: BlobCheck,
    digest: StreamDigest,
    limits: &Limits,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<LayerRead> {
    let place = check.place();
    let mut input = Input::new(blob, check, progress);
    let mut output = Output::new(&place, digest, limits, sink);
    let decoded = decode(&mut input, &mut output, limits);
    let (compression, trailing_bytes) = match decoded {
        Ok(done) => done,
        Err(Fault::Broken { what, offset }) => {
            input.finish()?;
            return Err(Error::bad_input(place, format_args!("{what} at byte {offset}")));
        }
        Err(Fault::Stop(error @ (Error::BadInput { .. } | Error::OverLimit { .. }))) => {
            input.finish()?;
            return Err(error);
        }
        Err(Fault::Stop(error)) => return Err(error),
    };
    let blob = input.finish()?;
    let (diff_id, stream_bytes) = output.finish(&blob)?;
    Ok(LayerRead { blob, diff_id, stream_bytes, compression, trailing_bytes })
}

fn decode(
    input: &mut Input<'_>,
    output: &mut Output<'_>,
    limits: &Limits,
) -> std::result::Result<(Compression, u64), Fault> {
    let start = input.peek(PEEKED_BYTES)?;
    let compression = Compression::of(start);
    if let Some(name) = unsupported(start) {
        return Err(input.broken(format_args!("{name} compression is not supported")));
    }
    let trailing_bytes = match compression {
        Compression::None => {
            output.stored_as_is(input.algorithm());
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

fn pass(input: &mut Input<'_>, output: &mut Output<'_>) -> std::result::Result<(), Fault> {
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

/// Recognises what some tools can write and no runtime reads, for a better message than "no tar".
fn unsupported(start: &[u8]) -> Option<&'static str> {
    const BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    if start.starts_with(b"BZh") && start.get(4..10) == Some(BLOCK) {
        return Some("bzip2");
    }
    start.starts_with(b"\xfd7zXZ\0").then_some("xz")
}

/// Why decoding ended early.
enum Fault {
    /// The bytes do not decode; if they are the right bytes, the image is at fault.
    Broken {
        /// What the decoder saw.
        what: String,
        /// Where in the blob.
        offset: u64,
    },
    /// Something else; passed on.
    Stop(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

/// The longest signature is bzip2's with its first block's.
const PEEKED_BYTES: usize = 10;
