//! A gate that holds a request until the test opens it, so that a test needs no luck to act in its middle.
//!
//! Knows nothing of requests.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A gate for one request; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct RequestGate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    has_arrived: bool,
    is_open: bool,
}

impl RequestGate {
    /// Waits until the request is here; panics when `limit` has passed.
    pub fn wait_for_request(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.has_arrived() {
            assert!(Instant::now() < deadline, "waited {limit:?} in vain for a request");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns true if the request is here.
    pub fn has_arrived(&self) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).has_arrived
    }

    /// Lets the request pass.
    pub fn open(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).is_open = true;
        self.0.1.notify_all();
    }

    /// Holds the request.
    pub(super) fn pass(&self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.has_arrived = true;
        let _open = self
            .0
            .1
            .wait_while(state, |state| !state.is_open)
            .unwrap_or_else(PoisonError::into_inner);
    }
}
