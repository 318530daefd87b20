//! Remarks that spoil nothing: a media type that names the wrong compression, an attestation
//! that was skipped. Never a reason to stop; those are errors.

use std::fmt;

/// Something the reader of a result may want to know, printable as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The image, blob or layer it is about.
    pub place: String,
    /// What is remarkable there.
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
