//! Container images: references, stores, documents, layers, tar members, root file systems.
//!
//! Reads and checks; never compares, makes or applies a delta.

pub mod envelope;
pub mod image;
pub mod index;
pub mod reference;
pub mod rootfs;
pub mod store;
pub mod survey;
pub mod tarscan;
pub mod volume;

pub use reference::Reference;
