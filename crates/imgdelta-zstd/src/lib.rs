//! A zstd stream remade bit for bit.
//!
//! A compressed blob is named by the digest of its compressed bytes, and decompressing it loses
//! them. This crate gets them back: it finds out which encoder made a stream ([`detect`]),
//! describes it in a [`Recipe`] of about twenty bytes, and replays that encoder on the plain bytes
//! ([`Remaker`]). Two encoders make nearly all of the world's zstd layers: klauspost/compress,
//! which podman, skopeo, buildah and `BuildKit` use, and the reference encoder. The first is
//! modelled here, the second is called as its command would call it. A stream of any other is not
//! detected, and its blob has to be kept.
//!
//! ```
//! use imgdelta_zstd::{DetectOptions, Remaker, detect};
//!
//! // `printf hello | zstd`
//! let blob = b"\x28\xb5\x2f\xfd\x04\x58\x29\0\0hello\xa3\x6d\x9f\x88";
//! let recipe = detect(&blob[..], &b"hello"[..], DetectOptions::default())?.unwrap();
//! let mut out = Vec::new();
//! let mut remaker = Remaker::new(&recipe);
//! remaker.write(b"hello", &mut out).unwrap();
//! remaker.finish(&mut out).unwrap();
//! assert_eq!(out, blob);
//! # Ok::<(), std::convert::Infallible>(())
//! ```
//!
//! Which encoder versions are covered, and how each is recognised, is in `docs/encoders.md`.
//!
//! Never does I/O: callers hand bytes in through [`Source`].

// Lengths, counts and positions change width by design all over a codec; each cast below is of
// a value whose range the format bounds, and checked conversions would say nothing more.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod bits;
mod detect;
mod encoder;
mod error;
mod frame;
mod fse;
mod huffman;
mod klauspost;
mod libzstd;
mod model;
mod recipe;
mod remake;
mod source;
mod xxh64;

pub use detect::{DetectOptions, FIRST_BYTES, detect, frame_ends};
pub use error::RemakeError;
pub use klauspost::{Behaviour, Level};
pub use libzstd::Call;
pub use model::Model;
pub use recipe::{BadRecipe, Frame, Limits, Part, Recipe};
pub use remake::{FrameWriter, Remaker};
pub use source::Source;
