//! The errors of groups, members and packs.
//! Never a panic: every input byte comes from a stranger, and each error names its offset.

use crate::stream::StreamKind;
use imgdelta_coding::PackError;
use std::fmt;

/// Reason why a group could not be opened or a member could not be rebuilt.
///
/// Each variant asks for a different reaction of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The group contradicts itself or the member it is used for: fetch it again, or refuse the
    /// delta.
    Malformed {
        /// The stream that was being read; `None` for the group's own table.
        stream: Option<StreamKind>,
        /// Bytes of that stream, or of the group, that had been read.
        at: u64,
        /// The value that was being read.
        what: &'static str,
        /// The value that would be right: a length, a bound or a count.
        expected: u64,
        /// The value that is there.
        found: u64,
    },
    /// The group needs more memory than the caller admits: raise the limit, or refuse the delta.
    TooLarge {
        /// The quantity that is too large.
        what: &'static str,
        /// The limit in force.
        limit: u64,
        /// The quantity that the group names.
        found: u64,
    },
    /// The group was made against another base: look for that one.
    BaseUnlike {
        /// The property of the base that the group relies on.
        what: &'static str,
        /// The value that the group needs.
        expected: u64,
        /// The value that the base has.
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

/// The result of every reading function of this crate.
pub type Result<T, E = CodecError> = std::result::Result<T, E>;
