//! Requests of other programs, sent to a registry as they are: for a mirror.
//!
//! Answers come back with their status, whatever it is. Redirects are not followed: their address is
//! for the program that asked. Retries are its own, too.

use super::{Client, Request, RequestTarget};
use crate::{
    error::{RequestErrorKind, Result},
    token::Actions,
};
use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{HeaderValue, LOCATION},
};
use imgdelta_core::Error;
use imgdelta_http::{HttpRequest, Response};
use std::sync::atomic::Ordering::Relaxed;

/// A request of another program.
#[derive(Clone, Debug)]
pub struct ForwardRequest<'a> {
    /// The registry.
    pub host: &'a str,
    /// `GET` or `HEAD`.
    pub method: Method,
    /// The path, `/v2/` included. The caller has checked its names.
    pub path: &'a str,
    /// The headers that the registry gets.
    pub headers: HeaderMap,
}

/// The head of a registry's answer; its body is read in pieces.
#[derive(Debug)]
pub struct ForwardedAnswer {
    /// The status.
    pub status: StatusCode,
    /// All headers. The address of a redirect is complete.
    pub headers: HeaderMap,
    /// False for an answer to `HEAD`.
    pub has_body: bool,
    client: Client,
    response: Response,
    host: String,
    object: String,
}

impl Client {
    /// Sends a request of another program, once, and returns the answer of the registry.
    pub async fn forward(&self, request: ForwardRequest<'_>) -> Result<ForwardedAnswer> {
        let ForwardRequest { host: name, method, path, headers } = request;
        let object = format!("{method} {path}");
        let named = named(name, &object);
        let host = self.host(name).map_err(|error| named.invalid(error))?;
        let url = self.base(&named).await?.join(path).map_err(|error| {
            let what = format!("{path:?} is not a valid path");
            named.invalid(Error::bad_input_because(name, what, error))
        })?;
        let has_body = method != Method::HEAD;
        let mut sent = HttpRequest::new(method, url.clone());
        sent.headers = headers;
        self.state.requests.fetch_add(1, Relaxed);
        let idle = self.state.options.idle;
        let answered = tokio::time::timeout(idle, host.transport.send(&sent)).await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(named.transport_error(error)),
            Err(_) => {
                return Err(named.error(RequestErrorKind::Silent { waited: idle }));
            }
        };
        let mut headers = response.headers().clone();
        if let Some(location) = headers.get(LOCATION).and_then(|location| location.to_str().ok())
            && let Ok(target) = url.join(location)
            && let Ok(value) =
                HeaderValue::try_from(format!("{}{}", target.origin(), target.target()))
        {
            headers.insert(LOCATION, value);
        }
        Ok(ForwardedAnswer {
            status: response.status(),
            headers,
            has_body,
            client: self.clone(),
            response,
            host: name.to_owned(),
            object,
        })
    }
}

impl ForwardedAnswer {
    /// Reads the next piece of the body, or `None` after the last one.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        self.client.piece(&named(&self.host, &self.object), &mut self.response).await
    }

    /// Reads a body of at most `limit` bytes.
    pub async fn read(self, limit: u64) -> Result<Vec<u8>> {
        let Self { client, response, host, object, .. } = self;
        client.body(&named(&host, &object), response, limit).await
    }
}

/// Returns a request that names the object in errors.
fn named<'a>(host: &'a str, object: &str) -> Request<'a> {
    let target = RequestTarget::Path(String::new());
    Request::new(host, "", Method::GET, target, Actions::Pull, object.to_owned())
}
