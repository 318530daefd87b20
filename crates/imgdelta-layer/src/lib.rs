//! Takes layers, archives and compressed blobs apart, and rebuilds them byte for byte.
//! Both sides of a delta use these representations. Never decides what to take apart.

pub mod archive;
pub mod chunked;
pub mod digests;
pub mod headers;
pub mod remake;
