//! Named fields, read front to back: a cursor whose errors name the part and the field.
//! Never takes memory except for the values it returns.

use crate::{Algorithm, BlobDigest, DiffId, FormatError, error::Result, stream::StreamName};
use imgdelta_wire::{Cursor, varint};

/// A position in a named part of a file.
pub(crate) struct FieldReader<'a> {
    place: &'static str,
    cursor: Cursor<'a>,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(place: &'static str, bytes: &'a [u8]) -> Self {
        Self { place, cursor: Cursor::new(bytes) }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }

    pub(crate) fn at(&self) -> u64 {
        self.cursor.at()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cursor.is_empty()
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64> {
        self.cursor.varint().map_err(|error| FormatError::of_wire(error, self.place, what))
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8> {
        self.cursor.u8().map_err(|error| FormatError::of_wire(error, self.place, what))
    }

    pub(crate) fn bytes(&mut self, count: u64, what: &'static str) -> Result<&'a [u8]> {
        self.cursor.take(count).map_err(|error| FormatError::of_wire(error, self.place, what))
    }

    /// Reads a position as its distance from the expected one.
    pub(crate) fn place_near(&mut self, expected: u64, what: &'static str) -> Result<u64> {
        let place = self.cursor.place_near(expected);
        place.map_err(|error| FormatError::of_wire(error, self.place, what))
    }

    pub(crate) fn algorithm(&mut self) -> Result<Algorithm> {
        match self.byte("digest algorithm")? {
            0 => Ok(Algorithm::Sha256),
            1 => Ok(Algorithm::Sha512),
            other => Err(self.malformed("digest algorithm", 1, other.into())),
        }
    }

    pub(crate) fn blob_digest(&mut self) -> Result<BlobDigest> {
        let algorithm = self.algorithm()?;
        let bytes = self.bytes(algorithm.digest_bytes() as u64, "digest")?;
        Ok(BlobDigest::new(algorithm, bytes).expect("as many bytes as the algorithm makes"))
    }

    pub(crate) fn stream_name(&mut self) -> Result<StreamName> {
        let algorithm = self.algorithm()?;
        let bytes = self.bytes(algorithm.digest_bytes() as u64, "diff id")?;
        let diff_id = DiffId::new(algorithm, bytes).expect("as many bytes as the algorithm makes");
        Ok(StreamName { diff_id, bytes: self.number("length of a stream")? })
    }

    /// Ends reading: nothing may be left.
    pub(crate) fn end(&self) -> Result<()> {
        self.cursor.finish().map_err(|error| FormatError::of_wire(error, self.place, "end"))
    }

    #[cold]
    pub(crate) fn malformed(&self, what: &'static str, expected: u64, found: u64) -> FormatError {
        FormatError::Malformed { place: self.place, at: self.at(), what, expected, found }
    }
}

pub(crate) fn write_algorithm(out: &mut Vec<u8>, algorithm: Algorithm) {
    out.push(match algorithm {
        Algorithm::Sha256 => 0,
        Algorithm::Sha512 => 1,
    });
}

pub(crate) fn write_blob_digest(out: &mut Vec<u8>, digest: &BlobDigest) {
    write_algorithm(out, digest.algorithm());
    out.extend_from_slice(digest.as_bytes());
}

pub(crate) fn write_stream_name(out: &mut Vec<u8>, name: &StreamName) {
    write_algorithm(out, name.diff_id.algorithm());
    out.extend_from_slice(name.diff_id.as_bytes());
    varint::write(out, name.bytes);
}
