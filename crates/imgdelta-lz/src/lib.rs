//! LZ with adaptive binary range coding, behind a prefix that both sides have: LZMA's model, raw.
//! Never does I/O, starts a thread, or runs unsafe code; never makes more bytes than were asked for.
//!
//! # The idea
//!
//! A code is a row of symbols: literals, and matches of earlier bytes, which may lie in the prefix.
//! Each symbol is a few decisions, and each decision is a bit with a probability that depends on
//! its context and moves with every bit. An arithmetic code spends what the probabilities leave
//! open. A literal behind a match is coded in the context of the byte that would have continued
//! the match. If the prefix is an older version of the bytes, that is the older version's byte.
//!
//! The model is that of LZMA by Igor Pavlov with `lc = 3`, `lp = 0` and `pb = 0`. A code has no
//! header, no end mark and no zeros at its end; the reader knows the length of the raw bytes.
//! `docs/format-lz.md` specifies it.
//!
//! # Cost
//!
//! Unpacking takes 10 to 100 nanoseconds a byte, linear in the raw bytes, and 16 KiB besides them
//! and the prefix. Packing takes about a third of a microsecond a byte, 40 nanoseconds for each byte of
//! the prefix, and up to eight bytes of memory for each byte of both, at most 32 MiB.
//!
//! # Limits of the method
//!
//! [`mixing`] is a second coder, without a prefix: a tenth smaller, and fifty times slower.
//!
//! A raw byte takes at least a 4096th of a packed one. Streams of less than a hundred bytes end
//! before the probabilities have moved. A bucket of the index keeps its last places only, so a
//! match that lies far back behind many similar places may not be found.
//!
//! # Modules
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `error`, [`mixing`], `model` | wrong codes; a second, slower coder; probabilities and states |
//! | 1 | `decoder`, `writer`\* | bits into bytes; symbols into bits |
//! | 2 | `index`\*, `prices`\* | earlier places of bytes; prices of symbols |
//! | 3 | `parser`\* | bytes into the cheapest symbols |
//! | 4 | `packer`\* | bytes packed behind a prefix |
//!
//! Modules with a star belong to the packing side (feature `encode`).
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "encode")]
//! # fn main() -> Result<(), imgdelta_lz::LzError> {
//! let prefix = b"the quick brown fox jumps over the lazy dog".to_vec();
//! let raw = b"the quick brown fox jumps over the lazy cat";
//!
//! let code = imgdelta_lz::Packer::new(prefix.clone(), raw.len()).pack(raw).expect("it is short");
//! assert!(code.len() < 12);
//!
//! let bytes = imgdelta_lz::unpack(&code, prefix.clone(), raw.len())?;
//! assert_eq!(&bytes[prefix.len()..], raw);
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

mod decoder;
mod error;
#[cfg(feature = "encode")]
mod index;
pub mod mixing;
mod model;
#[cfg(feature = "encode")]
mod packer;
#[cfg(feature = "encode")]
mod parser;
#[cfg(feature = "encode")]
mod prices;
#[cfg(feature = "encode")]
mod writer;

pub use decoder::{MAX_EXPANSION, unpack};
pub use error::LzError;
#[cfg(feature = "encode")]
pub use packer::Packer;

/// Runs the example of the readme.
#[cfg(all(doctest, feature = "encode"))]
#[doc = include_str!("../README.md")]
struct Readme;
