//! The ways in which packed bytes can be wrong.
//! Never the caller's mistakes.

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
