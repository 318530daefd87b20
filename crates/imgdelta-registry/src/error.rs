//! Errors of requests to a registry, sorted by the caller's next step.
//!
//! An error has host, repository, request, status and the registry's message. It never has a header,
//! since headers hold secrets. Where a caller works with images it becomes a core error.

use imgdelta_core::{Error, path::escaped};
use std::{fmt, io, sync::Arc, time::Duration};

/// Result of a request to a registry.
pub type Result<T> = std::result::Result<T, RequestError>;

/// Reason why a request to a registry failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct RequestError {
    /// Registry and repository, as `docker://HOST/REPOSITORY`.
    pub place: Box<str>,
    /// The object of the request, such as `manifest v1`.
    pub request: Box<str>,
    /// The outcome.
    pub kind: RequestErrorKind,
}

/// Outcome of a failed request.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestErrorKind {
    /// The registry does not have it: request another name, or push it first.
    NotFound {
        /// The registry's message; may be empty.
        message: String,
    },
    /// The registry requires a login, and none was sent: log in.
    CredentialsMissing {
        /// The status: 401, or 403 to an anonymous request.
        status: u16,
        /// The registry's message; may be empty.
        message: String,
    },
    /// The registry does not accept the user or the password: correct them.
    CredentialsRejected {
        /// The status.
        status: u16,
        /// The registry's message; may be empty.
        message: String,
    },
    /// The registry accepts the login, which has no permission for the request: use another account.
    Forbidden {
        /// The status: 403, or 401 to a valid token.
        status: u16,
        /// The registry's message; may be empty.
        message: String,
    },
    /// The registry refuses the request and would refuse it again.
    Refused {
        /// The status.
        status: u16,
        /// The registry's message; may be empty.
        message: String,
    },
    /// The registry is overloaded or broken after all retries: try again later.
    Unavailable {
        /// The status.
        status: u16,
        /// The registry's message; may be empty.
        message: String,
        /// The wait that the registry asks for.
        retry_after: Option<Duration>,
    },
    /// No response, or an incomplete one, after all retries: check the network.
    Network {
        /// The connection's error.
        message: String,
    },
    /// The server took the request and did not answer, after all retries: try again later.
    Silent {
        /// Time that the last attempt waited.
        waited: Duration,
    },
    /// No connection: check the name, the network and the certificates.
    Unreachable {
        /// The connection's error.
        message: String,
    },
    /// The server sends so slowly that nobody would wait: try another network or registry.
    TooSlow {
        /// The server that sends.
        server: String,
        /// Bytes that arrived.
        bytes: u64,
        /// Milliseconds that they took.
        millis: u64,
        /// Bytes that the client requires each second.
        least_bytes_per_second: u64,
    },
    /// The response is invalid or too large, or a local file cannot be read: see the error.
    Invalid(Error),
}

impl RequestError {
    /// Makes an error from place, request and outcome.
    pub(crate) fn new(
        place: impl Into<Box<str>>,
        request: impl Into<Box<str>>,
        kind: RequestErrorKind,
    ) -> Self {
        Self { place: place.into(), request: request.into(), kind }
    }

    /// Returns true if the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        use RequestErrorKind::{Network, Silent, Unavailable, Unreachable};
        matches!(
            self.kind,
            Unavailable { .. } | Network { .. } | Silent { .. } | Unreachable { .. }
        )
    }

    /// Returns true if the registry does not have the object.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, RequestErrorKind::NotFound { .. })
    }

    /// Returns advice for a user of the command line.
    pub fn advice(&self) -> Option<&'static str> {
        use RequestErrorKind as Kind;
        Some(match &self.kind {
            Kind::NotFound { .. } => "check the name; push the image to the registry if it is new",
            Kind::CredentialsMissing { .. } => {
                "log in to the registry first (docker login, podman login, skopeo login), or name \
                 an auth file with --authfile"
            }
            Kind::CredentialsRejected { .. } => {
                "log in to the registry again (docker login, podman login, skopeo login), or name \
                 another auth file with --authfile"
            }
            Kind::Forbidden { .. } => {
                "this account has no permission: log in with another account, or ask the owner of \
                 the repository for access"
            }
            Kind::Unavailable { .. } => "the registry is busy or broken: try again later",
            Kind::Unreachable { message } if is_about_certificates(message) => {
                "the registry's certificate is not trusted: name its authority with --ca FILE"
            }
            Kind::Network { .. } | Kind::Unreachable { .. } => {
                "check the network and the host name; a registry without TLS needs --plain-http"
            }
            Kind::Silent { .. } => {
                "the server accepts connections and does not answer: try again later, or check the \
                 proxies and firewalls on the way"
            }
            Kind::TooSlow { .. } => {
                "the server or the network is too slow: try again later, or from another network"
            }
            Kind::Refused { status: 405, .. } => {
                "the registry has this kind of request switched off, such as deletion"
            }
            Kind::Refused { .. } | Kind::Invalid(_) => return None,
        })
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RequestErrorKind as Kind;
        write!(f, "{}: ", self.request)?;
        let (summary, status, message) = match &self.kind {
            Kind::Network { message } | Kind::Unreachable { message } => {
                return f.write_str(message);
            }
            Kind::Invalid(error) => return error.fmt(f),
            Kind::Silent { waited } => {
                return write!(f, "no answer for {}", Span(*waited));
            }
            Kind::TooSlow { server, bytes, millis, least_bytes_per_second } => {
                return write!(
                    f,
                    "{server} is too slow: {bytes} bytes in {} s, and {least_bytes_per_second} \
                     bytes a second are required",
                    millis.div_ceil(1000)
                );
            }
            Kind::NotFound { message } => ("not found", None, message),
            Kind::CredentialsMissing { status, message } => {
                ("login required", Some(status), message)
            }
            Kind::CredentialsRejected { status, message } => {
                ("wrong user or password", Some(status), message)
            }
            Kind::Forbidden { status, message } => ("access denied", Some(status), message),
            Kind::Refused { status, message } => ("request refused", Some(status), message),
            Kind::Unavailable { status, message, .. } => {
                ("the registry is unavailable", Some(status), message)
            }
        };
        f.write_str(summary)?;
        if let Some(status) = status {
            write!(f, " (status {status})")?;
        }
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        match &self.kind {
            Kind::Unavailable { retry_after: Some(wait), .. } => {
                write!(f, "; the registry asks to wait {} s", wait.as_secs())
            }
            _ => Ok(()),
        }
    }
}

/// A time as people say it: `10 s`, `0.3 s`, `20 ms`.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis @ 0..100 => write!(f, "{millis} ms"),
            100..1000 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            _ => write!(f, "{} s", self.0.as_secs()),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        use RequestErrorKind as Kind;
        let RequestError { place, request, kind } = error;
        match kind {
            Kind::Invalid(error) => error,
            Kind::NotFound { .. } => {
                Self::NotFound { place: place.into(), what: request.into(), present: Vec::new() }
            }
            kind => {
                let io_kind = match kind {
                    Kind::CredentialsMissing { .. }
                    | Kind::CredentialsRejected { .. }
                    | Kind::Forbidden { .. } => io::ErrorKind::PermissionDenied,
                    _ => io::ErrorKind::Other,
                };
                let source =
                    io::Error::new(io_kind, RequestError { place: place.clone(), request, kind });
                Self::Io { place: place.into(), source: Arc::new(source) }
            }
        }
    }
}

/// Returns true if a connection's error is about certificates. TLS libraries give no better sign.
pub(crate) fn is_about_certificates(message: &str) -> bool {
    message.contains("certificate") || message.contains("UnknownIssuer")
}

/// Returns advice for a person about a core error that came from a registry.
pub fn advice(error: &Error) -> Option<&'static str> {
    match error {
        Error::NotFound { what, .. } if what.starts_with(DELTA_TARGET) => {
            Some("push the new image to this repository first, then the delta")
        }
        error => request_error(error)?.advice(),
    }
}

/// Returns the failed request that caused a core error.
pub fn request_error(error: &Error) -> Option<&RequestError> {
    let Error::Io { source, .. } = error else { return None };
    let mut source: &(dyn std::error::Error + 'static) = source.get_ref()?;
    loop {
        if let Some(error) = source.downcast_ref::<RequestError>() {
            return Some(error);
        }
        source = source.source()?;
    }
}

/// Start of the request text for the image that a delta makes.
pub(crate) const DELTA_TARGET: &str = "the image that the delta makes";

/// Reads a registry's error document: its codes and messages in one line.
pub(crate) fn registry_message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct ErrorDocument {
        #[serde(default)]
        errors: Vec<ErrorEntry>,
    }
    #[derive(serde::Deserialize)]
    struct ErrorEntry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(document) = serde_json::from_slice::<ErrorDocument>(body) else {
        return String::new();
    };
    let lines: Vec<String> = document
        .errors
        .iter()
        .take(MAX_ERRORS)
        .map(|entry| {
            if entry.message.is_empty() {
                entry.code.clone()
            } else {
                format!("{} ({})", entry.code, entry.message)
            }
        })
        .collect();
    let line: String = lines.join(", ").chars().take(MAX_CHARS).collect();
    escaped(line.as_bytes()).into_owned()
}

/// An error message stays one readable line.
const MAX_ERRORS: usize = 3;
const MAX_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: RequestErrorKind) -> RequestError {
        RequestError::new("docker://r/x", "manifest v1", kind)
    }

    #[test]
    fn request_errors_become_core_errors_of_the_same_kind() {
        let missing = Error::from(error(RequestErrorKind::NotFound { message: String::new() }));
        assert!(matches!(missing, Error::NotFound { .. }));
        let wrong = Error::bad_input("x", "y");
        assert_eq!(Error::from(error(RequestErrorKind::Invalid(wrong))).to_string(), "x: y");
    }

    #[test]
    fn missing_wrong_and_insufficient_logins_have_different_messages() {
        use RequestErrorKind::{CredentialsMissing, CredentialsRejected, Forbidden};
        let message = || "DENIED".to_owned();
        for (kind, text, hint) in [
            (
                CredentialsMissing { status: 401, message: message() },
                "docker://r/x: manifest v1: login required (status 401): DENIED",
                "log in to the registry first",
            ),
            (
                CredentialsRejected { status: 401, message: message() },
                "docker://r/x: manifest v1: wrong user or password (status 401): DENIED",
                "log in to the registry again",
            ),
            (
                Forbidden { status: 403, message: message() },
                "docker://r/x: manifest v1: access denied (status 403): DENIED",
                "another account",
            ),
        ] {
            let error = Error::from(error(kind));
            assert_eq!(error.to_string(), text);
            assert!(advice(&error).unwrap().contains(hint), "{error}");
            let Error::Io { source, .. } = &error else { panic!("{error}") };
            assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn a_registrys_message_is_cut_and_escaped() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no \u001b[31m"},{"code":"B"}]}"#;
        assert_eq!(registry_message(body), r"DENIED (no \x1b[31m), B");
        let long = format!(r#"{{"errors":[{{"code":"{}"}}]}}"#, "x".repeat(9000));
        assert_eq!(registry_message(long.as_bytes()).len(), 300);
        assert_eq!(registry_message(b"404 page not found"), "");
    }
}
