//! The errors of reading a delta's bytes.
//! Never a panic: every input byte comes from a stranger, and each error names its place.

use crate::limits::ReadLimitName;
use imgdelta_coding::PackError;
use imgdelta_wire::WireError;
use std::fmt;

/// Reason why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes contradict themselves: fetch them again, or refuse the delta.
    Malformed {
        /// The part that was being read.
        place: &'static str,
        /// Bytes of that part that had been read.
        at: u64,
        /// The value that was being read.
        what: &'static str,
        /// The value that would be right: a length, a bound or a count.
        expected: u64,
        /// The value that is there.
        found: u64,
    },
    /// The bytes need more memory than the caller admits: raise the limit, or refuse them.
    TooLarge {
        /// The limit; none if it follows from other parts of the bytes.
        name: Option<ReadLimitName>,
        /// The quantity that is too large.
        what: &'static str,
        /// The limit in force.
        limit: u64,
        /// The quantity that the bytes name.
        found: u64,
    },
}

impl FormatError {
    /// Adds the names of the part and of the value that could not be read.
    #[cold]
    pub(crate) fn of_wire(error: WireError, place: &'static str, what: &'static str) -> Self {
        let (at, expected, found) = (error.at(), error.expected(), error.found());
        Self::Malformed { place, at, what, expected, found }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { place, at, what, expected, found } => {
                write!(f, "{place}, offset {at}: {what} is {found}, should be {expected}")
            }
            Self::TooLarge { what, limit, found, .. } => {
                write!(f, "{what}: {found}, more than the limit of {limit}")
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
            PackError::TooLarge { what, limit, found } => {
                Self::TooLarge { name: None, what, limit, found }
            }
        }
    }
}

/// Result of every reading function of this crate.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;
