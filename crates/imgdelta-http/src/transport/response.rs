//! A response: its head, and its body in pieces.
//!
//! Decides nothing by the status. The connection is free for another request after the last piece.

use super::{error::TransportError, pool::Lease};
use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Incoming},
};
use std::{fmt, future::poll_fn, pin::Pin};

/// A response whose body is read in pieces.
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    // Dropped before the lease, so that a connection with unread bytes is not used again.
    body: Incoming,
    server: String,
    lease: Option<Lease>,
}

impl Response {
    pub(super) fn new(response: hyper::Response<Incoming>, server: &str, lease: Lease) -> Self {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        Self { status, headers, body, server: server.to_owned(), lease: Some(lease) }
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the host that sent it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns the number of bytes that are still to be read, if the server reports it.
    pub fn content_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Reads the next piece of the body, or `None` after the last one.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            let Some(frame) = frame else {
                self.lease = None;
                return Ok(None);
            };
            // Trailers mean nothing here.
            let frame = frame.map_err(|error| TransportError::of(&error))?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold addresses with secrets.
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
