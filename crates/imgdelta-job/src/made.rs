//! Deltas that were made and not published, for the next attempt of their tasks.
//!
//! Bounded; a delta that is lost is made again. Publishes nothing.

use crate::make::MakeResult;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Results of this process, by the keys of their tasks.
#[derive(Debug, Default)]
pub(crate) struct UnpublishedDeltas(Mutex<VecDeque<(String, MakeResult)>>);

impl UnpublishedDeltas {
    /// Keeps a result; the oldest one goes if there are too many.
    pub fn keep(&self, key: String, result: MakeResult) {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        results.retain(|(kept, _)| *kept != key);
        results.push_back((key, result));
        if results.len() > MAX_RESULTS {
            results.pop_front();
        }
    }

    /// Takes the result of a task.
    pub fn take(&self, key: &str) -> Option<MakeResult> {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = results.iter().position(|(kept, _)| kept == key)?;
        results.remove(at).map(|(_, result)| result)
    }
}

/// Each is a temporary file of the size of its delta.
const MAX_RESULTS: usize = 8;
