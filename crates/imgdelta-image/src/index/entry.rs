//! One member of a layer's tar stream, as it lies there.
//!
//! Ranges are those of the uncompressed stream. What a header says is decoded for comparing and
//! explaining; the header's own bytes stay in the stream, so nothing here must be lossless.

pub use crate::tarscan::{Attribute, Kind};

use imgdelta_core::{PayloadDigest, path::LayerPath};
use std::{ops::Range, sync::Arc};

/// One member of a layer. Its identity is its ordinal in the index: a path may occur twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs, cleaned; the spelling is in the header's bytes.
    pub path: LayerPath,
    /// Where its first header block begins: that of a long-name or PAX header if it has one.
    /// It ends where the next entry begins, or the index's tail; padding is its own.
    pub start: u64,
    /// Its stored bytes; empty for what has none. For a sparse file the data segments (and the
    /// map in front of them, where the variant keeps it there).
    pub payload: Range<u64>,
    /// What it makes.
    pub kind: Kind,
    /// The size of the file it makes: more than the payload's when sparse.
    pub size_bytes: u64,
    /// The content of a regular file, and of anything else that carries a payload. Sparse files:
    /// stored bytes and map together.
    pub digest: Option<PayloadDigest>,
    /// Where a symbolic or hard link points, as spelled.
    pub link: Option<Box<[u8]>>,
    /// Permission bits with set-id and sticky, without the type.
    pub mode: u32,
    /// Whom it belongs to.
    pub owner: Arc<Owner>,
    /// When it was modified: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Extended attributes in the order of the header: capabilities, ACLs and labels among them.
    pub attributes: Box<[Attribute]>,
    /// Whether it is stored sparse.
    pub is_sparse: bool,
    /// Whether it stands behind an end-of-archive mark (concatenated tars): runtimes stop there
    /// and never see it.
    pub is_after_end: bool,
}

/// A user and group, by number and by name. Shared: a layer has few.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
