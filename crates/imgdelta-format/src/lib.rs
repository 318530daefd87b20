//! The names and bytes that imgdelta's files are made of.
//!
//! Digest types live here because every crate above speaks of blobs and streams by them. This
//! crate never opens a file, never hashes, never decides.

pub mod container;
pub mod cost;
pub mod digest;
pub mod error;
mod fields;
pub mod limits;
pub mod outline;
pub mod recipe;

pub use digest::{Algorithm, BlobDigest, DiffId, ParseDigestError, PayloadDigest};
pub use error::FormatError;
pub use limits::ReadLimits;

/// The former place of [`imgdelta_codec::pack`].
pub mod pack {
    use crate::error::Result;
    pub use imgdelta_codec::pack::Packer;

    /// Unpacks at most `max_count` streams, of at most `limit_bytes` together.
    pub fn unpack(pack: &[u8], max_count: usize, limit_bytes: u64) -> Result<Vec<Vec<u8>>> {
        Ok(imgdelta_codec::pack::unpack(pack, max_count, limit_bytes)?)
    }

    /// Returns the unpacked bytes that a pack names.
    pub fn stated_bytes(pack: &[u8], max_count: usize) -> Result<u64> {
        Ok(imgdelta_codec::pack::stated_bytes(pack, max_count)?)
    }
}

/// The former place of [`imgdelta_wire::varint`].
pub mod varint {
    pub use imgdelta_wire::varint::{read as take, take as read, unzigzag, write, zigzag};
}
