//! The error of remaking a stream.
//!
//! Never carries plain or compressed bytes.

use std::fmt;

/// The reason why a stream cannot be remade: wrong plain bytes, or a damaged recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemakeError {
    /// There are more plain bytes than the recipe has.
    TooLong,
    /// There are fewer plain bytes than the recipe has.
    TooShort,
    /// The encoder does not make such a frame.
    NoSuchFrame,
    /// The reference encoder failed, most likely for lack of memory.
    Encoder,
}

impl fmt::Display for RemakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "more plain bytes than the recipe accounts for",
            Self::TooShort => "fewer plain bytes than the recipe accounts for",
            Self::NoSuchFrame => "recipe has a frame that its encoder does not make",
            Self::Encoder => "the encoder failed",
        })
    }
}

impl std::error::Error for RemakeError {}
