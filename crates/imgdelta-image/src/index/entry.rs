//! One member of a layer's tar stream: its ranges and its decoded metadata.
//!
//! Ranges are offsets in the uncompressed stream. Fields are decoded for comparison and display. The
//! header's bytes stay in the stream, so nothing here has to be lossless.

pub use crate::tarscan::{EntryKind, ExtendedAttribute};

use imgdelta_core::{PayloadDigest, path::LayerPathRef};
use std::ops::Range;

/// One member of a layer, whose text and owner lie in the index. Its identity is its ordinal there: a
/// path may occur twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path, cleaned; the header's bytes have the spelling.
    pub path: LayerPathRef<'a>,
    /// Offset of its first header block, which may be a long-name or PAX header.
    ///
    /// It ends, with its padding, where the next entry or the index's tail starts.
    pub start: u64,
    /// Its stored bytes; may be empty. A sparse file stores its data segments, and in some variants
    /// a map before them.
    pub payload: Range<u64>,
    /// The kind of file.
    pub kind: EntryKind,
    /// The size of the file; a sparse file is larger than its payload.
    pub size_bytes: u64,
    /// The digest of the payload; `None` for links and other members without one. That of a sparse
    /// file also covers its map.
    pub digest: Option<PayloadDigest>,
    /// The target of a symbolic or hard link, as spelled; other kinds have none.
    pub link: Option<&'a [u8]>,
    /// Permission bits with set-id and sticky, without the type.
    pub mode: u32,
    /// User and group.
    pub owner: &'a Owner,
    /// Time of modification: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Extended attributes in the order of the header, including capabilities, ACLs and labels.
    pub attributes: &'a [ExtendedAttribute],
    /// True if it is stored sparse.
    pub is_sparse: bool,
    /// True if it lies after an end-of-archive mark, as in concatenated archives. Runtimes stop at
    /// the mark and never see it.
    pub is_after_end: bool,
}

/// A user and group, by number and by name. Entries share it: a layer has few owners.
///
/// A name of more than 256 bytes, which no system allows, is stored as its start and its BLAKE3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The user's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The user's name; often empty.
    pub user: Box<[u8]>,
    /// The group's name; often empty.
    pub group: Box<[u8]>,
}
