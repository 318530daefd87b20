//! Places that images go to, and how to add one.
//!
//! # A sink of your own
//!
//! Implement [`Sink`] and pass it to [`Session::apply_to`](crate::Session::apply_to). The calls come
//! in this order:
//!
//! 1. [`Sink::begin`], once, before any blob. Refuse here everything that can be refused.
//! 2. [`Sink::has`], for each layer. A blob that is there, complete and verified, is not made again.
//! 3. [`Sink::blob`], once for each missing layer, from several threads. Write to a place that nobody
//!    sees. [`BlobWriter::finish`] receives a [`VerifiedBlob`]: proof that digest and size were
//!    compared. Only then make the blob visible. A writer that is dropped without it was given up.
//! 4. [`Sink::finish`], once, when all layers are there. Make the image visible in one step.
//!
//! [`Sink::wants`] says whether layers come compressed as the registry has them, or as plain tar
//! streams. [`MemorySink`] is the smallest complete sink.

pub use imgdelta_apply::sink::{
    AcceptedForm, BlobWriter, MemorySink, NullSink, OutgoingImage, Sink, create,
};
pub use imgdelta_core::verify::VerifiedBlob;
