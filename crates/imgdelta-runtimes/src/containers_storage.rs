//! containers-storage, in which podman, CRI-O and buildah keep images: its images as bases, and
//! layers staged in it. Never writes a file of the storage: staging runs skopeo.
//!
//! The storage keeps the manifest of the registry, the config, and unpacked layers. It keeps no
//! blobs of layers; their streams are put together from tar-split and the unpacked files.

mod documents;
mod lock;
mod options;
mod sink;
mod store;

pub use options::StorageOptions;
pub use sink::{ContainersStorageSink, StorageSinkOptions};
pub use store::ContainersStorageStore;
