//! The merge of layers: entries applied one by one to a map from path to node.
//!
//! It reads no payload. The map is ordered by the bytes of paths, so that everything below a
//! directory is one range. Ceilings bound the work for hostile layers: on hops of links, lengths of
//! paths, implied directories, and notes.

use super::{Rootfs, RootfsNode, RootfsNote};
use crate::index::{Entry, EntryKind, LayerIndex};
use imgdelta_core::path::LayerPath;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
};

/// A tree under construction.
pub(super) struct TreeBuilder<'a> {
    layers: &'a [&'a LayerIndex],
    tree: BTreeMap<LayerPath, TreeSlot>,
    notes: Vec<RootfsNote>,
    omitted_notes: u64,
    implied: usize,
    /// The last directory path, as spelled and as resolved; neighbours share it.
    last_parent: Option<(Vec<u8>, Vec<u8>)>,
    /// Directories that this layer has marked opaque.
    opaque: HashSet<LayerPath>,
}

#[derive(Clone, Copy)]
struct TreeSlot {
    layer: u32,
    entry: Option<u32>,
    content: Option<(u32, u32)>,
    form: SlotForm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotForm {
    Directory,
    Symlink,
    Leaf,
}

/// The error is the text of a note.
type Outcome<T> = Result<T, &'static str>;

impl<'a> TreeBuilder<'a> {
    pub(super) fn new(layers: &'a [&'a LayerIndex]) -> Self {
        Self {
            layers,
            tree: BTreeMap::new(),
            notes: Vec::new(),
            omitted_notes: 0,
            implied: 0,
            last_parent: None,
            opaque: HashSet::new(),
        }
    }

    pub(super) fn finish(mut self) -> Rootfs {
        for (layer, index) in (0..).zip(self.layers) {
            self.opaque.clear();
            for (ordinal, entry) in (0..).zip(&index.entries) {
                // Runtimes stop reading at the end mark.
                if entry.is_after_end {
                    break;
                }
                if let Err(what) = self.apply(layer, ordinal, entry) {
                    self.note(layer, ordinal, entry, what);
                }
            }
        }
        let Self { tree, notes, omitted_notes, .. } = self;
        let mut nodes: Vec<RootfsNode> = Vec::with_capacity(tree.len());
        nodes.extend(tree.into_iter().map(|(path, slot)| RootfsNode {
            path,
            layer: slot.layer,
            entry: slot.entry,
            content: slot.content,
            link_group: None,
        }));
        group_links(&mut nodes);
        Rootfs { nodes, notes, omitted_notes }
    }

    fn apply(&mut self, layer: u32, ordinal: u32, entry: &Entry) -> Outcome<()> {
        let path = entry.path.as_bytes();
        if path.is_empty() {
            return self.describe_root(layer, ordinal, entry);
        }
        let (parent, name) = split(path);
        let parent = self.resolve_parent(parent, layer)?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.white_out(&parent, hidden, layer);
        }
        let form = match entry.kind {
            EntryKind::Directory => SlotForm::Directory,
            EntryKind::Symlink => SlotForm::Symlink,
            EntryKind::Other(_) => return Err("its type is unknown; it is left out"),
            _ => SlotForm::Leaf,
        };
        let path = join(&parent, name)?;
        let mut slot =
            TreeSlot { layer, entry: Some(ordinal), content: Some((layer, ordinal)), form };
        match self.tree.get(&path[..]) {
            Some(there) if there.form == SlotForm::Directory && form == SlotForm::Directory => {}
            Some(_) => self.remove(&path),
            None => {}
        }
        let mut broken = None;
        if entry.kind == EntryKind::HardLink {
            match self.link_target(entry) {
                Ok(target) => (slot.content, slot.form) = (target.content, target.form),
                Err(what) => broken = Some(what),
            }
        }
        self.tree.insert(LayerPath::parse(&path), slot);
        broken.map_or(Ok(()), Err)
    }

    /// Applies a layer's entry for the root directory, which changes the root's metadata only.
    fn describe_root(&mut self, layer: u32, ordinal: u32, entry: &Entry) -> Outcome<()> {
        if entry.kind != EntryKind::Directory {
            return Err("only a directory can be the root; it is left out");
        }
        let content = Some((layer, ordinal));
        let slot = TreeSlot { layer, entry: Some(ordinal), content, form: SlotForm::Directory };
        self.tree.insert(LayerPath::root(), slot);
        Ok(())
    }

    fn white_out(&mut self, parent: &[u8], hidden: &[u8], layer: u32) -> Outcome<()> {
        if hidden == OPAQUE {
            self.hide_below(parent, layer);
        } else if hidden.starts_with(WHITEOUT) {
            // aufs used `.wh..wh.plnk` and `.wh..wh.aufs` itself; they never hide a file.
        } else if matches!(hidden, b"" | b"." | b"..") {
            return Err("a whiteout without a name; it is left out");
        } else {
            let path = join(parent, hidden)?;
            self.remove(&path);
        }
        Ok(())
    }

    /// Removes everything that lower layers put into a directory.
    ///
    /// This layer's files stay. So do the directories above them, without their descriptions.
    fn hide_below(&mut self, directory: &[u8], layer: u32) {
        let mut above = LayerPath::parse(directory);
        if self.opaque.contains(&above) {
            return;
        }
        self.opaque.insert(above.clone());
        while let Some(parent) = above.parent() {
            if self.opaque.contains(&parent) {
                return;
            }
            above = parent;
        }
        let (start, end) = below(directory);
        let range = (bound(&start), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        let mut kept: HashSet<Vec<u8>> = HashSet::new();
        let mut gone: Vec<LayerPath> = Vec::new();
        // In reverse order, files come before their directory.
        for (path, slot) in self.tree.range::<[u8], _>(range).rev() {
            let path_bytes = path.as_bytes();
            if slot.layer == layer || kept.contains(path_bytes) {
                kept.insert(split(path_bytes).0.to_vec());
            }
            if slot.layer != layer && !path_bytes.is_empty() {
                gone.push(path.clone());
            }
        }
        for path in gone {
            if kept.contains(path.as_bytes()) {
                let slot =
                    TreeSlot { layer, entry: None, content: None, form: SlotForm::Directory };
                self.tree.insert(path, slot);
            } else {
                self.tree.remove(&path);
            }
        }
        self.last_parent = None;
    }

    /// Removes a node and everything below it.
    fn remove(&mut self, path: &[u8]) {
        let Some(slot) = self.tree.remove(path) else { return };
        if slot.form == SlotForm::Leaf {
            return;
        }
        self.last_parent = None;
        if slot.form == SlotForm::Directory {
            let (start, end) = below(path);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = self.tree.range::<[u8], _>((bound(&start), end));
            let gone: Vec<LayerPath> = range.map(|(path, _)| path.clone()).collect();
            for path in gone {
                self.tree.remove(&path);
            }
        }
    }

    fn link_target(&mut self, entry: &Entry) -> Outcome<TreeSlot> {
        const BROKEN: &str = "a hard link to a missing file";
        let link = entry.link.as_deref().unwrap_or_default();
        let target = LayerPath::parse(link);
        let (parent, name) = split(target.as_bytes());
        let parent = self.resolve(parent)?;
        let slot = *self.tree.get(&join(&parent, name)?[..]).ok_or(BROKEN)?;
        if slot.form == SlotForm::Directory {
            return Err("a hard link to a directory");
        }
        Ok(slot)
    }

    /// Resolves the directory of an entry, and creates its missing parts.
    fn resolve_parent(&mut self, spelled: &[u8], layer: u32) -> Outcome<Vec<u8>> {
        if let Some((last, resolved)) = &self.last_parent
            && last == spelled
        {
            return Ok(resolved.clone());
        }
        let resolved = self.resolve(spelled)?;
        let mut missing = Vec::new();
        let mut cut = resolved.len();
        while cut > 0 {
            match self.tree.get(&resolved[..cut]) {
                Some(slot) if slot.form == SlotForm::Directory => break,
                Some(_) => return Err("its parent is not a directory; it is left out"),
                None => missing.push(cut),
            }
            cut = resolved[..cut].iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        }
        self.implied += missing.len();
        if self.implied > MAX_IMPLIED {
            return Err("too many implied directories; it is left out");
        }
        for cut in missing {
            let slot = TreeSlot { layer, entry: None, content: None, form: SlotForm::Directory };
            self.tree.insert(LayerPath::parse(&resolved[..cut]), slot);
        }
        self.last_parent = Some((spelled.to_vec(), resolved.clone()));
        Ok(resolved)
    }

    /// Follows every symbolic link in a path, as if the root were `/`; missing parts stay as spelled.
    fn resolve(&self, spelled: &[u8]) -> Outcome<Vec<u8>> {
        let mut resolved = Vec::new();
        let mut todo: Vec<&[u8]> = Vec::new();
        todo.extend(spelled.rsplit(|&byte| byte == b'/'));
        let (mut hops, mut parts) = (0, 0);
        while let Some(part) = todo.pop() {
            parts += 1;
            if parts > MAX_PARTS {
                return Err("its path is too long; it is left out");
            }
            match part {
                b"" | b"." => continue,
                b".." => {
                    resolved.truncate(split(&resolved).0.len());
                    continue;
                }
                _ => {}
            }
            let candidate = join(&resolved, part)?;
            match self.tree.get(&candidate[..]) {
                Some(slot) if slot.form == SlotForm::Symlink => {
                    hops += 1;
                    let target = self.target_of(slot);
                    if hops > MAX_HOPS || target.len() > MAX_PATH_BYTES {
                        return Err("too many symbolic links in its path; it is left out");
                    }
                    if target.starts_with(b"/") {
                        resolved.clear();
                    }
                    todo.extend(target.rsplit(|&byte| byte == b'/'));
                }
                _ => resolved = candidate,
            }
        }
        Ok(resolved)
    }

    fn target_of(&self, slot: &TreeSlot) -> &'a [u8] {
        let Some((layer, entry)) = slot.content else { return b"" };
        let entry = &self.layers[layer as usize].entries[entry as usize];
        entry.link.as_deref().unwrap_or_default()
    }

    fn note(&mut self, layer: u32, ordinal: u32, entry: &Entry, what: &'static str) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(RootfsNote { layer, entry: ordinal, path: entry.path.clone(), what });
        } else {
            self.omitted_notes += 1;
        }
    }
}

/// Sets the link group of files with several names.
fn group_links(nodes: &mut [RootfsNode]) {
    let is_link =
        |node: &RootfsNode| node.content.is_some_and(|content| Some(content) != own(node));
    // A file has several names only if some node's content is another entry.
    let mut groups: HashMap<(u32, u32), (u32, Option<u32>)> = HashMap::new();
    for node in nodes.iter().filter(|node| is_link(node)) {
        groups.entry(node.content.expect("a link has content")).or_default();
    }
    for node in &*nodes {
        if let Some(group) = node.content.and_then(|content| groups.get_mut(&content)) {
            group.0 += 1;
        }
    }
    let mut next = 0;
    for node in nodes {
        let Some(group) = node.content.and_then(|content| groups.get_mut(&content)) else {
            continue;
        };
        if group.0 > 1 {
            node.link_group = Some(*group.1.get_or_insert_with(|| {
                next += 1;
                next - 1
            }));
        }
    }
}

fn own(node: &RootfsNode) -> Option<(u32, u32)> {
    node.entry.map(|entry| (node.layer, entry))
}

/// Splits a clean path into its directory and its name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn join(directory: &[u8], name: &[u8]) -> Outcome<Vec<u8>> {
    if directory.len() + name.len() >= MAX_PATH_BYTES {
        return Err("its path is too long; it is left out");
    }
    Ok(if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() })
}

/// Returns the bounds of all paths below a directory: from `a/` to `a0`, exclusive.
fn below(directory: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    if directory.is_empty() {
        return (Vec::new(), None);
    }
    ([directory, b"/"].concat(), Some([directory, b"0"].concat()))
}

fn bound(start: &[u8]) -> Bound<&[u8]> {
    Bound::Included(start)
}

const WHITEOUT: &[u8] = b".wh.";

/// The rest of an opaque marker's name, `.wh..wh..opq`, after [`WHITEOUT`].
const OPAQUE: &[u8] = b".wh..opq";

/// containerd's bound; the kernel's is 40.
const MAX_HOPS: u32 = 255;

/// The kernel's `PATH_MAX`: no runtime can create a longer path.
const MAX_PATH_BYTES: usize = 4096;

/// Parts resolved for one path, links included; twice as many as the longest path has.
const MAX_PARTS: u32 = 4096;

/// Real images imply a handful. Each takes two bytes of a layer and a hundred bytes of memory.
const MAX_IMPLIED: usize = 1_000_000;

/// More than a person reads.
const MAX_NOTES: usize = 1000;
