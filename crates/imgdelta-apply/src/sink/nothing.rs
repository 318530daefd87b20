//! Sinks that keep nothing: for checking a delta, and for proving a fresh one.
//!
//! Never touch a file but to read.

use super::{BlobWriter, Outgoing, Sink, Wants};
use imgdelta_core::{DiffId, Error, Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::{
    store::Descriptor,
    volume::{Stream, Volume},
};
use std::sync::Arc;

/// Takes an image and keeps nothing; who writes into it learns that all digests are right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Sink for Nothing {
    fn place(&self) -> String {
        "nowhere".into()
    }

    fn wants(&self) -> Wants {
        Wants::Either
    }

    fn begin(&mut self, _: Outgoing) -> Result<()> {
        Ok(())
    }

    fn has(&self, _: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(false)
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(Self))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl BlobWriter for Nothing {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: VerifiedBlob) -> Result<()> {
        Ok(())
    }
}

/// Compares the streams of an image with those of a volume, byte for byte.
#[derive(Clone, Debug)]
pub struct Compare {
    expected: Arc<Volume>,
}

impl Compare {
    /// Expects the streams of `volume`; a layer whose stream is not there is an error.
    pub fn new(volume: Arc<Volume>) -> Self {
        Self { expected: volume }
    }
}

impl Sink for Compare {
    fn place(&self) -> String {
        "comparison".into()
    }

    fn wants(&self) -> Wants {
        Wants::Streams
    }

    fn begin(&mut self, _: Outgoing) -> Result<()> {
        Ok(())
    }

    fn has(&self, _: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(false)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        let digest = blob.digest;
        let diff_id = DiffId::new(digest.algorithm(), digest.as_bytes());
        let stream = diff_id.and_then(|diff_id| self.expected.stream(&diff_id));
        let stream = stream.ok_or_else(|| Error::NotFound {
            place: self.place(),
            what: format!("stream {digest}"),
            present: Vec::new(),
        })?;
        Ok(Box::new(Comparing { stream, at: 0, buffer: Vec::new() }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Comparing<'a> {
    stream: &'a Stream,
    at: u64,
    buffer: Vec<u8>,
}

impl BlobWriter for Comparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.resize(bytes.len(), 0);
        self.stream.read_exact_at(self.at, &mut self.buffer)?;
        let differs = bytes.iter().zip(&self.buffer).position(|(made, expected)| made != expected);
        if let Some(at) = differs {
            return Err(Error::Mismatch {
                place: format!("stream {}, offset {}", self.stream.diff_id(), self.at + at as u64),
                what: "byte",
                expected: self.buffer[at].to_string(),
                found: bytes[at].to_string(),
            });
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>, _: VerifiedBlob) -> Result<()> {
        Ok(())
    }
}
