//! Differences between two container images, and deltas that rebuild the newer one exactly.
//!
//! An [`Image`](image::Image) is opened from where it lies (an OCI layout, an archive), a
//! [`Survey`](survey::Survey) reads its layers once, in parallel and in bounded memory, and a
//! [`Diff`](diff::Diff) of two surveys says what changed: layers, config, files, packages. All are
//! values; nothing is unpacked, nothing is written but the cache one asks for.
//!
//!
//! The core is synchronous and mute: no terminal, no network, no environment, no clock. The same
//! inputs give the same results for any number of threads.

pub mod envelope;
pub mod error;
pub mod image;
pub mod index;
pub mod limits;
pub mod note;
pub mod packages;
pub mod parallel;
pub mod path;
pub mod progress;
pub mod reference;
pub mod rootfs;
pub mod store;
pub mod tarscan;
pub mod verify;

pub use error::{Error, Result};
pub use imgdelta_format::{Algorithm, BlobDigest, DiffId, PayloadDigest};
pub use limits::Limits;
pub use note::Note;
pub use reference::Reference;
