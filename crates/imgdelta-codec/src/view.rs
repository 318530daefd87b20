//! The views: ways to read base bytes so that more of the target can be predicted from them.
//! Never stored with parameters: a view is one number, and all else follows from the base.

/// How a member's base is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum View {
    /// Bytes are bytes.
    Plain,
    /// A 64-bit little-endian ELF file for x86-64 or AArch64, whose references move with what they
    /// refer to.
    Elf,
    /// A file with little-endian 32-bit offsets into itself.
    OffsetsLittle,
    /// A file with big-endian 32-bit offsets into itself.
    OffsetsBig,
}

impl View {
    /// The view with this number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Plain, Self::Elf, Self::OffsetsLittle, Self::OffsetsBig]
            .into_iter()
            .find(|view| view.wire() == number)
    }

    /// The view's number on the wire.
    pub fn wire(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Elf => 1,
            Self::OffsetsLittle => 2,
            Self::OffsetsBig => 3,
        }
    }
}
