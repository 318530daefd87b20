//! LZ with adaptive binary range coding, behind a prefix that both sides have: LZMA's decisions, raw.
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
//! The decisions are those of LZMA by Igor Pavlov. Two things differ. Probabilities move fast at first,
//! since most codes are short. And the context of literals and matches is the part of an instruction in
//! machine code, elsewhere the highest bit of the byte before. It replaces the upper three bits of that byte:
//! codes of a few kilobytes end before so many contexts have learnt. Real deltas become 1 to 2 % smaller
//! than with LZMA's model.
//!
//! A code has no header, no end mark and no zeros at its end; the reader knows the length of the raw
//! bytes, and their kind.
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
//! A raw byte takes at least a 4096th of a packed one. Streams of less than a hundred bytes end
//! before the probabilities have moved. A bucket of the index keeps its last places only, so a
//! match that lies far back behind many similar places may not be found.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "encode")]
//! # fn main() -> Result<(), imgdelta_coding::LzError> {
//! use imgdelta_coding::lz::RawKind;
//!
//! let prefix = b"the quick brown fox jumps over the lazy dog".to_vec();
//! let raw = b"the quick brown fox jumps over the lazy cat";
//!
//! let code = imgdelta_coding::lz::PrefixPacker::new(prefix.clone(), raw.len()).pack(raw).expect("it is short");
//! assert!(code.len() < 12);
//!
//! let bytes = imgdelta_coding::lz::unpack(&code, prefix.clone(), raw.len(), RawKind::Bytes)?;
//! assert_eq!(&bytes[prefix.len()..], raw);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "encode"))]
//! # fn main() {}
//! ```
//!
//! A code is not trusted and does not prove its result: compare the result with a digest.

mod decoder;
#[cfg(feature = "encode")]
mod index;
mod model;
#[cfg(feature = "encode")]
mod packer;
#[cfg(feature = "encode")]
mod parser;
mod places;
#[cfg(feature = "encode")]
mod prices;
#[cfg(feature = "encode")]
mod writer;

pub use decoder::{MAX_EXPANSION, unpack};
#[cfg(feature = "encode")]
pub use packer::PrefixPacker;
pub use places::RawKind;
