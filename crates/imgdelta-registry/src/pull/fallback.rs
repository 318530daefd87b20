//! The order in which a pull gives up its sources, most trusted content last.
//!
//! Decides by the kind of an error only.

use imgdelta_core::Error;

/// Sources that a pull still uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FallbackStep {
    /// Deltas, bases, registry.
    Deltas,
    /// Blobs of the bases, registry.
    Bases,
    /// The registry alone.
    Registry,
}

impl FallbackStep {
    /// Returns the next step.
    pub fn next(self) -> Self {
        match self {
            Self::Deltas => Self::Bases,
            Self::Bases | Self::Registry => Self::Registry,
        }
    }

    /// Returns the consequence of an error in this step, for a note.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Deltas => "continuing without deltas",
            Self::Bases => "continuing without the base",
            Self::Registry => "giving up",
        }
    }
}

/// Returns true if an error means wrong or missing bytes, so that another source may have them.
pub(super) fn is_content_error(error: &Error) -> bool {
    matches!(
        error,
        Error::BadInput { .. }
            | Error::Mismatch { .. }
            | Error::NotFound { .. }
            | Error::OverLimit { .. }
            | Error::BaseMissing { .. }
    )
}
