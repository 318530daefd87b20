//! Directories of paths with their symbolic links followed, as if the root were `/`.
//! Never changes the tree.
//!
//! A link may name a path of two thousand parts, and a million entries may go through it. So the
//! target of a link is remembered until a directory or link is removed. Parts that are walked again
//! nevertheless have a bound in proportion to the entries.

use super::tree::{NONE, NameTree, NodeId, ROOT, SlotForm};
use crate::index::LayerIndex;
use std::{collections::HashMap, sync::Arc};

/// The error is the text of a note.
pub(super) type Outcome<T> = Result<T, &'static str>;

/// A place in the tree: a node, and parts below it that do not exist.
#[derive(Clone, Debug)]
pub(super) struct TreePlace<'a> {
    pub(super) node: NodeId,
    pub(super) missing: Vec<&'a [u8]>,
    /// Length of its path.
    pub(super) path_bytes: usize,
}

/// The directory that a link names.
#[derive(Clone, Copy)]
struct LinkTarget {
    node: NodeId,
    path_bytes: usize,
    walk: Walk,
}

/// Counts of one path, links included.
#[derive(Clone, Copy, Default)]
struct Walk {
    hops: u32,
    parts: u32,
    /// True if a part was left by `..` that a later entry may turn into a link.
    is_unstable: bool,
}

/// Follows links, and remembers their targets.
pub(super) struct LinkResolver<'a> {
    layers: &'a [Arc<LayerIndex>],
    targets: HashMap<NodeId, LinkTarget>,
    /// Parts of links that may still be walked.
    left_parts: u64,
}

impl<'a> LinkResolver<'a> {
    pub(super) fn new(layers: &'a [Arc<LayerIndex>]) -> Self {
        Self { layers, targets: HashMap::new(), left_parts: FREE_PARTS }
    }

    /// Adds the share of one entry to the bound.
    pub(super) fn begin_entry(&mut self) {
        self.left_parts += ENTRY_PARTS;
    }

    /// Forgets all targets, since a directory or a link was removed.
    pub(super) fn forget(&mut self) {
        // Clearing would cost the map's capacity each time.
        self.targets = HashMap::new();
    }

    /// Takes work that is not in proportion to an entry's text from the bound.
    pub(super) fn charge(&mut self, parts: usize) -> Outcome<()> {
        let left = self.left_parts.checked_sub(parts as u64);
        self.left_parts = left.ok_or("too many parts in symbolic links; it is left out")?;
        Ok(())
    }

    /// Follows every symbolic link in a clean path; missing parts stay as spelled.
    pub(super) fn resolve<'p>(
        &mut self,
        tree: &mut NameTree<'a>,
        spelled: &'p [u8],
    ) -> Outcome<TreePlace<'p>>
    where
        'a: 'p,
    {
        let mut place = TreePlace { node: ROOT, missing: Vec::new(), path_bytes: 0 };
        let mut walk = Walk::default();
        for part in spelled.split(|&byte| byte == b'/') {
            self.step(tree, part, &mut place, &mut walk)?;
        }
        Ok(place)
    }

    fn step<'p>(
        &mut self,
        tree: &mut NameTree<'a>,
        part: &'p [u8],
        place: &mut TreePlace<'p>,
        walk: &mut Walk,
    ) -> Outcome<()>
    where
        'a: 'p,
    {
        walk.parts += 1;
        walk.admit()?;
        match part {
            b"" | b"." => return Ok(()),
            b".." => {
                place.climb(tree, walk);
                return Ok(());
            }
            _ => {}
        }
        let path_bytes = joined_bytes(place.path_bytes, part)?;
        let child = if place.missing.is_empty() { tree.child(place.node, part) } else { None };
        match child {
            Some(child) if tree.slot(child).form == SlotForm::Symlink => {
                self.follow(tree, child, place, walk)?;
            }
            Some(child) => (place.node, place.path_bytes) = (child, path_bytes),
            None => {
                place.missing.push(part);
                place.path_bytes = path_bytes;
            }
        }
        Ok(())
    }

    /// Goes from the directory of a link to the link's target.
    fn follow<'p>(
        &mut self,
        tree: &mut NameTree<'a>,
        link: NodeId,
        place: &mut TreePlace<'p>,
        walk: &mut Walk,
    ) -> Outcome<()>
    where
        'a: 'p,
    {
        if let Some(target) = self.targets.get(&link) {
            (place.node, place.path_bytes) = (target.node, target.path_bytes);
            walk.hops += target.walk.hops;
            walk.parts += target.walk.parts;
            return walk.admit();
        }
        let before = *walk;
        walk.hops += 1;
        walk.admit()?;
        let target = self.target_of(tree, link);
        if target.len() > MAX_PATH_BYTES {
            return Err(TOO_MANY_LINKS);
        }
        if target.starts_with(b"/") {
            *place = TreePlace { node: ROOT, missing: Vec::new(), path_bytes: 0 };
        }
        walk.is_unstable = false;
        for part in target.split(|&byte| byte == b'/') {
            self.charge(1)?;
            self.step(tree, part, place, walk)?;
        }
        let is_directory = tree.slot(place.node).form == SlotForm::Directory;
        if place.missing.is_empty() && is_directory && !walk.is_unstable {
            let walk = Walk {
                hops: walk.hops - before.hops,
                parts: walk.parts - before.parts,
                is_unstable: false,
            };
            let (node, path_bytes) = (place.node, place.path_bytes);
            self.targets.insert(link, LinkTarget { node, path_bytes, walk });
        }
        walk.is_unstable |= before.is_unstable;
        Ok(())
    }

    fn target_of(&self, tree: &NameTree<'a>, link: NodeId) -> &'a [u8] {
        let (layer, entry) = tree.slot(link).content;
        let entries = &self.layers[layer as usize].entries;
        debug_assert_ne!(entry, NONE, "a link has an entry");
        entries.get(entry as usize).and_then(|entry| entry.link).unwrap_or_default()
    }
}

impl TreePlace<'_> {
    fn climb(&mut self, tree: &NameTree<'_>, walk: &mut Walk) {
        let name = if let Some(part) = self.missing.pop() {
            walk.is_unstable = true;
            part
        } else {
            walk.is_unstable |= tree.slot(self.node).form != SlotForm::Directory;
            let name = tree.name(self.node);
            self.node = tree.parent(self.node);
            name
        };
        // The parent of a part below the root has an empty path, and no slash.
        self.path_bytes = self.path_bytes.saturating_sub(name.len() + 1);
    }
}

impl Walk {
    fn admit(self) -> Outcome<()> {
        if self.hops > MAX_HOPS {
            return Err(TOO_MANY_LINKS);
        }
        if self.parts > MAX_PARTS { Err(TOO_LONG) } else { Ok(()) }
    }
}

/// Returns the length of a path with one more part, if a runtime can create it.
pub(super) fn joined_bytes(directory_bytes: usize, name: &[u8]) -> Outcome<usize> {
    if directory_bytes + name.len() >= MAX_PATH_BYTES {
        return Err(TOO_LONG);
    }
    let slash = usize::from(directory_bytes > 0);
    Ok(directory_bytes + slash + name.len())
}

const TOO_MANY_LINKS: &str = "too many symbolic links in its path; it is left out";
const TOO_LONG: &str = "its path is too long; it is left out";

/// containerd's bound; the kernel's is 40.
const MAX_HOPS: u32 = 255;

/// The kernel's `PATH_MAX`: no runtime can create a longer path.
const MAX_PATH_BYTES: usize = 4096;

/// Parts resolved for one path, links included; twice as many as the longest path has.
const MAX_PARTS: u32 = 4096;

/// Parts of links that one entry may add to the bound of an image. Links of real images have three,
/// and most are remembered.
const ENTRY_PARTS: u64 = 64;

/// Parts of links that any image may have.
const FREE_PARTS: u64 = 1 << 20;
