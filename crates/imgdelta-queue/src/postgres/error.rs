//! Errors of a `PostgreSQL` server and of the connection to it.
//!
//! Shows the whole chain of causes in one line. Advice is separate, for the program that prints the
//! error.

use imgdelta_core::Error;
use rustls::CertificateError;
use std::{error, fmt, io};
use tokio_postgres::error::SqlState;

/// A failed connection or statement.
#[derive(Debug)]
pub(super) struct PostgresError(tokio_postgres::Error);

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error)
    }
}

impl PostgresError {
    fn advice(&self) -> Option<&'static str> {
        if let Some(rustls::Error::InvalidCertificate(reason)) = self.tls() {
            return Some(certificate_advice(reason));
        }
        if let Some(refused) = self.0.as_db_error() {
            let is_plain = refused.message().ends_with("no encryption");
            return match *refused.code() {
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION if is_plain => {
                    Some("the server accepts TLS connections only: write sslmode=require")
                }
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION | SqlState::INVALID_PASSWORD => {
                    Some("check the user and the password-file in [queue]")
                }
                SqlState::INVALID_CATALOG_NAME => Some("create the database first: createdb"),
                _ => None,
            };
        }
        let deepest = chain(&self.0).last()?.to_string();
        match deepest.as_str() {
            NO_TLS => Some(
                "switch TLS on in the server (ssl = on), or write sslmode=disable if the network \
                 between is private",
            ),
            NO_PASSWORD => Some("name a password-file in [queue]"),
            _ => None,
        }
    }

    /// Returns the error of TLS, if it caused the failure.
    fn tls(&self) -> Option<&rustls::Error> {
        chain(&self.0).find_map(|error| {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            inner.and_then(|inner| inner.downcast_ref())
        })
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No message of the chain contains that of its cause.
        let mut is_first = true;
        chain(&self.0).try_for_each(|error| {
            let separator = if std::mem::take(&mut is_first) { "" } else { ": " };
            write!(f, "{separator}{error}")
        })
    }
}

impl error::Error for PostgresError {}

/// Returns advice for the operator on an error of a `PostgreSQL` queue.
pub fn advice(error: &Error) -> Option<&'static str> {
    let Error::Io { source, .. } = error else { return None };
    source.get_ref()?.downcast_ref::<PostgresError>()?.advice()
}

/// Returns true if a server does not answer yet: nobody listens, it starts or ends, or the network
/// brings no answer. A wrong name, password or certificate is not among these.
pub fn is_away(error: &Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound, TimedOut,
    };
    let Error::Io { source, .. } = error else { return false };
    let Some(PostgresError(failed)) = source.get_ref().and_then(|inner| inner.downcast_ref())
    else {
        return source.kind() == TimedOut;
    };
    if let Some(refused) = failed.as_db_error() {
        return [
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::TOO_MANY_CONNECTIONS,
            // A standby that is promoted soon, or a server whose place another one takes.
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(refused.code());
    }
    failed.is_closed()
        || chain(failed).filter_map(|error| error.downcast_ref::<io::Error>()).any(|error| {
            // A socket of the file system is not there before the server.
            let kinds = [ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound, TimedOut];
            kinds.contains(&error.kind())
        })
}

fn certificate_advice(reason: &CertificateError) -> &'static str {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    match reason {
        // A bad signature also comes from another authority of the same name.
        UnknownIssuer | BadSignature => {
            "name the authority that signed the server's certificate: ca in [queue]"
        }
        NotValidForName | NotValidForNameContext { .. } => {
            "name the server as its certificate does: host=NAME; add hostaddr=ADDRESS if the name \
             resolves to another address"
        }
        Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
            "renew the server's certificate, or check this machine's clock"
        }
        _ => "give the server a certificate that an authority signed",
    }
}

/// Returns an error and its causes.
fn chain<'a>(
    error: &'a (dyn error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Message of `tokio-postgres` about a server without TLS; the error has no other sign of it.
const NO_TLS: &str = "server does not support TLS";
/// Message of `tokio-postgres` about a server that asks for a missing password.
const NO_PASSWORD: &str = "password missing";
