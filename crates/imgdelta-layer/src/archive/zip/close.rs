//! Rebuilds a zip file from its members' contents and its structure.
//! Holds the structure in memory, never a member's content.

use super::{
    super::{ArchiveOutput, InnerCoding, InnerPayloads, bytes::length, compress, pieces},
    structure::{self, ContentSummary, ZipMember, ZipStructure},
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_deflate::{EncoderCache, inflate::InflateStream};
use zlib_rs::crc32::crc32;

/// Writes a zip file. The last inner payload is its structure, the others are contents.
pub(in super::super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let wrong = |what: &str| Error::bad_input(inner.place(), what);
    let Some(last) = inner.count().checked_sub(1) else {
        return Err(wrong("it has no structure"));
    };
    let structure =
        read_structure(inner, last)?.ok_or_else(|| wrong("its structure is not valid"))?;
    out(0, &structure.lead)?;
    let mut at = structure.lead.len() as u64;
    let mut contents = 0..last;
    let mut encoders = EncoderCache::new();
    let mut placed = Vec::with_capacity(structure.members.len());
    for member in &structure.members {
        let start = at;
        at += member.header_bytes();
        let mut content = ContentSummary::default();
        if member.has_content() {
            let ordinal = contents.next().ok_or_else(|| wrong("a member has no content"))?;
            let mut writer = MemberWriter { inner, encoders: &mut encoders, progress };
            content = writer.content(ordinal, member, at, out)?;
        }
        at += content.packed_bytes;
        let content = member.with_explicit(content);
        let cannot = || wrong("a length does not fit its field");
        out(start, &member.header(&content).ok_or_else(cannot)?)?;
        let footer = member.footer(&content).ok_or_else(cannot)?;
        out(at, &footer)?;
        at += footer.len() as u64;
        placed.push((content, start));
    }
    if !contents.is_empty() {
        return Err(wrong("it has more contents than members"));
    }
    let directory = structure.directory(&placed, at);
    let directory = directory.ok_or_else(|| wrong("a number does not fit its directory"))?;
    out(at, &directory)?;
    Ok(at + directory.len() as u64)
}

fn read_structure(inner: &dyn InnerPayloads, last: usize) -> Result<Option<ZipStructure>> {
    let bytes = inner.bytes(last);
    if bytes > MOST_STRUCTURE_BYTES {
        return Ok(None);
    }
    let mut buffer = vec![0; length(bytes)];
    inner.read_exact_at(last, 0, &mut buffer)?;
    Ok(structure::read(&buffer))
}

/// Writer of members' stored bytes.
struct MemberWriter<'a> {
    inner: &'a dyn InnerPayloads,
    encoders: &'a mut EncoderCache,
    progress: &'a dyn Progress,
}

impl MemberWriter<'_> {
    /// Writes a member's stored bytes, and returns checksum and lengths.
    fn content(
        &mut self,
        ordinal: usize,
        member: &ZipMember,
        start: u64,
        out: &mut ArchiveOutput<'_>,
    ) -> Result<ContentSummary> {
        let (inner, progress) = (self.inner, self.progress);
        let mut at = start;
        let mut crc = 0;
        let mut plain_bytes = 0;
        let mut put = |bytes: &[u8]| {
            out(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        };
        match inner.coding(ordinal) {
            InnerCoding::Deflate(recipe) => {
                let mut each = |plain: &[u8]| crc = crc32(crc, plain);
                compress(inner, ordinal, (recipe, self.encoders), progress, &mut each, &mut put)?;
                plain_bytes = inner.bytes(ordinal);
            }
            InnerCoding::Xz(_) | InnerCoding::Zstd(_) | InnerCoding::Lz4(_) => {
                let what = "a member of a zip file is not xz, zstd or LZ4";
                return Err(Error::bad_input(inner.place(), what));
            }
            InnerCoding::Packed(crc, plain_bytes) => {
                pieces(inner, ordinal, progress, &mut put)?;
                return Ok(ContentSummary { crc, packed_bytes: at - start, plain_bytes });
            }
            InnerCoding::Plain if member.is_deflated() => {
                let mut stream = InflateStream::new();
                pieces(inner, ordinal, progress, &mut |piece| {
                    // Bytes that do not inflate get a wrong checksum, which the caller's digest finds.
                    let _ = stream.push(piece, &mut (), |plain| {
                        crc = crc32(crc, plain);
                        plain_bytes += plain.len() as u64;
                    });
                    put(piece)
                })?;
            }
            InnerCoding::Plain => {
                pieces(inner, ordinal, progress, &mut |piece| {
                    crc = crc32(crc, piece);
                    put(piece)
                })?;
                plain_bytes = inner.bytes(ordinal);
            }
        }
        Ok(ContentSummary { crc, packed_bytes: at - start, plain_bytes })
    }
}

/// A structure is held whole; directory and headers together may be this long.
const MOST_STRUCTURE_BYTES: u64 = 128 << 20;
