//! Options of a pull, with the reason for each default.
//!
//! Decides nothing.

use super::cost::LinkSpeed;

/// Options of a pull.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullOptions {
    /// Uses deltas. Yes: they only save bytes.
    pub deltas: bool,
    /// Refuses an image that is newer than a base. No: most pulls go forward.
    pub rollback: bool,
    /// Chooses by time on a link of this speed instead of by bytes. None: the speed is unknown.
    pub link: Option<LinkSpeed>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { deltas: true, rollback: false, link: None }
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

    /// Sets the link speed, to choose by time.
    #[must_use]
    pub fn link(mut self, link: Option<LinkSpeed>) -> Self {
        self.link = link;
        self
    }
}
