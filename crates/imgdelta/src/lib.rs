//! Differences between two container images, and deltas that rebuild the newer one exactly.

pub mod error;
pub mod index;
pub mod limits;
pub mod packages;
pub mod parallel;
pub mod path;
pub mod progress;
pub mod rootfs;
pub mod tarscan;
pub mod verify;

pub use error::{Error, Result};
pub use imgdelta_format::{Algorithm, BlobDigest, DiffId, PayloadDigest};
pub use limits::Limits;
