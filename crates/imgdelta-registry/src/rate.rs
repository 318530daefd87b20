//! The rate of transfers, learnt while they run.
//!
//! Counts bytes, and the time in which at least one transfer waited for the network. Time that the
//! program spends on other work does not count.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Bytes and time of all transfers together.
#[derive(Debug, Default)]
pub(crate) struct TransferRate(Mutex<TransferSums>);

#[derive(Clone, Copy, Debug, Default)]
struct TransferSums {
    /// Transfers that wait, and the time since which there is one.
    waiting: u64,
    since: Option<Instant>,
    busy: Duration,
    bytes: u64,
}

/// Bytes of transfers, and the time in which at least one of them waited for the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Time in which at least one transfer waited. Transfers at the same time count once.
    pub waited: Duration,
}

/// A transfer that waits for the network.
#[derive(Debug)]
pub(crate) struct WaitingTransfer<'a> {
    rate: &'a TransferRate,
    bytes: u64,
}

impl TransferRate {
    /// A transfer begins to wait. Its wait ends when the value is dropped.
    pub fn begin(&self) -> WaitingTransfer<'_> {
        let mut sums = self.sums();
        if sums.waiting == 0 {
            sums.since = Some(Instant::now());
        }
        sums.waiting += 1;
        WaitingTransfer { rate: self, bytes: 0 }
    }

    /// Returns the rate, or `None` before enough bytes have arrived.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let TransferSums { bytes, busy, .. } = *self.sums();
        rate(bytes, busy)
    }

    /// Returns bytes and time so far.
    pub fn sum(&self) -> Transfers {
        let TransferSums { bytes, busy, since, .. } = *self.sums();
        Transfers { bytes, waited: busy + since.map_or(Duration::ZERO, |since| since.elapsed()) }
    }

    fn sums(&self) -> MutexGuard<'_, TransferSums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingTransfer<'_> {
    /// The wait ends with these bytes.
    pub fn end(mut self, bytes: u64) {
        self.bytes = bytes;
    }
}

impl Drop for WaitingTransfer<'_> {
    fn drop(&mut self) {
        let mut sums = self.rate.sums();
        sums.bytes = sums.bytes.saturating_add(self.bytes);
        sums.waiting -= 1;
        if sums.waiting == 0
            && let Some(since) = sums.since.take()
        {
            sums.busy += since.elapsed();
        }
    }
}

fn rate(bytes: u64, busy: Duration) -> Option<u64> {
    if bytes < LEAST_BYTES {
        return None;
    }
    let nanos = busy.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).ok().map(|rate| rate.max(1))
}

/// Fewer bytes say more about the first round trip than about the link.
const LEAST_BYTES: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_have_no_rate_and_many_have_that_of_their_time() {
        assert_eq!(rate(LEAST_BYTES - 1, Duration::from_secs(1)), None);
        assert_eq!(rate(10_000_000, Duration::from_secs(4)), Some(2_500_000));
        assert_eq!(rate(LEAST_BYTES, Duration::from_secs(u64::MAX)), Some(1));
        assert!(rate(LEAST_BYTES, Duration::ZERO).is_some());
    }

    #[test]
    fn transfers_at_the_same_time_share_their_time() {
        let rate = TransferRate::default();
        let (one, two) = (rate.begin(), rate.begin());
        one.end(LEAST_BYTES);
        assert_eq!(rate.sums().busy, Duration::ZERO, "the other one still waits");
        // A transfer that is given up counts its time and no byte.
        drop(two);
        let sums = *rate.sums();
        assert_eq!((sums.waiting, sums.bytes), (0, LEAST_BYTES));
        assert!(rate.bytes_per_second().is_some());
    }
}
