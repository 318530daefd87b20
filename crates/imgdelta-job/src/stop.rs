//! The wish to stop, in two steps: begin nothing more, then leave what is being done.
//!
//! Listens to no signal; who does, says so here.

use tokio::sync::watch;

/// The wish to stop. Clones are the same wish.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Phase>);

/// How much is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything.
    Going,
    /// What was begun.
    Ending,
    /// Nothing: works are given back.
    Leaving,
}

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Going))
    }
}

impl Stop {
    /// Asks for more haste; there is no way back.
    pub fn ask(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let is_more = phase > *now;
            *now = (*now).max(phase);
            is_more
        });
    }

    /// Returns what was asked for.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until at least this was asked for.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.subscribe();
        // It cannot be closed: the sender is here.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }
}
