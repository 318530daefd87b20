//! Events of a client, for a person who waits: answers, silence, retries.
//!
//! Shows no header and no address with a query, since both may hold secrets.

use super::Request;
use crate::error::{RequestError, Span};
use std::{fmt, sync::Arc, time::Duration};

/// An event of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// The registry answered a request.
    Answered {
        /// The method.
        method: &'a str,
        /// Registry and repository.
        place: &'a str,
        /// The object of the request.
        object: &'a str,
        /// The status of the answer.
        status: u16,
    },
    /// A request and its answer on the wire: each attempt, whatever the status. For measuring; an
    /// expected status is [`ClientEvent::Answered`], too.
    Exchanged {
        /// The method.
        method: &'a str,
        /// The registry.
        host: &'a str,
        /// The repository; empty for requests to the registry itself.
        repository: &'a str,
        /// The object of the request.
        object: &'a str,
        /// The status; none if no answer came.
        status: Option<u16>,
        /// Time from the request to the head of the answer.
        duration: Duration,
    },
    /// The registry does not answer; the client waits on.
    Silent {
        /// Registry and repository.
        place: &'a str,
        /// The object of the request.
        object: &'a str,
        /// Time since the request.
        waited: Duration,
    },
    /// A request failed, and the client tries it again.
    Retrying {
        /// The failure.
        error: &'a RequestError,
        /// Time until the next attempt.
        wait: Duration,
        /// Number of the next attempt, from 2.
        attempt: u32,
        /// The most attempts that such a failure gets.
        attempts: u32,
    },
}

impl fmt::Display for ClientEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { method, place, object, status } => {
                write!(f, "{method} {place}: {object}: status {status}")
            }
            Self::Exchanged { method, host, repository, object, status, duration } => {
                write!(f, "{method} docker://{host}/{repository}: {object}: ")?;
                match status {
                    Some(status) => write!(f, "status {status}")?,
                    None => f.write_str("no answer")?,
                }
                write!(f, " after {:.3} s", duration.as_secs_f64())
            }
            Self::Silent { place, object, waited } => {
                write!(f, "{place}: {object}: no answer for {}", Span(*waited))
            }
            Self::Retrying { error, wait, attempt, attempts } => write!(
                f,
                "{}: {error}; retrying in {} (attempt {attempt} of {attempts})",
                error.place,
                Span(*wait)
            ),
        }
    }
}

/// A function that is informed of events, from any thread. It must not block.
#[derive(Clone)]
pub struct EventListener(Arc<dyn Fn(&ClientEvent<'_>) + Send + Sync>);

impl EventListener {
    /// Makes a listener of a function.
    pub fn new(listener: impl Fn(&ClientEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(super) fn answered(&self, request: &Request<'_>, status: u16) {
        (self.0)(&ClientEvent::Answered {
            method: request.method.as_str(),
            place: &request.place(),
            object: &request.object,
            status,
        });
    }

    pub(super) fn exchanged(&self, request: &Request<'_>, status: Option<u16>, duration: Duration) {
        (self.0)(&ClientEvent::Exchanged {
            method: request.method.as_str(),
            host: request.host,
            repository: request.repository,
            object: &request.object,
            status,
            duration,
        });
    }

    pub(super) fn silent(&self, request: &Request<'_>, waited: Duration) {
        (self.0)(&ClientEvent::Silent { place: &request.place(), object: &request.object, waited });
    }

    pub(crate) fn retrying(
        &self,
        error: &RequestError,
        wait: Duration,
        [attempt, attempts]: [u32; 2],
    ) {
        (self.0)(&ClientEvent::Retrying { error, wait, attempt, attempts });
    }
}

impl Default for EventListener {
    /// Ignores all events.
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for EventListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventListener")
    }
}
