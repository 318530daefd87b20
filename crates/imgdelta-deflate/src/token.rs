//! A token of a deflate block: a literal byte, or a copy from the history.
//!
//! A token has 32 bits, because encoders buffer ten thousands of them. Never has a position.

use crate::alphabet::{MAX_COPY, MIN_COPY};

/// A literal byte or a copy of 3 to 258 bytes from 1 to 32768 bytes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u32);

const COPY: u32 = 1 << 31;
/// Length field of a copy of 258 bytes that is written with symbol 284 and extra bits 31.
const LONG_FORM: u32 = 256;

impl Token {
    /// Makes the token of one literal byte.
    #[inline]
    pub const fn literal(byte: u8) -> Self {
        Self(byte as u32)
    }

    /// Makes a copy token. Lengths outside 3..=258 and distances outside 1..=32768 are bugs of the
    /// caller, and give a wrong token instead of a panic.
    #[inline]
    pub const fn copy(length: usize, distance: usize) -> Self {
        Self(
            COPY | ((length.wrapping_sub(MIN_COPY) as u32 & 0xff) << 16)
                | (distance.wrapping_sub(1) as u32 & 0x7fff),
        )
    }

    /// Makes a copy of 258 bytes in the long form: symbol 284 with extra bits 31. This form is
    /// legal, and no modelled encoder uses it.
    #[inline]
    pub const fn copy_long_form(distance: usize) -> Self {
        Self(COPY | (LONG_FORM << 16) | (distance.wrapping_sub(1) as u32 & 0x7fff))
    }

    /// True if this is a copy.
    #[inline]
    pub const fn is_copy(self) -> bool {
        self.0 & COPY != 0
    }

    /// Returns the literal byte. Meaningless for a copy.
    #[inline]
    pub const fn byte(self) -> u8 {
        self.0 as u8
    }

    /// Returns the length of the copy. Meaningless for a literal.
    #[inline]
    pub const fn length(self) -> usize {
        let field = (self.0 >> 16) as usize & 0x1ff;
        if field == LONG_FORM as usize { MAX_COPY } else { field + MIN_COPY }
    }

    /// Returns the distance of the copy. Meaningless for a literal.
    #[inline]
    pub const fn distance(self) -> usize {
        (self.0 as usize & 0x7fff) + 1
    }

    /// True if this is a copy of 258 bytes in the long form.
    #[inline]
    pub const fn is_long_form(self) -> bool {
        self.is_copy() && (self.0 >> 16) & 0x1ff == LONG_FORM
    }

    /// Returns the number of plain bytes in the token.
    #[inline]
    pub const fn plain_bytes(self) -> usize {
        if self.is_copy() { self.length() } else { 1 }
    }

    /// Returns the length minus 3, as an index below 256. The long form counts as 258.
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
