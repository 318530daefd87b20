//! Blobs on their way to a registry: not sent when there, mounted, or sent in pieces.
//!
//! After a cut the registry is asked how much it has, and gets the rest. Never trusts what a
//! registry says it was sent beyond what was sent.

use crate::{
    client::{Ask, Body, Target},
    failure::{Failure, Result},
    repository::{Repository, text},
};
use imgdelta_core::Error;
use imgdelta_image::store::{Descriptor, source::ReadAt};
use reqwest::{Method, Response, Url};
use std::sync::Arc;

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    There,
    /// From another repository of the registry; nothing was sent.
    Mounted,
    /// It was sent.
    Sent,
}

impl Repository {
    /// Brings a blob into the repository: `source` holds it from `offset` on. `from` is another
    /// repository of the registry that may have it: it is sent where the registry will not mount it.
    pub async fn put_blob(
        &self,
        blob: &Descriptor,
        source: Arc<dyn ReadAt>,
        offset: u64,
        from: Option<&str>,
    ) -> Result<Uploaded> {
        if self.has_blob(blob).await? {
            return Ok(Uploaded::There);
        }
        let _permit = self.client().permit().await;
        let mut attempt = 0;
        let begun = match self.begin(blob, from).await {
            // Who may not read there, or knows no mounting, may still send it.
            Err(failure) if from.is_some() && !failure.is_passing() => self.begin(blob, None).await,
            begun => begun,
        };
        let Some(mut session) = begun? else { return Ok(Uploaded::Mounted) };
        loop {
            let failure = match self.send_next(blob, &source, offset, &mut session).await {
                Ok(false) => continue,
                Ok(true) => return Ok(Uploaded::Sent),
                Err(failure) => failure,
            };
            attempt += 1;
            let wait = self.client().options().retry.wait(attempt, None);
            let (true, Some(wait)) = (failure.is_passing() || session.is_gone(&failure), wait)
            else {
                return Err(failure);
            };
            tokio::time::sleep(wait).await;
            // The answer may have been lost, not the blob.
            if self.has_blob(blob).await? {
                return Ok(Uploaded::Sent);
            }
            session = match self.resume(blob, session).await? {
                Some(session) => session,
                None => match self.begin(blob, None).await? {
                    Some(session) => session,
                    None => return Ok(Uploaded::Mounted),
                },
            };
        }
    }

    /// Opens a session; `None` if the blob was mounted instead.
    async fn begin(&self, blob: &Descriptor, from: Option<&str>) -> Result<Option<Session>> {
        let digest = blob.digest;
        let path = match from {
            Some(from) => format!("blobs/uploads/?mount={digest}&from={from}"),
            None => "blobs/uploads/".to_owned(),
        };
        let mut ask = self.ask(Method::POST, &path, format!("uploading blob {digest}"));
        ask.from = from;
        ask.expected = &[201, 202];
        let response = self.client().send(&ask).await?;
        if response.status() == 201 && from.is_some() {
            return Ok(None);
        }
        let url = self.location(&ask, &response).await?;
        let least = text(&response, "oci-chunk-min-length").and_then(|told| told.parse().ok());
        let chunk_bytes = self.client().options().chunk_bytes.max(least.unwrap_or(0));
        Ok(Some(Session { url, done_bytes: 0, chunk_bytes }))
    }

    /// Sends the next piece; whether it was the last.
    async fn send_next(
        &self,
        blob: &Descriptor,
        source: &Arc<dyn ReadAt>,
        offset: u64,
        session: &mut Session,
    ) -> Result<bool> {
        let done = session.done_bytes;
        let rest = blob.size_bytes - done;
        let count = rest.min(session.chunk_bytes);
        let is_last = count == rest;
        let method = if is_last { Method::PUT } else { Method::PATCH };
        let mut ask = self.ask(method, "", format!("uploading blob {}", blob.digest));
        let mut url = session.url.clone();
        if is_last {
            url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        }
        ask.target = Target::Url(url);
        ask.headers.push(("content-type", "application/octet-stream".into()));
        if done > 0 || !is_last {
            ask.headers.push(("content-range", format!("{done}-{}", (done + count).max(1) - 1)));
        }
        let source = Arc::clone(source);
        ask.body = Body::Range { source, offset: offset + done, bytes: count };
        ask.expected = if is_last { &[201, 204] } else { &[202] };
        ask.may_repeat = false;
        let response = self.client().send(&ask).await?;
        if is_last {
            return Ok(true);
        }
        session.url = self.location(&ask, &response).await?;
        session.done_bytes = done + count;
        // One registry appends whatever comes: what it says it has must be what it was sent.
        match text(&response, "range").and_then(|told| range_end(&told)) {
            Some(end) if end + 1 != session.done_bytes => {
                let (found, sent) = (end + 1, session.done_bytes);
                Err(ask.network(format!("the registry has {found} bytes of {sent} sent")))
            }
            _ => Ok(false),
        }
    }

    /// Asks how much of a session's blob has arrived; `None` if the session is lost.
    async fn resume(&self, blob: &Descriptor, session: Session) -> Result<Option<Session>> {
        let mut ask = self.ask(Method::GET, "", format!("upload of blob {}", blob.digest));
        ask.actions = crate::token::Actions::Push;
        ask.target = Target::Url(session.url.clone());
        ask.expected = &[200, 202, 204];
        let Ok(response) = self.client().send(&ask).await else { return Ok(None) };
        let url = match self.location(&ask, &response).await {
            Ok(url) => url,
            Err(_) => session.url.clone(),
        };
        let Some(end) = text(&response, "range").and_then(|told| range_end(&told)) else {
            return Ok(None);
        };
        // `0-0` is said of one byte and of none. Whoever has more than there is has something else.
        let done_bytes = if end == 0 { 0 } else { end + 1 };
        if done_bytes > blob.size_bytes {
            return Ok(None);
        }
        Ok(Some(Session { url, done_bytes, chunk_bytes: session.chunk_bytes }))
    }

    async fn location(&self, ask: &Ask<'_>, response: &Response) -> Result<Url> {
        let base = self.client().base(ask).await?;
        let told = text(response, "location");
        told.and_then(|told| base.join(&told).ok()).ok_or_else(|| {
            ask.wrong(Error::bad_input(ask.what(), "the registry does not say where to send it"))
        })
    }
}

#[derive(Clone, Debug)]
struct Session {
    url: Url,
    done_bytes: u64,
    chunk_bytes: u64,
}

impl Session {
    /// Whether a failure is about the session, so that a new one may do better.
    fn is_gone(&self, failure: &Failure) -> bool {
        use crate::failure::Why;
        match &failure.why {
            Why::NotFound { .. } => true,
            Why::Refused { status, .. } => {
                *status == 416 || (*status == 400 && self.done_bytes > 0)
            }
            _ => false,
        }
    }
}

/// Reads where `0-9` ends.
fn range_end(value: &str) -> Option<u64> {
    value.trim().trim_start_matches("bytes=").split_once('-')?.1.parse().ok()
}
