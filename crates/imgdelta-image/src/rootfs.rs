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
#[cfg(test)]
mod tests;

use crate::index::LayerIndex;
use imgdelta_core::path::LayerPath;

/// The merged tree, as nodes sorted by path.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    nodes: Vec<RootfsNode>,
    notes: Vec<RootfsNote>,
    omitted_notes: u64,
}

/// One name in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsNode {
    /// Its path, with the links in its directories resolved.
    pub path: LayerPath,
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
    pub fn merge(layers: &[&LayerIndex]) -> Self {
        build::TreeBuilder::new(layers).finish()
    }

    /// Returns the nodes in the order of their paths' bytes.
    ///
    /// The root itself is a node only if a layer describes it.
    pub fn nodes(&self) -> &[RootfsNode] {
        &self.nodes
    }

    /// Returns the node at a path; links are not followed.
    pub fn find(&self, path: &LayerPath) -> Option<&RootfsNode> {
        let place = self.nodes.binary_search_by(|node| node.path.cmp(path)).ok()?;
        Some(&self.nodes[place])
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
