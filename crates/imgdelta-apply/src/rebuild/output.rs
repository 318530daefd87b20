//! A layer's stream, compressed as the target was, verified and written.
//! Never knows the source of the bytes.
//!
//! One buffer collects small pieces, so that hashing and writing see large ones. The stream is not
//! hashed by itself, which would take a fifth of the time: the blob's digest verifies it as well.
//! The calling thread hashes; compression may use other workers.

use super::plan::BlobJob;
use crate::{delta::StreamName, sink::BlobWriter};
use imgdelta_core::{
    Difference, Error, Result, error::Cause, progress::Progress, verify::BlobCheck,
};
use imgdelta_layer::remake::Remake;

/// A receiver of a stream's bytes, in order.
pub(super) trait ByteSink {
    /// Takes the next bytes.
    fn push(&mut self, bytes: &[u8]) -> Result<()>;

    /// Takes `bytes` bytes from `read`, which fills one piece after another.
    fn fill(&mut self, bytes: u64, read: &mut ReadAtOffset<'_>) -> Result<()>;
}

/// Fills a buffer with the bytes from an offset on.
pub(super) type ReadAtOffset<'a> = dyn FnMut(u64, &mut [u8]) -> Result<()> + 'a;

pub(super) struct LayerOutput<'a> {
    stream: StreamName,
    seen_bytes: u64,
    remake: Option<Box<dyn Remake + 'a>>,
    remade: Vec<u8>,
    check: BlobCheck,
    writer: Box<dyn BlobWriter + 'a>,
    progress: &'a dyn Progress,
    buffer: Vec<u8>,
}

impl<'a> LayerOutput<'a> {
    /// Begins a blob. `remake` compresses the stream; without it, the blob is the stream.
    pub(super) fn new(
        job: &BlobJob,
        remake: Option<Box<dyn Remake + 'a>>,
        writer: Box<dyn BlobWriter + 'a>,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            stream: job.stream,
            seen_bytes: 0,
            remake,
            remade: Vec::new(),
            check: BlobCheck::new(job.output.digest, job.output.size_bytes),
            writer,
            progress,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Ends the stream: compares length and digest, then makes the blob visible.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        if let Some(mut remake) = self.remake.take() {
            remake.finish(&mut self.remade).map_err(|error| self.not_remade(error))?;
            self.check.update(&self.remade)?;
            self.writer.write(&self.remade)?;
        }
        if self.seen_bytes != self.stream.bytes {
            return Err(Error::Mismatch {
                place: format!("stream {}", self.stream.diff_id),
                difference: Difference::Size {
                    expected: self.stream.bytes,
                    found: self.seen_bytes,
                },
            });
        }
        self.writer.finish(self.check.finish()?)
    }

    /// Returns the free bytes of the buffer, after emptying a full one.
    fn room(&mut self) -> Result<usize> {
        if self.buffer.len() == BUFFER_BYTES {
            self.flush()?;
        }
        Ok(BUFFER_BYTES - self.buffer.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.progress.check()?;
        let bytes = self.buffer.as_slice();
        self.seen_bytes += bytes.len() as u64;
        if let Some(remake) = &mut self.remake {
            self.remade.clear();
            let outcome = remake.push(bytes, &mut self.remade);
            outcome.map_err(|error| self.not_remade(error))?;
            self.check.update(&self.remade)?;
            self.writer.write(&self.remade)?;
            self.remade.clear();
        } else {
            self.check.update(bytes)?;
            self.writer.write(bytes)?;
        }
        self.progress.advance(bytes.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    fn not_remade(&self, error: Cause) -> Error {
        Error::bad_input_because(self.check.place(), "its compression cannot be remade", error)
    }
}

impl ByteSink for LayerOutput<'_> {
    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.room()?));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn fill(&mut self, bytes: u64, read: &mut ReadAtOffset<'_>) -> Result<()> {
        let mut done = 0;
        while done < bytes {
            let rest = usize::try_from(bytes - done).unwrap_or(usize::MAX);
            let count = rest.min(self.room()?);
            let start = self.buffer.len();
            self.buffer.resize(start + count, 0);
            read(done, &mut self.buffer[start..])?;
            done += count as u64;
        }
        Ok(())
    }
}

/// Half of a core's second-level cache; hashing and writing gain nothing from more.
pub(super) const BUFFER_BYTES: usize = 256 << 10;
