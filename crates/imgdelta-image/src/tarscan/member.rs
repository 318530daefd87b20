//! What a scan tells about one member, and where a stream stopped making sense.
//!
//! Words only: nothing here reads a stream.

use std::ops::Range;

/// What kind of thing a member makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
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

impl Kind {
    /// Returns whether members of this kind have no bytes of their own, whatever their size says.
    pub(super) fn is_header_only(self) -> bool {
        !matches!(self, Self::File | Self::Other(_))
    }
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// `user.x`, `security.capability`, `security.selinux`, …; ACLs written as text keep the
    /// name of their record, `SCHILY.acl.access`.
    pub name: Box<[u8]>,
    /// Its bytes.
    pub value: Box<[u8]>,
}

/// Where the stored bytes of a sparse file belong; the rest of it is holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseMap {
    /// Offset and length, ascending, none empty, none touching the next: one file has one map,
    /// however its writer cut it.
    pub segments: Vec<(u64, u64)>,
}

/// One member of a tar stream: its headers taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where its first header block begins: that of a long-name or PAX header if it has one.
    pub start: u64,
    /// Its stored bytes.
    pub payload: Range<u64>,
    /// What it makes.
    pub kind: Kind,
    /// Its name as spelled.
    pub name: Vec<u8>,
    /// Where a symbolic or hard link points, as spelled; empty otherwise.
    pub link: Vec<u8>,
    /// The size of the file it makes: more than the payload's when sparse.
    pub size_bytes: u64,
    /// Permission bits with set-id and sticky, without the type.
    pub mode: u32,
    /// The user's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The user's name; often empty.
    pub user: Vec<u8>,
    /// The group's name; often empty.
    pub group: Vec<u8>,
    /// Seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Extended attributes in the order of the header.
    pub attributes: Vec<Attribute>,
    /// The map of a sparse file.
    pub sparse: Option<SparseMap>,
    /// Whether it stands behind an end-of-archive mark.
    pub is_after_end: bool,
}

/// Where a stream stopped being a tar stream. Everything from the last whole member on is tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset of the block or member that could not be understood.
    pub offset: u64,
    /// What is wrong with it.
    pub what: Box<str>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {}: {}", self.offset, self.what)
    }
}
