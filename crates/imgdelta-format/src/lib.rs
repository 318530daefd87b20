//! The names and bytes that imgdelta's files are made of.
//!
//! Digest types live here because every crate above speaks of blobs and streams by them. This
//! crate never opens a file, never hashes, never decides.

pub mod against;
pub mod container;
pub mod cost;
pub mod digest;
pub mod error;
mod fields;
pub mod limits;
mod mixing;
pub mod outline;
pub mod pack;
pub mod recipe;
pub mod varint;

pub use digest::{Algorithm, BlobDigest, DiffId, ParseDigestError, PayloadDigest};
pub use error::FormatError;
pub use limits::ReadLimits;
