//! One request, with the text by which errors name it.
//!
//! Only composes; a body from a file is read while it is sent.

use crate::{
    error::{RequestError, RequestErrorKind},
    token::{Actions, scope},
};
use bytes::Bytes;
use imgdelta_core::Error;
use imgdelta_image::store::source::ReadAt;
use reqwest::{Method, Url};
use std::{fmt, io, sync::Arc};

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

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) enum RequestBody {
    None,
    Bytes(Bytes),
    Range { source: Arc<dyn ReadAt>, offset: u64, bytes: u64 },
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

    pub(super) fn scopes(&self) -> Vec<String> {
        let mut scopes = vec![scope(self.repository, self.actions)];
        scopes.extend(self.mount_from.map(|from| scope(from, Actions::Pull)));
        scopes
    }
}

impl RequestBody {
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Range { bytes, .. } => *bytes,
        }
    }

    pub(super) fn attach(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self {
            Self::None => request,
            Self::Bytes(bytes) => request.body(bytes.clone()),
            Self::Range { source, offset, bytes } => {
                let start = (Arc::clone(source), *offset, *bytes);
                let stream = futures_util::stream::try_unfold(start, next_piece);
                request.body(reqwest::Body::wrap_stream(stream))
            }
        }
    }
}

/// A file with the offset and length of the range that is still to be sent.
type UnsentRange = (Arc<dyn ReadAt>, u64, u64);

/// Reads the next piece of a file during an upload.
async fn next_piece(
    (source, offset, bytes): UnsentRange,
) -> Result<Option<(Bytes, UnsentRange)>, UploadSourceError> {
    if bytes == 0 {
        return Ok(None);
    }
    let read = tokio::task::spawn_blocking(move || {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = vec![0; length];
        source.fill_at(&mut piece, offset)?;
        Ok::<_, io::Error>((piece, source))
    });
    let read = read.await.map_err(io::Error::other).flatten();
    let (piece, source) = read.map_err(|error| UploadSourceError(Arc::new(error)))?;
    let count = piece.len() as u64;
    Ok(Some((piece.into(), (source, offset + count, bytes - count))))
}

/// An error of the local file during an upload. The connection did not fail; a retry does not help.
#[derive(Clone, Debug)]
pub(super) struct UploadSourceError(pub Arc<io::Error>);

impl fmt::Display for UploadSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for UploadSourceError {}

const PIECE_BYTES: usize = 256 << 10;
