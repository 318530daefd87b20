//! Errors on their way out: a line, a hint, an exit code.
//!
//! Advice lives here and not in the core, whose callers may have better.

use imgdelta::Error;
use std::{error::Error as _, process::ExitCode};

/// Prints an error with its causes and a hint, and returns its exit code.
pub fn report(error: Error) -> ExitCode {
    let error = &error;
    eprintln!("imgdelta: {error}");
    // An I/O error prints its source itself: it has nothing to say without.
    let mut cause = if matches!(error, Error::Io { .. }) { None } else { error.source() };
    while let Some(deeper) = cause {
        eprintln!("  because {}", imgdelta::path::escaped(deeper.to_string().as_bytes()));
        cause = deeper.source();
    }
    if let Some(hint) = hint(error) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code(error))
}

/// Returns the documented exit code of an error.
pub fn code(error: &Error) -> u8 {
    match error {
        Error::BaseMissing { .. } => 4,
        Error::Mismatch { .. } => 5,
        Error::Io { .. } => 6,
        Error::Cancelled => 130,
        // The enum may grow: what is new is bad input until it says otherwise.
        _ => 3,
    }
}

fn hint(error: &Error) -> Option<String> {
    if let Some(advice) = imgdelta_registry::advice(error) {
        return Some(advice.into());
    }
    #[cfg(feature = "job")]
    if let Some(advice) = imgdelta_job::advice(error) {
        return Some(advice.into());
    }
    Some(match error {
        Error::OverLimit { .. } => {
            "if you trust the image, raise the limit: see --limit in `imgdelta diff --help`".into()
        }
        Error::Mismatch { .. } => {
            "the copy is damaged or was changed; copy or pull the image again".into()
        }
        Error::BaseMissing { .. } => {
            "a delta fits the image it was made from: see `imgdelta inspect`, and name that as --base"
                .into()
        }
        Error::NotFound { place, present, .. } if place.starts_with("docker://") => {
            let is_empty = present.is_empty();
            let hints = [
                "name one of those after a colon, as in docker://HOST/REPO:TAG",
                "look at the name, and whether it was pushed there",
            ];
            hints[usize::from(is_empty)].into()
        }
        Error::NotFound { present, .. } if !present.is_empty() => {
            "name one of those after a colon, as in oci:DIR:TAG".into()
        }
        Error::NotFound { .. } => {
            "images are named oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE or by a path"
                .into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta::Difference;

    #[test]
    fn every_error_has_its_documented_code() {
        let mismatch = Error::Mismatch {
            place: String::new(),
            difference: Difference::Size { expected: 1, found: 2 },
        };
        assert_eq!(code(&mismatch), 5);
        let missing = Error::BaseMissing { place: String::new(), missing: Vec::new() };
        assert_eq!(code(&missing), 4);
        assert_eq!(code(&Error::bad_input("x", "y")), 3);
        assert_eq!(code(&Error::io("x")(std::io::Error::other("y"))), 6);
        assert_eq!(code(&Error::Cancelled), 130);
    }
}
