//! What can be wrong with the bytes of a delta.
//! Never a panic: every input byte comes from a stranger, and each finding says where it was made.

use imgdelta_codec::PackError;
use std::fmt;

/// Why bytes could not be read as what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes contradict themselves: fetch them again, or give up on this delta.
    Malformed {
        /// The part that was being read.
        place: &'static str,
        /// How many bytes of that part had been read.
        at: u64,
        /// What was being read.
        what: &'static str,
        /// The value that would have been right: a length, a bound or a count.
        expected: u64,
        /// The value that was there.
        found: u64,
    },
    /// The bytes ask for more memory than the caller admits: raise the limit, or refuse them.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit it was held against.
        limit: u64,
        /// What the bytes ask for.
        found: u64,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { place, at, what, expected, found } => {
                write!(f, "{place}, offset {at}: {what} is {found}, should be {expected}")
            }
            Self::TooLarge { what, limit, found } => {
                write!(f, "{what} come to {found}, more than the limit of {limit}")
            }
        }
    }
}

impl std::error::Error for FormatError {}

impl From<PackError> for FormatError {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Malformed { at, what, expected, found } => {
                Self::Malformed { place: "stream table", at, what, expected, found }
            }
            PackError::TooLarge { what, limit, found } => Self::TooLarge { what, limit, found },
        }
    }
}

/// The result of every reading function of this crate.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;
