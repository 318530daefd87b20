//! Requests to stop, in two steps: start no more tasks, then leave the running ones.
//!
//! Listens to no signal; the program that does calls [`Stop::request`].

use tokio::sync::watch;

/// A request to stop. Clones share it.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<StopPhase>);

/// The work that remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopPhase {
    /// All tasks: nobody asked to stop.
    Running,
    /// The running tasks only.
    Finishing,
    /// None: running tasks return to the queue.
    Leaving,
}

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(StopPhase::Running))
    }
}

impl Stop {
    /// Requests a phase; an earlier phase than the current one changes nothing.
    pub fn request(&self, phase: StopPhase) {
        self.0.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = (*now).max(phase);
            is_later
        });
    }

    /// Returns the current phase.
    pub fn phase(&self) -> StopPhase {
        *self.0.borrow()
    }

    /// Waits until a phase, or a later one, is requested.
    pub async fn reached(&self, phase: StopPhase) {
        let mut receiver = self.0.subscribe();
        // The channel cannot close: the sender is in `self`.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }
}
