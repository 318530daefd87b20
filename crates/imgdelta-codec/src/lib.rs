//! Rebuilds one byte string from another: matching, views and residue, as pure functions.
//! Never does I/O, starts a thread, knows a file or an image, or runs unsafe code.
//!
//! # The idea
//!
//! A *member* is a byte string to rebuild, its *target*, from one that the receiver has, its
//! *base*: a file and its previous version, say. A member has three parts:
//!
//! 1. A *script* of copies from the base and literals between them. The matcher also finds copies
//!    in which some bytes differ.
//! 2. The errors of the *view*. A rebuilt program differs from the old one nearly everywhere, since
//!    every reference to something that moved has changed. The copies show what moved where. So
//!    each reference in the base is found by pattern, and its new value is computed from a map of
//!    old addresses to shifts. Only wrong predictions are stored.
//! 3. *Patches* for single bytes that are still wrong. Copies of code may have *edits* as well:
//!    instructions with other registers or numbers. Names in text are expected to become what they
//!    became before.
//!
//! A program without a base has none of these: it is divided into parts, such as code and tables.
//!
//! Each part is split by kind into [streams](StreamKind), which all members of a *group* share. A
//! thousand small members with new time stamps cost one compressed window, not a thousand headers.
//! A group decodes on its own and in order; several groups decode in parallel.
//!
//! # Cost
//!
//! Decoding is linear. It takes the unpacked streams, 24 bytes for each copy and, for programs, up
//! to 112 MiB: fields of a part of the base, edits, and the prefix of packed literals. A program without a
//! base is made whole, and has at most [`MAX_PROGRAM`] bytes. Any other target is made in pieces, and the fields of a program are found again when they are needed, so that a program
//! of any length takes little more ([`decode_memory`]).
//!
//! Encoding takes an index of up to 1.2 bytes per base byte, at most 128 MiB. Programs are labelled
//! and indexed in windows, but the labels, the map and all references are those of the whole
//! program ([`encode_memory`]). A [`Host`] may offer threads and take back mapped memory.
//!
//! Compressed or encrypted bytes of two versions have nothing in common: inflate them first.
//!
//! # Modules
//!
//! Imports point down only, which `tests/architecture.rs` checks. `docs/format-group.md` specifies
//! the bytes.
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `effort`\*, `limits`, `names`, `stats`\*, `stream` | effort; ceilings; names in text; counts of a member; kinds of streams |
//! | 1 | `error` | errors |
//! | 2 | `group` | the streams of a group |
//! | 3 | `member`, `program`, `residue`, `script`, `unwind_table` | a member's first byte; programs without a base; byte patches; copies and literals; sorted tables of functions |
//! | 4 | `corrections`, `map`, `pieces`, `spelling` | patches in a code; shifts of addresses; a member in pieces; addresses in literals |
//! | 5 | `layout`, `normalise`\*, `predict`, `prefix`, `references` | copies with edited instructions; labels to match by; predicted fields; the prefix of packed literals; what a member says about fields |
//! | 6 | `literals`, `overrides`\*, `pairing`\*, `search`\*, `stretches` | packed literals; corrections of the map; layouts of edited copies; copies found window by window; literals and their places in the base |
//! | 7 | `decoder`, `trial`\* | members rebuilt; one way to write a member |
//! | 8 | `memory`, `pruning`\* | memory of a member; copies that are too short to pay |
//! | 9 | `encoder`\* | the best way, for each member of a group |
//!
//! The references themselves are found by `imgdelta-fields`.
//!
//! Modules with a star belong to the making side (feature `encode`).
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "encode")]
//! # fn main() -> imgdelta_codec::Result<()> {
//! use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits};
//!
//! let base = b"the quick brown fox jumps over the lazy dog, and runs away";
//! let target = b"the quick brown fox jumps over the lazy cat, and runs away";
//!
//! let mut encoder = GroupEncoder::new(Effort::Default);
//! let stats = encoder.member(base, target);
//! assert_eq!((stats.literal_bytes, stats.patched_bytes), (0, 3));
//! let group = encoder.finish();
//!
//! let mut decoder = GroupDecoder::open(&group, &GroupLimits::default())?;
//! let mut rebuilt = vec![0; target.len()];
//! decoder.member(base, &mut rebuilt)?;
//! decoder.finish()?;
//! assert_eq!(rebuilt, target);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "encode"))]
//! # fn main() {}
//! ```
//!
//! A group is not trusted and does not prove its result: compare the result with a digest.

// Offsets and addresses of a file with a view stay below 4 GiB, since `elf` refuses others. Every
// narrowing cast is of such a number, or wraps on purpose where a wrong prediction may be any
// number.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

mod coder_sizes;
mod corrections;
mod decoder;
#[cfg(feature = "encode")]
mod effort;
#[cfg(feature = "encode")]
mod encoder;
mod error;
mod group;
mod layout;
mod limits;
mod literals;
mod map;
mod member;
#[cfg(feature = "encode")]
mod member_shares;
mod memory;
mod names;
#[cfg(feature = "encode")]
mod normalise;
#[cfg(feature = "encode")]
mod overrides;
#[cfg(feature = "encode")]
mod pairing;
mod pieces;
mod predict;
mod prefix;
mod program;
#[cfg(feature = "encode")]
mod pruning;
mod references;
mod residue;
mod script;
#[cfg(feature = "encode")]
mod search;
mod spelling;
#[cfg(feature = "encode")]
mod stats;
mod stream;
mod stream_coder;
mod stretches;
#[cfg(feature = "encode")]
mod trial;
mod unwind_table;

pub use coder_sizes::CoderSizes;
pub use decoder::GroupDecoder;
#[cfg(feature = "encode")]
pub use effort::Effort;
#[cfg(feature = "encode")]
pub use encoder::GroupEncoder;
pub use error::{CodecError, Result};
pub use imgdelta_fields::{
    host::{Host, NoHost},
    view::View,
};
#[cfg(feature = "encode")]
pub use imgdelta_instructions::parts::{Part, PartKind};
pub use limits::GroupLimits;
#[cfg(feature = "encode")]
pub use member_shares::{MemberBits, StreamLengths, shares};
pub use memory::decode_memory;
#[cfg(feature = "encode")]
pub use memory::encode_memory;
pub use program::MAX_PROGRAM;
#[cfg(feature = "encode")]
pub use stats::MemberStats;
pub use stream::StreamKind;
pub use stream_coder::StreamCoder;

/// Runs the example of the readme.
#[cfg(all(doctest, feature = "encode"))]
#[doc = include_str!("../README.md")]
struct Readme;
