//! Compressed archives seen into: opened to parts, and closed to the very bytes again.
//!
//! An archive of the base is opened: its *parts* are the contents of its members, inflated, and
//! for a zip its structure at the end, which is headers and directory by columns. An archive of
//! the target is closed from *inner payloads* of the same meaning, each compressed as it was by
//! the models of `imgdelta-deflate`. What opening gives depends on the archive's bytes alone, so
//! that whoever made a delta and whoever applies it see the same. `docs/format-archives.md` is the
//! law. Never decides what is worth seeing into, and never says that the bytes it makes are right.

mod bytes;
mod gzip;
mod tar;
mod zip;

pub use bytes::Slice;
pub use imgdelta_format::recipe::Archive;

use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_deflate::{Encoders, RemakeError, Remaker, inflate::Stream};
use std::ops::Range;

/// An archive, read as far as its directory.
#[derive(Debug)]
pub struct Opening {
    /// Its parts but the structure, none empty.
    pub parts: Vec<Part>,
    /// Its structure, the last part; empty for kinds that have none.
    pub structure: Vec<u8>,
}

/// The content of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the archive calls it.
    pub name: Vec<u8>,
    /// Where its bytes lie in the archive, as they are stored.
    pub stored: Range<u64>,
    /// How it is stored.
    pub packing: Packing,
}

/// How a member is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is, or in a way that is not seen into.
    Plain,
    /// As raw deflate, with what the directory says of its content.
    Deflate {
        /// The checksum of the content.
        crc: u32,
        /// Its length.
        bytes: u64,
    },
    /// As gzip members, all there are; the length is known once they are inflated.
    Gzip,
}

impl Opening {
    /// Reads the directory of an archive; `None` if it is not sound, and so mere bytes.
    pub fn read(kind: Archive, slice: &Slice<'_>) -> Result<Option<Self>> {
        match kind {
            Archive::Gzip => Ok(Some(gzip::read(slice))),
            Archive::Zip => zip::read(slice),
            Archive::Tar => tar::read(slice),
        }
    }
}

impl Part {
    /// Hands the content to `sink` in pieces, and returns its length; `None` if it does not come
    /// out as the directory says, after some of it was handed on.
    ///
    /// Stops once more than `most_bytes` came out.
    pub fn inflate(
        &self,
        slice: &Slice<'_>,
        most_bytes: u64,
        progress: &dyn Progress,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<u64>> {
        match self.packing {
            Packing::Plain => {
                let bytes = self.stored.end - self.stored.start;
                if bytes > most_bytes {
                    return Ok(None);
                }
                slice.pieces(self.stored.clone(), progress, &mut |piece| {
                    sink(piece).map(|()| true)
                })?;
                Ok(Some(bytes))
            }
            Packing::Deflate { bytes, .. } => {
                if bytes > most_bytes {
                    return Ok(None);
                }
                inflate(slice, self.stored.clone(), bytes, progress, sink)
            }
            Packing::Gzip => gzip::inflate(slice, most_bytes, progress, sink),
        }
    }
}

/// Recognises an archive by its first bytes, of which [`START_BYTES`] are enough.
pub fn recognise(start: &[u8]) -> Option<Archive> {
    match start {
        [0x1f, 0x8b, 0x08, ..] => Some(Archive::Gzip),
        [b'P', b'K', 3, 4, ..] => Some(Archive::Zip),
        _ => tar::is_tar(start).then_some(Archive::Tar),
    }
}

/// Whether a file's last bytes are the end record of a zip file without a comment.
pub fn is_zip_end(end: &[u8; END_BYTES]) -> bool {
    end.starts_with(&zip::END) && end.ends_with(&[0, 0])
}

/// The inner payloads of an archive that is closed.
pub trait Inner {
    /// How many there are.
    fn count(&self) -> usize;
    /// How long one is.
    fn bytes(&self, inner: usize) -> u64;
    /// Fills `buffer` with its bytes from `at` on.
    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()>;
    /// How it is compressed in the archive.
    fn coder(&self, inner: usize) -> Coder<'_>;
    /// How errors name the archive.
    fn place(&self) -> String;
}

/// How an inner payload becomes what lies in the archive.
#[derive(Clone, Copy, Debug)]
pub enum Coder<'a> {
    /// It is what lies there.
    Plain,
    /// It is what lies there, with the checksum and length of what it inflates to.
    Packed(u32, u64),
    /// It is compressed by a recipe.
    Deflate(&'a imgdelta_deflate::Recipe),
}

/// Takes the bytes of a closed archive, at their places.
pub type Out<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;

/// Makes an archive from its inner payloads, and returns its length.
pub fn close(
    kind: Archive,
    inner: &dyn Inner,
    progress: &dyn Progress,
    out: &mut Out<'_>,
) -> Result<u64> {
    match kind {
        Archive::Gzip => gzip::close(inner, progress, out),
        Archive::Zip => zip::close(inner, progress, out),
        Archive::Tar => tar::close(inner, progress, out),
    }
}

/// Compresses an inner payload into `out`; `each` sees the plain bytes as they pass. The encoder is
/// taken from `encoders` and given back: archives have many small members.
fn compress(
    inner: &dyn Inner,
    which: usize,
    (recipe, encoders): (&imgdelta_deflate::Recipe, &mut Encoders),
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[u8]),
    out: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let wrong = |error: RemakeError| {
        Error::bad_input_because(inner.place(), "its compression cannot be remade", error)
    };
    let told = told_length(recipe, inner.bytes(which));
    let recipe = told.as_ref().unwrap_or(recipe);
    let mut remaker = Remaker::reusing(recipe, std::mem::take(encoders));
    let mut packed = Vec::new();
    pieces(inner, which, progress, &mut |piece| {
        each(piece);
        remaker.write(piece, &mut packed).map_err(wrong)?;
        out(&packed)?;
        packed.clear();
        Ok(())
    })?;
    *encoders = remaker.finish_reusing(&mut packed).map_err(wrong)?;
    out(&packed)
}

/// A recipe of one member leaves its length, which is the payload's, as 0, so that many payloads
/// share a recipe. Returns it with the length, where it was left.
fn told_length(recipe: &imgdelta_deflate::Recipe, bytes: u64) -> Option<imgdelta_deflate::Recipe> {
    let [member] = &recipe.members[..] else { return None };
    if member.plain_bytes != 0 {
        return None;
    }
    let mut told = recipe.clone();
    told.members[0].plain_bytes = bytes;
    Some(told)
}

/// Hands an inner payload to `each` in pieces.
fn pieces(
    inner: &dyn Inner,
    which: usize,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let bytes = inner.bytes(which);
    let mut buffer = vec![0; bytes::length(bytes).min(PIECE_BYTES)];
    let mut at = 0;
    while at < bytes {
        progress.check()?;
        let count = bytes::length(bytes - at).min(buffer.len());
        inner.read_exact_at(which, at, &mut buffer[..count])?;
        each(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}

/// Inflates raw deflate that fills a range of `slice`, and must come to `expected` bytes.
fn inflate(
    slice: &Slice<'_>,
    range: Range<u64>,
    expected: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let mut stream = Stream::new();
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
/// How much of a file tells what it is.
pub const START_BYTES: usize = 264;
/// The length of a zip file's end record.
pub const END_BYTES: usize = 22;

#[cfg(test)]
mod tests;
