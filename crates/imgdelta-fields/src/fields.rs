//! Fields: bytes of a base that refer to another place in it, and their values in the target. Never
//! guesses which bytes are code: a false field costs nothing while it and its target move alike.
//!
//! A field is found by pattern in the base alone. Its value in the target follows from two shifts:
//! that of the field and that of the place it refers to. Each form turns the two into a number to
//! add to the copied value, so most fields need no second write.

/// The spelling of a reference, which decides how its value follows its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Four bytes: distance to code from the end of a branch.
    Branch32,
    /// Four bytes: distance from a place near the field.
    Relative32,
    /// The same in bytes that may be plain numbers; it counts only on pages with their flag set.
    Relative32InData,
    /// Four bytes: the address.
    Absolute32,
    /// Eight bytes: the address.
    Absolute64,
    /// The same in bytes that may be plain numbers; it counts only on pages with their flag set.
    Absolute64InData,
    /// Four bytes: distance back from the field.
    Backward32,
    /// Four bytes: distance from an anchor, in units of the anchor's stride.
    Anchored32(u8),
    /// A word of AArch64 with a branch distance of 26 bits, in words.
    Branch26,
    /// The same with 19 bits from bit 5 on.
    Branch19,
    /// The same with 14 bits from bit 5 on.
    Branch14,
    /// A word of AArch64 with a distance of 21 bits, in pages of 4 KiB.
    Page21,
    /// A word of AArch64 with the low 12 bits of an address, shifted right by this.
    Low12(u8),
    /// Four bytes, little-endian: offset in the file.
    Offset32,
    /// Four bytes, big-endian: offset in the file.
    Offset32Big,
    /// Four bytes: the length of a function. The target is its last byte.
    Length32,
    /// The low six bits of a byte: the distance of two places in a function. The target is the byte in front
    /// of the second one.
    Advance6(Advance),
    /// The same in a whole byte.
    Advance8(Advance),
    /// The same in two bytes.
    Advance16(Advance),
}

/// The distance of two places in a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Its unit, as a power of two.
    pub scale: u8,
    /// True if the first place is the start of the function.
    pub is_first: bool,
}

/// A field of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Offset in the file.
    pub at: u32,
    /// Address it refers to, relative to the image and within it.
    pub target: u32,
    /// The spelling of the reference.
    pub form: Form,
}

/// An address from which others are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Relative to the image and within it.
    pub address: u32,
    /// Bytes per unit.
    pub stride: u32,
}

/// All fields of a file.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    /// Ascending, not overlapping.
    pub list: Vec<Field>,
    /// Addresses from which some of them count.
    pub anchors: Vec<Anchor>,
}

impl Fields {
    /// Adds a field if its target lies in an image of this span.
    #[inline]
    pub fn push(&mut self, at: usize, target: i64, form: Form, span: u32) {
        if let Some(target) = u32::try_from(target).ok().filter(|&target| target < span) {
            self.list.push(Field { at: at as u32, target, form });
        }
    }

    /// Adds an anchor and returns its number, or `None` if there are too many.
    pub fn anchor(&mut self, address: u32, stride: u32) -> Option<u8> {
        let number = u8::try_from(self.anchors.len()).ok()?;
        self.anchors.push(Anchor { address, stride });
        Some(number)
    }
}

impl Form {
    /// Returns the bytes that a field takes.
    #[inline]
    pub fn size(self) -> usize {
        match self {
            Self::Absolute64 | Self::Absolute64InData => 8,
            Self::Advance6(_) | Self::Advance8(_) => 1,
            Self::Advance16(_) => 2,
            _ => 4,
        }
    }

    /// True if the field holds a length or the distance of two places, which both may move.
    #[inline]
    pub fn is_span(self) -> bool {
        matches!(self, Self::Length32 | Self::Advance6(_) | Self::Advance8(_) | Self::Advance16(_))
    }

    /// True if the field counts only on pages whose flag is set.
    #[inline]
    pub fn is_flagged(self) -> bool {
        matches!(
            self,
            Self::Relative32InData | Self::Absolute64InData | Self::Offset32 | Self::Offset32Big
        )
    }

    /// True for a jump or call, whose target is likely to lie in the same function.
    #[inline]
    pub fn is_branch(self) -> bool {
        matches!(self, Self::Branch32 | Self::Branch26 | Self::Branch19 | Self::Branch14)
    }

    /// True if the field's number takes all bits of its bytes.
    #[inline]
    pub fn is_all_bits(self) -> bool {
        !matches!(
            self,
            Self::Branch26
                | Self::Branch19
                | Self::Branch14
                | Self::Page21
                | Self::Low12(_)
                | Self::Advance6(_)
        )
    }

    /// Adds `more` to the number that the field holds at the front of `bytes`.
    #[inline]
    pub fn add(self, bytes: &mut [u8], more: i64) {
        if let Self::Advance6(_) | Self::Advance8(_) | Self::Advance16(_) = self {
            let Some((low, rest)) = bytes.split_first_mut() else { return };
            let mut number = u16::from(*low).wrapping_add((more & 0xffff) as u16);
            match (self, rest.first_mut()) {
                (Self::Advance6(_), _) => number = number & 0x3f | u16::from(*low & 0xc0),
                (Self::Advance16(_), Some(high)) => {
                    number = number.wrapping_add(u16::from(*high) << 8);
                    *high = number.to_le_bytes()[1];
                }
                _ => {}
            }
            *low = number.to_le_bytes()[0];
        } else if self.size() == 8 {
            if let Some(chunk) = bytes.first_chunk_mut::<8>() {
                let value = u64::from_le_bytes(*chunk).wrapping_add_signed(more);
                *chunk = value.to_le_bytes();
            }
        } else if let Some(chunk) = bytes.first_chunk_mut::<4>() {
            if self == Self::Offset32Big {
                let value = u32::from_be_bytes(*chunk).wrapping_add(low_word(more));
                *chunk = value.to_be_bytes();
                return;
            }
            let word = u32::from_le_bytes(*chunk);
            *chunk = self.with_more(word, more).to_le_bytes();
        }
    }

    /// Returns `word` with `more` added to the number in it.
    #[inline]
    fn with_more(self, word: u32, more: i64) -> u32 {
        // Sums that do not fit wrap: they are wrong predictions like any other.
        let more = low_word(more);
        let replace = |shift: u32, mask: u32| {
            let number = (word >> shift).wrapping_add(more) & mask;
            word & !(mask << shift) | number << shift
        };
        match self {
            Self::Branch26 => replace(0, (1 << 26) - 1),
            Self::Branch19 => replace(5, (1 << 19) - 1),
            Self::Branch14 => replace(5, (1 << 14) - 1),
            Self::Low12(_) => replace(10, (1 << 12) - 1),
            Self::Page21 => {
                let pages = (word >> 29 & 3 | (word >> 5 & 0x7_ffff) << 2).wrapping_add(more);
                word & 0x9f00_001f | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5
            }
            _ => word.wrapping_add(more),
        }
    }

    /// Returns the number that the field holds at the front of `bytes`, sign-extended.
    pub fn number(self, bytes: &[u8]) -> i64 {
        use imgdelta_wire::fixed::{u32_at, u64_at};
        if self.size() == 8 {
            return u64_at(bytes, 0).unwrap_or(0).cast_signed();
        }
        if self.size() < 4 {
            let byte = |at: usize| bytes.get(at).map_or(0, |&byte| i64::from(byte));
            return match self {
                Self::Advance6(_) => byte(0) & 0x3f,
                Self::Advance8(_) => byte(0),
                _ => byte(0) | byte(1) << 8,
            };
        }
        let word = u32_at(bytes, 0).unwrap_or(0);
        let signed = |number: u32, bits: u32| {
            i64::from((number << (32 - bits)).cast_signed() >> (32 - bits))
        };
        match self {
            Self::Offset32Big => signed(word.swap_bytes(), 32),
            Self::Branch26 => signed(word, 26),
            Self::Branch19 => signed(word >> 5, 19),
            Self::Branch14 => signed(word >> 5, 14),
            Self::Low12(_) => i64::from(word >> 10 & 0xfff),
            Self::Page21 => signed(word >> 29 & 3 | (word >> 5 & 0x7_ffff) << 2, 21),
            _ => signed(word, 32),
        }
    }

    /// Reduces `number` to the bits that the field can hold.
    #[cfg(feature = "encode")]
    pub fn folded(self, number: i64) -> i64 {
        if self.size() == 8 {
            return number;
        }
        let bits = match self {
            Self::Branch26 => 26,
            Self::Branch19 => 19,
            Self::Branch14 => 14,
            Self::Low12(_) => 12,
            Self::Page21 => 21,
            Self::Advance6(_) => 6,
            Self::Advance8(_) => 8,
            Self::Advance16(_) => 16,
            _ => 32,
        };
        number << (64 - bits) >> (64 - bits)
    }
}

/// The low half of a sum: 32-bit fields do not have the upper half.
#[inline]
fn low_word(number: i64) -> u32 {
    (number.cast_unsigned() & u64::from(u32::MAX)) as u32
}
