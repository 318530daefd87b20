//! The surroundings of work: scratch files, workers, limits, memory, progress.
//!
//! Made once by the caller and handed to every step. Never reads the environment to fill itself.

use crate::{
    Limits, Result,
    limits::{Ceiling, LimitName},
    parallel::Workers,
    progress::{Progress, Silent},
    scratch::Scratch,
};
use std::{fmt, sync::Arc};

/// Resources and rules that all steps of one task share. Cloning it is cheap.
#[derive(Clone)]
#[non_exhaustive]
pub struct Context {
    /// Directory for temporary files, which have no names. Its ceiling grows with the layers that
    /// are read (see [`Context::admit_layer_bytes`]).
    pub scratch: Scratch,
    /// The directory without the limits' ceiling.
    directory: Scratch,
    /// Threads that do the work.
    pub workers: Arc<Workers>,
    /// Ceilings for images and deltas from outside.
    pub limits: Limits,
    /// Memory that workers may take together; none: the default of each step.
    pub memory_bytes: Option<u64>,
    /// Listener that is informed of progress and may cancel.
    pub progress: Arc<dyn Progress>,
}

impl Context {
    /// Makes a context with one worker per core, the default limits, and no listener.
    pub fn new(scratch: Scratch) -> Result<Self> {
        let context = Self {
            scratch: scratch.clone(),
            directory: scratch,
            workers: Arc::new(Workers::new(0)?),
            limits: Limits::default(),
            memory_bytes: None,
            progress: Arc::new(Silent),
        };
        Ok(context.limits(Limits::default()))
    }

    /// Sets the workers.
    #[must_use]
    pub fn workers(mut self, workers: Arc<Workers>) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the limits, and with them the ceiling for temporary files.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.scratch = self.directory.ceiling(limits.ceiling(LimitName::ScratchFreeBytes));
        self.limits = limits;
        self
    }

    /// Adds a ceiling for temporary files that layers do not raise.
    #[must_use]
    pub fn scratch_ceiling(mut self, ceiling: Ceiling) -> Self {
        self.directory = self.directory.ceiling(ceiling);
        let limits = self.limits.clone();
        self.limits(limits)
    }

    /// Raises the ceiling for temporary files by those that bytes of a layer justify.
    pub fn admit_layer_bytes(&self, bytes: u64) {
        self.scratch.raise(bytes.saturating_mul(SCRATCH_PER_LAYER_BYTE));
    }

    /// Sets the memory that workers may take together.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: Option<u64>) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets the listener.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("scratch", &self.scratch)
            .field("workers", &self.workers.count())
            .field("limits", &self.limits)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

/// Bytes of temporary files for each compressed and each uncompressed byte of a layer. A stream is
/// kept once; archives in it expand three or four times, and archives inside those once more.
const SCRATCH_PER_LAYER_BYTE: u64 = 8;
