//! One target byte range rebuilt from base byte ranges: matching, views and residue, as pure functions.

mod bytes;
mod decoder;
#[cfg(feature = "encode")]
mod encoder;
mod error;
#[cfg(feature = "encode")]
mod matcher;
mod pack;
mod residue;
mod script;
#[cfg(feature = "encode")]
mod seeds;
mod streams;
mod varint;
mod view;

pub use decoder::GroupDecoder;
#[cfg(feature = "encode")]
pub use encoder::{Effort, GroupEncoder, MemberStats};
pub use error::{CodecError, Result};
pub use pack::GroupLimits;
pub use streams::Stream;
pub use view::View;
