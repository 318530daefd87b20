//! The sizes of an image's indexes together, held to the limits of an image while layers are read.
//! Never reads a layer.

use super::{Ceiling, LimitName, Limits};
use crate::Result;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Entries and text of the layers of one image that were read so far, by all workers.
#[derive(Debug)]
pub struct ImageTotals {
    name: String,
    entries: IndexTotal,
    text_bytes: IndexTotal,
}

/// A sum with its ceiling.
#[derive(Debug)]
struct IndexTotal {
    sum: AtomicU64,
    ceiling: Ceiling,
    what: &'static str,
}

/// The share of one layer in the totals.
#[derive(Debug)]
pub struct LayerShare<'a> {
    totals: &'a ImageTotals,
    entries: u64,
    text_bytes: u64,
}

impl ImageTotals {
    /// Starts at zero.
    pub fn new(name: &str, limits: &Limits) -> Self {
        let total = |limit, what| IndexTotal {
            sum: AtomicU64::new(0),
            ceiling: limits.ceiling(limit),
            what,
        };
        Self {
            name: name.to_owned(),
            entries: total(LimitName::ImageEntries, "number of entries in all layers"),
            text_bytes: total(
                LimitName::ImageTextBytes,
                "number of bytes in names and attributes of all layers",
            ),
        }
    }

    /// Starts the share of a layer.
    pub fn layer(&self) -> LayerShare<'_> {
        LayerShare { totals: self, entries: 0, text_bytes: 0 }
    }
}

impl LayerShare<'_> {
    /// Sets the layer's sizes, which only grow; fails if the image exceeds a limit.
    pub fn set(&mut self, entries: u64, text_bytes: u64) -> Result<()> {
        let ImageTotals { name, entries: all_entries, text_bytes: all_text } = self.totals;
        all_entries.add(entries - self.entries, name)?;
        all_text.add(text_bytes - self.text_bytes, name)?;
        (self.entries, self.text_bytes) = (entries, text_bytes);
        Ok(())
    }
}

impl IndexTotal {
    fn add(&self, grown: u64, name: &str) -> Result<()> {
        let sum = self.sum.fetch_add(grown, Relaxed).saturating_add(grown);
        self.ceiling.admit(sum, self.what, name).map(drop)
    }
}
