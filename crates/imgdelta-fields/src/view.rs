//! Views: readings of the base that predict more of the target.
//! Never stored with parameters: a view is one number, and the rest follows from the base.

use crate::{class_archive, elf::MemoryImage, object};
use std::borrow::Cow;

/// A reading of a member's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum View {
    /// Bytes without structure.
    Plain,
    /// A 64-bit little-endian ELF file for x86-64 or AArch64, linked or relocatable, or a class-data
    /// archive of a Java virtual machine; its references move with their targets.
    Elf,
    /// A file with little-endian 32-bit offsets into itself.
    OffsetsLittle,
    /// A file with big-endian 32-bit offsets into itself.
    OffsetsBig,
    /// A program without a base, divided into parts.
    Program,
    /// Text whose names are replaced by others, such as a script that a tool made short.
    Names,
}

impl View {
    /// Returns the view with this number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        let linked = [Self::Elf, Self::OffsetsLittle, Self::OffsetsBig];
        let others = [Self::Plain, Self::Program, Self::Names];
        linked.into_iter().chain(others).find(|view| view.wire() == number)
    }

    /// Reads the image of a whole file; `None` if it does not suit the view.
    pub fn image_of(self, file: &[u8]) -> Option<MemoryImage> {
        let headers = match self {
            Self::Elf => object::headers(file).map_or(Cow::Borrowed(file), Cow::Owned),
            _ => Cow::Borrowed(file),
        };
        self.image(&headers, file.len())
    }

    /// Reads the image of a file of `file_len` bytes from its headers, which are its front except in
    /// relocatable files; `None` if it does not suit the view.
    pub fn image(self, front: &[u8], file_len: usize) -> Option<MemoryImage> {
        match self {
            Self::Elf => MemoryImage::parse(front, file_len)
                .or_else(|| class_archive::image(front, file_len))
                .or_else(|| object::image(front, file_len)),
            _ => MemoryImage::flat(file_len),
        }
    }

    /// Returns the view's number on the wire.
    pub fn wire(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Elf => 1,
            Self::OffsetsLittle => 2,
            Self::OffsetsBig => 3,
            Self::Program => 4,
            Self::Names => 5,
        }
    }
}
