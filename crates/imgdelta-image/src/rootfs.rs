//! The root file system that a container runtime makes of an image's layers, from indexes alone.
//!
//! It touches no disk and judges nothing: what a runtime would refuse is left out with a note.
//! The rules are those of containerd's layer application (moby's are the same but for details):
//! entries act in the order of the stream; symbolic links in the directories of a path are followed
//! inside the root; a whiteout removes what is there at that moment, an opaque marker what lower
//! layers put there; a directory over a directory only changes its metadata; anything else replaces
//! what it meets, with all that is below it.

mod build;
#[cfg(test)]
mod tests;

use crate::index::Index;
use imgdelta_core::path::LayerPath;

/// The merged tree, as nodes sorted by path.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    nodes: Vec<Node>,
    notes: Vec<Note>,
    omitted_notes: u64,
}

/// One name in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is, links in its directories resolved.
    pub path: LayerPath,
    /// The layer that put it there or last described it; counted from the lowest, 0.
    pub layer: u32,
    /// The entry of that layer that names it, or `None` for a directory that is only implied by
    /// what lies in it.
    pub entry: Option<u32>,
    /// The layer and entry that made the file itself: its metadata and payload are there. Differs
    /// from the node's own for a hard link only; `None` where `entry` is.
    pub content: Option<(u32, u32)>,
    /// Names of one file have the same number here; `None` for a file of one name.
    pub link_group: Option<u32>,
}

/// Something a runtime would refuse or silently pass over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The layer, counted from the lowest.
    pub layer: u32,
    /// Its entry.
    pub entry: u32,
    /// The path as the entry has it.
    pub path: LayerPath,
    /// What is the matter.
    pub what: &'static str,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "layer {}, {}: {}", self.layer, self.path, self.what)
    }
}

impl Rootfs {
    /// Applies layers, the lowest first.
    pub fn merge(layers: &[&Index]) -> Self {
        build::Builder::new(layers).finish()
    }

    /// Returns the nodes in the order of their paths' bytes. The root itself is among them only
    /// if a layer describes it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns what is at a path; links are not followed.
    pub fn find(&self, path: &LayerPath) -> Option<&Node> {
        let place = self.nodes.binary_search_by(|node| node.path.cmp(path)).ok()?;
        Some(&self.nodes[place])
    }

    /// Returns the first notes, as many as a reader would read.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns how many more notes there were.
    pub fn omitted_notes(&self) -> u64 {
        self.omitted_notes
    }
}
