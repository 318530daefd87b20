//! Blobs on their way here: in pieces, checked as they pass, resumed after a cut.
//!
//! Bytes are handed on as they come; only [`BlobStream::next`] returning `None` says that they had
//! their digest. A longer blob than was promised is cut off at once.

use crate::{
    client::Ask,
    failure::{Failure, Result},
    repository::{Repository, text},
};
use bytes::Bytes;
use imgdelta_core::{Difference, Error, limits::Ceiling, verify::BlobCheck};
use imgdelta_image::store::Descriptor;
use reqwest::{Method, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

/// A blob that is being fetched.
#[derive(Debug)]
pub struct BlobStream {
    repository: Repository,
    blob: Descriptor,
    check: Option<BlobCheck>,
    response: Option<Response>,
    /// Bytes handed on.
    done_bytes: u64,
    /// Bytes to pass over: the registry began at the front again.
    skip_bytes: u64,
    /// How often it was resumed since it last came far.
    resumed: u32,
    /// Bytes handed on when it was last cut.
    cut_at_bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Repository {
    /// Returns whether a blob is there, with the size that the registry tells, if it does.
    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool> {
        let digest = blob.digest;
        let mut ask = self.ask(Method::HEAD, &path(blob), format!("blob {digest}"));
        ask.expected = &[200, 404];
        let response = self.client().send(&ask).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let told = text(&response, "content-length").and_then(|told| told.parse::<u64>().ok());
        match told.filter(|told| *told != blob.size_bytes) {
            Some(told) => Err(ask.wrong(wrong_size(&ask, blob, told))),
            None => Ok(true),
        }
    }

    /// Begins to fetch a blob.
    pub async fn blob(&self, blob: &Descriptor) -> Result<BlobStream> {
        self.stream(blob, Some(BlobCheck::new(blob.digest, blob.size_bytes))).await
    }

    /// Begins to fetch a blob for a caller who compares its digest; its length is kept to here.
    pub(crate) async fn unchecked_blob(&self, blob: &Descriptor) -> Result<BlobStream> {
        self.stream(blob, None).await
    }

    async fn stream(&self, blob: &Descriptor, check: Option<BlobCheck>) -> Result<BlobStream> {
        let permit = self.client().permit().await;
        let mut stream = BlobStream {
            repository: self.clone(),
            blob: blob.clone(),
            check,
            response: None,
            done_bytes: 0,
            skip_bytes: 0,
            resumed: 0,
            cut_at_bytes: 0,
            _permit: permit,
        };
        stream.connect().await?;
        Ok(stream)
    }

    /// Fetches a blob that must fit in memory.
    pub async fn blob_bytes(
        &self,
        blob: &Descriptor,
        ceiling: Ceiling,
        what: &'static str,
    ) -> Result<Vec<u8>> {
        let place = format!("blob {}", blob.digest);
        ceiling
            .admit(blob.size_bytes, what, &place)
            .map_err(|error| Failure::wrong(self.place(), place.as_str(), error))?;
        let mut stream = self.blob(blob).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

impl BlobStream {
    /// Returns the next bytes; `None` once all have come and had their digest.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(response) = &mut self.response else {
                if self.done_bytes == self.blob.size_bytes {
                    return Ok(None);
                }
                self.connect().await?;
                continue;
            };
            let ask = ask(&self.repository, &self.blob);
            match self.repository.client().piece(&ask, response).await {
                Ok(Some(mut piece)) => {
                    let skipped = self.skip_bytes.min(piece.len() as u64);
                    self.skip_bytes -= skipped;
                    let piece = piece.split_off(usize::try_from(skipped).expect("of a piece"));
                    if piece.is_empty() {
                        continue;
                    }
                    self.done_bytes += piece.len() as u64;
                    if self.done_bytes > self.blob.size_bytes {
                        return Err(ask.wrong(wrong_size(&ask, &self.blob, self.done_bytes)));
                    }
                    if let Some(check) = &mut self.check {
                        check.update(&piece).map_err(|error| ask.wrong(error))?;
                    }
                    return Ok(Some(piece));
                }
                Ok(None) if self.done_bytes == self.blob.size_bytes => {
                    self.response = None;
                    if let Some(check) = self.check.take() {
                        check.finish().map_err(|error| ask.wrong(error))?;
                    }
                    return Ok(None);
                }
                Ok(None) => {
                    let (done, all) = (self.done_bytes, self.blob.size_bytes);
                    let failure = ask.network(format!("cut off after {done} of {all} bytes"));
                    self.wait(failure).await?;
                }
                Err(failure) if failure.is_passing() => self.wait(failure).await?,
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Waits before it is tried again, or gives up.
    async fn wait(&mut self, failure: Failure) -> Result<()> {
        self.response = None;
        // A long blob over a bad line may be cut often, as long as it comes on.
        if self.done_bytes - self.cut_at_bytes >= FAR_BYTES {
            self.resumed = 0;
        }
        self.cut_at_bytes = self.done_bytes;
        self.resumed += 1;
        let wait = self.repository.client().options().retry.wait(self.resumed, None);
        let Some(wait) = wait else { return Err(failure) };
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Asks for what has not come yet.
    async fn connect(&mut self) -> Result<()> {
        let done = self.done_bytes;
        let client = self.repository.client();
        let mut ask = ask(&self.repository, &self.blob);
        if done > 0 {
            ask.headers.push(("range", format!("bytes={done}-")));
        }
        let mut response = client.send(&ask).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && done > 0 {
            // It has fewer bytes than were promised, or has no ranges: the whole answers which.
            ask.headers.retain(|(name, _)| *name != "range");
            response = client.send(&ask).await?;
        }
        self.skip_bytes = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let begin = text(&response, "content-range").and_then(|told| range_begin(&told));
                if begin != Some(done) {
                    let what = "the registry sends another range than was asked for";
                    return Err(ask.wrong(Error::bad_input(ask.what(), what)));
                }
                0
            }
            // The whole, whatever was asked for.
            StatusCode::OK => {
                if let Some(told) = response.content_length()
                    && told > self.blob.size_bytes
                {
                    return Err(ask.wrong(wrong_size(&ask, &self.blob, told)));
                }
                done
            }
            status => {
                return Err(ask.network(format!("status {status} for a blob")));
            }
        };
        self.response = Some(response);
        Ok(())
    }
}

fn ask<'a>(repository: &'a Repository, blob: &Descriptor) -> Ask<'a> {
    let mut ask = repository.ask(Method::GET, &path(blob), format!("blob {}", blob.digest));
    ask.expected = &[200, 206, 416];
    // A compressed answer would be other bytes than those with the digest.
    ask.headers.push(("accept-encoding", "identity".into()));
    ask
}

fn wrong_size(ask: &Ask<'_>, blob: &Descriptor, found: u64) -> Error {
    Error::Mismatch {
        place: ask.what(),
        difference: Difference::Size { expected: blob.size_bytes, found },
    }
}

/// Reads where `bytes 7-9/10` begins.
fn range_begin(value: &str) -> Option<u64> {
    value.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}

fn path(blob: &Descriptor) -> String {
    format!("blobs/{}", blob.digest)
}

const FAR_BYTES: u64 = 1 << 20;
