//! Predicts the times of entries from the changes of earlier times.
//! Never reads a column.
//!
//! An image that is built again later has new times nearly everywhere. But a base has few distinct
//! times, and each mostly changes to the same target time.

use std::collections::HashMap;

/// Times of earlier entries.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeMemory {
    /// Latest target time for each base time.
    targets: HashMap<i64, i64>,
    /// Times that were stored as facts, the latest first.
    recent: Vec<i64>,
    last: i64,
}

impl TimeMemory {
    /// Returns the predicted time of an entry whose base entry has the time `base`.
    pub(super) fn expected(&self, base: Option<i64>) -> i64 {
        base.map_or(self.last, |base| self.targets.get(&base).copied().unwrap_or(base))
    }

    /// Returns the time of the previous entry.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Returns the time at a position in the list of recent ones.
    pub(super) fn recent(&self, place: usize) -> Option<i64> {
        self.recent.get(place).copied()
    }

    /// Returns the position of a time in the list of recent ones.
    pub(super) fn place_of(&self, time: i64) -> Option<usize> {
        self.recent.iter().position(|&other| other == time)
    }

    /// Remembers an entry's time; `is_fact` if the prediction was wrong.
    pub(super) fn note(&mut self, base: Option<i64>, time: i64, is_fact: bool) {
        self.last = time;
        if let Some(base) = base {
            self.targets.insert(base, time);
        }
        if is_fact {
            if let Some(place) = self.place_of(time) {
                self.recent[..=place].rotate_right(1);
            } else {
                self.recent.truncate(RECENT_TIMES - 1);
                self.recent.insert(0, time);
            }
        }
    }
}

/// Length of the list of recent times.
const RECENT_TIMES: usize = 64;
