//! One request: what is asked for, with what, and how errors speak of it.
//!
//! Composes only; a body that is a file is read while it is sent.

use crate::{
    failure::{Failure, Why},
    token::{Actions, scope},
};
use bytes::Bytes;
use imgdelta_core::Error;
use imgdelta_image::store::source::ReadAt;
use reqwest::{Method, Url};
use std::sync::Arc;

/// One request, and what to say of it.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub host: &'a str,
    pub repository: &'a str,
    pub method: Method,
    pub target: Target,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    pub actions: Actions,
    /// Another repository to be read, for mounting from there.
    pub from: Option<&'a str>,
    pub expected: &'static [u16],
    /// Whether the client may send it again; else the caller knows better.
    pub may_repeat: bool,
    pub asked: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Below the registry's `/v2/`.
    Path(String),
    /// What the registry said.
    Url(Url),
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    None,
    Bytes(Bytes),
    Range { source: Arc<dyn ReadAt>, offset: u64, bytes: u64 },
}

impl Ask<'_> {
    pub(crate) fn place(&self) -> String {
        format!("docker://{}/{}", self.host, self.repository)
    }

    /// How errors of the core name what was asked for.
    pub(crate) fn what(&self) -> String {
        format!("{}: {}", self.place(), self.asked)
    }

    pub(crate) fn failure(&self, why: Why) -> Failure {
        Failure { place: self.place().into(), asked: self.asked.as_str().into(), why }
    }

    pub(crate) fn wrong(&self, error: Error) -> Failure {
        self.failure(Why::Wrong(error))
    }

    pub(crate) fn network(&self, what: String) -> Failure {
        self.failure(Why::Network { what })
    }

    pub(super) fn scopes(&self) -> Vec<String> {
        let mut scopes = vec![scope(self.repository, self.actions)];
        scopes.extend(self.from.map(|from| scope(from, Actions::Pull)));
        scopes
    }
}

impl Body {
    pub(super) fn bytes(&self) -> u64 {
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
                let begin = (Arc::clone(source), *offset, *bytes);
                let stream = futures_util::stream::try_unfold(begin, next_piece);
                request.body(reqwest::Body::wrap_stream(stream))
            }
        }
    }
}

type Rest = (Arc<dyn ReadAt>, u64, u64);

/// Reads the next piece of a file that is being sent.
async fn next_piece((source, offset, bytes): Rest) -> std::io::Result<Option<(Bytes, Rest)>> {
    if bytes == 0 {
        return Ok(None);
    }
    let read = tokio::task::spawn_blocking(move || {
        let room = usize::try_from(bytes).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = vec![0; room];
        source.fill_at(&mut piece, offset)?;
        Ok::<_, std::io::Error>((piece, source))
    });
    let (piece, source) = read.await.map_err(std::io::Error::other)??;
    let count = piece.len() as u64;
    Ok(Some((piece.into(), (source, offset + count, bytes - count))))
}

const PIECE_BYTES: usize = 256 << 10;
