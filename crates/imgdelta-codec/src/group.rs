//! The streams of a group: unpacked for reading, or collected for writing.
//! Never interprets a value, and never reads past the end of one stream into another.
//!
//! All members of a group append to the same streams, so a thousand small members share one
//! compressor window. The price: members are read in the order in which they were written.

use crate::{
    error::{CodecError, Result},
    limits::GroupLimits,
    stream::StreamKind,
};
use imgdelta_coding::pack;
#[cfg(feature = "encode")]
use imgdelta_coding::pack::Packer;
#[cfg(feature = "encode")]
use imgdelta_wire::Columns;
use imgdelta_wire::{Cursor, varint};

/// Number of streams.
pub(crate) const COUNT: usize = StreamKind::ALL.len();

/// One unpacked stream and the number of bytes read from it.
#[derive(Debug, Default, Clone)]
struct UnpackedStream {
    bytes: Vec<u8>,
    at: usize,
}

/// The unpacked streams of a group, each with its own reading position.
#[derive(Debug, Default)]
pub(crate) struct StreamReader([UnpackedStream; COUNT]);

impl StreamReader {
    /// Reads the streams that were just written.
    #[cfg(feature = "encode")]
    pub(crate) fn of(written: &StreamWriter) -> Self {
        Self::of_some(&StreamKind::ALL.map(|stream| (stream, written.stream(stream))))
    }

    /// Reads some streams that were just written.
    #[cfg(feature = "encode")]
    pub(crate) fn of_some(written: &[(StreamKind, &[u8])]) -> Self {
        let mut reader = Self::default();
        for (stream, bytes) in written {
            reader.0[*stream as usize].bytes = bytes.to_vec();
        }
        reader
    }

    /// Unpacks every stream of `group`.
    pub(crate) fn unpack(group: &[u8], limits: &GroupLimits) -> Result<Self> {
        let mut reader = Self::default();
        let unpacked = pack::unpack_group(group, COUNT, limits.stream_bytes)?;
        for (source, bytes) in reader.0.iter_mut().zip(unpacked) {
            *source = UnpackedStream { bytes, at: 0 };
        }
        Ok(reader)
    }

    /// Reads one byte.
    pub(crate) fn byte(&mut self, stream: StreamKind) -> Result<u8> {
        self.bytes(stream, 1).map(|bytes| bytes[0])
    }

    /// Reads one unsigned number.
    #[inline]
    pub(crate) fn number(&mut self, stream: StreamKind) -> Result<u64> {
        let source = &mut self.0[stream as usize];
        if let Some((value, len)) = varint::read(&source.bytes[source.at..]) {
            source.at += len;
            return Ok(value);
        }
        let error = Cursor::new(&source.bytes[source.at..]).varint().expect_err("read found none");
        Err(self.malformed(stream, "length of an integer", error.expected(), error.found()))
    }

    /// Reads one signed number.
    #[inline]
    pub(crate) fn signed(&mut self, stream: StreamKind) -> Result<i64> {
        self.number(stream).map(varint::unzigzag)
    }

    /// Reads `len` bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, stream: StreamKind, len: usize) -> Result<&[u8]> {
        let left = self.left(stream);
        if len > left {
            return Err(self.malformed(stream, "bytes left", len as u64, left as u64));
        }
        let source = &mut self.0[stream as usize];
        let start = source.at;
        source.at += len;
        Ok(&source.bytes[start..source.at])
    }

    /// Returns the unread bytes of a stream.
    pub(crate) fn left(&self, stream: StreamKind) -> usize {
        let source = &self.0[stream as usize];
        source.bytes.len() - source.at
    }

    /// Returns the number of bytes read from a stream.
    pub(crate) fn at(&self, stream: StreamKind) -> u64 {
        self.0[stream as usize].at as u64
    }

    /// Returns the error for a wrong value in `stream`.
    #[cold]
    pub(crate) fn malformed(
        &self,
        stream: StreamKind,
        what: &'static str,
        expected: u64,
        found: u64,
    ) -> CodecError {
        let at = self.at(stream);
        CodecError::Malformed { stream: Some(stream), at, what, expected, found }
    }

    /// Checks that every stream was read to its end.
    pub(crate) fn finish(&self) -> Result<()> {
        for stream in StreamKind::ALL {
            let left = self.left(stream);
            if left != 0 {
                return Err(self.malformed(stream, "bytes left over", 0, left as u64));
            }
        }
        Ok(())
    }
}

/// The streams of a group, or of one member on trial, for writing.
#[cfg(feature = "encode")]
#[derive(Debug, Default, Clone)]
pub(crate) struct StreamWriter(Columns<COUNT>);

#[cfg(feature = "encode")]
impl StreamWriter {
    pub(crate) fn byte(&mut self, stream: StreamKind, byte: u8) {
        self.0.byte(stream as usize, byte);
    }

    pub(crate) fn number(&mut self, stream: StreamKind, value: u64) {
        self.0.varint(stream as usize, value);
    }

    pub(crate) fn signed(&mut self, stream: StreamKind, value: i64) {
        self.0.signed(stream as usize, value);
    }

    pub(crate) fn bytes(&mut self, stream: StreamKind, bytes: &[u8]) {
        self.0.bytes(stream as usize, bytes);
    }

    /// Removes and returns the bytes of a stream.
    pub(crate) fn take(&mut self, stream: StreamKind) -> Vec<u8> {
        self.0.take(stream as usize)
    }

    pub(crate) fn stream(&self, stream: StreamKind) -> &[u8] {
        self.0.column(stream as usize)
    }

    /// Unpacks the streams of a group that this program made.
    pub(crate) fn unpack(group: &[u8]) -> Result<Self> {
        Ok(Self(Columns::of(pack::unpack_group(group, COUNT, u64::MAX)?)))
    }

    /// Appends each stream of `member`.
    pub(crate) fn append(&mut self, member: &Self) {
        self.0.append(&member.0);
    }

    pub(crate) fn all(&self) -> &[Vec<u8>] {
        self.0.all()
    }

    /// Estimates the bytes that these streams add to a group.
    pub(crate) fn coded_len(&self, packer: &mut Packer) -> usize {
        self.all().iter().map(|stream| packer.estimate(stream)).sum()
    }

    /// Raw bytes of all streams together.
    pub(crate) fn len(&self) -> usize {
        self.0.total_bytes()
    }
}
