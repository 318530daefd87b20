//! What times become: an image made again later has nearly every time changed, but the few times
//! of the base become few times of the target, mostly the same way each time.
//!
//! It foresees and remembers; it reads no column.

use std::collections::HashMap;

/// What is remembered of the times so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// What each of the base's times last became.
    became: HashMap<i64, i64>,
    /// Times that were told, the latest first.
    recent: Vec<i64>,
    last: i64,
}

impl Times {
    /// Returns the time to be expected where the base entry has `base`.
    pub(super) fn expected(&self, base: Option<i64>) -> i64 {
        base.map_or(self.last, |base| self.became.get(&base).copied().unwrap_or(base))
    }

    /// Returns the time of the entry before.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Returns the time told `place` tellings ago.
    pub(super) fn recent(&self, place: usize) -> Option<i64> {
        self.recent.get(place).copied()
    }

    /// Returns how long ago a time was told.
    pub(super) fn place_of(&self, time: i64) -> Option<usize> {
        self.recent.iter().position(|&found| found == time)
    }

    /// Takes note of an entry's time, and whether it had to be told.
    pub(super) fn note(&mut self, base: Option<i64>, time: i64, is_told: bool) {
        self.last = time;
        if let Some(base) = base {
            self.became.insert(base, time);
        }
        if is_told {
            let place = self.recent.iter().position(|&found| found == time);
            if let Some(place) = place {
                self.recent[..=place].rotate_right(1);
            } else {
                self.recent.truncate(RECENT_TIMES - 1);
                self.recent.insert(0, time);
            }
        }
    }
}

/// How many told times can be told again by their place.
const RECENT_TIMES: usize = 64;
