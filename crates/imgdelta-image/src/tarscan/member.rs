//! The types of a scan: members with their metadata, and damage.
//!
//! Data only: nothing here reads a stream.

use std::ops::Range;

/// The kind of file that a member makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file, stored whole or sparse.
    File,
    /// Another name for an earlier entry, possibly of a lower layer.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A type flag that no standard names.
    Other(u8),
}

impl EntryKind {
    /// Returns true for symbolic and hard links.
    pub fn is_link(self) -> bool {
        matches!(self, Self::Symlink | Self::HardLink)
    }

    /// Returns true if members of this kind have no payload, even if their header states a size.
    pub(super) fn is_header_only(self) -> bool {
        !matches!(self, Self::File | Self::Other(_))
    }
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedAttribute {
    /// Its name, such as `user.x`, `security.capability` or `security.selinux`. An ACL in text form
    /// has the name of its record, `SCHILY.acl.access`.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Box<[u8]>,
}

/// The ranges of a sparse file that are stored; the others are holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseMap {
    /// Offset and length of each range, ascending.
    ///
    /// No range is empty or touches the next, so one file has one map, however its writer cuts it.
    pub segments: Vec<(u64, u64)>,
}

/// One member of a tar stream, from all of its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarMember {
    /// Offset of its first header block, which may be a long-name or PAX header.
    pub start: u64,
    /// Its stored bytes.
    pub payload: Range<u64>,
    /// The kind of file.
    pub kind: EntryKind,
    /// Its name as spelled.
    pub name: Vec<u8>,
    /// The target of a symbolic or hard link, as spelled; empty for other kinds.
    pub link: Vec<u8>,
    /// The size of the file; a sparse file is larger than its payload.
    pub size_bytes: u64,
    /// Permission bits with set-id and sticky, without the type.
    pub mode: u32,
    /// The user's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The user's name; often empty. A long one is shortened, as [`crate::index::Owner`] says.
    pub user: Vec<u8>,
    /// The group's name; often empty.
    pub group: Vec<u8>,
    /// Seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Extended attributes in the order of the header.
    pub attributes: Vec<ExtendedAttribute>,
    /// The map of a sparse file.
    pub sparse: Option<SparseMap>,
    /// True if it lies after an end-of-archive mark.
    pub is_after_end: bool,
}

/// The place at which a stream stops being a tar stream; everything after the last whole member is
/// tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDamage {
    /// The offset of the malformed block or member.
    pub offset: u64,
    /// The problem.
    pub what: Box<str>,
}

impl std::fmt::Display for StreamDamage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {}: {}", self.offset, self.what)
    }
}
