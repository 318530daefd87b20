//! Uploads of blobs: skipped if present, mounted, or sent in pieces.
//!
//! After a cut, the registry reports the bytes that it has, and gets the rest. Never believes that
//! a registry has more than was sent.

use crate::{
    client::{Request, RequestTarget},
    error::{RequestError, RequestErrorKind, Result},
    repository::{Repository, text},
    token::Actions,
};
use hyper::Method;
use imgdelta_core::Error;
use imgdelta_http::{RequestBody, Response, Url};
use imgdelta_image::{
    reference::RepositoryName,
    store::{Descriptor, source::ReadAt},
};
use std::sync::Arc;

/// Outcome of storing a blob in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadOutcome {
    /// The repository had the blob.
    Present,
    /// The registry took it from another repository; nothing was sent.
    Mounted,
    /// It was sent.
    Sent,
}

impl Repository {
    /// Stores a blob, which is in `source` from `offset` on.
    ///
    /// `from` is another repository of the registry that may have the blob. If the registry does not
    /// mount it from there, it is sent.
    pub async fn put_blob(
        &self,
        blob: &Descriptor,
        source: Arc<dyn ReadAt>,
        offset: u64,
        from: Option<&RepositoryName>,
    ) -> Result<UploadOutcome> {
        if self.has_blob(blob).await? {
            return Ok(UploadOutcome::Present);
        }
        let _permit = self.client().permit().await;
        let mut attempt = 0;
        let begun = match self.begin(blob, from).await {
            // A registry that refuses to mount may still accept the blob.
            Err(error) if from.is_some() && !error.is_transient() => self.begin(blob, None).await,
            begun => begun,
        };
        let Some(mut session) = begun? else { return Ok(UploadOutcome::Mounted) };
        loop {
            let error = match self.send_next(blob, &source, offset, &mut session).await {
                Ok(false) => continue,
                Ok(true) => return Ok(UploadOutcome::Sent),
                Err(error) => error,
            };
            attempt += 1;
            let wait = self.client().options().retry.wait(attempt, None);
            let (true, Some(wait)) = (error.is_transient() || session.is_lost(&error), wait) else {
                return Err(error);
            };
            self.client().wait_to_retry(&error, wait, attempt + 1).await;
            // The response may have been lost, not the blob.
            if self.has_blob(blob).await? {
                return Ok(UploadOutcome::Sent);
            }
            session = match self.resume(blob, session).await? {
                Some(session) => session,
                None => match self.begin(blob, None).await? {
                    Some(session) => session,
                    None => return Ok(UploadOutcome::Mounted),
                },
            };
        }
    }

    /// Opens an upload session. Returns `None` if the blob was mounted instead.
    async fn begin(
        &self,
        blob: &Descriptor,
        from: Option<&RepositoryName>,
    ) -> Result<Option<UploadSession>> {
        let digest = blob.digest;
        let path = match from {
            Some(from) => format!("blobs/uploads/?mount={digest}&from={from}"),
            None => "blobs/uploads/".to_owned(),
        };
        let mut request = self.request(Method::POST, &path, format!("upload of blob {digest}"));
        request.mount_from = from.map(RepositoryName::as_str);
        request.expected = &[201, 202];
        let response = self.client().send(&request).await?;
        if response.status() == 201 && from.is_some() {
            return Ok(None);
        }
        let url = self.location(&request, &response).await?;
        let minimum = text(&response, "oci-chunk-min-length").and_then(|value| value.parse().ok());
        let chunk_bytes = self.client().options().chunk_bytes.max(minimum.unwrap_or(0));
        Ok(Some(UploadSession { url, done_bytes: 0, chunk_bytes }))
    }

    /// Sends the next piece. Returns true after the last one.
    async fn send_next(
        &self,
        blob: &Descriptor,
        source: &Arc<dyn ReadAt>,
        offset: u64,
        session: &mut UploadSession,
    ) -> Result<bool> {
        let done = session.done_bytes;
        let rest = blob.size_bytes - done;
        let count = rest.min(session.chunk_bytes);
        let is_last = count == rest;
        let method = if is_last { Method::PUT } else { Method::PATCH };
        let mut request = self.request(method, "", format!("upload of blob {}", blob.digest));
        let mut url = session.url.clone();
        if is_last {
            url.append("digest", &blob.digest.to_string());
        }
        request.target = RequestTarget::Url(url);
        request.headers.push(("content-type", "application/octet-stream".into()));
        if done > 0 || !is_last {
            let range = format!("{done}-{}", (done + count).max(1) - 1);
            request.headers.push(("content-range", range));
        }
        let source = Arc::clone(source);
        request.body = RequestBody::Range { source, offset: offset + done, bytes: count };
        request.expected = if is_last { &[201, 204] } else { &[202] };
        request.may_retry = false;
        let response = self.client().send(&request).await?;
        if is_last {
            return Ok(true);
        }
        session.url = self.location(&request, &response).await?;
        session.done_bytes = done + count;
        // One registry appends any bytes that it gets: its count must be the count of sent bytes.
        match text(&response, "range").and_then(|range| range_end(&range)) {
            Some(end) if end + 1 != session.done_bytes => {
                let (found, sent) = (end + 1, session.done_bytes);
                let message = format!("the registry has {found} bytes of {sent} sent");
                Err(request.network_error(message))
            }
            _ => Ok(false),
        }
    }

    /// Requests the state of a session. Returns `None` if the registry has lost it.
    async fn resume(
        &self,
        blob: &Descriptor,
        session: UploadSession,
    ) -> Result<Option<UploadSession>> {
        let object = format!("state of the upload of blob {}", blob.digest);
        let mut request = self.request(Method::GET, "", object);
        request.actions = Actions::Push;
        request.target = RequestTarget::Url(session.url.clone());
        request.expected = &[200, 202, 204];
        let Ok(response) = self.client().send(&request).await else { return Ok(None) };
        let url = match self.location(&request, &response).await {
            Ok(url) => url,
            Err(_) => session.url.clone(),
        };
        let Some(end) = text(&response, "range").and_then(|range| range_end(&range)) else {
            return Ok(None);
        };
        // Registries send `0-0` for one byte and for none. More bytes than the blob has are others.
        let done_bytes = if end == 0 { 0 } else { end + 1 };
        if done_bytes > blob.size_bytes {
            return Ok(None);
        }
        Ok(Some(UploadSession { url, done_bytes, chunk_bytes: session.chunk_bytes }))
    }

    async fn location(&self, request: &Request<'_>, response: &Response) -> Result<Url> {
        let base = self.client().base(request).await?;
        let location = text(response, "location");
        location.and_then(|location| base.join(&location).ok()).ok_or_else(|| {
            let what = "the registry's response has no address for the upload";
            request.invalid(Error::bad_input(request.object_place(), what))
        })
    }
}

/// An upload in progress.
#[derive(Clone, Debug)]
struct UploadSession {
    url: Url,
    done_bytes: u64,
    chunk_bytes: u64,
}

impl UploadSession {
    /// Returns true if an error is about the session, so that a new one may succeed.
    fn is_lost(&self, error: &RequestError) -> bool {
        match &error.kind {
            RequestErrorKind::NotFound { .. } => true,
            RequestErrorKind::Refused { status, .. } => {
                *status == 416 || (*status == 400 && self.done_bytes > 0)
            }
            _ => false,
        }
    }
}

/// Parses the end of `0-9`.
fn range_end(value: &str) -> Option<u64> {
    value.trim().trim_start_matches("bytes=").split_once('-')?.1.parse().ok()
}
