//! Progress reports and cancellation.
//!
//! The library never draws and never reads a clock; rates and remaining times belong to the
//! listener.

use crate::{Error, Result};

/// Step of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Layers are read, checked and indexed; counted in stored (compressed) bytes.
    Reading,
    /// Files are matched and encoded; counted in bytes of what is rebuilt.
    Matching,
    /// Encoded files are packed; counted in bytes of their streams.
    Packing,
    /// The destination is searched for blobs that are already there; counted in their bytes.
    Looking,
    /// A new delta is applied and compared with the target; counted in bytes of streams.
    Proving,
    /// Parts of a delta are fetched from a registry; counted in their bytes.
    Fetching,
    /// Files are rebuilt from the base; counted in their bytes.
    Rebuilding,
    /// Layers are assembled and written; counted in bytes of their streams.
    Writing,
}

/// Listener that is informed of progress and may cancel. Called from several threads.
pub trait Progress: Send + Sync {
    /// A stage begins; the calls of [`Progress::advance`] will add up to `total_bytes`.
    fn begin(&self, stage: Stage, total_bytes: u64) {
        let _ = (stage, total_bytes);
    }

    /// Another `bytes` bytes are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// The stage that began has this many layers; as many calls of [`Progress::finish_item`] follow.
    fn expect_items(&self, count: u64) {
        let _ = count;
    }

    /// Another layer of the stage is done.
    fn finish_item(&self) {}

    /// Returns true if the work should stop as soon as it can.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl dyn Progress + '_ {
    /// Returns [`Error::Cancelled`] if the listener asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Asks the listener once in [`Checkpoint::STEPS`] steps of a loop, since the question may cost a
/// system call.
#[derive(Clone, Copy)]
pub struct Checkpoint<'a> {
    progress: &'a dyn Progress,
    left_steps: u32,
}

impl<'a> Checkpoint<'a> {
    /// Steps from one question to the next. Most loops take less than a millisecond for them.
    pub const STEPS: u32 = 256;

    /// Starts a loop; its first step asks.
    pub fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, left_steps: 0 }
    }

    /// Begins a step; returns [`Error::Cancelled`] if the listener asked to stop.
    pub fn step(&mut self) -> Result<()> {
        if self.left_steps == 0 {
            self.progress.check()?;
            self.left_steps = Self::STEPS;
        }
        self.left_steps -= 1;
        Ok(())
    }
}

impl std::fmt::Debug for Checkpoint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("left_steps", &self.left_steps).finish_non_exhaustive()
    }
}

/// A listener that ignores everything and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    struct CancelAfter(AtomicU32);

    impl Progress for CancelAfter {
        fn is_cancelled(&self) -> bool {
            self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
        }
    }

    #[test]
    fn a_loop_asks_at_its_first_step_and_then_once_in_many() {
        let listener = CancelAfter(AtomicU32::new(2));
        let mut checkpoint = Checkpoint::new(&listener);
        let passed = (0..10_000).take_while(|_| checkpoint.step().is_ok()).count();
        assert_eq!(passed, 2 * Checkpoint::STEPS as usize);
        assert!(Checkpoint::new(&CancelAfter(AtomicU32::new(0))).step().is_err());
    }
}
