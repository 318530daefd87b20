//! The errors of reading a recipe and of remaking a stream.
//!
//! Never carries plain or compressed bytes.

use std::fmt;

/// The reason why bytes are not a valid recipe. Callers refuse the file that contains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecipeError {
    /// A later version of this crate wrote the recipe.
    Version {
        /// The newest version that this crate reads.
        expected: u8,
        /// The version of the recipe.
        found: u8,
    },
    /// The bytes end too early.
    Truncated {
        /// Bytes that the next value needs.
        expected_bytes: u64,
        /// Bytes that are left.
        found_bytes: u64,
    },
    /// Some bytes are left over behind the recipe.
    Trailing {
        /// Bytes behind the recipe.
        found_bytes: u64,
    },
    /// A value exceeds a limit.
    Limit {
        /// Name of the value.
        value: &'static str,
        /// The limit.
        expected: u64,
        /// The value, or the largest number if the value is larger.
        found: u64,
    },
    /// A value does not exist, such as the number of a model.
    Unknown {
        /// Name of the value.
        value: &'static str,
        /// The value.
        found: u64,
    },
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { expected, found } => {
                write!(f, "recipe version is {found}, expected at most {expected}")
            }
            Self::Truncated { expected_bytes, found_bytes } => {
                write!(
                    f,
                    "recipe is truncated: expected {expected_bytes} bytes, found {found_bytes}"
                )
            }
            Self::Trailing { found_bytes } => {
                write!(f, "recipe has {found_bytes} bytes behind its end")
            }
            Self::Limit { value, expected, found } => {
                write!(f, "recipe exceeds a limit: {value} is {found}, expected at most {expected}")
            }
            Self::Unknown { value, found } => {
                write!(f, "recipe has an unknown {value}: {found}")
            }
        }
    }
}

impl std::error::Error for RecipeError {}

/// The reason why a stream cannot be remade: wrong plain bytes, or a damaged recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemakeError {
    /// There are more plain bytes than the recipe has.
    TooLong {
        /// Plain bytes in the recipe.
        expected_bytes: u64,
        /// Plain bytes so far.
        found_bytes: u64,
    },
    /// There are fewer plain bytes than the recipe has.
    TooShort {
        /// Plain bytes in the recipe.
        expected_bytes: u64,
        /// Plain bytes so far.
        found_bytes: u64,
    },
    /// The stream has ended already.
    Finished,
    /// A frame writer got bytes between two frames.
    NoOpenFrame,
    /// The encoder does not make such a frame.
    NoSuchFrame,
    /// The reference encoder failed, most likely for lack of memory.
    Encoder,
}

impl fmt::Display for RemakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { expected_bytes, found_bytes } => write!(
                f,
                "more plain bytes than the recipe has: expected {expected_bytes}, found {found_bytes}"
            ),
            Self::TooShort { expected_bytes, found_bytes } => write!(
                f,
                "fewer plain bytes than the recipe has: expected {expected_bytes}, found {found_bytes}"
            ),
            Self::Finished => f.write_str("the stream has ended already"),
            Self::NoOpenFrame => f.write_str("no frame is open"),
            Self::NoSuchFrame => f.write_str("recipe has a frame that its encoder does not make"),
            Self::Encoder => f.write_str("the encoder failed"),
        }
    }
}

impl std::error::Error for RemakeError {}
