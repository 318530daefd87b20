//! The order in which a pull gives up its sources, most trusted content last.
//!
//! Every error of a step except cancellation leads to the next step. The kind of an error only
//! decides if other deltas are worth an attempt.

use imgdelta_core::{Error, scratch::is_full};

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

/// Returns true if an error means wrong or missing bytes of one delta, so that others may be right.
pub(super) fn is_delta_error(error: &Error) -> bool {
    let is_content = matches!(
        error,
        Error::BadInput { .. }
            | Error::Mismatch { .. }
            | Error::NotFound { .. }
            | Error::OverLimit { .. }
            | Error::BaseMissing { .. }
    );
    is_content && !is_full(error)
}
