//! Destinations of images, and a guide to adding one.
//!
//! # A sink of your own
//!
//! Implement [`Sink`] and pass it to [`Session::apply_to`](crate::Session::apply_to). The calls come
//! in this order:
//!
//! 1. [`Sink::begin`], once, before any blob. Refuse here everything that can be refused.
//! 2. [`Sink::has`], for each layer. A complete and verified blob is not made again.
//! 3. [`Sink::blob`], once for each missing layer, from several threads. Write to a hidden place.
//!    [`BlobWriter::finish`] receives a [`VerifiedBlob`]: proof that digest and size match. Only then
//!    make the blob visible. A writer that is dropped without it has failed.
//! 4. [`Sink::finish`], once, after all layers. Make the image visible in one step.
//!
//! [`Sink::accepts`] chooses between the compressed blobs of the registry and uncompressed tar
//! streams. [`MemorySink`] is the smallest complete sink.

pub use imgdelta_apply::sink::{
    AcceptedForm, BlobWriter, MemorySink, NullSink, OutgoingImage, Sink, check, create,
};
pub use imgdelta_core::verify::VerifiedBlob;
