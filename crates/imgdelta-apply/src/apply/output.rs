//! A layer's stream on its way out: compressed as the target was, hashed, proven, written.
//!
//! Gathers small pieces into one buffer, so that hashing and writing see large ones. The blob's digest
//! proves the stream as well, which is not hashed for itself: that would be a fifth of the time.
//! Hashing is this thread's; what compresses hands its work to others. Knows nothing of where the
//! bytes come from.

use super::plan::Job;
use crate::{delta::StreamName, sink::BlobWriter};
use imgdelta_core::{
    Difference, Error, Result, error::Cause, progress::Progress, verify::BlobCheck,
};
use imgdelta_layer::remake::Remake;

/// Takes a stream's bytes in order.
pub(super) trait Taker {
    /// Takes the next bytes.
    fn push(&mut self, bytes: &[u8]) -> Result<()>;

    /// Takes that many bytes from `read`, which fills one piece after another, told how many bytes
    /// came before it.
    fn fill(&mut self, bytes: u64, read: &mut Read<'_>) -> Result<()>;
}

pub(super) type Read<'a> = dyn FnMut(u64, &mut [u8]) -> Result<()> + 'a;

pub(super) struct Output<'a> {
    stream: StreamName,
    seen_bytes: u64,
    remake: Option<Box<dyn Remake + 'a>>,
    remade: Vec<u8>,
    check: BlobCheck,
    writer: Box<dyn BlobWriter + 'a>,
    progress: &'a dyn Progress,
    buffer: Vec<u8>,
}

impl<'a> Output<'a> {
    /// Begins a blob. `remake` does what the job's wrapping says, if the stream is compressed.
    pub(super) fn new(
        job: &Job,
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

    /// Ends the stream: compares its length, and the blob with its digest, and shows the blob.
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

    /// Returns how much may be added, making room if there is none.
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

impl Taker for Output<'_> {
    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.room()?));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn fill(&mut self, bytes: u64, read: &mut Read<'_>) -> Result<()> {
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

/// Half a core's second-level cache; hashing and writing gain nothing from more.
pub(super) const BUFFER_BYTES: usize = 256 << 10;
