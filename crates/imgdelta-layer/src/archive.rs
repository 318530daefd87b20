//! Opens compressed archives to parts, and closes them to the original bytes.
//! Never decides which archives are worth opening; never checks the bytes that it makes.
//!
//! An archive of the base is opened. Its *parts* are the inflated contents of its members; the last
//! part of a zip, tar or ar is its structure, which is headers and directory. An ELF file with
//! compressed sections is an archive, too: its part is the file with these sections inflated. So is
//! one with compressed programs for graphics processors, which become parts. A runtime image of Java has the
//! list of its resources as a part, from which its index follows.
//!
//! An archive of the target is closed from *inner payloads*, which match the parts one by one. Each
//! is compressed as it was, by the models of `imgdelta-deflate`, `imgdelta-xz` and `imgdelta-zstd`.
//!
//! Opening depends on the archive's bytes alone, so both sides of a delta get the same parts.
//! `docs/format-archives.md` is normative.

mod ar;
mod bytes;
mod compression;
mod elf;
mod fatbin;
mod gzip;
mod jimage;
mod tar;
mod whole;
mod xz;
mod zip;
mod zlib;
mod zstd;

pub use bytes::ArchiveBytes;
pub use compression::InnerCompression;
pub use imgdelta_format::recipe::ArchiveKind;

use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_deflate::{EncoderCache, RemakeError, Remaker, inflate::InflateStream};
use imgdelta_zstd::lz4::Lz4Encoder;
use std::ops::Range;

/// An archive of which the directory is read.
#[derive(Debug)]
pub struct OpenedArchive {
    /// All parts except the structure; none is empty.
    pub parts: Vec<ArchivePart>,
    /// The structure, which is the last part; empty for kinds without one.
    pub structure: Vec<u8>,
}

/// The content of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePart {
    /// Name in the archive.
    pub name: Vec<u8>,
    /// Range of the stored bytes in the archive.
    pub stored: Range<u64>,
    /// Compression of the stored bytes.
    pub compression: PartCompression,
}

/// Compression of a member's stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartCompression {
    /// None, or one that is not opened: the part is the stored bytes.
    Plain,
    /// Raw deflate, with the content's checksum and length from the directory.
    Deflate {
        /// Checksum of the content.
        crc: u32,
        /// Length of the content.
        bytes: u64,
    },
    /// All gzip members of a file; the length is unknown until they are inflated.
    Gzip,
    /// Sections of an ELF file; the part is the file with these sections inflated.
    Sections,
    /// All xz streams of a file; the length is unknown until they are unpacked.
    Xz,
    /// All zstd frames of a file; the length is unknown until they are decoded.
    Zstd,
    /// Programs for graphics processors in an ELF file; the part is the file with zeros for these.
    Hollow,
    /// The index of a runtime image; the part is the list of its resources.
    Index,
    /// An LZ4 block.
    Lz4 {
        /// Length of the content.
        bytes: u64,
    },
}

impl OpenedArchive {
    /// Reads the directory of an archive; `None` if it is not valid.
    pub fn read(kind: ArchiveKind, slice: &ArchiveBytes<'_>) -> Result<Option<Self>> {
        match kind {
            ArchiveKind::Gzip => Ok(Some(whole::read(slice, PartCompression::Gzip))),
            ArchiveKind::Zip => zip::read(slice),
            ArchiveKind::Tar => tar::read(slice),
            ArchiveKind::Elf => elf::read(slice),
            ArchiveKind::Xz => Ok(Some(whole::read(slice, PartCompression::Xz))),
            ArchiveKind::Zstd => Ok(Some(whole::read(slice, PartCompression::Zstd))),
            ArchiveKind::Ar => ar::read(slice),
            ArchiveKind::Fatbin => fatbin::read(slice),
            ArchiveKind::Jimage => jimage::read(slice),
        }
    }

    /// Reads the directory of an archive whose first bytes are those of `kind`, and returns its real
    /// kind: an ELF file may have compressed sections, or else programs for graphics processors.
    pub fn find(
        kind: ArchiveKind,
        slice: &ArchiveBytes<'_>,
    ) -> Result<Option<(ArchiveKind, Self)>> {
        let mut found = Self::read(kind, slice)?.map(|archive| (kind, archive));
        if found.is_none() && kind == ArchiveKind::Elf {
            let fatbin = ArchiveKind::Fatbin;
            found = Self::read(fatbin, slice)?.map(|archive| (fatbin, archive));
        }
        Ok(found)
    }
}

impl ArchivePart {
    /// Passes the content to `sink` in pieces, and returns its length.
    ///
    /// Returns `None` if the content does not match the directory or is longer than `most_bytes`;
    /// by then `sink` may have received some of it.
    pub fn inflate(
        &self,
        slice: &ArchiveBytes<'_>,
        most_bytes: u64,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<u64>> {
        match self.compression {
            PartCompression::Plain => {
                let bytes = self.stored.end - self.stored.start;
                if bytes > most_bytes {
                    return Ok(None);
                }
                slice.pieces(self.stored.clone(), progress, &mut |piece| {
                    sink(piece).map(|()| true)
                })?;
                Ok(Some(bytes))
            }
            PartCompression::Deflate { bytes, .. } => {
                if bytes > most_bytes {
                    return Ok(None);
                }
                inflate(slice, self.stored.clone(), bytes, progress, sink)
            }
            PartCompression::Gzip => gzip::inflate(slice, most_bytes, progress, sink),
            PartCompression::Sections => elf::inflate(slice, most_bytes, progress, sink),
            PartCompression::Xz => xz::unpack(slice, most_bytes, progress, sink),
            PartCompression::Zstd => zstd::unpack(slice, most_bytes, progress, sink),
            PartCompression::Hollow => fatbin::hollow(slice, most_bytes, progress, sink),
            PartCompression::Index => jimage::list(slice, most_bytes, sink),
            PartCompression::Lz4 { bytes } => {
                if bytes > most_bytes {
                    return Ok(None);
                }
                fatbin::unpack(slice, self.stored.clone(), bytes, sink)
            }
        }
    }
}

/// Returns the kind of an archive by its first bytes; [`START_BYTES`] are enough.
pub fn recognise(start: &[u8]) -> Option<ArchiveKind> {
    match start {
        [0x1f, 0x8b, 0x08, ..] => Some(ArchiveKind::Gzip),
        [b'P', b'K', 3, 4, ..] => Some(ArchiveKind::Zip),
        _ if start.starts_with(&imgdelta_xz::MAGIC) => Some(ArchiveKind::Xz),
        _ if start.starts_with(zstd::START) => Some(ArchiveKind::Zstd),
        _ if start.starts_with(ar::PACKAGE_START) => Some(ArchiveKind::Ar),
        _ if start.starts_with(jimage::START) => Some(ArchiveKind::Jimage),
        // Most of these files have nothing compressed, and are refused when they are read.
        _ if start.starts_with(elf::START) => Some(ArchiveKind::Elf),
        _ => tar::is_tar(start).then_some(ArchiveKind::Tar),
    }
}

/// Returns the zlib streams of an ELF file's compressed sections, in the order of the file; none if
/// the file is not opened.
pub fn section_streams(slice: &ArchiveBytes<'_>) -> Result<Vec<Range<u64>>> {
    elf::streams(slice)
}

/// True if a file's last bytes are the end record of a zip file without a comment.
pub fn is_zip_end(end: &[u8; END_BYTES]) -> bool {
    end.starts_with(&zip::END) && end.ends_with(&[0, 0])
}

/// Inner payloads of an archive that is being closed.
pub trait InnerPayloads {
    /// Returns the number of inner payloads.
    fn count(&self) -> usize;
    /// Returns the length of an inner payload.
    fn bytes(&self, inner: usize) -> u64;
    /// Fills `buffer` with bytes of an inner payload, from `at` on.
    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()>;
    /// Returns the way to make the stored bytes of an inner payload.
    fn coding(&self, inner: usize) -> InnerCoding<'_>;
    /// Returns the archive's name for errors.
    fn place(&self) -> String;
}

/// Way from an inner payload to the bytes that the archive stores.
#[derive(Clone, Copy, Debug)]
pub enum InnerCoding<'a> {
    /// The payload is stored as it is.
    Plain,
    /// The payload is compressed already; its content has this checksum and length.
    Packed(u32, u64),
    /// The payload is compressed by a recipe of `imgdelta-deflate`.
    Deflate(&'a imgdelta_deflate::Recipe),
    /// The payload is compressed by a recipe of `imgdelta-xz`.
    Xz(&'a imgdelta_xz::Recipe),
    /// The payload is compressed by a recipe of `imgdelta-zstd`.
    Zstd(&'a imgdelta_zstd::FileRecipe),
    /// The payload is compressed to an LZ4 block.
    Lz4(Lz4Encoder),
}

/// Receiver of a closed archive's bytes, each piece with its offset.
pub type ArchiveOutput<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;

/// Writes an archive from its inner payloads, and returns its length.
pub fn close(
    kind: ArchiveKind,
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    match kind {
        ArchiveKind::Gzip => gzip::close(inner, progress, out),
        ArchiveKind::Zip => zip::close(inner, progress, out),
        // An ar file is made of contents and gaps like a tar file.
        ArchiveKind::Tar | ArchiveKind::Ar => tar::close(inner, progress, out),
        ArchiveKind::Xz => xz::close(inner, progress, out),
        ArchiveKind::Zstd => zstd::close(inner, progress, out),
        ArchiveKind::Elf => elf::close(inner, progress, out),
        ArchiveKind::Fatbin => fatbin::close(inner, progress, out),
        ArchiveKind::Jimage => jimage::close(inner, progress, out),
    }
}

/// Compresses an inner payload into `out`; `each` receives the plain bytes.
///
/// An encoder is taken from `encoders` and put back, since archives have many small members.
fn compress(
    inner: &dyn InnerPayloads,
    ordinal: usize,
    (recipe, encoders): (&imgdelta_deflate::Recipe, &mut EncoderCache),
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[u8]),
    out: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let wrong = |error: RemakeError| {
        Error::bad_input_because(inner.place(), "its compression cannot be remade", error)
    };
    let completed = with_length(recipe, inner.bytes(ordinal));
    let recipe = completed.as_ref().unwrap_or(recipe);
    let mut remaker = Remaker::reusing(recipe, std::mem::take(encoders));
    let mut packed = Vec::new();
    pieces(inner, ordinal, progress, &mut |piece| {
        each(piece);
        remaker.write(piece, &mut packed).map_err(wrong)?;
        out(&packed)?;
        packed.clear();
        Ok(())
    })?;
    *encoders = remaker.finish_reusing(&mut packed).map_err(wrong)?;
    out(&packed)
}

/// Returns a recipe with the payload's length filled in, if the recipe omits it.
///
/// A recipe of one member may have the length 0, so that many payloads share the recipe.
fn with_length(recipe: &imgdelta_deflate::Recipe, bytes: u64) -> Option<imgdelta_deflate::Recipe> {
    let [member] = &recipe.members[..] else { return None };
    if member.plain_bytes != 0 {
        return None;
    }
    let mut completed = recipe.clone();
    completed.members[0].plain_bytes = bytes;
    Some(completed)
}

/// Passes an inner payload to `each` in pieces.
fn pieces(
    inner: &dyn InnerPayloads,
    ordinal: usize,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    pieces_of(inner, ordinal, 0..inner.bytes(ordinal), progress, each)
}

/// Passes a range of an inner payload to `each` in pieces.
fn pieces_of(
    inner: &dyn InnerPayloads,
    ordinal: usize,
    range: Range<u64>,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; bytes::length(range.end - range.start).min(PIECE_BYTES)];
    let mut at = range.start;
    while at < range.end {
        progress.check()?;
        let count = bytes::length(range.end - at).min(buffer.len());
        inner.read_exact_at(ordinal, at, &mut buffer[..count])?;
        each(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}

/// Inflates a range of raw deflate, and returns the length if it is `expected` bytes.
///
/// The deflate stream must fill the range.
fn inflate(
    slice: &ArchiveBytes<'_>,
    range: Range<u64>,
    expected: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let mut stream = InflateStream::new();
    let (mut plain_bytes, mut is_done, mut outcome) = (0, false, Ok(()));
    let stored_bytes = range.end - range.start;
    let mut read_bytes = 0;
    slice.pieces(range, progress, &mut |piece| {
        let pushed = stream.push(piece, &mut (), |plain| {
            plain_bytes += plain.len() as u64;
            if plain_bytes <= expected && outcome.is_ok() {
                outcome = sink(plain);
            }
        });
        std::mem::replace(&mut outcome, Ok(()))?;
        let Ok((count, ended)) = pushed else { return Ok(false) };
        read_bytes += count as u64;
        is_done = ended;
        Ok(!ended && plain_bytes <= expected)
    })?;
    let is_right = is_done && read_bytes == stored_bytes && plain_bytes == expected;
    Ok(is_right.then_some(expected))
}

const PIECE_BYTES: usize = 256 << 10;
/// Bytes at a file's start by which [`recognise`] knows an archive.
pub const START_BYTES: usize = 264;
/// Length of a zip file's end record.
pub const END_BYTES: usize = 22;

#[cfg(test)]
mod tests;
