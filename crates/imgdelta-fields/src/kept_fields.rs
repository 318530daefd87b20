//! Fields of a file that stay in memory for the next time, up to a limit.
//! Never finds a field.

use crate::fields::Field;
use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// The fields of blocks that were read first, for the next time.
#[derive(Debug, Default)]
pub(crate) struct KeptFields {
    blocks: Vec<OnceLock<Box<[Field]>>>,
    /// Fields that there is still room for.
    room: AtomicUsize,
}

impl KeptFields {
    /// Starts without fields; none will ever take more than `bytes`.
    pub(crate) fn new(blocks: usize, bytes: usize) -> Self {
        let room = bytes / size_of::<Field>();
        let count = if room == 0 { 0 } else { blocks };
        Self { blocks: vec![OnceLock::new(); count], room: room.into() }
    }

    /// Returns the fields of a block; `None` if they have no room.
    pub(crate) fn block(
        &self,
        block: usize,
        read: impl FnOnce() -> Vec<Field>,
    ) -> Option<&[Field]> {
        let kept = self.blocks.get(block)?;
        if kept.get().is_none() {
            if self.room.load(Ordering::Relaxed) == 0 {
                return None;
            }
            self.keep(block, &read());
        }
        kept.get().map(|fields| &**fields)
    }

    /// Keeps the fields of a block. The first that have no room end the keeping.
    pub(crate) fn keep(&self, block: usize, fields: &[Field]) {
        let Some(kept) = self.blocks.get(block) else { return };
        let taken = |room: usize| room.checked_sub(fields.len());
        match self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken) {
            // Another thread may have kept the same ones in the meantime; their room is lost.
            Ok(_) => drop(kept.set(fields.into())),
            Err(_) => self.room.store(0, Ordering::Relaxed),
        }
    }
}
