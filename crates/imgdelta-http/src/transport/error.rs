//! Failures of a request before its response has a status, sorted by the caller's next step.
//!
//! Never shows an address beyond its server: path and query may hold secrets.

use super::body::UploadSourceError;
use crate::reach::UnreachableAddress;
use std::{error::Error, io, iter::successors, sync::Arc};

/// The reason why a request has no response.
#[derive(Debug)]
pub enum TransportError {
    /// The server must not be reached; nothing was sent.
    Refused(UnreachableAddress),
    /// A variable names a proxy that cannot be used.
    Proxy(imgdelta_core::Error),
    /// The connection could not be opened.
    Connect(String),
    /// A redirect that is not followed. A retry would lead to the same address.
    Redirect(String),
    /// The local file of an upload failed. The connection did not; a retry does not help.
    Source(Arc<io::Error>),
    /// The connection failed after it was opened.
    Broken(String),
}

impl TransportError {
    /// Sorts an error of a connection.
    pub(super) fn of(error: &hyper::Error) -> Self {
        let source = causes(error).find_map(|cause| cause.downcast_ref::<UploadSourceError>());
        match source {
            Some(UploadSourceError(source)) => Self::Source(Arc::clone(source)),
            None => Self::Broken(describe(error)),
        }
    }
}

/// Returns an error's text with all its causes.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn causes<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}
