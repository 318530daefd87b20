//! The bytes of scratch files, counted against ceilings.
//!
//! Touches no file.

use crate::{Result, limits::Ceiling};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes in use and their ceiling, inside another space if there is one.
#[derive(Debug)]
pub(super) struct ScratchSpace {
    state: Mutex<SpaceState>,
    outer: Option<Arc<ScratchSpace>>,
}

#[derive(Clone, Copy, Debug)]
struct SpaceState {
    ceiling: Ceiling,
    used_bytes: u64,
}

impl Default for ScratchSpace {
    fn default() -> Self {
        let state = SpaceState { ceiling: Ceiling::fixed(u64::MAX), used_bytes: 0 };
        Self { state: Mutex::new(state), outer: None }
    }
}

impl ScratchSpace {
    pub fn within(outer: Arc<Self>, ceiling: Ceiling) -> Self {
        let state = SpaceState { ceiling, used_bytes: 0 };
        Self { state: Mutex::new(state), outer: Some(outer) }
    }

    pub fn raise(&self, bytes: u64) {
        let mut state = self.state();
        state.ceiling.value = state.ceiling.value.saturating_add(bytes);
    }

    pub fn room_bytes(&self) -> u64 {
        let SpaceState { ceiling, used_bytes } = *self.state();
        let room = ceiling.value.saturating_sub(used_bytes);
        self.outer.as_ref().map_or(room, |outer| room.min(outer.room_bytes()))
    }

    /// Takes bytes, or fails and takes none.
    pub fn take(&self, bytes: u64, place: &str) -> Result<()> {
        let mut state = self.state();
        let used_bytes = state.used_bytes.saturating_add(bytes);
        // The message is made for a refusal only: this is asked for each piece of a file.
        if used_bytes > state.ceiling.value {
            state.ceiling.admit(used_bytes, COUNTED, place)?;
        }
        if let Some(outer) = &self.outer {
            outer.take(bytes, place)?;
        }
        state.used_bytes = used_bytes;
        Ok(())
    }

    pub fn give_back(&self, bytes: u64) {
        let mut state = self.state();
        state.used_bytes = state.used_bytes.saturating_sub(bytes);
        if let Some(outer) = &self.outer {
            outer.give_back(bytes);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, SpaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The quantity in errors about a ceiling.
pub(super) const COUNTED: &str = "size of temporary files in bytes";
