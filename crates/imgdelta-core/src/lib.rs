//! Errors, limits, progress, workers and files on their way: what the crates of imgdelta share.
//!
//! Touches no image, no terminal, no network, no environment and no clock.

pub mod context;
pub mod crc64;
pub mod date;
pub mod destination;
pub mod durable;
pub mod error;
pub mod limits;
pub mod map;
pub mod note;
pub mod parallel;
pub mod partial;
pub mod path;
pub mod progress;
pub mod regular;
pub mod scratch;
pub mod size;
pub mod sort;
pub mod source;
pub mod table;
mod temporary;
pub mod unfinished;
pub mod verify;
pub mod work;

pub use context::Context;
pub use error::{Difference, Error, MissingLayer, Result};
pub use imgdelta_format::{Algorithm, BlobDigest, DiffId, PayloadDigest};
pub use limits::{LimitName, Limits};
pub use note::Note;
