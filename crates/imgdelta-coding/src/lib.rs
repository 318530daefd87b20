//! Codes of byte strings: entropy coders, and packs of several strings that choose among them.
//! Never does I/O, starts a thread, or runs unsafe code; never makes more bytes than were asked for.
//!
//! # The idea
//!
//! A delta is a few dozen byte streams of different kinds. A [`pack`] holds them as one string: small
//! streams share a frame, and each large one is coded by what codes it shortest. There are three
//! coders: a zstd frame ([`frame`]), LZ with adaptive range coding ([`lz`]), and a slow mixer of
//! contexts ([`mixing`]). The first two may refer to a prefix that both sides have. A fourth one
//! follows bytes that both sides have ([`aligned`]), and a fifth one corrects bytes that both sides predict
//! ([`corrections`]). `docs/format-group.md` specifies packs, and `docs/format-lz.md`, `docs/format-mixing.md`,
//! `docs/format-aligned.md` and `docs/format-corrections.md` the coders.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `arithmetic`, `error` | a coder of bits; wrong codes |
//! | 1 | [`frame`], [`lz`], `states`, `sum` | coders behind a prefix; rates and states of contexts; weighted sums |
//! | 2 | `rated`, `stated` | contexts with rates, and with states |
//! | 3 | [`aligned`], [`mixing`] | slow coders, with a reference and without one |
//! | 4 | [`corrections`], [`pack`] | which predicted bytes are wrong; several streams as one string |
//!
//! The packing side needs the feature `encode`.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "encode")]
//! # fn main() -> Result<(), imgdelta_coding::PackError> {
//! use imgdelta_coding::pack::{Packer, unpack};
//!
//! let streams = [b"many equal words ".repeat(90), Vec::new(), vec![1, 2, 3]];
//! let pack = Packer::new(3).pack(&streams);
//! assert!(pack.len() < 60);
//!
//! let unpacked = unpack(&pack, 3, 1 << 20)?;
//! assert_eq!(unpacked, streams);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "encode"))]
//! # fn main() {}
//! ```
//!
//! A code is not trusted and does not prove its result: compare the result with a digest.

// Lengths have at most nine bits, places and distances that are written 26, states four; bytes are
// cut from numbers on purpose.
#![allow(clippy::cast_possible_truncation, reason = "see above")]

pub mod aligned;
mod arithmetic;
pub mod corrections;
mod error;
pub mod frame;
pub mod lz;
pub mod mixing;
pub mod pack;
mod rated;
mod stated;
mod states;
mod sum;

pub use error::{LzError, PackError};

/// Runs the example of the readme.
#[cfg(all(doctest, feature = "encode"))]
#[doc = include_str!("../README.md")]
struct Readme;
