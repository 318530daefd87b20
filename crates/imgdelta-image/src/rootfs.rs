//! The root file system that a container runtime makes of an image's layers, from indexes alone.
//!
//! It touches no disk, and an entry that a runtime would refuse is left out with a note. The rules
//! are those of containerd's layer application; moby's differ in details only:
//! - Entries act in the order of the stream.
//! - Symbolic links in the directories of a path are followed inside the root.
//! - A whiteout removes the file that is there at that moment; an opaque marker removes everything
//!   that lower layers put into its directory.
//! - A directory over a directory changes the metadata only. Any other entry replaces the file at
//!   its path, with everything below it.

mod build;
mod list;
mod resolve;
mod tree;

use crate::index::LayerIndex;
use imgdelta_core::{
    Result,
    path::{LayerPath, LayerPathRef},
    progress::Progress,
};
use std::sync::Arc;

/// The merged tree, as nodes sorted by path.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    layers: Vec<Arc<LayerIndex>>,
    nodes: list::NodeList,
    notes: Vec<RootfsNote>,
    omitted_notes: u64,
}

/// One name in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootfsNode<'a> {
    /// Its path, with the links in its directories resolved.
    pub path: LayerPathRef<'a>,
    /// The layer that created or last described it, counted from the lowest, 0.
    pub layer: u32,
    /// Its entry in that layer; `None` for a directory that only the entries in it imply.
    pub entry: Option<u32>,
    /// Layer and entry of the file itself, with its metadata and payload.
    ///
    /// Differs from the node's own for a hard link only; `None` if `entry` is `None`.
    pub content: Option<(u32, u32)>,
    /// A number that all names of one file share; `None` for a file with one name.
    pub link_group: Option<u32>,
}

/// An entry that a runtime would refuse or silently ignore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsNote {
    /// The layer, counted from the lowest.
    pub layer: u32,
    /// Its entry.
    pub entry: u32,
    /// The entry's path.
    pub path: LayerPath,
    /// The problem.
    pub what: &'static str,
}

impl std::fmt::Display for RootfsNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "layer {}, {}: {}", self.layer, self.path, self.what)
    }
}

impl Rootfs {
    /// Merges layers, the lowest first.
    ///
    /// The only error is that the listener cancels.
    pub fn merge(layers: &[Arc<LayerIndex>], progress: &dyn Progress) -> Result<Self> {
        Self::merge_counted(layers, progress).map(|(rootfs, _)| rootfs)
    }

    /// Merges layers, and counts the steps of the work; for tests of its bound.
    #[doc(hidden)]
    pub fn merge_counted(
        layers: &[Arc<LayerIndex>],
        progress: &dyn Progress,
    ) -> Result<(Self, u64)> {
        build::TreeBuilder::new(layers).finish(progress)
    }

    /// Returns the nodes in the order of their paths' bytes.
    ///
    /// The root itself is a node only if a layer describes it.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = RootfsNode<'_>> + Clone {
        (0..self.nodes.len()).map(|row| self.nodes.at(row, &self.layers))
    }

    /// Returns the node at a path; links are not followed.
    pub fn find<'a>(&self, path: impl Into<LayerPathRef<'a>>) -> Option<RootfsNode<'_>> {
        let path = path.into();
        let (mut low, mut high) = (0, self.nodes.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.nodes.path(middle, &self.layers).as_bytes().cmp(path.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(self.nodes.at(middle, &self.layers)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Returns the first thousand notes.
    pub fn notes(&self) -> &[RootfsNote] {
        &self.notes
    }

    /// Returns the number of notes that were dropped.
    pub fn omitted_notes(&self) -> u64 {
        self.omitted_notes
    }
}
