//! The error of every read in this crate.
//! Never names a field: the format that reads knows the name and adds it.

use std::fmt;

/// Bytes that no writer of this crate produces.
///
/// A caller maps it to the error of its format and refuses the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The bytes end before the value does: the file is cut, or a length in it is wrong.
    Truncated {
        /// Offset of the value.
        at: u64,
        /// Bytes that the value needs, at least.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// An integer takes more bytes than it needs, or has more than 64 bits.
    Overlong {
        /// Offset of the integer.
        at: u64,
        /// Most bytes that this integer may take.
        most: u64,
        /// Bytes that it takes, at least.
        found: u64,
    },
    /// A distance leads below zero or above [`MAX_PLACE`](crate::MAX_PLACE).
    OutOfRange {
        /// Offset of the distance.
        at: u64,
        /// The position it counts from.
        expected: u64,
        /// The distance.
        distance: i64,
    },
    /// Bytes follow the last value.
    TrailingBytes {
        /// Offset behind the last value.
        at: u64,
        /// Bytes that are left.
        left: u64,
    },
}

impl WireError {
    /// Returns the offset of the value that could not be read.
    pub fn at(&self) -> u64 {
        match *self {
            Self::Truncated { at, .. }
            | Self::Overlong { at, .. }
            | Self::OutOfRange { at, .. }
            | Self::TrailingBytes { at, .. } => at,
        }
    }

    /// Returns the value that would be right: a length, a bound or an offset.
    pub fn expected(&self) -> u64 {
        match *self {
            Self::Truncated { needed, .. } => needed,
            Self::Overlong { most, .. } => most,
            Self::OutOfRange { expected, .. } => expected,
            Self::TrailingBytes { at, .. } => at,
        }
    }

    /// Returns the value in place of the expected one; a negative distance wraps.
    pub fn found(&self) -> u64 {
        match *self {
            Self::Truncated { left, .. } => left,
            Self::Overlong { found, .. } => found,
            Self::OutOfRange { distance, .. } => distance.cast_unsigned(),
            Self::TrailingBytes { at, left } => at + left,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at, needed, left } => {
                write!(f, "offset {at}: {left} bytes left, {needed} needed")
            }
            Self::Overlong { at, most, found } => {
                write!(f, "offset {at}: an integer takes {found} bytes, should take {most}")
            }
            Self::OutOfRange { at, expected, distance } => {
                write!(f, "offset {at}: {distance} from {expected} is out of range")
            }
            Self::TrailingBytes { at, left } => {
                write!(f, "offset {at}: {left} bytes behind the end")
            }
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_an_offset_an_expected_and_a_found_value() {
        let cases = [
            (WireError::Truncated { at: 7, needed: 5, left: 3 }, (7, 5, 3)),
            (WireError::Overlong { at: 8, most: 2, found: 4 }, (8, 2, 4)),
            (WireError::OutOfRange { at: 9, expected: 6, distance: -7 }, (9, 6, u64::MAX - 6)),
            (WireError::TrailingBytes { at: 10, left: 4 }, (10, 10, 14)),
        ];
        for (error, values) in cases {
            assert_eq!((error.at(), error.expected(), error.found()), values, "{error}");
        }
        assert_eq!(cases[0].0.to_string(), "offset 7: 3 bytes left, 5 needed");
        assert_eq!(cases[2].0.to_string(), "offset 9: -7 from 6 is out of range");
        assert_eq!(cases[3].0.to_string(), "offset 10: 4 bytes behind the end");
    }
}
