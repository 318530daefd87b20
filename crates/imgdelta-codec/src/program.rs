//! Members of the program view: a program without a base, as parts that go to streams of their own.
//! Never reads a base.

#[cfg(feature = "encode")]
use crate::group::StreamWriter;
use crate::{
    error::{CodecError, Result},
    group::StreamReader,
    stream::StreamKind,
};
#[cfg(feature = "encode")]
use imgdelta_instructions::parts::PartSink;
use imgdelta_instructions::parts::{self, PartSource, PartStream};

/// Longest program of the view, which is in memory as a whole.
pub const MAX_PROGRAM: usize = 64 << 20;

/// Rebuilds a program of `len` bytes.
pub(crate) fn rebuild(reader: &mut StreamReader, len: usize) -> Result<Vec<u8>> {
    if len > MAX_PROGRAM {
        let (limit, found) = (MAX_PROGRAM as u64, len as u64);
        return Err(CodecError::TooLarge { what: "bytes of a program in parts", limit, found });
    }
    parts::rebuild(&mut Source(reader), len)
}

fn kind(stream: PartStream) -> StreamKind {
    match stream {
        PartStream::Parts => StreamKind::Parts,
        PartStream::Data => StreamKind::Literals,
        PartStream::Code => StreamKind::Code,
        PartStream::Records => StreamKind::UnwindRecords,
        PartStream::Numbers => StreamKind::TableNumbers,
    }
}

struct Source<'a>(&'a mut StreamReader);

impl PartSource for Source<'_> {
    type Error = CodecError;

    fn number(&mut self) -> Result<u64> {
        self.0.number(StreamKind::Parts)
    }

    fn signed(&mut self, stream: PartStream) -> Result<i64> {
        self.0.signed(kind(stream))
    }

    fn fill(&mut self, stream: PartStream, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(self.0.bytes(kind(stream), bytes.len())?);
        Ok(())
    }

    fn malformed(&self, what: &'static str, expected: u64, found: u64) -> CodecError {
        self.0.malformed(StreamKind::Parts, what, expected, found)
    }
}

#[cfg(feature = "encode")]
impl PartSink for StreamWriter {
    fn number(&mut self, number: u64) {
        self.number(StreamKind::Parts, number);
    }

    fn signed(&mut self, stream: PartStream, number: i64) {
        self.signed(kind(stream), number);
    }

    fn bytes(&mut self, stream: PartStream, bytes: &[u8]) {
        self.bytes(kind(stream), bytes);
    }
}
