//! The bytes before a section's zlib stream.
//! Never reads a file.

use imgdelta_wire::fixed::u64_at;

/// The form of the bytes before a section's zlib stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionForm {
    /// A compression header: kind, length and alignment of the content.
    Header { alignment: u64 },
    /// `ZLIB` and the length of the content.
    Gnu,
}

impl SectionForm {
    /// Reads the bytes at the start of a section, and the length of its content. `has_header` is
    /// true if the section's flags announce a compression header.
    pub(super) fn read(start: &[u8], has_header: bool) -> Option<(Self, u64)> {
        if has_header {
            let [kind, plain_bytes, alignment] =
                [u64_at(start, 0)?, u64_at(start, 8)?, u64_at(start, 16)?];
            return (kind == ZLIB_KIND).then_some((Self::Header { alignment }, plain_bytes));
        }
        let plain_bytes = start.strip_prefix(GNU_MAGIC)?.first_chunk()?;
        Some((Self::Gnu, u64::from_be_bytes(*plain_bytes)))
    }

    /// Returns the number of bytes before the zlib stream.
    pub(super) fn header_bytes(self) -> u64 {
        match self {
            Self::Header { .. } => 24,
            Self::Gnu => 12,
        }
    }

    /// Returns the bytes before the zlib stream of a content of `plain_bytes`.
    pub(super) fn header(self, plain_bytes: u64) -> Vec<u8> {
        match self {
            Self::Header { alignment } => {
                [ZLIB_KIND, plain_bytes, alignment].map(u64::to_le_bytes).concat()
            }
            Self::Gnu => [GNU_MAGIC, &plain_bytes.to_be_bytes()].concat(),
        }
    }
}

/// Kind of compression in a compression header, with the reserved bytes.
const ZLIB_KIND: u64 = 1;
const GNU_MAGIC: &[u8] = b"ZLIB";
