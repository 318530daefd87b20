//! Leases of staged layers, followed until the pulls that use the layers have come.
//!
//! One task at a time asks the runtime; it ends when no pull is awaited.

use crate::runtime::Runtime;
use imgdelta_service::{Stop, StopPhase};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// The task that follows leases, if it runs.
#[derive(Debug, Default)]
pub(crate) struct StagedLeases {
    is_followed: AtomicBool,
}

impl StagedLeases {
    /// Follows the leases of staged layers, unless a task does already.
    pub fn follow(self: Arc<Self>, runtime: Arc<dyn Runtime>, stop: Stop) {
        if self.is_followed.swap(true, SeqCst) {
            return;
        }
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.reached(StopPhase::Finishing) => break,
                    () = tokio::time::sleep(PAUSE) => {}
                }
                let runtime = Arc::clone(&runtime);
                match tokio::task::spawn_blocking(move || runtime.release_used()).await {
                    Ok(Ok(0)) => break,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "leases were not ended"),
                    Err(error) => tracing::error!(%error, "leases were not ended"),
                }
            }
            // A staging that begins at this moment is followed by the next one, or its lease ends.
            self.is_followed.store(false, SeqCst);
        });
    }
}

/// A pull takes seconds; each question is a call or two.
const PAUSE: Duration = Duration::from_secs(2);
