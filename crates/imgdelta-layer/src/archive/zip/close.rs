//! A zip file put together again from its members' contents and its structure.

use super::{
    super::{Coder, Inner, Out, bytes::length, compress, pieces},
    structure::{self, Content, Member, Structure},
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_deflate::{Encoders, inflate::Stream};

/// Makes a zip file; the last inner payload is its structure, those before it contents.
pub(in super::super) fn close(
    inner: &dyn Inner,
    progress: &dyn Progress,
    out: &mut Out<'_>,
) -> Result<u64> {
    let wrong = |what: &str| Error::bad_input(inner.place(), what);
    let Some(last) = inner.count().checked_sub(1) else {
        return Err(wrong("a zip file has a structure"));
    };
    let structure = read_structure(inner, last)?.ok_or_else(|| wrong("its structure is none"))?;
    out(0, &structure.lead)?;
    let mut at = structure.lead.len() as u64;
    let mut contents = 0..last;
    let mut encoders = Encoders::new();
    let mut placed = Vec::with_capacity(structure.members.len());
    for member in &structure.members {
        let start = at;
        at += member.header_bytes();
        let mut content = Content::default();
        if member.has_content() {
            let which = contents.next().ok_or_else(|| wrong("a member has no content"))?;
            let mut write = Write { inner, encoders: &mut encoders, progress };
            content = write.content(which, member, at, out)?;
        }
        at += content.packed_bytes;
        let content = member.told(content);
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
    let directory = directory.ok_or_else(|| wrong("its directory cannot be told"))?;
    out(at, &directory)?;
    Ok(at + directory.len() as u64)
}

fn read_structure(inner: &dyn Inner, last: usize) -> Result<Option<Structure>> {
    let bytes = inner.bytes(last);
    if bytes > MOST_STRUCTURE_BYTES {
        return Ok(None);
    }
    let mut buffer = vec![0; length(bytes)];
    inner.read_exact_at(last, 0, &mut buffer)?;
    Ok(structure::read(&buffer))
}

/// What members are written with.
struct Write<'a> {
    inner: &'a dyn Inner,
    encoders: &'a mut Encoders,
    progress: &'a dyn Progress,
}

impl Write<'_> {
    /// Writes what a member stores, and returns what it came to.
    fn content(
        &mut self,
        which: usize,
        member: &Member,
        start: u64,
        out: &mut Out<'_>,
    ) -> Result<Content> {
        let (inner, progress) = (self.inner, self.progress);
        let mut at = start;
        let mut crc = crc32fast::Hasher::new();
        let mut plain_bytes = 0;
        let mut put = |bytes: &[u8]| {
            out(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        };
        match inner.coder(which) {
            Coder::Deflate(recipe) => {
                let mut each = |plain: &[u8]| crc.update(plain);
                compress(inner, which, (recipe, self.encoders), progress, &mut each, &mut put)?;
                plain_bytes = inner.bytes(which);
            }
            Coder::Packed(known, bytes) => {
                pieces(inner, which, progress, &mut put)?;
                let packed_bytes = at - start;
                return Ok(Content { crc: known, packed_bytes, plain_bytes: bytes });
            }
            Coder::Plain if member.is_deflated() => {
                let mut stream = Stream::new();
                pieces(inner, which, progress, &mut |piece| {
                    // What does not inflate has a checksum that will not be the right one.
                    let _ = stream.push(piece, &mut (), |plain| {
                        crc.update(plain);
                        plain_bytes += plain.len() as u64;
                    });
                    put(piece)
                })?;
            }
            Coder::Plain => {
                pieces(inner, which, progress, &mut |piece| {
                    crc.update(piece);
                    put(piece)
                })?;
                plain_bytes = inner.bytes(which);
            }
        }
        Ok(Content { crc: crc.finalize(), packed_bytes: at - start, plain_bytes })
    }
}

/// It is held whole; as much as directory and headers may be.
const MOST_STRUCTURE_BYTES: u64 = 128 << 20;
