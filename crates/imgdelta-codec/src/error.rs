//! What can be wrong with a group or with the base it is applied to.
//! Never a panic: every input byte comes from a stranger, and each finding says where it was made.

use crate::stream::Stream;
use std::fmt;

/// Why a group could not be opened or a member not be rebuilt.
///
/// Each variant asks for a different reaction of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The group's bytes contradict themselves or the member they are used for: fetch it again, or
    /// give up on this delta.
    Malformed {
        /// The stream that was being read; `None` for the group's own table.
        stream: Option<Stream>,
        /// How many bytes of that stream (or of the group) had been read.
        at: u64,
        /// What was being read.
        what: &'static str,
        /// The value that would have been right: a length, a bound or a count.
        expected: u64,
        /// The value that was there.
        found: u64,
    },
    /// The group asks for more memory than the caller admits: raise the limit, or refuse the delta.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit it was held against.
        limit: u64,
        /// What the group asks for.
        found: u64,
    },
    /// The base cannot be the one this group was made against: look for another base.
    BaseUnlike {
        /// What the group takes for granted.
        what: &'static str,
        /// The value the group needs.
        expected: u64,
        /// The value the base has.
        found: u64,
    },
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { stream, at, what, expected, found } => {
                match stream {
                    Some(stream) => write!(f, "stream {}", stream.name())?,
                    None => f.write_str("stream table")?,
                }
                write!(f, ", offset {at}: {what} is {found}, should be {expected}")
            }
            Self::TooLarge { what, limit, found } => {
                write!(f, "{what}: {found} bytes, the limit is {limit}")
            }
            Self::BaseUnlike { what, expected, found } => {
                write!(f, "base does not fit: {what} is {found}, should be {expected}")
            }
        }
    }
}

impl std::error::Error for CodecError {}

impl From<PackError> for CodecError {
    fn from(error: PackError) -> Self {
        match error {
            PackError::TooLarge { what, limit, found } => Self::TooLarge { what, limit, found },
            PackError::Malformed { at, what, expected, found } => {
                Self::Malformed { stream: None, at, what, expected, found }
            }
        }
    }
}

/// Reason why a pack of streams could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackError {
    /// The bytes contradict themselves: fetch them again, or refuse them.
    Malformed {
        /// Offset in the pack.
        at: u64,
        /// The value that was being read.
        what: &'static str,
        /// The value that would be right: a length, a bound or a count.
        expected: u64,
        /// The value that is there.
        found: u64,
    },
    /// The streams need more memory than the caller admits: raise the limit, or refuse them.
    TooLarge {
        /// The quantity that is too large.
        what: &'static str,
        /// The limit in force.
        limit: u64,
        /// The quantity that the pack names.
        found: u64,
    },
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { at, what, expected, found } => {
                write!(f, "stream table, offset {at}: {what} is {found}, should be {expected}")
            }
            Self::TooLarge { what, limit, found } => {
                write!(f, "{what}: {found} bytes, the limit is {limit}")
            }
        }
    }
}

impl std::error::Error for PackError {}

/// The result of every reading function of this crate.
pub type Result<T, E = CodecError> = std::result::Result<T, E>;
