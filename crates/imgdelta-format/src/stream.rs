//! A layer's uncompressed stream, named by its digest and length.
//! Never holds bytes of it.

use crate::DiffId;

/// Digest and length of a layer's uncompressed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamName {
    /// Digest of all its bytes.
    pub diff_id: DiffId,
    /// Its length.
    pub bytes: u64,
}
