//! The surroundings of work: scratch files, workers, limits, memory, progress.
//!
//! Made once by the caller and handed to every step. Never reads the environment to fill itself.

use crate::{
    Limits, Result,
    parallel::Workers,
    progress::{Progress, Silent},
    scratch::Scratch,
};
use std::{fmt, sync::Arc};

/// Resources and rules that all steps of one task share. Cloning it is cheap.
#[derive(Clone)]
#[non_exhaustive]
pub struct Context {
    /// Directory for temporary files, which have no names.
    pub scratch: Scratch,
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
        Ok(Self {
            scratch,
            workers: Arc::new(Workers::new(0)?),
            limits: Limits::default(),
            memory_bytes: None,
            progress: Arc::new(Silent),
        })
    }

    /// Sets the workers.
    #[must_use]
    pub fn workers(mut self, workers: Arc<Workers>) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
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
