//! What a `PostgreSQL` server, or the way to it, has against being asked.
//!
//! Says it whole, in one line; what a person may do about it, whoever prints the error asks for.

use imgdelta_core::Error;
use rustls::CertificateError;
use std::{error, fmt, io};
use tokio_postgres::error::SqlState;

/// A connection that did not come about, or a statement that failed.
#[derive(Debug)]
pub(super) struct Refusal(tokio_postgres::Error);

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error)
    }
}

impl Refusal {
    fn advice(&self) -> Option<&'static str> {
        if let Some(rustls::Error::InvalidCertificate(why)) = self.tls() {
            return Some(advice_on_certificate(why));
        }
        if let Some(refused) = self.0.as_db_error() {
            let is_plain = refused.message().ends_with("no encryption");
            return match *refused.code() {
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION if is_plain => {
                    Some("the server lets nobody in without TLS: write sslmode=require")
                }
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION | SqlState::INVALID_PASSWORD => {
                    Some("look at the user and the password-file in [queue]")
                }
                SqlState::INVALID_CATALOG_NAME => Some("make the database first: createdb"),
                _ => None,
            };
        }
        let deepest = chain(&self.0).last()?.to_string();
        match deepest.as_str() {
            NO_TLS => Some(
                "switch TLS on in the server (ssl = on), or write sslmode=disable if nobody \
                 else is on the network between",
            ),
            NO_PASSWORD => Some("name a password-file in [queue]"),
            _ => None,
        }
    }

    /// What TLS has against it.
    fn tls(&self) -> Option<&rustls::Error> {
        chain(&self.0).find_map(|error| {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            inner.and_then(|inner| inner.downcast_ref())
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each says nothing of the one below.
        let mut is_first = true;
        chain(&self.0).try_for_each(|error| {
            let between = if std::mem::take(&mut is_first) { "" } else { ": " };
            write!(f, "{between}{error}")
        })
    }
}

impl error::Error for Refusal {}

/// Returns what a person may do about an error that came from a `PostgreSQL` queue.
pub fn advice(error: &Error) -> Option<&'static str> {
    let Error::Io { source, .. } = error else { return None };
    source.get_ref()?.downcast_ref::<Refusal>()?.advice()
}

fn advice_on_certificate(why: &CertificateError) -> &'static str {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    match why {
        // The latter where another authority has the same name.
        UnknownIssuer | BadSignature => {
            "name the authority that signed the server's certificate: ca in [queue]"
        }
        NotValidForName | NotValidForNameContext { .. } => {
            "name the server as its certificate does: host=NAME, with hostaddr=ADDRESS besides if \
             the name leads elsewhere"
        }
        Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
            "have the server's certificate renewed, or look at this machine's clock"
        }
        _ => "give the server a certificate of its own that an authority signed",
    }
}

/// An error and those below it.
fn chain<'a>(
    error: &'a (dyn error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// What `tokio-postgres` says of a server that has no TLS; it has no other way to tell.
const NO_TLS: &str = "server does not support TLS";
/// And of one that asks for a password where there is none.
const NO_PASSWORD: &str = "password missing";
