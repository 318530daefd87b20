//! A layer's stream from a decoder to its sink: bounded, hashed, counted.
//!
//! Limits are checked before the sink sees a byte. Never stores the stream.

use super::StreamCheck;
use imgdelta_core::{
    Algorithm, DiffId, Difference, Error, LimitName, Limits, Result,
    progress::Progress,
    verify::{Hasher, VerifiedBlob},
};

pub(super) struct StreamOutput<'a> {
    place: &'a str,
    digest: StreamCheck,
    limits: &'a Limits,
    progress: &'a dyn Progress,
    /// `None` if the blob's hash is also the stream's, or if the digest is assumed.
    hasher: Option<Hasher>,
    stream_bytes: u64,
    sink: &'a mut dyn FnMut(&[u8]) -> Result<()>,
}

impl<'a> StreamOutput<'a> {
    pub(super) fn new(
        place: &'a str,
        digest: StreamCheck,
        limits: &'a Limits,
        progress: &'a dyn Progress,
        sink: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Self {
        let hasher = match digest {
            StreamCheck::Compute => Some(Hasher::new(Algorithm::Sha256)),
            StreamCheck::Compare(expected) => Some(Hasher::new(expected.algorithm())),
            StreamCheck::Assume(_) => None,
        };
        Self { place, digest, limits, progress, hasher, stream_bytes: 0, sink }
    }

    /// Returns the blob's name in errors.
    pub(super) fn place(&self) -> &str {
        self.place
    }

    /// Drops the stream's hash if the blob's hash, by `algorithm`, is the same.
    pub(super) fn blob_is_stream(&mut self, algorithm: Algorithm) {
        if self.hasher.as_ref().is_some_and(|hasher| hasher.algorithm() == algorithm) {
            self.hasher = None;
        }
    }

    /// Passes on bytes that were decoded from the first `stored_bytes` of the blob.
    pub(super) fn push(&mut self, bytes: &[u8], stored_bytes: u64) -> Result<()> {
        // One piece of the blob may decode to gigabytes.
        self.progress.check()?;
        self.stream_bytes += bytes.len() as u64;
        let limits = self.limits;
        limits.admit(LimitName::LayerBytes, self.stream_bytes, "uncompressed size", self.place)?;
        if self.stream_bytes > limits.expansion_free_bytes {
            let expansion = self.stream_bytes / stored_bytes.max(1);
            limits.admit(LimitName::Expansion, expansion, "expansion factor", self.place)?;
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        (self.sink)(bytes)
    }

    /// Compares the stream with the expected digest.
    pub(super) fn finish(self, blob: &VerifiedBlob) -> Result<(DiffId, u64)> {
        let found = match (self.hasher, self.digest) {
            (_, StreamCheck::Assume(assumed)) => assumed,
            (Some(hasher), _) => hasher.finish_diff_id(),
            (None, _) => DiffId::new(blob.digest().algorithm(), blob.digest().as_bytes())
                .expect("the same length"),
        };
        match self.digest {
            StreamCheck::Compare(expected) if expected != found => Err(Error::Mismatch {
                place: self.place.to_owned(),
                difference: Difference::DiffId { expected, found },
            }),
            _ => Ok((found, self.stream_bytes)),
        }
    }
}
