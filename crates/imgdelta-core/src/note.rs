//! Remarks about oddities that were tolerated: a media type that names the wrong compression, an
//! attestation that was skipped.
//!
//! Never a reason to stop; those are errors.

use std::fmt;

/// A remark in one line, for the reader of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The image, blob or layer it is about.
    pub place: String,
    /// The remark.
    pub what: String,
}

impl Note {
    /// Makes a note.
    pub fn new(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self { place: place.to_string(), what: what.to_string() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
