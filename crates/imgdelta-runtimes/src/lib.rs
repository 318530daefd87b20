//! The container runtimes of a node: their images as bases of deltas, and rebuilt layers staged in
//! them. Never decides which image is pulled.
//!
//! [`containerd::ContainerdStore`] reads the images that containerd has.
//! [`containerd::ContainerdSink`] receives rebuilt layers and puts them into containerd's own store
//! through its API. A later pull by containerd finds them and fetches only manifest and config. Every
//! layer keeps its digest: containerd unpacks it, and the unpacked digest is compared before the layer
//! becomes visible.
//!
//! ```no_run
//! use imgdelta_image::image::{Image, OpenOptions};
//! use imgdelta_runtimes::containerd::{Containerd, ContainerdOptions, ContainerdStore};
//! use std::sync::Arc;
//!
//! # fn main() -> imgdelta_core::Result<()> {
//! let containerd = Containerd::connect(ContainerdOptions::default().namespace("k8s.io"))?;
//! for image in containerd.images()? {
//!     println!("{} {}", image.name, image.target.digest);
//! }
//! let store = Arc::new(ContainerdStore::new(containerd));
//! let name = "docker.io/library/nginx:1".to_owned();
//! let name = imgdelta_image::reference::ImageName::Tag(name);
//! let base = Image::open(store, Some(&name), &OpenOptions::default())?;
//! println!("{} layers", base.layers.len());
//! # Ok(())
//! # }
//! ```
//!
//! [`containers_storage`] and [`docker`] do the same for podman, CRI-O, buildah and docker, whose files are
//! read in place; their own programs write. [`rootfs`] reads an unpacked image without a runtime.
//!
//! Methods block and may be called from any thread, also inside an async task, where they block the
//! task's thread.

pub mod containerd;
pub mod containers_storage;
pub mod docker;
pub mod rootfs;

mod chain;
mod engine;
mod layer_files;
mod layer_folder;
mod tar_split;
mod threads;

pub use imgdelta_frames as frames;
