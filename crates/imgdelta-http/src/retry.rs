//! Retry policy: the number of attempts, and the wait between them.
//!
//! Only counts and computes; the caller waits.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime},
};

/// Retries of failed requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts for one request, the first included: 7. With the waits below, a request survives 15
    /// seconds without the registry, and ends after 32.
    pub attempts: u32,
    /// Attempts for one request that gets no answer: 3. A server that is silent for so long rarely
    /// answers the next request.
    pub silent_attempts: u32,
    /// The first wait: half a second; each further one is twice as long.
    pub first: Duration,
    /// The longest wait that a registry may ask for: two minutes. A longer `Retry-After` is
    /// reported as an error.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 7,
            silent_attempts: 3,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(120),
        }
    }
}

impl Retry {
    /// Sets the number of attempts, the first included.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the first wait.
    #[must_use]
    pub fn first(mut self, first: Duration) -> Self {
        self.first = first;
        self
    }

    /// Returns the wait after the attempt of this number (from 1), or `None` to give up.
    /// `requested` is the wait that the registry asks for.
    pub fn wait(&self, attempt: u32, requested: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts || requested.is_some_and(|wait| wait > self.longest) {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        // Many clients that were cut off together should not come back together.
        let full = doubled.min(self.longest);
        let random = RandomState::new().hash_one(attempt) % 512;
        let jittered = full / 2 + full.saturating_mul(u32::try_from(random).unwrap_or(0)) / 1024;
        Some(jittered.max(requested.unwrap_or_default()))
    }
}

/// Parses `Retry-After`: seconds, or a date.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_spread_and_end() {
        let retry = Retry::default();
        for attempt in 1..retry.attempts {
            let full = Duration::from_millis(500 << (attempt - 1));
            let wait = retry.wait(attempt, None).unwrap();
            assert!(wait >= full / 2 && wait <= full, "{attempt}: {wait:?}");
        }
        assert_eq!(retry.wait(retry.attempts, None), None);
    }

    #[test]
    fn a_request_survives_ten_seconds_without_the_registry() {
        for _ in 0..100 {
            let retry = Retry::default();
            let waits = (1..retry.attempts).filter_map(|attempt| retry.wait(attempt, None));
            let sum: Duration = waits.sum();
            assert!(sum > Duration::from_secs(15) && sum <= Duration::from_secs(32), "{sum:?}");
        }
    }

    #[test]
    fn the_requested_wait_is_the_shortest_and_has_a_limit() {
        let retry = Retry::default();
        let requested = Duration::from_secs(90);
        assert_eq!(retry.wait(1, Some(requested)), Some(requested));
        assert_eq!(retry.wait(1, Some(Duration::from_secs(121))), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        let later = retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now);
        assert_eq!(later, Some(Duration::from_secs(10)));
        let earlier = retry_after("Sun, 06 Nov 1994 08:49:07 GMT", now);
        assert_eq!(earlier, Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
