//! The ways in which packed bytes can be wrong.
//! Never the caller's mistakes.

use imgdelta_wire::WireError;
use std::fmt;

/// Packed bytes that stand for nothing: refuse the file that holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LzError {
    /// The value that is wrong.
    pub what: &'static str,
    /// The value that would be right, or the most.
    pub expected: u64,
    /// The value that is there.
    pub found: u64,
}

impl fmt::Display for LzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, should be {}", self.what, self.found, self.expected)
    }
}

impl std::error::Error for LzError {}

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

impl PackError {
    /// Adds the name of the value that could not be read.
    #[cold]
    pub fn of_wire(error: WireError, what: &'static str) -> Self {
        let (at, expected, found) = (error.at(), error.expected(), error.found());
        Self::Malformed { at, what, expected, found }
    }

    /// Adds the offset of an LZ code.
    #[cold]
    pub fn of_lz(error: LzError, at: u64) -> Self {
        let LzError { what, expected, found } = error;
        Self::Malformed { at, what, expected, found }
    }
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
