//! The one public error, sorted by what its reader does next.
//!
//! Each variant is a different next step: mend the input, ask for something that exists, raise a
//! limit, fetch again, look at the disk, nothing. It carries where, expected and found; advice in
//! words is the command line's.

use std::{fmt, io};

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are what their digest promised and still make no sense: have the image rebuilt,
    /// or name something that is an image.
    #[error("{place}: {what}")]
    BadInput {
        /// The file, blob or range the fault lies in.
        place: String,
        /// What is wrong there, expected against found.
        what: String,
        /// What the parser or decoder said, where one did.
        #[source]
        source: Option<Cause>,
    },

    /// The thing asked for is not there: choose one of those that are.
    #[error("{place}: {what} is not there{}", Present(.present))]
    NotFound {
        /// Where it was looked for.
        place: String,
        /// What was looked for.
        what: String,
        /// What there is instead, for the asker to choose from; may be empty.
        present: Vec<String>,
    },

    /// A limit was met before memory or time was spent: raise it if the input is trusted.
    #[error("{place}: {what} is {found}, more than the limit of {limit}")]
    OverLimit {
        /// The file, blob or range that is too large.
        place: String,
        /// What was counted.
        what: &'static str,
        /// The count, or the first count that was too high.
        found: u64,
        /// The limit in force.
        limit: u64,
    },

    /// The bytes are not those that were promised: fetch or copy the input again.
    #[error("{place}: {what} is {found}, should be {expected}")]
    Mismatch {
        /// The blob or stream.
        place: String,
        /// What was compared: `digest`, `size`, `diff id`.
        what: &'static str,
        /// The promise.
        expected: String,
        /// The bytes' own.
        found: String,
    },

    /// The base lacks streams that the delta is made against: apply it to the image it was made for.
    #[error("{place}: the base lacks {}", missing.join(", "))]
    BaseMissing {
        /// What was asked for them.
        place: String,
        /// All that are missing, with what needs each where that is known.
        missing: Vec<String>,
    },

    /// The operating system said no: look at the disk, the rights, the network.
    #[error("{place}: {source}")]
    Io {
        /// The file or address.
        place: String,
        /// What the system said.
        source: io::Error,
    },

    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// What a lower layer said, kept for the chain.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Makes a [`Error::BadInput`] without a deeper cause.
    pub fn bad_input(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::BadInput { place: place.to_string(), what: what.to_string(), source: None }
    }

    /// Makes a [`Error::BadInput`] on top of what a parser or decoder said.
    pub fn bad_input_because(
        place: impl fmt::Display,
        what: impl fmt::Display,
        source: impl Into<Cause>,
    ) -> Self {
        Self::BadInput {
            place: place.to_string(),
            what: what.to_string(),
            source: Some(source.into()),
        }
    }

    /// Makes a [`Error::Io`], for use in `map_err`.
    pub fn io(place: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { place: place.to_string(), source }
    }
}

struct Present<'a>(&'a [String]);

impl fmt::Display for Present<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return Ok(()) };
        write!(f, "; there is {first}")?;
        for other in rest.iter().take(MAX_LISTED - 1) {
            write!(f, ", {other}")?;
        }
        match self.0.len().saturating_sub(MAX_LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A registry may hold thousands of tags; an error line stays readable.
const MAX_LISTED: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_instead_is_listed_and_the_list_is_cut() {
        let error = |n: usize| {
            Error::NotFound {
                place: "oci:dir".into(),
                what: "tag \"x\"".into(),
                present: (0..n).map(|i| format!("v{i}")).collect(),
            }
            .to_string()
        };
        assert_eq!(error(0), "oci:dir: tag \"x\" is not there");
        assert_eq!(error(2), "oci:dir: tag \"x\" is not there; there is v0, v1");
        assert!(error(14).ends_with("v11 and 2 more"));
    }
}
