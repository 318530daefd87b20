//! Downloads of blobs: in pieces, checked as they pass, resumed after a cut.
//!
//! Pieces are passed on as they arrive; only `None` from [`BlobStream::next`] says that the blob has
//! its digest. Never accepts more bytes than the descriptor says.

use crate::{
    client::{Request, too_slow},
    error::{RequestError, Result},
    repository::{Repository, text},
};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use imgdelta_core::{Difference, Error, limits::Ceiling, verify::BlobCheck};
use imgdelta_http::{
    Response,
    pace::{BlobPace, DocumentPace},
};
use imgdelta_image::store::Descriptor;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// A blob during its download.
#[derive(Debug)]
pub struct BlobStream {
    repository: Repository,
    blob: Descriptor,
    check: Option<BlobCheck>,
    response: Option<Response>,
    /// Bytes that were passed on.
    done_bytes: u64,
    /// Bytes to skip, since the registry started from the beginning again.
    skip_bytes: u64,
    /// Retries since the last real progress.
    retries: u32,
    /// Bytes that were passed on at the last cut.
    cut_at_bytes: u64,
    pace: BlobPace,
    /// Time that the network took so far; that of other work and of retries does not count.
    waited: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Repository {
    /// Returns true if the registry has a blob. Fails if it reports another size.
    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool> {
        let digest = blob.digest;
        let mut request = self.request(Method::HEAD, &path(blob), format!("blob {digest}"));
        request.expected = &[200, 404];
        let response = self.client().send(&request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let size = text(&response, "content-length").and_then(|size| size.parse::<u64>().ok());
        match size.filter(|size| *size != blob.size_bytes) {
            Some(size) => Err(wrong_size(&request, blob, size)),
            None => Ok(true),
        }
    }

    /// Starts to download a blob.
    pub async fn blob(&self, blob: &Descriptor) -> Result<BlobStream> {
        self.stream(blob, 0, Some(BlobCheck::new(blob.digest, blob.size_bytes))).await
    }

    /// Starts to download a blob from an offset on, for a caller that compares the digest. The length
    /// is checked here.
    pub(crate) async fn unchecked_blob(&self, blob: &Descriptor, start: u64) -> Result<BlobStream> {
        self.stream(blob, start, None).await
    }

    async fn stream(
        &self,
        blob: &Descriptor,
        start: u64,
        check: Option<BlobCheck>,
    ) -> Result<BlobStream> {
        let permit = self.client().permit().await;
        let mut stream = BlobStream {
            repository: self.clone(),
            blob: blob.clone(),
            check,
            response: None,
            done_bytes: start,
            skip_bytes: 0,
            retries: 0,
            cut_at_bytes: start,
            pace: BlobPace::new(self.client().options().blob_window),
            waited: Duration::ZERO,
            _permit: permit,
        };
        stream.connect().await?;
        Ok(stream)
    }

    /// Downloads a blob of at most `limit` bytes to memory.
    pub async fn blob_bytes(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        let request = request(self, blob);
        Ceiling::fixed(limit)
            .admit(blob.size_bytes, "number of bytes", request.object_place())
            .map_err(|error| request.invalid(error))?;
        let pace = DocumentPace { wait: self.client().options().document_wait };
        let mut stream = self.blob(blob).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await? {
            bytes.extend_from_slice(&piece);
            let received_bytes = bytes.len() as u64;
            if stream.waited > pace.limit(received_bytes) {
                let slow = DocumentPace::slow(received_bytes, stream.waited);
                return Err(too_slow(&request, stream.response.as_ref(), slow));
            }
        }
        Ok(bytes)
    }
}

impl BlobStream {
    /// Returns the next bytes, or `None` after all of them, if they have the blob's digest.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(response) = &mut self.response else {
                if self.done_bytes == self.blob.size_bytes {
                    return Ok(None);
                }
                self.connect().await?;
                continue;
            };
            let request = request(&self.repository, &self.blob);
            let started = Instant::now();
            let piece = self.repository.client().piece(&request, response).await;
            let bytes = piece.as_ref().ok().and_then(Option::as_ref).map_or(0, Bytes::len);
            let waited = started.elapsed();
            self.waited += waited;
            self.pace
                .add(bytes as u64, waited)
                .map_err(|slow| too_slow(&request, Some(response), slow))?;
            match piece {
                Ok(Some(mut piece)) => {
                    let skipped = self.skip_bytes.min(piece.len() as u64);
                    self.skip_bytes -= skipped;
                    let skipped = usize::try_from(skipped).expect("at most the piece's length");
                    let piece = piece.split_off(skipped);
                    if piece.is_empty() {
                        continue;
                    }
                    self.done_bytes += piece.len() as u64;
                    if self.done_bytes > self.blob.size_bytes {
                        return Err(wrong_size(&request, &self.blob, self.done_bytes));
                    }
                    if let Some(check) = &mut self.check {
                        check.update(&piece).map_err(|error| request.invalid(error))?;
                    }
                    return Ok(Some(piece));
                }
                Ok(None) if self.done_bytes == self.blob.size_bytes => {
                    self.response = None;
                    if let Some(check) = self.check.take() {
                        check.finish().map_err(|error| request.invalid(error))?;
                    }
                    return Ok(None);
                }
                Ok(None) => {
                    let (done, all) = (self.done_bytes, self.blob.size_bytes);
                    let message = format!("connection closed after {done} of {all} bytes");
                    let error = request.network_error(message);
                    self.wait(error).await?;
                }
                Err(error) if error.is_transient() => self.wait(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits before a retry, or returns the error after the last one.
    async fn wait(&mut self, error: RequestError) -> Result<()> {
        self.response = None;
        // A long download over a bad connection may be cut often, as long as it makes progress.
        if self.done_bytes - self.cut_at_bytes >= PROGRESS_BYTES {
            self.retries = 0;
        }
        self.cut_at_bytes = self.done_bytes;
        self.retries += 1;
        let client = self.repository.client();
        let wait = client.options().retry.wait(self.retries, None);
        let Some(wait) = wait else { return Err(error) };
        client.wait_to_retry(&error, wait, self.retries + 1).await;
        Ok(())
    }

    /// Requests the bytes that are still missing.
    async fn connect(&mut self) -> Result<()> {
        let done = self.done_bytes;
        let client = self.repository.client();
        let mut request = request(&self.repository, &self.blob);
        if done > 0 {
            request.headers.push(("range", format!("bytes={done}-")));
        }
        let mut response = client.send(&request).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && done > 0 {
            // The registry has fewer bytes, or does not serve ranges: the whole blob decides.
            request.headers.retain(|(name, _)| *name != "range");
            response = client.send(&request).await?;
        }
        self.skip_bytes = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let start = text(&response, "content-range").and_then(|range| range_start(&range));
                if start != Some(done) {
                    let what = "the registry sends another range than the requested one";
                    return Err(request.invalid(Error::bad_input(request.object_place(), what)));
                }
                0
            }
            // The whole blob, with or without a range in the request.
            StatusCode::OK => {
                if let Some(length) = response.content_length()
                    && length > self.blob.size_bytes
                {
                    return Err(wrong_size(&request, &self.blob, length));
                }
                done
            }
            status => {
                return Err(request.network_error(format!("status {status} for a blob")));
            }
        };
        self.response = Some(response);
        Ok(())
    }
}

fn request<'a>(repository: &'a Repository, blob: &Descriptor) -> Request<'a> {
    let mut request = repository.request(Method::GET, &path(blob), format!("blob {}", blob.digest));
    request.expected = &[200, 206, 416];
    // A compressed response would be other bytes than those with the digest.
    request.headers.push(("accept-encoding", "identity".into()));
    request
}

fn wrong_size(request: &Request<'_>, blob: &Descriptor, found: u64) -> RequestError {
    request.invalid(Error::Mismatch {
        place: request.object_place(),
        difference: Difference::Size { expected: blob.size_bytes, found },
    })
}

/// Parses the start of `bytes 7-9/10`.
fn range_start(value: &str) -> Option<u64> {
    value.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}

fn path(blob: &Descriptor) -> String {
    format!("blobs/{}", blob.digest)
}

/// Bytes between two cuts that count as progress.
const PROGRESS_BYTES: u64 = 1 << 20;
