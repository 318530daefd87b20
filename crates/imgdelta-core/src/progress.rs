//! How long work tells of itself and is stopped.
//!
//! The core never draws and never reads a clock: rate and remaining time are the listener's.

use crate::{Error, Result};

/// What is being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Layers are read, checked and indexed; counted in stored (compressed) bytes.
    Reading,
    /// Files are matched and encoded; counted in bytes of what is rebuilt.
    Matching,
    /// Blobs that the target may have already are looked for; counted in their bytes.
    Looking,
    /// A fresh delta is held against what it should make; counted in bytes of streams.
    Proving,
    /// Parts of a delta come from a registry; counted in their bytes.
    Fetching,
    /// Payloads are rebuilt from the base; counted in their bytes.
    Rebuilding,
    /// Layers are put together and written; counted in bytes of their streams.
    Writing,
}

/// Listens to work, and may stop it. Called from several threads.
pub trait Progress: Send + Sync {
    /// A stage begins; `total_bytes` is what [`Progress::advance`] will add up to.
    fn begin(&self, stage: Stage, total_bytes: u64) {
        let _ = (stage, total_bytes);
    }

    /// That many more bytes are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Whether to stop at the next opportunity.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl dyn Progress + '_ {
    /// Returns [`Error::Cancelled`] once the listener asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Listens to nothing and never stops anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
