//! A tree of names in memory: nodes with links to their relatives, and a table of children by name.
//! Never knows layers' rules; it holds the places of entries and hands them back.
//!
//! A lookup costs one hash of a name, at any depth. A node takes about 65 bytes, since names stay in
//! the indexes.

use std::hash::{BuildHasher, RandomState};

/// Number of a node; numbers of removed nodes are used again.
pub(super) type NodeId = u32;

/// The node of the root, which is never removed.
pub(super) const ROOT: NodeId = 0;

/// No node, or no entry.
pub(super) const NONE: u32 = u32::MAX;

/// The file at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreeSlot {
    pub(super) layer: u32,
    /// Entry in the layer; [`NONE`] for a directory without a description.
    pub(super) entry: u32,
    /// Layer and entry of the content; of no meaning without an entry.
    pub(super) content: (u32, u32),
    pub(super) form: SlotForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotForm {
    Directory,
    Symlink,
    Leaf,
}

impl TreeSlot {
    /// Returns a directory that only the entries in it imply.
    pub(super) fn implied(layer: u32) -> Self {
        Self { layer, entry: NONE, content: (NONE, NONE), form: SlotForm::Directory }
    }
}

/// A node of the tree.
struct NameNode<'a> {
    name: &'a [u8],
    parent: NodeId,
    first_child: NodeId,
    next: NodeId,
    previous: NodeId,
    slot: TreeSlot,
}

/// Names of files in directories, up to the root.
pub(super) struct NameTree<'a> {
    nodes: Vec<NameNode<'a>>,
    free: Vec<NodeId>,
    children: ChildTable,
    /// Number of nodes that were looked up, walked or removed.
    pub(super) steps: u64,
}

impl<'a> NameTree<'a> {
    /// Makes a tree with a root that nothing describes.
    pub(super) fn new() -> Self {
        let slot = TreeSlot::implied(0);
        let root = NameNode {
            name: b"",
            parent: ROOT,
            first_child: NONE,
            next: NONE,
            previous: NONE,
            slot,
        };
        Self { nodes: vec![root], free: Vec::new(), children: ChildTable::default(), steps: 0 }
    }

    /// Returns the number of nodes, the root included.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    pub(super) fn name(&self, node: NodeId) -> &'a [u8] {
        self.nodes[node as usize].name
    }

    /// Returns the directory of a node; the root is its own.
    pub(super) fn parent(&self, node: NodeId) -> NodeId {
        self.nodes[node as usize].parent
    }

    pub(super) fn slot(&self, node: NodeId) -> TreeSlot {
        self.nodes[node as usize].slot
    }

    pub(super) fn set_slot(&mut self, node: NodeId, slot: TreeSlot) {
        self.nodes[node as usize].slot = slot;
    }

    pub(super) fn has_children(&self, node: NodeId) -> bool {
        self.nodes[node as usize].first_child != NONE
    }

    /// Returns the children of a node, in no order.
    pub(super) fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let first = self.nodes[node as usize].first_child;
        let real = |node: NodeId| (node != NONE).then_some(node);
        std::iter::successors(real(first), move |&child| real(self.nodes[child as usize].next))
    }

    /// Returns the child of this name.
    pub(super) fn child(&mut self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.steps += 1;
        self.children.find(&self.nodes, parent, name)
    }

    /// Adds a child, whose name must be new in its directory.
    pub(super) fn add(&mut self, parent: NodeId, name: &'a [u8], slot: TreeSlot) -> NodeId {
        let next = self.nodes[parent as usize].first_child;
        let node = NameNode { name, parent, first_child: NONE, next, previous: NONE, slot };
        let id = if let Some(id) = self.free.pop() {
            self.nodes[id as usize] = node;
            id
        } else {
            self.nodes.push(node);
            NodeId::try_from(self.nodes.len() - 1).expect("nodes are limited as entries are")
        };
        if next != NONE {
            self.nodes[next as usize].previous = id;
        }
        self.nodes[parent as usize].first_child = id;
        self.children.insert(&self.nodes, id);
        id
    }

    /// Removes a node without children.
    pub(super) fn remove_leaf(&mut self, id: NodeId) {
        self.steps += 1;
        self.children.remove(&self.nodes, id);
        let NameNode { parent, next, previous, .. } = self.nodes[id as usize];
        if previous == NONE {
            self.nodes[parent as usize].first_child = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        self.free.push(id);
    }

    /// Returns all nodes below a node, each before its children.
    ///
    /// Nodes for which `enters` is false are returned without those below them.
    pub(super) fn below(&mut self, node: NodeId, enters: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = self.children(node).collect();
        let mut at = 0;
        while let Some(&next) = found.get(at) {
            at += 1;
            if enters(next) {
                found.extend(self.children(next));
            }
        }
        self.steps += at as u64;
        found
    }
}

/// Children by directory and name: an open hash table of node numbers.
///
/// The keys stay in the nodes, so that a child costs about eight bytes here. The hash is keyed, since
/// names come from strangers.
#[derive(Default)]
struct ChildTable {
    slots: Vec<NodeId>,
    used: usize,
    hasher: RandomState,
}

impl ChildTable {
    fn place(&self, parent: NodeId, name: &[u8]) -> usize {
        let hash = self.hasher.hash_one((parent, name));
        // The table's length is a power of two, and memory holds it.
        usize::try_from(hash & (self.slots.len() as u64 - 1)).expect("below the length")
    }

    fn find(&self, nodes: &[NameNode<'_>], parent: NodeId, name: &[u8]) -> Option<NodeId> {
        if self.slots.is_empty() {
            return None;
        }
        let mut place = self.place(parent, name);
        loop {
            let id = self.slots[place];
            let node = nodes.get(id as usize)?;
            if node.parent == parent && node.name == name {
                return Some(id);
            }
            place = self.after(place);
        }
    }

    fn insert(&mut self, nodes: &[NameNode<'_>], id: NodeId) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![NONE; (old.len() * 2).max(16)];
            for id in old.into_iter().filter(|&id| id != NONE) {
                self.put(nodes, id);
            }
        }
        self.used += 1;
        self.put(nodes, id);
    }

    fn put(&mut self, nodes: &[NameNode<'_>], id: NodeId) {
        let node = &nodes[id as usize];
        let mut place = self.place(node.parent, node.name);
        while self.slots[place] != NONE {
            place = self.after(place);
        }
        self.slots[place] = id;
    }

    fn remove(&mut self, nodes: &[NameNode<'_>], id: NodeId) {
        let node = &nodes[id as usize];
        let mut gap = self.place(node.parent, node.name);
        while self.slots[gap] != id {
            gap = self.after(gap);
        }
        self.used -= 1;
        // The run behind the gap moves up, where that does not put a node before its first place.
        let mut place = self.after(gap);
        while let Some(node) = nodes.get(self.slots[place] as usize) {
            let first = self.place(node.parent, node.name);
            let mask = self.slots.len() - 1;
            if place.wrapping_sub(first) & mask >= place.wrapping_sub(gap) & mask {
                self.slots[gap] = self.slots[place];
                gap = place;
            }
            place = self.after(place);
        }
        self.slots[gap] = NONE;
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn names_are_found_as_in_a_map(
            actions in prop::collection::vec((0usize..40, any::<bool>()), 0..400),
        ) {
            let names: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
            let mut tree = NameTree::new();
            let mut model: BTreeMap<usize, NodeId> = BTreeMap::new();
            for (name, adds) in actions {
                match (adds, model.get(&name).copied()) {
                    (true, None) => {
                        let node = tree.add(ROOT, names[name].as_bytes(), TreeSlot::implied(0));
                        model.insert(name, node);
                    }
                    (false, Some(node)) => {
                        tree.remove_leaf(node);
                        model.remove(&name);
                    }
                    _ => {}
                }
                for (n, name) in names.iter().enumerate() {
                    prop_assert_eq!(tree.child(ROOT, name.as_bytes()), model.get(&n).copied());
                }
                prop_assert_eq!(tree.children(ROOT).count(), model.len());
                prop_assert_eq!(tree.len(), model.len() + 1);
            }
        }
    }
}
