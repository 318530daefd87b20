//! pgzip's segments of a fixed size, each of which ends with a flush.
//!
//! The sizes of writes and the number of threads do not change the output. Never needs more than a
//! segment and the 16 KiB before it.

use super::{KlauspostEncoder, KlauspostVersion, PGZIP_HISTORY_BYTES};

/// The encoder while it writes a pgzip stream.
pub(crate) struct PgzipEncoder {
    segment_bytes: usize,
    segment: KlauspostEncoder,
    /// True between the end of a segment and the start of the next.
    is_between: bool,
    written: usize,
    /// The last bytes of the segment, which are the history of the next one.
    history: Vec<u8>,
    output: Vec<u8>,
}

/// Bytes of the smallest segment: pgzip needs segments that are larger than the history.
pub(crate) const MIN_SEGMENT_BYTES: usize = PGZIP_HISTORY_BYTES + 1;

impl PgzipEncoder {
    pub(crate) fn new(version: KlauspostVersion, level: i8, segment_bytes: usize) -> Option<Self> {
        let segment = KlauspostEncoder::new(version, level, &[])?;
        (segment_bytes >= MIN_SEGMENT_BYTES).then(|| Self {
            segment_bytes,
            segment,
            is_between: false,
            written: 0,
            history: Vec::new(),
            output: Vec::new(),
        })
    }

    pub(crate) fn write(&mut self, mut plain: &[u8]) {
        while !plain.is_empty() {
            let room = self.segment_bytes - self.written;
            let (now, later) = plain.split_at(plain.len().min(room));
            self.feed(now);
            if self.written == self.segment_bytes {
                self.end_segment();
            }
            plain = later;
        }
    }

    fn feed(&mut self, plain: &[u8]) {
        if self.is_between {
            self.segment.restart(&self.history);
            self.is_between = false;
        }
        self.segment.write(plain);
        self.written += plain.len();
        let keep = PGZIP_HISTORY_BYTES.saturating_sub(plain.len());
        self.history.drain(..self.history.len().saturating_sub(keep));
        let new = &plain[plain.len().saturating_sub(PGZIP_HISTORY_BYTES)..];
        self.history.extend_from_slice(new);
        self.segment.bits().take(&mut self.output);
    }

    fn end_segment(&mut self) {
        self.segment.flush();
        self.segment.bits().take(&mut self.output);
        self.is_between = true;
        self.written = 0;
    }

    pub(crate) fn finish(&mut self) {
        self.feed(&[]);
        self.segment.flush();
        self.segment.close();
        self.segment.bits().take(&mut self.output);
    }

    /// Resets the encoder for another stream.
    pub(crate) fn restart(&mut self) {
        self.segment.restart(&[]);
        self.is_between = false;
        self.written = 0;
        self.history.clear();
        self.output.clear();
    }

    /// Moves all finished bytes to the end of `out`.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.output);
    }
}
