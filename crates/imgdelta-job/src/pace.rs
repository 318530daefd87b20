//! The pace of a scan: no more requests in a second than the operator allows.
//!
//! Knows no request.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The pace of all requests of scans.
#[derive(Debug)]
pub(crate) struct ScanPace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl ScanPace {
    /// Allows a number of requests in a second; zero means no limit.
    pub fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        Self { interval, next: Mutex::default() }
    }

    /// Waits for the turn of a request.
    pub async fn turn(&self) {
        let wait = self.wait(Instant::now());
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes the next free place after `now`, and returns the time until then.
    fn wait(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let place = next.map_or(now, |next| next.max(now));
        *next = Some(place + self.interval);
        place - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_places_of_equal_distance() {
        let (pace, now) = (ScanPace::new(10), Instant::now());
        let tenth = Duration::from_millis(100);
        let waits: Vec<Duration> = (0..4).map(|_| pace.wait(now)).collect();
        assert_eq!(waits, [Duration::ZERO, tenth, 2 * tenth, 3 * tenth]);
        // Time that passed unused is not saved up: after a pause, requests keep their distance.
        let later = now + Duration::from_secs(9);
        assert_eq!([pace.wait(later), pace.wait(later)], [Duration::ZERO, tenth]);
        assert_eq!(ScanPace::new(0).wait(now), Duration::ZERO);
    }
}
