//! docker's own store with the driver overlay2: its images as bases, and images staged in it.
//! Never writes a file of the store: staging runs docker.
//!
//! docker keeps configs and unpacked layers. It keeps neither manifests nor blobs; streams are put
//! together from tar-split and the unpacked files. With its containerd store, docker's images are in
//! containerd instead.

mod options;
mod sink;
mod store;

pub use options::DockerOptions;
pub use sink::{DockerSink, DockerSinkOptions};
pub use store::DockerStore;
