//! Differences between two container images, and deltas that rebuild the newer one exactly.

pub mod envelope;
pub mod error;
pub mod image;
pub mod limits;
pub mod note;
pub mod parallel;
pub mod path;
pub mod progress;
pub mod reference;
pub mod store;
pub mod verify;

pub use error::{Error, Result};
pub use imgdelta_format::{Algorithm, BlobDigest, DiffId, PayloadDigest};
pub use limits::Limits;
pub use note::Note;
pub use reference::Reference;
