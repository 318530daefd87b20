//! One request, with the text by which errors name it.
//!
//! Only composes; sends nothing.

use crate::{
    error::{RequestError, RequestErrorKind},
    token::{Actions, scope},
};
use hyper::Method;
use imgdelta_core::Error;
use imgdelta_http::{RequestBody, TransportError, Url};

/// A request to a registry.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub host: &'a str,
    pub repository: &'a str,
    pub method: Method,
    pub target: RequestTarget,
    pub headers: Vec<(&'static str, String)>,
    pub body: RequestBody,
    pub actions: Actions,
    /// Another repository that the token must allow to read, to mount a blob from it.
    pub mount_from: Option<&'a str>,
    /// Statuses of success.
    pub expected: &'static [u16],
    /// The client may send it again; otherwise the caller decides.
    pub may_retry: bool,
    /// The object of the request, for errors.
    pub object: String,
}

/// The address of a request.
#[derive(Clone, Debug)]
pub(crate) enum RequestTarget {
    /// A path below the registry's `/v2/`.
    Path(String),
    /// An address from the registry.
    Url(Url),
}

impl<'a> Request<'a> {
    /// Makes a request without headers and body. A repository of no bytes is the registry itself.
    pub(crate) fn new(
        host: &'a str,
        repository: &'a str,
        method: Method,
        target: RequestTarget,
        actions: Actions,
        object: String,
    ) -> Self {
        Self {
            host,
            repository,
            method,
            target,
            headers: Vec::new(),
            body: RequestBody::None,
            actions,
            mount_from: None,
            expected: &[200],
            may_retry: true,
            object,
        }
    }

    /// Returns registry and repository.
    pub(crate) fn place(&self) -> String {
        format!("docker://{}/{}", self.host, self.repository)
    }

    /// Returns the name of the requested object in core errors.
    pub(crate) fn object_place(&self) -> String {
        format!("{}: {}", self.place(), self.object)
    }

    pub(crate) fn error(&self, kind: RequestErrorKind) -> RequestError {
        RequestError::new(self.place(), self.object.as_str(), kind)
    }

    pub(crate) fn invalid(&self, error: Error) -> RequestError {
        self.error(RequestErrorKind::Invalid(error))
    }

    pub(crate) fn network_error(&self, message: String) -> RequestError {
        self.error(RequestErrorKind::Network { message })
    }

    /// Returns the error for a request without a response.
    pub(super) fn transport_error(&self, error: TransportError) -> RequestError {
        use TransportError as Failure;
        match error {
            Failure::Refused(refusal) => {
                self.invalid(Error::bad_input(self.object_place(), refusal))
            }
            Failure::Proxy(error) => self.invalid(error),
            Failure::Connect(message) => self.error(RequestErrorKind::Unreachable { message }),
            Failure::Redirect(message) => self.invalid(Error::bad_input(self.place(), message)),
            Failure::Source(source) => {
                let place = format!("local file for {}", self.object);
                self.invalid(Error::Io { place, source })
            }
            Failure::Broken(message) => self.network_error(message),
        }
    }

    pub(super) fn scopes(&self) -> Vec<String> {
        let mut scopes = vec![scope(self.repository, self.actions)];
        scopes.extend(self.mount_from.map(|from| scope(from, Actions::Pull)));
        scopes
    }
}
