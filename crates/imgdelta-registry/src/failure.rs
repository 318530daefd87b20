//! What went wrong between here and a registry, sorted by what its reader does next.
//!
//! Says host, repository, what was asked, the status and the registry's own words; never a header,
//! for those hold secrets. A core error comes out where a caller speaks of images.

use imgdelta_core::{Error, path::escaped};
use std::{fmt, io, sync::Arc, time::Duration};

/// What every fallible function of this crate returns that speaks to a registry.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a registry did not give or take something.
#[derive(Debug)]
pub struct Failure {
    /// Registry and repository, as `docker://HOST/REPOSITORY`.
    pub place: Box<str>,
    /// What was asked for, such as `manifest v1`.
    pub asked: Box<str>,
    /// What came of it.
    pub why: Why,
}

/// What came of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
    /// It is not there: ask for another, or push it first.
    NotFound {
        /// The registry's own words, if any.
        said: String,
    },
    /// Credentials are missing, wrong or not enough: log in.
    Denied {
        /// The status.
        status: u16,
        /// The registry's own words, if any.
        said: String,
    },
    /// The registry says no, and would again.
    Refused {
        /// The status.
        status: u16,
        /// The registry's own words, if any.
        said: String,
    },
    /// The registry could not for now, as often as it was asked: try later.
    Unavailable {
        /// The status.
        status: u16,
        /// The registry's own words, if any.
        said: String,
        /// How long it asks to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// No answer, or a cut one, as often as it was asked: look at the network.
    Network {
        /// What the connection said.
        what: String,
    },
    /// No connection could be made: look at the name.
    Unreachable {
        /// What the connection said.
        what: String,
    },
    /// What came back is wrong, or more than may come.
    Wrong(Error),
}

impl Failure {
    /// Makes one of an error of the core.
    pub fn wrong(place: impl Into<Box<str>>, asked: impl Into<Box<str>>, error: Error) -> Self {
        Self { place: place.into(), asked: asked.into(), why: Why::Wrong(error) }
    }

    /// Whether the same request may go well a moment later.
    pub fn is_passing(&self) -> bool {
        matches!(self.why, Why::Unavailable { .. } | Why::Network { .. } | Why::Unreachable { .. })
    }

    /// Whether the thing is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.why, Why::NotFound { .. })
    }

    /// Returns what a person may do about it.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match &self.why {
            Why::NotFound { .. } => "look at the name, and whether it was pushed there",
            Why::Denied { .. } => {
                "log in to the registry first (docker login, podman login, skopeo login), or name \
                 an auth file with --authfile"
            }
            Why::Unavailable { .. } => "the registry is busy or broken: try again later",
            Why::Unreachable { what } if is_about_trust(what) => {
                "the registry's certificate is not trusted: name its authority with --ca FILE"
            }
            Why::Network { .. } | Why::Unreachable { .. } => {
                "look at the network and the name; a registry without TLS needs --plain-http"
            }
            Why::Refused { .. } | Why::Wrong(_) => return None,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.asked)?;
        let said = |f: &mut fmt::Formatter<'_>, said: &str| {
            if said.is_empty() { Ok(()) } else { write!(f, ": {said}") }
        };
        match &self.why {
            Why::NotFound { said: words } => {
                f.write_str("not there")?;
                said(f, words)
            }
            Why::Denied { status, said: words } => {
                write!(f, "access denied (status {status})")?;
                said(f, words)
            }
            Why::Refused { status, said: words } => {
                write!(f, "refused (status {status})")?;
                said(f, words)
            }
            Why::Unavailable { status, said: words, retry_after } => {
                write!(f, "not for now (status {status})")?;
                said(f, words)?;
                match retry_after {
                    Some(wait) => write!(f, "; it asks to wait {} s", wait.as_secs()),
                    None => Ok(()),
                }
            }
            Why::Network { what } | Why::Unreachable { what } => f.write_str(what),
            Why::Wrong(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { place, asked, why } = failure;
        match why {
            Why::Wrong(error) => error,
            Why::NotFound { .. } => {
                Self::NotFound { place: place.into(), what: asked.into(), present: Vec::new() }
            }
            why => {
                let kind = match why {
                    Why::Denied { .. } => io::ErrorKind::PermissionDenied,
                    _ => io::ErrorKind::Other,
                };
                let source = io::Error::new(kind, Failure { place: place.clone(), asked, why });
                Self::Io { place: place.into(), source: Arc::new(source) }
            }
        }
    }
}

/// Whether words of a connection are about certificates; TLS libraries have no better sign.
pub(crate) fn is_about_trust(what: &str) -> bool {
    what.contains("certificate") || what.contains("UnknownIssuer")
}

/// Returns what a person may do about an error that came from a registry.
pub fn advice(error: &Error) -> Option<&'static str> {
    let Error::Io { source, .. } = error else { return None };
    let mut source: &(dyn std::error::Error + 'static) = source.get_ref()?;
    loop {
        if let Some(failure) = source.downcast_ref::<Failure>() {
            return failure.advice();
        }
        source = source.source()?;
    }
}

/// Reads a registry's error document: its codes and messages in one line.
pub(crate) fn words(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(document) = serde_json::from_slice::<Document>(body) else { return String::new() };
    let lines: Vec<String> = document
        .errors
        .iter()
        .take(MOST_ERRORS)
        .map(|one| {
            if one.message.is_empty() {
                one.code.clone()
            } else {
                format!("{} ({})", one.code, one.message)
            }
        })
        .collect();
    let line: String = lines.join(", ").chars().take(MOST_CHARS).collect();
    escaped(line.as_bytes()).into_owned()
}

/// An error line stays a line.
const MOST_ERRORS: usize = 3;
const MOST_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_become_errors_with_their_exit_codes_kind() {
        let failure =
            |why| Failure { place: "docker://r/x".into(), asked: "manifest v1".into(), why };
        let error = Error::from(failure(Why::NotFound { said: String::new() }));
        assert!(matches!(error, Error::NotFound { .. }));
        let error = Error::from(failure(Why::Denied { status: 401, said: "UNAUTHORIZED".into() }));
        assert_eq!(
            error.to_string(),
            "docker://r/x: manifest v1: access denied (status 401): UNAUTHORIZED"
        );
        assert!(advice(&error).unwrap().contains("log in"));
        let wrong = Error::bad_input("x", "y");
        assert_eq!(Error::from(failure(Why::Wrong(wrong))).to_string(), "x: y");
    }

    #[test]
    fn a_registrys_words_are_cut_and_made_harmless() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no \u001b[31m"},{"code":"B"}]}"#;
        assert_eq!(words(body), r"DENIED (no \x1b[31m), B");
        let long = format!(r#"{{"errors":[{{"code":"{}"}}]}}"#, "x".repeat(9000));
        assert_eq!(words(long.as_bytes()).len(), 300);
        assert_eq!(words(b"404 page not found"), "");
    }
}
