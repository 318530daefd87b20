//! Compares the files of two merged root file systems, path by path.
//! Never reads a payload: content is equal if its digest is.
//!
//! The sorted paths are merged in one pass. Then a removed and an added file of equal content become
//! one move.

use crate::{
    ignore::Ignore,
    moves::{self, MovableFile},
};
use imgdelta_core::{
    PayloadDigest, Result,
    path::{LayerPath, LayerPathRef, escaped},
    progress::{Checkpoint, Progress},
    size::time_in_words,
    sort::SharedSort,
};
use imgdelta_image::{
    index::{Entry, EntryKind, ExtendedAttribute, LayerIndex, Owner},
    rootfs::{Rootfs, RootfsNode},
    survey::Survey,
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

/// A root file system and the indexes to which its nodes point.
#[derive(Clone, Copy, Debug)]
pub struct FileTree<'a> {
    /// The merged paths.
    pub rootfs: &'a Rootfs,
    /// The image's layers, lowest first.
    pub layers: &'a [Arc<LayerIndex>],
}

impl<'a> FileTree<'a> {
    pub(crate) fn of(survey: &'a Survey) -> Self {
        Self { rootfs: &survey.rootfs, layers: &survey.layers }
    }
}

/// Kind of a file change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChangeKind {
    /// Only the target has it.
    Added,
    /// Only the base has it.
    Removed,
    /// The content differs: bytes, a link's target, a device's numbers.
    Modified,
    /// The base has the same content at another path, which the target lacks.
    Moved {
        /// Path in the base.
        from: LayerPath,
    },
    /// The file type differs: a file became a link, or a directory a file.
    TypeChanged,
    /// Only metadata differs: see [`FileChange::fields`].
    Metadata,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileChange {
    /// Path in the target, or in the base for [`FileChangeKind::Removed`].
    pub path: LayerPath,
    /// Kind of the change.
    pub kind: FileChangeKind,
    /// The file in the base.
    pub base: Option<FileFacts>,
    /// The file in the target.
    pub target: Option<FileFacts>,
    /// Metadata that differs.
    pub fields: Vec<MetadataChange>,
}

/// Properties of a file in one image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFacts {
    /// File type; a hard link has the type of the file that it names.
    pub kind: EntryKind,
    /// Size of the content; 0 if it is not a file.
    pub size_bytes: u64,
    /// Layer with the content, from 0.
    pub layer: usize,
    /// Permission bits.
    pub mode: u32,
    /// User and group numbers.
    pub owner: (u64, u64),
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Target of a symbolic link, as spelled.
    pub link: Option<Box<[u8]>>,
    /// Of a hard link, the first path of the file. Its names may share one text.
    pub first_name: Option<Arc<str>>,
}

/// A metadata field that differs, with both values as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataChange {
    /// The field.
    pub field: MetadataField,
    /// Value in the base, if any. Thousands of hard links may share one.
    pub base: Option<Arc<str>>,
    /// Value in the target, if any.
    pub target: Option<Arc<str>>,
}

/// A piece of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataField {
    /// Permission bits.
    Mode,
    /// User and group, by number and name.
    Owner,
    /// Modification time.
    Mtime,
    /// The extended attribute of this name.
    Attribute(Box<[u8]>),
    /// The other path it is a hard link to: the first of its group.
    HardLink,
}

impl FileChange {
    pub(crate) fn is_directory(&self) -> bool {
        let is_directory = |facts: &Option<FileFacts>| {
            facts.as_ref().is_none_or(|facts| facts.kind == EntryKind::Directory)
        };
        is_directory(&self.base) && is_directory(&self.target)
    }

    /// Returns the first path of the file if this is a further name of it, in each image that has it.
    pub(crate) fn first_name(&self) -> Option<&str> {
        match (&self.base, &self.target) {
            (Some(base), Some(target)) if base.first_name != target.first_name => None,
            (_, Some(facts)) | (Some(facts), None) => facts.first_name.as_deref(),
            (None, None) => None,
        }
    }

    /// Returns the size of the larger side, by which changes are ranked.
    pub fn size_bytes(&self) -> u64 {
        let size = |facts: &Option<FileFacts>| facts.as_ref().map_or(0, |facts| facts.size_bytes);
        size(&self.target).max(size(&self.base))
    }
}

/// Compares two trees, and returns the changes sorted by path.
///
/// The only error is that the listener cancels.
pub fn compare(
    base: FileTree<'_>,
    target: FileTree<'_>,
    ignore: &Ignore,
    progress: &dyn Progress,
) -> Result<Vec<FileChange>> {
    let mut checkpoint = Checkpoint::new(progress);
    let comparer = TreeComparer {
        base,
        target,
        base_groups: first_of_groups(base.rootfs),
        target_groups: first_of_groups(target.rootfs),
        ignore,
    };
    let (mut olds, mut news) = (base.rootfs.nodes().peekable(), target.rootfs.nodes().peekable());
    let mut changes = Vec::new();
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    loop {
        checkpoint.step()?;
        match (olds.peek().copied(), news.peek().copied()) {
            (Some(old), Some(new)) if old.path == new.path => {
                changes.extend(comparer.same_path(old, new));
                olds.next();
                news.next();
            }
            (Some(old), new) if new.is_none_or(|new| old.path < new.path) => {
                removed.push(old);
                olds.next();
            }
            (_, Some(new)) => {
                added.push(new);
                news.next();
            }
            (_, None) => break,
        }
    }
    comparer.moves(&removed, &added, &mut changes, &mut checkpoint)?;
    changes.shared_sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

struct TreeComparer<'a> {
    base: FileTree<'a>,
    target: FileTree<'a>,
    base_groups: GroupNames<'a>,
    target_groups: GroupNames<'a>,
    ignore: &'a Ignore,
}

impl<'a> TreeComparer<'a> {
    fn same_path(&self, old: RootfsNode<'a>, new: RootfsNode<'a>) -> Option<FileChange> {
        let (before, after) = (TreeNode::new(self.base, old), TreeNode::new(self.target, new));
        let kind = if before.kind() != after.kind() {
            FileChangeKind::TypeChanged
        } else if before.is_same_content(&after) {
            FileChangeKind::Metadata
        } else {
            FileChangeKind::Modified
        };
        let fields = self.fields(&before, &after);
        if kind == FileChangeKind::Metadata && fields.is_empty() {
            return None;
        }
        Some(FileChange {
            path: new.path.to_path(),
            kind,
            base: Some(self.base_facts(&before)),
            target: Some(self.target_facts(&after)),
            fields,
        })
    }

    /// Adds the changes of files that only one tree has at their path.
    fn moves(
        &self,
        removed: &[RootfsNode<'a>],
        added: &[RootfsNode<'a>],
        changes: &mut Vec<FileChange>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<()> {
        let movable = |tree, node: &RootfsNode<'a>| MovableFile {
            digest: TreeNode::new(tree, *node).movable(),
            name: node.path.name(),
        };
        let olds: Vec<_> = removed.iter().map(|old| movable(self.base, old)).collect();
        let news: Vec<_> = added.iter().map(|new| movable(self.target, new)).collect();
        let pairs = moves::pair(&olds, &news, checkpoint)?;
        for (&new, source) in added.iter().zip(pairs.sources) {
            checkpoint.step()?;
            changes.push(match source {
                Some(old) => self.moved(removed[old], new),
                None => FileChange {
                    path: new.path.to_path(),
                    kind: FileChangeKind::Added,
                    base: None,
                    target: Some(self.target_facts(&TreeNode::new(self.target, new))),
                    fields: Vec::new(),
                },
            });
        }
        for (&old, is_taken) in removed.iter().zip(pairs.is_taken) {
            checkpoint.step()?;
            if !is_taken {
                changes.push(FileChange {
                    path: old.path.to_path(),
                    kind: FileChangeKind::Removed,
                    base: Some(self.base_facts(&TreeNode::new(self.base, old))),
                    target: None,
                    fields: Vec::new(),
                });
            }
        }
        Ok(())
    }

    fn moved(&self, old: RootfsNode<'a>, new: RootfsNode<'a>) -> FileChange {
        let (before, after) = (TreeNode::new(self.base, old), TreeNode::new(self.target, new));
        FileChange {
            path: new.path.to_path(),
            kind: FileChangeKind::Moved { from: old.path.to_path() },
            fields: self.fields(&before, &after),
            base: Some(self.base_facts(&before)),
            target: Some(self.target_facts(&after)),
        }
    }

    fn base_facts(&self, node: &TreeNode<'_>) -> FileFacts {
        node.facts(first_name(&self.base_groups, node.node))
    }

    fn target_facts(&self, node: &TreeNode<'_>) -> FileFacts {
        node.facts(first_name(&self.target_groups, node.node))
    }

    fn fields(&self, before: &TreeNode<'_>, after: &TreeNode<'_>) -> Vec<MetadataChange> {
        // A directory without an entry has no metadata: each runtime creates it in its own way.
        let (Some(old), Some(new)) = (&before.entry, &after.entry) else { return Vec::new() };
        let mut fields = Vec::new();
        let mut push = |field, base: Option<Arc<str>>, target: Option<Arc<str>>| {
            if base != target {
                fields.push(MetadataChange { field, base, target });
            }
        };
        // The mode of a symbolic link means nothing and differs between archivers.
        if !self.ignore.mode && new.kind != EntryKind::Symlink {
            let mode = |entry: &Entry<'_>| Some(format!("{:04o}", entry.mode).into());
            if old.mode != new.mode {
                push(MetadataField::Mode, mode(old), mode(new));
            }
        }
        if !self.ignore.owner && old.owner != new.owner {
            push(
                MetadataField::Owner,
                Some(owner_in_words(old.owner)),
                Some(owner_in_words(new.owner)),
            );
        }
        if !self.ignore.mtime && old.mtime != new.mtime {
            push(
                MetadataField::Mtime,
                Some(time_in_words(old.mtime).into()),
                Some(time_in_words(new.mtime).into()),
            );
        }
        if !self.ignore.attributes {
            compare_attributes(old.attributes, new.attributes, &mut push);
        }
        if !self.ignore.links {
            push(
                MetadataField::HardLink,
                first_name(&self.base_groups, before.node),
                first_name(&self.target_groups, after.node),
            );
        }
        fields
    }
}

fn compare_attributes(
    old: &[ExtendedAttribute],
    new: &[ExtendedAttribute],
    push: &mut impl FnMut(MetadataField, Option<Arc<str>>, Option<Arc<str>>),
) {
    let by_name = |attributes: &[ExtendedAttribute]| -> BTreeMap<Box<[u8]>, Arc<str>> {
        attributes.iter().map(|a| (a.name.clone(), value_in_words(&a.value).into())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let mut names: Vec<&Box<[u8]>> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        push(
            MetadataField::Attribute(name.clone()),
            old.get(name).cloned(),
            new.get(name).cloned(),
        );
    }
}

/// The first path of each hard link group, and its text, which all names of the file share.
type GroupNames<'a> = HashMap<u32, (LayerPathRef<'a>, Arc<str>)>;

/// Returns the first path of a hard link's group if that is another path.
fn first_name(groups: &GroupNames<'_>, node: RootfsNode<'_>) -> Option<Arc<str>> {
    let (first, words) = groups.get(&node.link_group?)?;
    (*first != node.path).then(|| Arc::clone(words))
}

/// Returns the first path of each hard link group.
fn first_of_groups(rootfs: &Rootfs) -> GroupNames<'_> {
    let mut firsts = HashMap::new();
    for node in rootfs.nodes() {
        if let Some(group) = node.link_group {
            firsts.entry(group).or_insert_with(|| (node.path, node.path.to_string().into()));
        }
    }
    firsts
}

/// A node with the entries to which it points.
struct TreeNode<'a> {
    node: RootfsNode<'a>,
    /// The entry with its header; none for a directory that no layer mentions.
    entry: Option<Entry<'a>>,
    /// The entry with its content; another one for a hard link.
    content: Option<Entry<'a>>,
}

impl<'a> TreeNode<'a> {
    fn new(tree: FileTree<'a>, node: RootfsNode<'a>) -> Self {
        let find = |(layer, entry): (u32, u32)| {
            tree.layers.get(layer as usize)?.entries.get(entry as usize)
        };
        Self {
            node,
            entry: node.entry.and_then(|entry| find((node.layer, entry))),
            content: node.content.and_then(find),
        }
    }

    fn kind(&self) -> EntryKind {
        let entry = match &self.entry {
            Some(entry) if entry.kind == EntryKind::HardLink => self.content.as_ref(),
            other => other.as_ref(),
        };
        entry.map_or(EntryKind::Directory, |entry| entry.kind)
    }

    fn is_same_content(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (&self.content, &other.content) else {
            return self.content.is_none() == other.content.is_none();
        };
        a.digest == b.digest && a.size_bytes == b.size_bytes && a.device == b.device
            // The link of a hard link entry is another name, not content.
            && (a.kind != EntryKind::Symlink || a.link == b.link)
    }

    /// Returns the digest by which a moved file is found; none for empty files, which are all equal.
    fn movable(&self) -> Option<PayloadDigest> {
        self.content.as_ref().filter(|entry| entry.size_bytes > 0).and_then(|entry| entry.digest)
    }

    fn facts(&self, first_name: Option<Arc<str>>) -> FileFacts {
        let described = self.entry.as_ref();
        let content = self.content.as_ref();
        FileFacts {
            kind: self.kind(),
            size_bytes: content.map_or(0, |entry| entry.size_bytes),
            layer: self.node.content.map_or(self.node.layer, |(layer, _)| layer) as usize,
            mode: described.map_or(0o755, |entry| entry.mode),
            owner: described.map_or((0, 0), |entry| (entry.owner.uid, entry.owner.gid)),
            mtime: described.map_or((0, 0), |entry| entry.mtime),
            link: content
                .filter(|entry| entry.kind == EntryKind::Symlink)
                .and_then(|entry| entry.link.map(Into::into)),
            first_name,
        }
    }
}

/// Returns the name of a file type.
pub(crate) fn kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File | EntryKind::HardLink => "file",
        EntryKind::Symlink => "symlink",
        EntryKind::CharDevice => "chardev",
        EntryKind::BlockDevice => "blockdev",
        EntryKind::Directory => "directory",
        EntryKind::Fifo => "fifo",
        EntryKind::Other(_) => "other",
    }
}

fn owner_in_words(owner: &Owner) -> Arc<str> {
    let numbers = format!("{}:{}", owner.uid, owner.gid);
    if owner.user.is_empty() && owner.group.is_empty() {
        return numbers.into();
    }
    format!("{numbers} ({}:{})", escaped(&owner.user), escaped(&owner.group)).into()
}

/// Returns an attribute's value as text, or else in hexadecimal; a long one with size and hash.
fn value_in_words(value: &[u8]) -> String {
    let text = value.strip_suffix(b"\0").unwrap_or(value);
    let is_text = !text.is_empty() && text.iter().all(|byte| (b' '..0x7f).contains(byte));
    if is_text && text.len() <= MAX_SHOWN_BYTES {
        return String::from_utf8_lossy(text).into_owned();
    }
    let shown = &value[..value.len().min(MAX_SHOWN_BYTES)];
    let hex = shown.iter().fold(String::from("0x"), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    if shown.len() == value.len() {
        return hex;
    }
    format!("{hex}… ({} bytes, blake3 {})", value.len(), &blake3::hash(value).to_hex()[..16])
}

/// A capability set or a label fits; an ACL of a hundred users does not.
const MAX_SHOWN_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_values_are_readable_or_hexadecimal_and_never_long() {
        assert_eq!(value_in_words(b"system_u:object_r:bin_t:s0\0"), "system_u:object_r:bin_t:s0");
        assert_eq!(value_in_words(b"\x01\0\0\x02"), "0x01000002");
        assert_eq!(value_in_words(b""), "0x");
        let long = value_in_words(&[b'a'; 100]);
        assert!(long.contains("100 bytes") && long.len() < 200, "{long}");
    }
}
