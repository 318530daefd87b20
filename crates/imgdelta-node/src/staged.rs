//! Images whose layers were staged for a pull, until an image uses the layers.
//!
//! Ends the lease of each as soon as that is safe; the expiry of the lease covers the rest.

use imgdelta_core::Result;
use imgdelta_runtimes::containerd::{Containerd, StagingStatus};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Stagings whose pull is awaited. Bounded in time and number.
#[derive(Debug, Default)]
pub(crate) struct AwaitedPulls(Mutex<VecDeque<AwaitedPull>>);

#[derive(Clone, Debug)]
struct AwaitedPull {
    staging: StagingStatus,
    since: Instant,
}

impl AwaitedPulls {
    /// Adds a staging that begins. Beyond the bound, the oldest one is left to the end of its lease.
    pub fn add(&self, staging: StagingStatus) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() == MOST_PULLS {
            table.pop_front();
        }
        table.push_back(AwaitedPull { staging, since: Instant::now() });
    }

    /// Ends the leases of layers that an image uses by now; returns the number of stagings that are
    /// still awaited. Forgets those that failed, and those older than `patience`.
    pub fn release_used(&self, containerd: &Containerd, patience: Duration) -> Result<usize> {
        // Calls are made without the lock.
        let mut waiting: VecDeque<AwaitedPull> = {
            let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *table)
        };
        let mut outcome = Ok(());
        waiting.retain(|pull| match pull.is_awaited(containerd, patience) {
            Ok(is_awaited) => is_awaited,
            Err(error) => {
                outcome = Err(error);
                pull.since.elapsed() < patience
            }
        });
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let added = std::mem::replace(&mut *table, waiting);
        table.extend(added);
        outcome.map(|()| table.len())
    }
}

impl AwaitedPull {
    /// Returns false if nothing is left to do for a staging; ends its lease if an image uses it.
    fn is_awaited(&self, containerd: &Containerd, patience: Duration) -> Result<bool> {
        if !self.staging.is_final() {
            // Layers are still being staged.
            return Ok(true);
        }
        let report = self.staging.report();
        let (Some(lease), Some(config), Some(chain)) = (report.lease, report.config, report.chain)
        else {
            return Ok(false);
        };
        if containerd.uses_snapshot(&config, &chain)? {
            containerd.end_lease(&lease)?;
            return Ok(false);
        }
        Ok(self.since.elapsed() < patience)
    }
}

/// A node pulls a few images at one time.
const MOST_PULLS: usize = 64;
