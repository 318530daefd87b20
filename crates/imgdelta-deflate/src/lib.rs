//! A deflate stream taken apart and remade bit for bit.
//!
//! A compressed blob is named by the digest of its compressed bytes, and inflating it loses
//! them. This crate gets them back: it finds out which encoder made a stream ([`detect_gzip`],
//! [`detect_raw`]), describes it in a [`Recipe`] of a few dozen bytes, and replays that encoder
//! on the plain bytes ([`Remaker`]). The encoders that make nearly all of the world's gzip are
//! modelled exactly: Go's compress/gzip, klauspost/compress and pgzip, zlib, GNU gzip, pigz. Any
//! other stream is recorded as the tokens a prediction missed.
//!
//! ```
//! use imgdelta_deflate::{DetectOptions, Remaker, detect_gzip};
//!
//! // `printf hello | gzip -n`
//! let gz = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
//! let recipe = detect_gzip(gz, DetectOptions::default()).unwrap();
//! let mut out = Vec::new();
//! let mut remaker = Remaker::new(&recipe);
//! remaker.write(b"hello", &mut out)?;
//! remaker.finish(&mut out)?;
//! assert_eq!(out, gz);
//! # Ok::<(), imgdelta_deflate::RemakeError>(())
//! ```
//!
//! The [`inflate`] room stands by itself: a streaming decoder that also tells blocks and tokens.
//! Which encoder versions are covered, and how each is recognised, is in `docs/encoders.md`.
//!
//! Never does I/O, never starts threads, and holds a few megabytes per stream.

// Lengths, counts and positions change width by design all over a codec; each cast below is of
// a value whose range the format bounds, and checked conversions would say nothing more.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]

pub mod alphabet;
pub mod inflate;

mod bits;
mod detect;
mod divided;
mod encoders;
mod error;
mod fallback;
mod golang;
mod gzip;
mod huffman;
mod join;
mod klauspost;
mod mid_stream;
mod model;
mod recipe;
mod remake;
mod spans;
mod token;
mod window;
mod zlib;

pub use bits::BitWriter;
pub use detect::{
    DetectOptions, Detector, Opening, Walk, Walked, candidates, detect_gzip, detect_raw,
};
pub use divided::{Divided, LAST_SPAN_BYTES, MAX_LITERALS, MAX_SPAN_BYTES, MIN_SPAN_BYTES, Point};
pub use encoders::Encoders;
pub use error::{BadRecipe, RemakeError};
pub use fallback::ReplayError;
pub use gzip::{GzipCheck, GzipHeader, NoHeader, TRAILER_BYTES};
pub use join::Joiner;
pub use klauspost::{Behaviour, PGZIP_HISTORY_BYTES};
pub use model::Model;
pub use recipe::{Limits, Member, Recipe, Trailer};
pub use remake::{Remaker, pgzip_segment};
pub use spans::{Made, SPAN_BYTES, Span, Step, Steps};
pub use token::Token;
pub use zlib::{PigzBlocks, Strategy};
