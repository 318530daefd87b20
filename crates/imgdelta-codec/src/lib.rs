//! One target byte range rebuilt from base byte ranges: matching, views and residue, as pure functions.
//! Never does I/O, starts a thread, knows a file or an image, or runs unsafe code.
//!
//! # The idea
//!
//! A *member* is a byte string to be rebuilt, its *target*, from one that the receiver has, its
//! *base*: a file from its previous version, say. Three things are said about it:
//!
//! 1. a *script* of copies from the base and literals between them (the matcher finds copies whose bytes need
//!    not all agree);
//! 2. what the *view* mispredicts. Rebuilt programs differ from the old ones nearly everywhere, because every
//!    reference to something that moved has changed; but the copies already say what moved where. So each field
//!    that holds a reference is found in the base by pattern, and its new value is computed from a map *old
//!    address → shift*. Only wrong predictions are kept;
//! 3. *patches* for the single bytes that are still wrong.
//!
//! All three are split by kind into [streams](Stream) which the members of a *group* share: a thousand small members
//! with new time stamps cost one compressed window, not a thousand headers. A group decodes alone and in order;
//! several groups may be decoded side by side.
//!
//! # What it costs
//!
//! Decoding is linear and allocates the unpacked streams plus, for programs, about 0.6 bytes per base byte (12 per
//! field, one field in 20 bytes; at most four times the base if every word is one). Encoding holds an index of up to
//! 1.2 bytes per base byte, at most 128 MiB; for programs also a second copy of base and target and the fields of
//! both: twice base and target together at its peak (libnode, 47 + 47 MB: 186 MB). For literals packed
//! apart, both sides hold the base's bytes that were not copied, and up to 2 MiB of earlier members' literals. [`encode_memory`] and
//! [`decode_memory`] tell callers before they start.
//!
//! # When it loses
//!
//! On bytes that are compressed or encrypted, where no two versions have anything in common: inflate them first. On
//! text that was shuffled in short pieces, by a few per cent, against a suffix array.
//!
//! # Rooms
//!
//! From the wire upwards: `limits`, `streams`; `script` and `residue`; `elf`, `spelling`, `fields`, `zones` and its
//! walkers (`fields_x86_64`, `fields_aarch64`, `eh_frame`, `gopclntab`, `gotypes`, `offsets`); `map`, `predict`,
//! `prefix`, `literals`, `references`; `decoder`; `memory`. Only for the making side (feature `encode`): `effort`, `seeds`, `window`, `matcher`, `normalise`,
//! `overrides`, `trial`, `encoder`. The bytes are laid down in `docs/format-group.md`.
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
//! A group is not trusted and does not vouch for its result: hold what comes out against a digest.

// Offsets and addresses of a viewed file stay below 4 GiB: `elf` refuses other files, and every narrowing
// cast here is of such a number, or wraps on purpose where a wrong prediction may be any number.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

#[cfg(feature = "encode")]
mod compare;
mod decoder;
#[cfg(feature = "encode")]
mod effort;
mod eh_frame;
mod elf;
#[cfg(feature = "encode")]
mod encoder;
mod error;
mod fields;
mod fields_aarch64;
mod fields_x86_64;
mod frame;
mod gopclntab;
mod gotypes;
mod group;
mod limits;
mod literals;
mod map;
#[cfg(feature = "encode")]
mod matcher;
mod member;
mod memory;
mod mixing;
#[cfg(feature = "encode")]
mod normalise;
mod offsets;
#[cfg(feature = "encode")]
mod overrides;
pub mod pack;
mod predict;
mod prefix;
mod references;
mod residue;
mod script;
#[cfg(feature = "encode")]
mod seeds;
mod spelling;
#[cfg(feature = "encode")]
mod stats;
mod stream;
#[cfg(feature = "encode")]
mod trial;
mod view;
#[cfg(feature = "encode")]
mod window;
mod zones;

pub use decoder::GroupDecoder;
#[cfg(feature = "encode")]
pub use effort::Effort;
#[cfg(feature = "encode")]
pub use encoder::GroupEncoder;
pub use error::{CodecError, PackError, Result};
pub use limits::GroupLimits;
pub use memory::decode_memory;
#[cfg(feature = "encode")]
pub use memory::encode_memory;
#[cfg(feature = "encode")]
pub use stats::MemberStats;
pub use stream::Stream;
pub use view::View;
