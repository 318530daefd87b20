//! The rate of the link to the registries, learnt from downloads.
//!
//! Measures nothing itself. Single downloads vary; so the rate that decides follows slowly, and
//! changes only when the measured one has moved away from it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The rate of a link, in bits per second.
#[derive(Debug)]
pub(crate) struct LinkRate {
    is_measured: bool,
    rates: Mutex<Rates>,
}

#[derive(Clone, Copy, Debug)]
struct Rates {
    /// The mean of recent downloads.
    mean: u64,
    /// The rate that decides.
    deciding: u64,
}

impl LinkRate {
    /// Starts with a guess; without `is_measured` it stays.
    pub fn new(guess: u64, is_measured: bool) -> Self {
        Self { is_measured, rates: Mutex::new(Rates { mean: guess, deciding: guess }) }
    }

    /// Returns the rate that decides.
    pub fn bits_per_second(&self) -> u64 {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).deciding
    }

    /// Adds a download. Short ones say more about delays than about the rate, and do not count.
    pub fn observe(&self, bytes: u64, time: Duration) {
        if !self.is_measured || bytes < LEAST_BYTES || time < LEAST_TIME {
            return;
        }
        let bits = u128::from(bytes) * 8 * 1_000_000 / time.as_micros();
        let bits = u64::try_from(bits).unwrap_or(u64::MAX).max(1);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        // A quarter of each download: one that is ten times as fast moves the mean to threefold.
        rates.mean = rates.mean / 4 * 3 + bits / 4;
        let (low, high) = (rates.deciding / 4 * 3, rates.deciding / 4 * 5);
        if !(low..=high).contains(&rates.mean) {
            rates.deciding = rates.mean;
        }
    }
}

/// Below, the time of a download is mostly delay.
const LEAST_BYTES: u64 = 256 << 10;
const LEAST_TIME: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_rate_follows_many_downloads_and_no_single_one() {
        let rate = LinkRate::new(20_000_000, true);
        // 20 Mbit/s, give or take a tenth.
        for bytes in [2_250_000, 2_750_000, 2_500_000] {
            rate.observe(bytes, SECOND);
            assert_eq!(rate.bits_per_second(), 20_000_000);
        }
        for _ in 0..20 {
            rate.observe(125_000_000, SECOND);
        }
        assert!(rate.bits_per_second() > 700_000_000, "{rate:?}");
    }

    #[test]
    fn short_downloads_and_a_fixed_rate_change_nothing() {
        let rate = LinkRate::new(1000, true);
        rate.observe(1000, SECOND);
        rate.observe(10 << 20, Duration::ZERO);
        assert_eq!(rate.bits_per_second(), 1000);
        let fixed = LinkRate::new(1000, false);
        fixed.observe(10 << 20, SECOND);
        assert_eq!(fixed.bits_per_second(), 1000);
    }
}
