//! One step of a deflate block: a literal byte or a copy from the history.
//!
//! Packed in 32 bits, since blocks are buffered by the ten thousand. Never says where in the
//! stream it stands.

use crate::alphabet::{MAX_COPY, MIN_COPY};

/// A literal byte or a copy of 3 to 258 bytes from 1 to 32768 bytes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u32);

const COPY: u32 = 1 << 31;
/// Length field of a copy of 258 bytes that was written with symbol 284 and extra bits 31.
const LONG_WAY: u32 = 256;

impl Token {
    /// Makes the token of one literal byte.
    #[inline]
    pub const fn literal(byte: u8) -> Self {
        Self(byte as u32)
    }

    /// Makes a copy token; lengths outside 3..=258 and distances outside 1..=32768 are a bug of
    /// the caller and give a wrong token, never a panic.
    #[inline]
    pub const fn copy(length: usize, distance: usize) -> Self {
        Self(
            COPY | ((length.wrapping_sub(MIN_COPY) as u32 & 0xff) << 16)
                | (distance.wrapping_sub(1) as u32 & 0x7fff),
        )
    }

    /// Makes the copy of 258 bytes written the long way (symbol 284, extra bits 31), which is
    /// legal and which no encoder modelled here does.
    #[inline]
    pub const fn copy_long_way(distance: usize) -> Self {
        Self(COPY | (LONG_WAY << 16) | (distance.wrapping_sub(1) as u32 & 0x7fff))
    }

    /// Returns whether this is a copy.
    #[inline]
    pub const fn is_copy(self) -> bool {
        self.0 & COPY != 0
    }

    /// Returns the literal byte; meaningless for a copy.
    #[inline]
    pub const fn byte(self) -> u8 {
        self.0 as u8
    }

    /// Returns the length of the copy; meaningless for a literal.
    #[inline]
    pub const fn length(self) -> usize {
        let field = (self.0 >> 16) as usize & 0x1ff;
        if field == LONG_WAY as usize { MAX_COPY } else { field + MIN_COPY }
    }

    /// Returns the distance of the copy; meaningless for a literal.
    #[inline]
    pub const fn distance(self) -> usize {
        (self.0 as usize & 0x7fff) + 1
    }

    /// Returns whether this is a copy of 258 bytes written with symbol 284.
    #[inline]
    pub const fn is_long_way(self) -> bool {
        self.is_copy() && (self.0 >> 16) & 0x1ff == LONG_WAY
    }

    /// Returns how many bytes of plain text the token stands for.
    #[inline]
    pub const fn plain_bytes(self) -> usize {
        if self.is_copy() { self.length() } else { 1 }
    }

    /// The length minus 3, as an index below 256; the long way counts as 258.
    #[inline]
    pub(crate) const fn length_index(self) -> usize {
        let field = (self.0 >> 16) as usize & 0x1ff;
        if field > 255 { 255 } else { field }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_copy() {
            write!(f, "copy {} from {}", self.length(), self.distance())
        } else {
            write!(f, "literal {:#04x}", self.byte())
        }
    }
}
