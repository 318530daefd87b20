//! The merge of layers in its plain form: a map from whole paths to nodes, for tests.
//! Never bounds its work; the fast form must make the same tree.

use imgdelta_core::path::LayerPath;
use imgdelta_image::index::{Entry, EntryKind, LayerIndex};
use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound,
    sync::Arc,
};

/// The error is the text of a note.
type Outcome<T> = Result<T, &'static str>;

/// A node: path, layer, entry and content.
pub(super) type PlainNode = (LayerPath, u32, Option<u32>, Option<(u32, u32)>);

/// Returns the nodes of the merged tree, and the problems.
pub(super) fn merge(layers: &[Arc<LayerIndex>]) -> (Vec<PlainNode>, Vec<&'static str>) {
    PlainTree { layers, tree: BTreeMap::new(), problems: Vec::new(), opaque: HashSet::new() }
        .finish()
}

struct PlainTree<'a> {
    layers: &'a [Arc<LayerIndex>],
    tree: BTreeMap<LayerPath, PlainSlot>,
    problems: Vec<&'static str>,
    /// Directories that this layer has marked opaque.
    opaque: HashSet<LayerPath>,
}

#[derive(Clone, Copy)]
struct PlainSlot {
    layer: u32,
    entry: Option<u32>,
    content: Option<(u32, u32)>,
    form: PlainForm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PlainForm {
    Directory,
    Symlink,
    Leaf,
}

impl<'a> PlainTree<'a> {
    fn finish(mut self) -> (Vec<PlainNode>, Vec<&'static str>) {
        for (layer, index) in (0..).zip(self.layers) {
            self.opaque.clear();
            for (ordinal, entry) in (0..).zip(&index.entries) {
                if entry.is_after_end {
                    break;
                }
                if let Err(what) = self.apply(layer, ordinal, &entry) {
                    self.problems.push(what);
                }
            }
        }
        let nodes = self.tree.into_iter();
        let nodes = nodes.map(|(path, slot)| (path, slot.layer, slot.entry, slot.content));
        (nodes.collect(), self.problems)
    }

    fn apply(&mut self, layer: u32, ordinal: u32, entry: &Entry<'_>) -> Outcome<()> {
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
            EntryKind::Directory => PlainForm::Directory,
            EntryKind::Symlink => PlainForm::Symlink,
            EntryKind::Other(_) => return Err("its type is unknown; it is left out"),
            _ => PlainForm::Leaf,
        };
        let path = join(&parent, name)?;
        let mut slot =
            PlainSlot { layer, entry: Some(ordinal), content: Some((layer, ordinal)), form };
        match self.tree.get(&path[..]) {
            Some(there) if there.form == PlainForm::Directory && form == PlainForm::Directory => {}
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
    fn describe_root(&mut self, layer: u32, ordinal: u32, entry: &Entry<'_>) -> Outcome<()> {
        if entry.kind != EntryKind::Directory {
            return Err("only a directory can be the root; it is left out");
        }
        let content = Some((layer, ordinal));
        let slot = PlainSlot { layer, entry: Some(ordinal), content, form: PlainForm::Directory };
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
                    PlainSlot { layer, entry: None, content: None, form: PlainForm::Directory };
                self.tree.insert(path, slot);
            } else {
                self.tree.remove(&path);
            }
        }
    }

    /// Removes a node and everything below it.
    fn remove(&mut self, path: &[u8]) {
        let Some(slot) = self.tree.remove(path) else { return };
        if slot.form == PlainForm::Leaf {
            return;
        }
        if slot.form == PlainForm::Directory {
            let (start, end) = below(path);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = self.tree.range::<[u8], _>((bound(&start), end));
            let gone: Vec<LayerPath> = range.map(|(path, _)| path.clone()).collect();
            for path in gone {
                self.tree.remove(&path);
            }
        }
    }

    fn link_target(&mut self, entry: &Entry<'_>) -> Outcome<PlainSlot> {
        const BROKEN: &str = "a hard link to a missing file";
        let link = entry.link.unwrap_or_default();
        let target = LayerPath::parse(link);
        let (parent, name) = split(target.as_bytes());
        let parent = self.resolve(parent)?;
        let slot = *self.tree.get(&join(&parent, name)?[..]).ok_or(BROKEN)?;
        if slot.form == PlainForm::Directory {
            return Err("a hard link to a directory");
        }
        Ok(slot)
    }

    /// Resolves the directory of an entry, and creates its missing parts.
    fn resolve_parent(&mut self, spelled: &[u8], layer: u32) -> Outcome<Vec<u8>> {
        let resolved = self.resolve(spelled)?;
        let mut missing = Vec::new();
        let mut cut = resolved.len();
        while cut > 0 {
            match self.tree.get(&resolved[..cut]) {
                Some(slot) if slot.form == PlainForm::Directory => break,
                Some(_) => return Err("its parent is not a directory; it is left out"),
                None => missing.push(cut),
            }
            cut = resolved[..cut].iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        }
        for cut in missing {
            let slot = PlainSlot { layer, entry: None, content: None, form: PlainForm::Directory };
            self.tree.insert(LayerPath::parse(&resolved[..cut]), slot);
        }
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
                Some(slot) if slot.form == PlainForm::Symlink => {
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

    fn target_of(&self, slot: &PlainSlot) -> &'a [u8] {
        let Some((layer, entry)) = slot.content else { return b"" };
        self.layers[layer as usize].entries.at(entry as usize).link.unwrap_or_default()
    }
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
