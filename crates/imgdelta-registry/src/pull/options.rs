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
    /// The most deltas in sequence from a base to the image; 1 uses only deltas of the image. Six: each
    /// one costs the work of rebuilding its layers, and versions further back differ so much that few
    /// bytes are saved.
    pub chain: usize,
    /// The most requests for deltas between the bases and the image. Forty: chains of six versions
    /// with a dozen deltas each are found within, and a hostile registry cannot ask for more.
    pub chain_requests: usize,
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
            chain: 6,
            chain_requests: 40,
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

    /// Sets the most deltas in sequence; 0 counts as 1.
    #[must_use]
    pub fn chain(mut self, deltas: usize) -> Self {
        self.chain = deltas.clamp(1, MAX_CHAIN);
        self
    }

    /// Returns the most recipes in sequence: a recipe of one delta may read what another one makes.
    pub(super) fn recipes_in_sequence(&self) -> usize {
        self.chain.max(LINKED_RECIPES)
    }

    /// Sets the most requests for deltas between the bases and the image.
    #[must_use]
    pub fn chain_requests(mut self, requests: usize) -> Self {
        self.chain_requests = requests;
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

/// The most deltas in sequence that a caller may ask for.
const MAX_CHAIN: usize = 64;
/// Recipes of one delta in sequence: more than images have layers that resemble each other.
const LINKED_RECIPES: usize = 8;
