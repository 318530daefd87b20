//! Differences between two container images, and deltas that rebuild the newer one exactly.

pub use imgdelta_apply::{apply, delta, inspect, sink};
pub use imgdelta_core::{
    Algorithm, BlobDigest, DiffId, Error, Limits, Note, PayloadDigest, Result, error, limits, note,
    parallel, path, progress, scratch, size, verify,
};
#[cfg(feature = "make")]
pub use imgdelta_diff as diff;
pub use imgdelta_image::{
    Reference, envelope, image, index, reference, rootfs, store, survey, tarscan, volume,
};
pub use imgdelta_layer::headers;
#[cfg(feature = "make")]
pub use imgdelta_make::{cost, draft, encode, inside, plan, sources};
#[cfg(feature = "make")]
pub use imgdelta_packages as packages;
