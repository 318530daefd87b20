//! The errors of reading a recipe and of remaking a stream.
//!
//! Never carries plain or compressed bytes.

use crate::fallback::ReplayError;
use std::fmt;

/// The reason why bytes are not a valid recipe. Callers refuse the file that contains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecipe {
    /// A later version of this crate wrote the recipe.
    Version(u8),
    /// The bytes end too early, or some are left over.
    Length,
    /// A value exceeds the limits.
    Limit,
    /// The recipe names a model or a parameter that does not exist.
    Unknown,
}

impl fmt::Display for BadRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "recipe version {version} is not known"),
            Self::Length => f.write_str("recipe has the wrong length"),
            Self::Limit => f.write_str("recipe exceeds the limits"),
            Self::Unknown => f.write_str("recipe names an unknown model"),
        }
    }
}

impl std::error::Error for BadRecipe {}

/// The reason why a stream cannot be remade: wrong plain bytes, or a damaged recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemakeError {
    /// There are more plain bytes than the recipe has.
    TooLong,
    /// There are fewer plain bytes than the recipe has.
    TooShort,
    /// The model has parameters that do not exist.
    NoSuchModel,
    /// The token record does not fit the plain bytes.
    Tokens(ReplayError),
}

impl fmt::Display for RemakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("more plain bytes than the recipe accounts for"),
            Self::TooShort => f.write_str("fewer plain bytes than the recipe accounts for"),
            Self::NoSuchModel => f.write_str("recipe has a model that does not exist"),
            Self::Tokens(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemakeError {}
