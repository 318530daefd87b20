//! Sources of images, and a guide to adding one.
//!
//! # A store of your own
//!
//! Implement [`Store`] and pass it to [`Image::open`](crate::image::Image::open), or let a
//! [`Session`](crate::Session) find it through [`Session::stores`](crate::Session::stores).
//! `examples/custom_store.rs` is a complete program.
//!
//! - [`Store::find`] returns descriptors of manifests or indexes. The platform chooses among several.
//! - [`Store::open`] returns a blob from its first byte. A store need not check digests: the reader
//!   compares size and digest, and nothing unverified is used.
//! - A missing blob is an [`Error::NotFound`](crate::Error::NotFound). Its `present` field lists
//!   existing names for the message.
//! - A reader that fails while it is read returns an [`std::io::Error`]. An
//!   [`Error`](crate::Error) inside [`std::io::Error::other`] reaches the caller unchanged.
//! - Several threads call a store at once.
//!
//! [`MemoryStore`] is the smallest complete store.

pub use imgdelta_image::{
    reference::ImageName,
    store::{Descriptor, MemoryStore, Store, open, source, source::ReadAt},
};
