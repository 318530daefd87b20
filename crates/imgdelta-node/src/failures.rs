//! Rebuilds that failed a short time ago, by the digest of their image.
//!
//! Many containers of one image start at about the same time. Without this table, each request would
//! repeat the failing rebuild before the image is pulled whole. Knows no reason of a failure.

use imgdelta_core::BlobDigest;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failed rebuilds, the oldest first. Bounded in time and number.
#[derive(Debug, Default)]
pub(crate) struct FailedRebuilds(Mutex<VecDeque<(BlobDigest, Instant)>>);

impl FailedRebuilds {
    /// Adds an image. Beyond the bound, the oldest one is forgotten.
    pub fn add(&self, image: BlobDigest, now: Instant) {
        let mut table = self.current(now);
        if table.len() == MOST_IMAGES {
            table.pop_front();
        }
        table.push_back((image, now));
    }

    /// True if the rebuild of an image failed a short time ago.
    pub fn has(&self, image: &BlobDigest, now: Instant) -> bool {
        self.current(now).iter().any(|(failed, _)| failed == image)
    }

    /// Returns the table without the images whose time is over.
    fn current(&self, now: Instant) -> MutexGuard<'_, VecDeque<(BlobDigest, Instant)>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |at: Instant| now.saturating_duration_since(at) >= REMEMBERED;
        while table.front().is_some_and(|(_, at)| is_over(*at)) {
            table.pop_front();
        }
        table
    }
}

/// Longer than a pull of a large image, after which nobody asks for a rebuild; short enough that a
/// delta that was repaired is used soon.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);
/// A node runs some hundred images; 256 of them take 20 kB.
const MOST_IMAGES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn image(number: usize) -> BlobDigest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    #[test]
    fn a_failure_is_remembered_for_five_minutes() {
        let (failed, start) = (FailedRebuilds::default(), Instant::now());
        failed.add(image(1), start);
        assert!(failed.has(&image(1), start) && !failed.has(&image(2), start));
        failed.add(image(2), start + REMEMBERED / 2);
        assert!(failed.has(&image(1), start + REMEMBERED * 99 / 100));
        assert!(!failed.has(&image(1), start + REMEMBERED));
        assert!(failed.has(&image(2), start + REMEMBERED));
    }

    #[test]
    fn the_table_of_failures_is_bounded() {
        let (failed, now) = (FailedRebuilds::default(), Instant::now());
        (0..=MOST_IMAGES).for_each(|number| failed.add(image(number), now));
        assert!(!failed.has(&image(0), now) && failed.has(&image(1), now));
        assert!(failed.has(&image(MOST_IMAGES), now));
        assert_eq!(failed.0.lock().unwrap().len(), MOST_IMAGES);
    }
}
