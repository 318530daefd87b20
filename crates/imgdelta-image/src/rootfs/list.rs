//! The nodes of a merged tree in the order of their paths, as rows of twelve bytes.
//! Never changes the tree.
//!
//! A node's path is that of its entry, unless it lies behind a link or has no entry. So hardly any
//! path is stored.

use super::{
    RootfsNode,
    tree::{NONE, NameTree, NodeId, ROOT},
};
use crate::index::LayerIndex;
use imgdelta_core::{Result, path::LayerPathRef, progress::Checkpoint};
use std::{cmp::Ordering, collections::HashMap, ops::Range, sync::Arc};

/// Nodes sorted by path.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeList {
    rows: Vec<NodeRow>,
    /// Paths that differ from the entry's own, and their nodes.
    text: Vec<u8>,
    paths: Vec<(u32, Range<usize>)>,
    /// Contents that differ from the node's own entry, and their nodes.
    contents: Vec<(u32, (u32, u32))>,
    /// Nodes that share a file with others, and its number.
    groups: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct NodeRow {
    layer: u32,
    entry: u32,
    has_path: bool,
    has_content: bool,
    has_group: bool,
}

impl NodeList {
    /// Lists the nodes of a tree.
    pub(super) fn of(
        tree: &NameTree<'_>,
        layers: &[Arc<LayerIndex>],
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Self> {
        let mut list = Self { rows: Vec::with_capacity(tree.len()), ..Self::default() };
        let mut path = Vec::new();
        if tree.slot(ROOT).entry != NONE {
            list.push(tree, ROOT, &path, layers);
        }
        let mut open = vec![OpenDirectory { left: items(tree, ROOT), path_bytes: 0 }];
        while let Some(directory) = open.last_mut() {
            checkpoint.step()?;
            let Some(item) = directory.left.pop() else {
                open.pop();
                continue;
            };
            path.truncate(directory.path_bytes);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(tree.name(item.node));
            if item.is_content {
                let left = items(tree, item.node);
                open.push(OpenDirectory { left, path_bytes: path.len() });
            } else {
                list.push(tree, item.node, &path, layers);
            }
        }
        list.rows.shrink_to_fit();
        list.group_links();
        Ok(list)
    }

    fn push(&mut self, tree: &NameTree<'_>, node: NodeId, path: &[u8], layers: &[Arc<LayerIndex>]) {
        let slot = tree.slot(node);
        let row = u32::try_from(self.rows.len()).expect("nodes are limited as entries are");
        let own = (slot.entry != NONE)
            .then(|| layers[slot.layer as usize].entries.path(slot.entry as usize));
        let has_path = own.is_none_or(|own| own.as_bytes() != path);
        if has_path {
            let start = self.text.len();
            self.text.extend_from_slice(path);
            self.paths.push((row, start..self.text.len()));
        }
        let has_content = slot.entry != NONE && slot.content != (slot.layer, slot.entry);
        if has_content {
            self.contents.push((row, slot.content));
        }
        let (layer, entry) = (slot.layer, slot.entry);
        self.rows.push(NodeRow { layer, entry, has_path, has_content, has_group: false });
    }

    /// Numbers the files that have several names.
    fn group_links(&mut self) {
        // A file has several names only if some node's content is another entry.
        let mut groups: HashMap<(u32, u32), (u32, Option<u32>)> =
            self.contents.iter().map(|&(_, content)| (content, (0, None))).collect();
        if groups.is_empty() {
            return;
        }
        for row in 0..self.rows.len() {
            if let Some(group) = self.content(row).and_then(|content| groups.get_mut(&content)) {
                group.0 += 1;
            }
        }
        let mut next = 0;
        for row in 0..self.rows.len() {
            let group = self.content(row).and_then(|content| groups.get_mut(&content));
            let Some((2.., number)) = group else { continue };
            let number = *number.get_or_insert_with(|| {
                next += 1;
                next - 1
            });
            self.groups.push((u32::try_from(row).expect("counted above"), number));
            self.rows[row].has_group = true;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the node of this ordinal, which must exist.
    pub(super) fn at<'a>(&'a self, row: usize, layers: &'a [Arc<LayerIndex>]) -> RootfsNode<'a> {
        let NodeRow { layer, entry, has_group, .. } = self.rows[row];
        RootfsNode {
            path: self.path(row, layers),
            layer,
            entry: (entry != NONE).then_some(entry),
            content: self.content(row),
            link_group: if has_group { found(&self.groups, row).copied() } else { None },
        }
    }

    pub(super) fn path<'a>(
        &'a self,
        row: usize,
        layers: &'a [Arc<LayerIndex>],
    ) -> LayerPathRef<'a> {
        let NodeRow { layer, entry, has_path, .. } = self.rows[row];
        match found(&self.paths, row).filter(|_| has_path) {
            Some(range) => LayerPathRef::of_known(&self.text[range.clone()]),
            None => layers[layer as usize].entries.path(entry as usize),
        }
    }

    fn content(&self, row: usize) -> Option<(u32, u32)> {
        let NodeRow { layer, entry, has_content, .. } = self.rows[row];
        if has_content {
            return found(&self.contents, row).copied();
        }
        (entry != NONE).then_some((layer, entry))
    }
}

/// Returns a node's field in a list that is sorted by node.
fn found<T>(list: &[(u32, T)], row: usize) -> Option<&T> {
    let place = list.binary_search_by_key(&row, |&(node, _)| node as usize).ok()?;
    Some(&list[place].1)
}

/// A directory with the items that are not listed yet, the next one last.
struct OpenDirectory {
    left: Vec<ListItem>,
    path_bytes: usize,
}

/// A node, or everything below it.
struct ListItem {
    node: NodeId,
    is_content: bool,
}

/// Returns a directory's items in reverse order.
///
/// The order is that of the bytes of whole paths, where `a-b` comes before `a/b`. So what lies below
/// `a` stands in the list as `a/`.
fn items(tree: &NameTree<'_>, directory: NodeId) -> Vec<ListItem> {
    let mut items = Vec::new();
    for node in tree.children(directory) {
        items.push(ListItem { node, is_content: false });
        if tree.has_children(node) {
            items.push(ListItem { node, is_content: true });
        }
    }
    items.sort_unstable_by(|one, other| order(tree, other, one));
    items
}

fn order(tree: &NameTree<'_>, one: &ListItem, other: &ListItem) -> Ordering {
    let (a, b) = (tree.name(one.node), tree.name(other.node));
    let common = a.len().min(b.len());
    let next =
        |name: &[u8], is_content: bool| name.get(common).copied().or(is_content.then_some(b'/'));
    let rest = || next(a, one.is_content).cmp(&next(b, other.is_content));
    // No name has a slash, so that the next bytes decide.
    a[..common].cmp(&b[..common]).then_with(rest)
}
