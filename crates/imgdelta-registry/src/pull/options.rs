//! Options of a pull, with the reason for each default.
//!
//! Decides nothing.

use super::{
    cost::LinkSpeed,
    deadline::{Clock, SystemClock},
};
use std::sync::Arc;

/// Options of a pull.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "independent choices of the caller")]
pub struct PullOptions {
    /// Uses deltas. Yes: they only save bytes.
    pub deltas: bool,
    /// Refuses an image that is newer than a base. No: most pulls go forward.
    pub rollback: bool,
    /// Gives deltas up that take longer than a plain pull, by more than two seconds and a tenth. Yes:
    /// a hostile delta could take days.
    pub time_limit: bool,
    /// Fetches whole layers after a failure of deltas. Yes: a pull succeeds whatever is wrong with a
    /// delta. A caller whose own plain pull follows anyway sets it to no.
    pub fallback: bool,
    /// The clock of that limit: the system's.
    pub clock: Arc<dyn Clock>,
    /// Chooses by time on a link of this speed instead of by bytes. None: the speed is unknown.
    pub link: Option<LinkSpeed>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            deltas: true,
            rollback: false,
            time_limit: true,
            fallback: true,
            clock: Arc::new(SystemClock::default()),
            link: None,
        }
    }
}

impl PullOptions {
    /// Enables or disables deltas.
    #[must_use]
    pub fn deltas(mut self, deltas: bool) -> Self {
        self.deltas = deltas;
        self
    }

    /// Refuses an image that is newer than a base.
    #[must_use]
    pub fn rollback(mut self, rollback: bool) -> Self {
        self.rollback = rollback;
        self
    }

    /// Enables or disables the limit for the time of deltas.
    #[must_use]
    pub fn time_limit(mut self, time_limit: bool) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// Fetches whole layers after a failure of deltas, or returns the failure.
    #[must_use]
    pub fn fallback(mut self, fallback: bool) -> Self {
        self.fallback = fallback;
        self
    }

    /// Sets the clock of the limit for the time of deltas.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the link speed, to choose by time.
    #[must_use]
    pub fn link(mut self, link: Option<LinkSpeed>) -> Self {
        self.link = link;
        self
    }
}
