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

/// A listener that ignores everything and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
