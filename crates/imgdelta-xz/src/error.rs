//! The errors of unpacking a stream, of reading a recipe and of remaking a stream.
//! Never carries plain or packed bytes.

use imgdelta_wire::WireError;
use std::fmt;

/// The reason why bytes are not an xz stream that this crate unpacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XzError {
    /// The bytes are damaged. The name says where.
    Damaged(&'static str),
    /// The stream has a feature that is not supported, such as a rare filter.
    Unsupported(&'static str),
    /// The stream asks for a larger window than the caller admits.
    Window {
        /// The most bytes that the caller admits.
        expected: u64,
        /// The bytes that the stream asks for.
        found: u64,
    },
    /// The bytes end within a stream.
    Truncated,
}

impl fmt::Display for XzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "xz stream is damaged: {what}"),
            Self::Unsupported(what) => write!(f, "xz stream has an unsupported {what}"),
            Self::Window { expected, found } => {
                write!(f, "xz stream needs a window of {found} bytes, expected at most {expected}")
            }
            Self::Truncated => write!(f, "xz stream is truncated"),
        }
    }
}

impl std::error::Error for XzError {}

/// The reason why bytes are not a valid recipe. Callers refuse the file that contains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecipeError {
    /// A later version of this crate wrote the recipe.
    Version {
        /// The version that this crate reads.
        expected: u8,
        /// The version of the recipe.
        found: u8,
    },
    /// The bytes end too early, go on behind the recipe, or hold a number that is too long.
    Wire(WireError),
    /// A value exceeds a limit.
    Limit {
        /// Name of the value.
        value: &'static str,
        /// The limit.
        expected: u64,
        /// The value.
        found: u64,
    },
    /// A value does not exist, such as the number of a filter.
    Unknown {
        /// Name of the value.
        value: &'static str,
        /// The value.
        found: u64,
    },
}

impl From<WireError> for RecipeError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { expected, found } => {
                write!(f, "xz recipe has version {found}, expected {expected}")
            }
            Self::Wire(error) => write!(f, "xz recipe: {error}"),
            Self::Limit { value, expected, found } => {
                write!(f, "xz recipe: {value} is {found}, expected at most {expected}")
            }
            Self::Unknown { value, found } => write!(f, "xz recipe: unknown {value} {found}"),
        }
    }
}

impl std::error::Error for RecipeError {}

/// The reason why a recipe does not fit plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemakeError {
    /// More plain bytes than the recipe has blocks for.
    TooLong,
    /// Fewer plain bytes than the recipe has blocks for.
    TooShort,
    /// A block is longer than encoders are modelled for.
    BlockTooLong {
        /// The most plain bytes of such a block.
        expected: u64,
    },
    /// The header of a block has no room for its fields.
    Header {
        /// The length of the header.
        header_bytes: usize,
    },
}

impl fmt::Display for RemakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "more plain bytes than the blocks of the xz recipe hold"),
            Self::TooShort => write!(f, "fewer plain bytes than the blocks of the xz recipe hold"),
            Self::BlockTooLong { expected } => {
                write!(f, "a block of the xz recipe has more than {expected} plain bytes")
            }
            Self::Header { header_bytes } => {
                write!(f, "a header of {header_bytes} bytes is too short for a block")
            }
        }
    }
}

impl std::error::Error for RemakeError {}
