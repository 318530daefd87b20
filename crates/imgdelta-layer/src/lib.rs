//! Layers, archives and compressed blobs taken apart and put together again, byte for byte.
//!
//! Both sides of a delta use these representations. Never decides what to take apart.

pub mod archive;
pub mod chunked;
pub mod headers;
pub mod remake;
