//! The streams of a group: what kinds there are, and how a reader takes numbers and bytes from them.
//! Never interprets what it hands out, and never reads past the end of one stream into another.
//!
//! Everything a member cannot derive from its base is split by kind, because like compresses with
//! like: copy lengths beside copy lengths, literals beside literals. All members of a group append to
//! the same streams, so that a thousand small members share one compressor window; the price is
//! that members must be read back in the order they were written.

#[cfg(feature = "encode")]
use crate::pack::Packer;
use crate::{
    error::{CodecError, Result},
    limits::GroupLimits,
    pack,
    stream::Stream,
};
use imgdelta_wire::varint;

/// How many streams there are.
pub(crate) const COUNT: usize = Stream::ALL.len();

/// One unpacked stream and how far it has been read.
#[derive(Debug, Default, Clone)]
struct Source {
    bytes: Vec<u8>,
    at: usize,
}

/// The unpacked streams of a group, each with its own reading position.
#[derive(Debug, Default)]
pub(crate) struct Sources([Source; COUNT]);

impl Sources {
    /// Unpacks every stream of `group`; each will be read from its start.
    pub(crate) fn unpack(group: &[u8], limits: &GroupLimits) -> Result<Self> {
        let mut sources = Self::default();
        let unpacked = pack::unpack(group, COUNT, limits.stream_bytes)?;
        for (source, bytes) in sources.0.iter_mut().zip(unpacked) {
            *source = Source { bytes, at: 0 };
        }
        Ok(sources)
    }

    /// Reads one byte.
    pub(crate) fn byte(&mut self, stream: Stream) -> Result<u8> {
        self.bytes(stream, 1).map(|bytes| bytes[0])
    }

    /// Reads one unsigned number.
    #[inline]
    pub(crate) fn number(&mut self, stream: Stream) -> Result<u64> {
        let source = &mut self.0[stream as usize];
        match varint::read(&source.bytes[source.at..]) {
            Some((value, len)) => {
                source.at += len;
                Ok(value)
            }
            None => {
                Err(self.malformed(stream, "number cut short or not in its shortest form", 1, 0))
            }
        }
    }

    /// Reads one signed number.
    #[inline]
    pub(crate) fn signed(&mut self, stream: Stream) -> Result<i64> {
        self.number(stream).map(varint::unzigzag)
    }

    /// Reads `len` bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, stream: Stream, len: usize) -> Result<&[u8]> {
        let left = self.left(stream);
        if len > left {
            return Err(self.malformed(stream, "bytes left", len as u64, left as u64));
        }
        let source = &mut self.0[stream as usize];
        let start = source.at;
        source.at += len;
        Ok(&source.bytes[start..source.at])
    }

    /// How many bytes of a stream have not been read.
    pub(crate) fn left(&self, stream: Stream) -> usize {
        let source = &self.0[stream as usize];
        source.bytes.len() - source.at
    }

    /// Makes the error for something read from `stream` that cannot be.
    #[cold]
    pub(crate) fn malformed(
        &self,
        stream: Stream,
        what: &'static str,
        expected: u64,
        found: u64,
    ) -> CodecError {
        let at = self.0[stream as usize].at as u64;
        CodecError::Malformed { stream: Some(stream), at, what, expected, found }
    }

    /// Checks that nothing was left over.
    pub(crate) fn finish(&self) -> Result<()> {
        for stream in Stream::ALL {
            let left = self.left(stream);
            if left != 0 {
                return Err(self.malformed(stream, "bytes nobody asked for", 0, left as u64));
            }
        }
        Ok(())
    }
}

/// The streams of a group, or of one member on trial, while they are written.
#[cfg(feature = "encode")]
#[derive(Debug, Default, Clone)]
pub(crate) struct Sinks([Vec<u8>; COUNT]);

#[cfg(feature = "encode")]
impl Sinks {
    pub(crate) fn byte(&mut self, stream: Stream, byte: u8) {
        self.0[stream as usize].push(byte);
    }

    pub(crate) fn number(&mut self, stream: Stream, value: u64) {
        varint::write(&mut self.0[stream as usize], value);
    }

    pub(crate) fn signed(&mut self, stream: Stream, value: i64) {
        self.number(stream, varint::zigzag(value));
    }

    pub(crate) fn bytes(&mut self, stream: Stream, bytes: &[u8]) {
        self.0[stream as usize].extend_from_slice(bytes);
    }

    /// Takes away all bytes of a stream.
    pub(crate) fn take(&mut self, stream: Stream) -> Vec<u8> {
        std::mem::take(&mut self.0[stream as usize])
    }

    pub(crate) fn stream(&self, stream: Stream) -> &[u8] {
        &self.0[stream as usize]
    }

    /// Takes a group's streams apart again; only groups of our own come here.
    pub(crate) fn unpack(group: &[u8]) -> Result<Self> {
        let unpacked = pack::unpack(group, COUNT, u64::MAX)?;
        let mut sinks = Self::default();
        for (sink, bytes) in sinks.0.iter_mut().zip(unpacked) {
            *sink = bytes;
        }
        Ok(sinks)
    }

    /// Adds all of `member`'s streams behind the own ones.
    pub(crate) fn append(&mut self, member: &Self) {
        for (own, more) in self.0.iter_mut().zip(&member.0) {
            own.extend_from_slice(more);
        }
    }

    pub(crate) fn all(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// Estimates what these streams will add to a group.
    pub(crate) fn coded_len(&self, packer: &mut Packer) -> usize {
        self.0.iter().map(|stream| packer.estimate(stream)).sum()
    }

    /// Raw bytes of all streams together.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}
