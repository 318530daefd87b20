//! Slowest rates of servers: a deadline for documents, a rate for blobs.
//!
//! Pure: times come from the caller, so that tests need no clock.

use std::time::Duration;

/// The slowest admitted download of a document that fits in memory.
#[derive(Clone, Copy, Debug)]
pub struct DocumentPace {
    /// Time that any document may take.
    pub wait: Duration,
}

impl DocumentPace {
    /// Returns the time that a document may take up to its next piece, from the first on.
    pub fn limit(self, received_bytes: u64) -> Duration {
        self.wait + Duration::from_secs(received_bytes / DOCUMENT_BYTES_PER_SECOND)
    }

    /// Returns the transfer that took longer.
    pub fn slow(bytes: u64, spent: Duration) -> SlowTransfer {
        let millis = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        SlowTransfer { bytes, millis, least_bytes_per_second: DOCUMENT_BYTES_PER_SECOND }
    }
}

/// The slowest admitted download of a blob: bytes in a window of time.
#[derive(Clone, Copy, Debug)]
pub struct BlobPace {
    window: Duration,
    waited: Duration,
    bytes: u64,
}

/// A transfer that was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowTransfer {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Time that they took, in milliseconds.
    pub millis: u64,
    /// The slowest admitted rate.
    pub least_bytes_per_second: u64,
}

impl BlobPace {
    /// Starts the first window.
    pub fn new(window: Duration) -> Self {
        Self { window, waited: Duration::ZERO, bytes: 0 }
    }

    /// Counts bytes and the time that the network took for them. The caller's own time does not
    /// count.
    pub fn add(&mut self, bytes: u64, waited: Duration) -> Result<(), SlowTransfer> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited = self.waited.saturating_add(waited);
        if self.waited < self.window {
            return Ok(());
        }
        let (bytes, waited) = (self.bytes, self.waited);
        *self = Self::new(self.window);
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        if bytes.saturating_mul(1000) < millis.saturating_mul(BLOB_BYTES_PER_SECOND) {
            let least_bytes_per_second = BLOB_BYTES_PER_SECOND;
            return Err(SlowTransfer { bytes, millis, least_bytes_per_second });
        }
        Ok(())
    }
}

/// Rate of a document after its first wait: that of an old modem, twice.
const DOCUMENT_BYTES_PER_SECOND: u64 = 16_000;
/// Rate of a blob: nobody waits for a slower one.
const BLOB_BYTES_PER_SECOND: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_document_has_a_wait_and_a_second_for_each_16_kb() {
        let pace = DocumentPace { wait: 30 * SECOND };
        assert_eq!(pace.limit(0), 30 * SECOND);
        assert_eq!(pace.limit(160_000), 40 * SECOND);
        // A byte in each second buys no time.
        assert_eq!(pace.limit(1000), 30 * SECOND);
    }

    #[test]
    fn a_blob_that_drips_is_too_slow_and_a_slow_reader_is_not() {
        let mut pace = BlobPace::new(60 * SECOND);
        for _ in 0..119 {
            pace.add(1, SECOND / 2).unwrap();
        }
        let slow = pace.add(1, SECOND / 2).unwrap_err();
        assert_eq!((slow.bytes, slow.millis, slow.least_bytes_per_second), (120, 60_000, 1000));
        // The next window starts at zero.
        for _ in 0..1000 {
            pace.add(1000, SECOND).unwrap();
        }
        for _ in 0..1000 {
            pace.add(1, Duration::ZERO).unwrap();
        }
    }
}
