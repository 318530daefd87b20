//! Work that ends when the service stops.

use imgdelta::progress::Progress;
use imgdelta_service::{Stop, StopPhase};

/// Cancels work when a stop reaches a phase.
#[derive(Debug)]
pub(crate) struct StopProgress {
    pub stop: Stop,
    pub phase: StopPhase,
}

impl Progress for StopProgress {
    fn is_cancelled(&self) -> bool {
        self.stop.phase() >= self.phase
    }
}
