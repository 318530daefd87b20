//! The merge of layers: entries applied one by one to a tree of names.
//!
//! It reads no payload. Each entry costs its own text and a share of what it removes; ceilings bound
//! everything else: hops and parts of links, lengths of paths, implied directories, and notes.

use super::{
    Rootfs, RootfsNote,
    list::NodeList,
    resolve::{LinkResolver, Outcome, joined_bytes},
    tree::{NONE, NameTree, NodeId, ROOT, SlotForm, TreeSlot},
};
use crate::index::{Entry, EntryKind, LayerIndex};
use imgdelta_core::{
    Result,
    path::{LayerPath, split},
    progress::{Checkpoint, Progress},
};
use std::{collections::HashSet, sync::Arc};

/// A tree under construction.
pub(super) struct TreeBuilder<'a> {
    layers: &'a [Arc<LayerIndex>],
    tree: NameTree<'a>,
    links: LinkResolver<'a>,
    notes: Vec<RootfsNote>,
    omitted_notes: u64,
    implied: usize,
    /// Bytes of paths that no entry spells.
    left_path_bytes: u64,
    /// The last directory, as spelled; neighbours share it.
    last_parent: Option<(&'a [u8], Directory)>,
    /// Directories that this layer has marked opaque.
    opaque: HashSet<NodeId>,
}

/// A directory of the tree.
#[derive(Clone, Copy)]
struct Directory {
    node: NodeId,
    path_bytes: usize,
}

impl<'a> TreeBuilder<'a> {
    pub(super) fn new(layers: &'a [Arc<LayerIndex>]) -> Self {
        Self {
            layers,
            tree: NameTree::new(),
            links: LinkResolver::new(layers),
            notes: Vec::new(),
            omitted_notes: 0,
            implied: 0,
            left_path_bytes: FREE_PATH_BYTES,
            last_parent: None,
            opaque: HashSet::new(),
        }
    }

    /// Applies all entries; returns the merged tree, and the number of steps for it.
    pub(super) fn finish(mut self, progress: &dyn Progress) -> Result<(Rootfs, u64)> {
        let mut checkpoint = Checkpoint::new(progress);
        for (layer, index) in (0..).zip(self.layers) {
            self.opaque = HashSet::new();
            for (ordinal, entry) in (0..).zip(&index.entries) {
                checkpoint.step()?;
                // Runtimes stop reading at the end mark.
                if entry.is_after_end {
                    break;
                }
                self.links.begin_entry();
                self.left_path_bytes += ENTRY_PATH_BYTES;
                if let Err(what) = self.apply(layer, ordinal, &entry) {
                    self.note(layer, ordinal, &entry, what);
                }
            }
        }
        let Self { tree, layers, notes, omitted_notes, .. } = self;
        let steps = tree.steps;
        let nodes = NodeList::of(&tree, layers, &mut checkpoint)?;
        Ok((Rootfs { layers: layers.to_vec(), nodes, notes, omitted_notes }, steps))
    }

    fn apply(&mut self, layer: u32, ordinal: u32, entry: &Entry<'a>) -> Outcome<()> {
        let path = entry.path.as_bytes();
        if path.is_empty() {
            return self.describe_root(layer, ordinal, entry);
        }
        let (spelled, name) = split(path);
        let parent = self.resolve_parent(spelled, layer)?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.white_out(parent, spelled, hidden, layer);
        }
        let form = match entry.kind {
            EntryKind::Directory => SlotForm::Directory,
            EntryKind::Symlink => SlotForm::Symlink,
            EntryKind::Other(_) => return Err("its type is unknown; it is left out"),
            _ => SlotForm::Leaf,
        };
        let path_bytes = joined_bytes(parent.path_bytes, name)?;
        self.charge_path(path_bytes.saturating_sub(path.len()))?;
        let mut slot = TreeSlot { layer, entry: ordinal, content: (layer, ordinal), form };
        let there = self.tree.child(parent.node, name);
        if let Some(there) = there
            && form == SlotForm::Directory
            && self.tree.slot(there).form == SlotForm::Directory
        {
            self.tree.set_slot(there, slot);
            return Ok(());
        }
        if let Some(there) = there {
            self.remove(there);
        }
        let mut broken = None;
        if entry.kind == EntryKind::HardLink {
            match self.link_target(entry) {
                Ok(target) => (slot.content, slot.form) = (target.content, target.form),
                Err(what) => broken = Some(what),
            }
        }
        self.tree.add(parent.node, name, slot);
        broken.map_or(Ok(()), Err)
    }

    /// Applies a layer's entry for the root directory, which changes the root's metadata only.
    fn describe_root(&mut self, layer: u32, ordinal: u32, entry: &Entry<'_>) -> Outcome<()> {
        if entry.kind != EntryKind::Directory {
            return Err("only a directory can be the root; it is left out");
        }
        let (content, form) = ((layer, ordinal), SlotForm::Directory);
        self.tree.set_slot(ROOT, TreeSlot { layer, entry: ordinal, content, form });
        Ok(())
    }

    fn white_out(
        &mut self,
        parent: Directory,
        spelled: &[u8],
        hidden: &[u8],
        layer: u32,
    ) -> Outcome<()> {
        if hidden == OPAQUE {
            self.hide_below(parent.node, spelled, layer)?;
        } else if hidden.starts_with(WHITEOUT) {
            // aufs used `.wh..wh.plnk` and `.wh..wh.aufs` itself; they never hide a file.
        } else if matches!(hidden, b"" | b"." | b"..") {
            return Err("a whiteout without a name; it is left out");
        } else {
            joined_bytes(parent.path_bytes, hidden)?;
            if let Some(hidden) = self.tree.child(parent.node, hidden) {
                self.remove(hidden);
            }
        }
        Ok(())
    }

    /// Removes everything that lower layers put into a directory.
    ///
    /// This layer's files stay. So do the directories above them, without their descriptions.
    /// Directories below that are marked already hold this layer's files only, so they are passed
    /// over: each file is looked at once, whatever the order of the markers.
    fn hide_below(&mut self, directory: NodeId, spelled: &[u8], layer: u32) -> Outcome<()> {
        let mut above = directory;
        let mut levels = 0_usize;
        loop {
            if self.opaque.contains(&above) {
                return Ok(());
            }
            if above == ROOT {
                break;
            }
            above = self.tree.parent(above);
            levels += 1;
        }
        self.links.charge(levels.saturating_sub(spelled.len()))?;
        self.opaque.insert(directory);
        let opaque = &self.opaque;
        let below = self.tree.below(directory, |node| !opaque.contains(&node));
        for node in below.into_iter().rev() {
            if self.tree.slot(node).layer == layer {
                continue;
            }
            if self.tree.has_children(node) {
                self.tree.set_slot(node, TreeSlot::implied(layer));
            } else {
                self.opaque.remove(&node);
                self.tree.remove_leaf(node);
            }
        }
        self.forget();
        Ok(())
    }

    /// Removes a node and everything below it.
    fn remove(&mut self, node: NodeId) {
        if self.tree.slot(node).form != SlotForm::Leaf {
            self.forget();
        }
        for below in self.tree.below(node, |_| true).into_iter().rev() {
            self.opaque.remove(&below);
            self.tree.remove_leaf(below);
        }
        self.opaque.remove(&node);
        self.tree.remove_leaf(node);
    }

    /// Forgets resolved directories, which a removal may have changed.
    fn forget(&mut self) {
        self.last_parent = None;
        self.links.forget();
    }

    fn link_target(&mut self, entry: &Entry<'_>) -> Outcome<TreeSlot> {
        const BROKEN: &str = "a hard link to a missing file";
        let target = LayerPath::parse(entry.link.unwrap_or_default());
        let (parent, name) = split(target.as_bytes());
        let parent = self.links.resolve(&mut self.tree, parent)?;
        joined_bytes(parent.path_bytes, name)?;
        let node = match &parent.missing[..] {
            [] if name.is_empty() => Some(ROOT).filter(|_| self.tree.slot(ROOT).entry != NONE),
            [] => self.tree.child(parent.node, name),
            _ => None,
        };
        let slot = self.tree.slot(node.ok_or(BROKEN)?);
        if slot.form == SlotForm::Directory {
            return Err("a hard link to a directory");
        }
        Ok(slot)
    }

    /// Resolves the directory of an entry, and creates its missing parts.
    fn resolve_parent(&mut self, spelled: &'a [u8], layer: u32) -> Outcome<Directory> {
        if let Some((last, directory)) = self.last_parent
            && last == spelled
        {
            return Ok(directory);
        }
        let place = self.links.resolve(&mut self.tree, spelled)?;
        if self.tree.slot(place.node).form != SlotForm::Directory {
            return Err("its parent is not a directory; it is left out");
        }
        self.implied += place.missing.len();
        if self.implied > MAX_IMPLIED {
            return Err(TOO_MANY_IMPLIED);
        }
        // The paths above are shorter.
        self.charge_path(place.missing.len() * place.path_bytes)?;
        let mut node = place.node;
        for name in place.missing {
            node = self.tree.add(node, name, TreeSlot::implied(layer));
        }
        let directory = Directory { node, path_bytes: place.path_bytes };
        self.last_parent = Some((spelled, directory));
        Ok(directory)
    }

    /// Takes the bytes of paths that are longer than spelled from their bound.
    fn charge_path(&mut self, bytes: usize) -> Outcome<()> {
        let left = self.left_path_bytes.checked_sub(bytes as u64);
        self.left_path_bytes = left.ok_or(TOO_MANY_IMPLIED)?;
        Ok(())
    }

    fn note(&mut self, layer: u32, ordinal: u32, entry: &Entry<'_>, what: &'static str) {
        if self.notes.len() < MAX_NOTES {
            let path = entry.path.to_path();
            self.notes.push(RootfsNote { layer, entry: ordinal, path, what });
        } else {
            self.omitted_notes += 1;
        }
    }
}

const WHITEOUT: &[u8] = b".wh.";

/// The rest of an opaque marker's name, `.wh..wh..opq`, after [`WHITEOUT`].
const OPAQUE: &[u8] = b".wh..opq";

const TOO_MANY_IMPLIED: &str = "too many implied directories; it is left out";

/// Real images imply a handful. Each takes two bytes of a layer and a hundred bytes of memory.
const MAX_IMPLIED: usize = 1_000_000;

/// Bytes of paths that no entry spells, behind links or for implied directories: for each entry, and
/// for any image.
const ENTRY_PATH_BYTES: u64 = 64;
const FREE_PATH_BYTES: u64 = 64 << 20;

/// More than a person reads.
const MAX_NOTES: usize = 1000;
