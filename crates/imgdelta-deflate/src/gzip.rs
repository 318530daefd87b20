//! The gzip wrapper: a header with optional fields, and a trailer.
//!
//! Recipes store a header as bytes: the parsed fields are only for reading. Never inflates.

use std::ops::Range;
use zlib_rs::crc32::crc32;

/// The header of a gzip member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GzipHeader {
    /// Bytes of the header, including all fields.
    pub header_bytes: usize,
    /// The flags byte.
    pub flags: u8,
    /// Modification time as stored.
    pub mtime: u32,
    /// The XFL byte: 2 for the slowest level and 4 for the fastest, in most encoders.
    pub extra_flags: u8,
    /// The operating system byte: 3 is Unix, 255 is unknown.
    pub os: u8,
    /// Range of the extra field, without its length.
    pub extra: Option<Range<usize>>,
    /// Range of the file name, without its zero byte.
    pub name: Option<Range<usize>>,
    /// Range of the comment, without its zero byte.
    pub comment: Option<Range<usize>>,
    /// The header checksum as stored. It is not verified.
    pub header_crc: Option<u16>,
}

/// The reason why bytes are not a gzip header. Callers treat them as other data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GzipHeaderError {
    /// The bytes do not start like a gzip header.
    NotGzip,
    /// The bytes end within the header.
    Truncated,
}

/// Bytes of a trailer, which holds the CRC-32 and the length modulo 2^32 of the plain bytes.
pub const GZIP_TRAILER_BYTES: usize = 8;

const FIXED_BYTES: usize = 10;
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

impl GzipHeader {
    /// Reads a header at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, GzipHeaderError> {
        let available = bytes.len().min(MAGIC.len());
        if bytes[..available] != MAGIC[..available] {
            return Err(GzipHeaderError::NotGzip);
        }
        let fixed: &[u8; FIXED_BYTES] = bytes.first_chunk().ok_or(GzipHeaderError::Truncated)?;
        let flags = fixed[3];
        if flags & RESERVED != 0 {
            return Err(GzipHeaderError::NotGzip);
        }
        let mut header = Self {
            header_bytes: FIXED_BYTES,
            flags,
            mtime: u32::from_le_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            extra_flags: fixed[8],
            os: fixed[9],
            extra: None,
            name: None,
            comment: None,
            header_crc: None,
        };
        if flags & EXTRA != 0 {
            let length = usize::from(header.take_u16(bytes)?);
            header.extra = Some(header.take(bytes, length)?);
        }
        if flags & NAME != 0 {
            header.name = Some(header.take_text(bytes)?);
        }
        if flags & COMMENT != 0 {
            header.comment = Some(header.take_text(bytes)?);
        }
        if flags & HEADER_CRC != 0 {
            header.header_crc = Some(header.take_u16(bytes)?);
        }
        Ok(header)
    }

    fn take(&mut self, bytes: &[u8], count: usize) -> Result<Range<usize>, GzipHeaderError> {
        let start = self.header_bytes;
        if bytes.len() - start < count {
            return Err(GzipHeaderError::Truncated);
        }
        self.header_bytes += count;
        Ok(start..self.header_bytes)
    }

    fn take_u16(&mut self, bytes: &[u8]) -> Result<u16, GzipHeaderError> {
        let range = self.take(bytes, 2)?;
        Ok(u16::from_le_bytes([bytes[range.start], bytes[range.start + 1]]))
    }

    fn take_text(&mut self, bytes: &[u8]) -> Result<Range<usize>, GzipHeaderError> {
        let length = bytes[self.header_bytes..].iter().position(|&byte| byte == 0);
        let range = self.take(bytes, length.ok_or(GzipHeaderError::Truncated)?)?;
        self.take(bytes, 1)?;
        Ok(range)
    }
}

/// Computes the checksum and length in a gzip trailer.
#[derive(Clone, Default)]
pub struct GzipChecksum {
    crc: u32,
    plain_bytes: u64,
}

impl GzipChecksum {
    /// Starts without bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next plain bytes.
    pub fn update(&mut self, plain: &[u8]) {
        self.crc = crc32(self.crc, plain);
        self.plain_bytes += plain.len() as u64;
    }

    /// Returns the number of bytes so far.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Returns the trailer of the bytes so far.
    pub fn trailer(self) -> [u8; GZIP_TRAILER_BYTES] {
        let mut trailer = [0; GZIP_TRAILER_BYTES];
        trailer[..4].copy_from_slice(&self.crc.to_le_bytes());
        trailer[4..].copy_from_slice(&(self.plain_bytes as u32).to_le_bytes());
        trailer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_parsed() {
        let bytes = b"\x1f\x8b\x08\x1e\x01\x02\x03\x04\x02\x03\x02\x00xyname\0remark\0\xaa\xbbrest";
        let header = GzipHeader::parse(bytes).unwrap();
        assert_eq!(header.header_bytes, bytes.len() - 4);
        assert_eq!(&bytes[header.extra.unwrap()], b"xy");
        assert_eq!(&bytes[header.name.unwrap()], b"name");
        assert_eq!(&bytes[header.comment.unwrap()], b"remark");
        assert_eq!(header.header_crc, Some(0xbbaa));
        for short in 0..header.header_bytes {
            assert_eq!(GzipHeader::parse(&bytes[..short]), Err(GzipHeaderError::Truncated));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(GzipHeader::parse(b"PK\x03\x04"), Err(GzipHeaderError::NotGzip));
        assert_eq!(GzipHeader::parse(b"\x1f\x8b\x08\xe0......"), Err(GzipHeaderError::NotGzip));
    }
}
