//! The bytes of a delta file, and the digest types that all crates above share.
//! Never opens a file, hashes or decides.
//!
//! A delta is a [`container`] of sections. The first is the [`outline`]: the target's manifest and
//! config, and the way each layer is made. Then follow [recipes](recipe), each with the packed
//! groups that `imgdelta-codec` decodes, carried blobs, and a list of [costs](cost) for people.
//! `docs/format.md` specifies every byte.
//!
//! Input is hostile: every count meets [`ReadLimits`] before memory is taken, and malformed bytes
//! are a [`FormatError`] with place, offset, expected and found value.
//!
//! # Modules
//!
//! Imports point down only, which `tests/architecture.rs` checks.
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | [`digest`], [`error`], [`limits`], `stream` | digest types; errors; ceilings; a layer's stream by digest and length |
//! | 1 | `fields` | named fields, read front to back |
//! | 2 | [`container`], [`cost`], [`outline`], [`recipe`] | sections of a file; costs; outline; recipes |
//!
//! # Example
//!
//! ```
//! use imgdelta_format::{BlobDigest, container};
//!
//! let digest: BlobDigest = format!("sha256:{}", "ab".repeat(32)).parse()?;
//! assert_eq!(digest.as_bytes().len(), 32);
//!
//! assert_eq!(container::version(&container::head()), Some((1, 0)));
//! # Ok::<(), imgdelta_format::ParseDigestError>(())
//! ```

mod bounds;
pub mod container;
pub mod cost;
pub mod digest;
pub mod error;
mod fields;
pub mod limits;
pub mod outline;
pub mod recipe;
mod stream;

pub use digest::{Algorithm, BlobDigest, DiffId, ParseDigestError, PayloadDigest};
pub use error::FormatError;
pub use limits::{ReadLimitName, ReadLimits};

/// Runs the example of the readme.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
