//! The errors of reading a recipe and of remaking a stream.
//!
//! Never carries plain or compressed bytes.

use crate::fallback::ReplayError;
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
    /// A value does not exist, such as the number of a model or one of its parameters.
    Unknown {
        /// Name of the value.
        value: &'static str,
        /// The value.
        found: u64,
    },
    /// The encoder cannot restart at a restart point.
    Point {
        /// Index of the point.
        index: usize,
        /// The condition that the point breaks.
        expected: &'static str,
        /// The number in the point that breaks the condition.
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
            Self::Point { index, expected, found } => {
                write!(f, "restart point {index} is invalid: expected {expected}, found {found}")
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
        /// Plain bytes in the recipe, or in the range that a span reads.
        expected_bytes: u64,
        /// Plain bytes so far.
        found_bytes: u64,
    },
    /// A span does not belong to the current member. Spans are joined in the order of the steps.
    Member {
        /// Index of the current member.
        expected: usize,
        /// Index of the span's member.
        found: usize,
    },
    /// The stream has ended already.
    Finished,
    /// The model has parameters that do not exist.
    NoSuchModel,
    /// The token record does not fit the plain bytes.
    Tokens(ReplayError),
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
            Self::Member { expected, found } => {
                write!(f, "span of another member: expected {expected}, found {found}")
            }
            Self::Finished => f.write_str("the stream has ended already"),
            Self::NoSuchModel => f.write_str("recipe has a model that does not exist"),
            Self::Tokens(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemakeError {}
