//! One target byte range rebuilt from base byte ranges: matching, views and residue, as pure functions.

// Offsets and addresses of a viewed file stay below 4 GiB: `elf` refuses other files, and every narrowing
// cast here is of such a number, or wraps on purpose where a wrong prediction may be any number.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

mod bytes;
mod decoder;
mod eh_frame;
mod elf;
#[cfg(feature = "encode")]
mod encoder;
mod error;
mod fields;
mod fields_aarch64;
mod fields_x86_64;
mod gopclntab;
mod gotypes;
mod map;
#[cfg(feature = "encode")]
mod matcher;
#[cfg(feature = "encode")]
mod normalise;
mod offsets;
#[cfg(feature = "encode")]
mod overrides;
mod pack;
mod predict;
mod references;
mod residue;
mod script;
#[cfg(feature = "encode")]
mod seeds;
mod streams;
#[cfg(feature = "encode")]
mod trial;
mod varint;
mod view;
mod zones;

pub use decoder::GroupDecoder;
#[cfg(feature = "encode")]
pub use encoder::{Effort, GroupEncoder, MemberStats};
pub use error::{CodecError, Result};
pub use pack::GroupLimits;
pub use streams::Stream;
pub use view::View;
