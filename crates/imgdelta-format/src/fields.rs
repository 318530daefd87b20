//! Bytes read from front to back, field by field, with the place of every fault.
//!
//! Takes no memory but for what it hands out, and never reads past the end.

use crate::{Algorithm, BlobDigest, DiffId, FormatError, error::Result, recipe::StreamName};
use imgdelta_wire::varint::{self, unzigzag, zigzag};

/// A place in bytes that are being read.
pub(crate) struct Fields<'a> {
    place: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(place: &'static str, bytes: &'a [u8]) -> Self {
        Self { place, bytes, at: 0 }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn at(&self) -> u64 {
        self.at as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64> {
        let Some((value, len)) = varint::read(self.rest()) else {
            let left = self.rest().len() as u64;
            return Err(self.malformed(what, left + 1, left));
        };
        self.at += len;
        Ok(value)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8> {
        Ok(self.bytes(1, what)?[0])
    }

    pub(crate) fn bytes(&mut self, count: u64, what: &'static str) -> Result<&'a [u8]> {
        let rest = self.rest();
        match usize::try_from(count).ok().and_then(|count| rest.get(..count)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(self.malformed(what, count, rest.len() as u64)),
        }
    }

    /// Reads a place as its distance from where it was expected, with both inside `i64`.
    pub(crate) fn place_near(&mut self, expected: u64, what: &'static str) -> Result<u64> {
        let distance = unzigzag(self.number(what)?);
        expected
            .checked_add_signed(distance)
            .filter(|&place| place <= MAX_PLACE)
            .ok_or_else(|| self.malformed(what, expected, distance.cast_unsigned()))
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
        if self.is_empty() {
            return Ok(());
        }
        Err(self.malformed("end", self.at as u64, self.bytes.len() as u64))
    }

    #[cold]
    pub(crate) fn malformed(&self, what: &'static str, expected: u64, found: u64) -> FormatError {
        let at = self.at as u64;
        FormatError::Malformed { place: self.place, at, what, expected, found }
    }
}

/// Refuses what is over a limit.
pub(crate) fn admit(limit: u64, found: u64, what: &'static str) -> Result<()> {
    if found <= limit { Ok(()) } else { Err(FormatError::TooLarge { what, limit, found }) }
}

/// Appends the distance of `place` from where it is expected.
pub(crate) fn write_place(out: &mut Vec<u8>, expected: u64, place: u64) {
    varint::write(out, zigzag(place.wrapping_sub(expected).cast_signed()));
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

/// Places and lengths stay below 2^63, so that their distances are signed numbers of 64 bits.
pub(crate) const MAX_PLACE: u64 = i64::MAX.cast_unsigned();
