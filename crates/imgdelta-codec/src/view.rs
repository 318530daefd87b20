//! Views: readings of the base that predict more of the target.
//! Never stored with parameters: a view is one number, and the rest follows from the base.

/// A reading of a member's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum View {
    /// Bytes without structure.
    Plain,
    /// A 64-bit little-endian ELF file for x86-64 or AArch64; its references move with their
    /// targets.
    Elf,
    /// A file with little-endian 32-bit offsets into itself.
    OffsetsLittle,
    /// A file with big-endian 32-bit offsets into itself.
    OffsetsBig,
    /// A program without a base, divided into parts.
    Program,
}

impl View {
    /// Returns the view with this number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Plain, Self::Elf, Self::OffsetsLittle, Self::OffsetsBig, Self::Program]
            .into_iter()
            .find(|view| view.wire() == number)
    }

    /// Returns the view's number on the wire.
    pub fn wire(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Elf => 1,
            Self::OffsetsLittle => 2,
            Self::OffsetsBig => 3,
            Self::Program => 4,
        }
    }
}
