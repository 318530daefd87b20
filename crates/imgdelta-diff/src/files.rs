//! The files of two merged root file systems, path by path.
//!
//! One walk over two sorted lists, then removed and added files of equal content become moves.
//! Works from indexes: content is equal when its digest is, and no payload is read.

use super::ignore::Ignore;
use imgdelta_core::{
    PayloadDigest,
    path::{LayerPath, escaped},
    size::time_in_words,
};
use imgdelta_image::{
    index::{Attribute, Entry, Index, Kind},
    rootfs::{Node, Rootfs},
    survey::Survey,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
};

/// A root file system together with the indexes its nodes point into.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// The merged paths.
    pub rootfs: &'a Rootfs,
    /// The image's layers, lowest first.
    pub layers: &'a [Arc<Index>],
}

impl<'a> Tree<'a> {
    pub(super) fn of(survey: &'a Survey) -> Self {
        Self { rootfs: &survey.rootfs, layers: &survey.layers }
    }
}

/// What became of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Only the target has it.
    Added,
    /// Only the base has it.
    Removed,
    /// The content differs: bytes, a link's goal, a device's numbers.
    Modified,
    /// The same content stood at another path, which the target no longer has.
    Moved {
        /// Where it stood.
        from: LayerPath,
    },
    /// It became another kind of thing: a file a link, a directory a file.
    TypeChanged,
    /// Only what [`FileChange::fields`] names differs.
    Metadata,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The path; for [`Fate::Removed`] the base's, else the target's.
    pub path: LayerPath,
    /// What became of it.
    pub fate: Fate,
    /// The base's side.
    pub base: Option<FileFacts>,
    /// The target's side.
    pub target: Option<FileFacts>,
    /// Metadata that differs between the two sides.
    pub fields: Vec<FieldChange>,
}

/// One side's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// What it is; a hard link tells the kind of what it names.
    pub kind: Kind,
    /// Size of its content; 0 for what is no file.
    pub size_bytes: u64,
    /// The layer that holds its content, from 0.
    pub layer: usize,
    /// Permission bits.
    pub mode: u32,
    /// User and group numbers.
    pub owner: (u64, u64),
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// A symbolic link's goal, as spelled.
    pub link: Option<Box<[u8]>>,
}

/// One differing piece of metadata, both values in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Which.
    pub field: Field,
    /// The base's value; `None` where it has none.
    pub base: Option<String>,
    /// The target's value.
    pub target: Option<String>,
}

/// A piece of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
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

/// Compares two trees. Changes come in the order of their paths.
pub fn compare(base: Tree<'_>, target: Tree<'_>, ignore: &Ignore) -> Vec<FileChange> {
    let comparer = Comparer {
        base,
        target,
        base_groups: first_of_groups(base.rootfs),
        target_groups: first_of_groups(target.rootfs),
        ignore,
    };
    let (mut olds, mut news) =
        (base.rootfs.nodes().iter().peekable(), target.rootfs.nodes().iter().peekable());
    let mut changes = Vec::new();
    let (mut gone, mut fresh) = (Vec::new(), Vec::new());
    loop {
        match (olds.peek(), news.peek()) {
            (Some(old), Some(new)) if old.path == new.path => {
                changes.extend(comparer.same_path(old, new));
                olds.next();
                news.next();
            }
            (Some(old), new) if new.is_none_or(|new| old.path < new.path) => {
                gone.push(*old);
                olds.next();
            }
            (_, Some(new)) => {
                fresh.push(*new);
                news.next();
            }
            (_, None) => break,
        }
    }
    comparer.moves(&gone, &fresh, &mut changes);
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

struct Comparer<'a> {
    base: Tree<'a>,
    target: Tree<'a>,
    base_groups: HashMap<u32, &'a LayerPath>,
    target_groups: HashMap<u32, &'a LayerPath>,
    ignore: &'a Ignore,
}

impl<'a> Comparer<'a> {
    fn same_path(&self, old: &'a Node, new: &'a Node) -> Option<FileChange> {
        let (before, after) = (Side::new(self.base, old), Side::new(self.target, new));
        let fate = if before.kind() != after.kind() {
            Fate::TypeChanged
        } else if before.is_same_content(&after) {
            Fate::Metadata
        } else {
            Fate::Modified
        };
        let fields = self.fields(&before, &after);
        if fate == Fate::Metadata && fields.is_empty() {
            return None;
        }
        Some(FileChange {
            path: new.path.clone(),
            fate,
            base: Some(before.facts()),
            target: Some(after.facts()),
            fields,
        })
    }

    /// Pairs what is gone with what is fresh by content, a file of the same name first.
    fn moves(&self, gone: &[&'a Node], fresh: &[&'a Node], changes: &mut Vec<FileChange>) {
        let mut by_content: BTreeMap<PayloadDigest, VecDeque<&Node>> = BTreeMap::new();
        for old in gone {
            if let Some(digest) = Side::new(self.base, old).movable() {
                by_content.entry(digest).or_default().push_back(old);
            }
        }
        let mut moved_away = std::collections::HashSet::new();
        let mut left = Vec::new();
        for keeps_name in [true, false] {
            let candidates = if keeps_name { fresh.to_vec() } else { std::mem::take(&mut left) };
            for new in candidates {
                let after = Side::new(self.target, new);
                let olds = after.movable().and_then(|digest| by_content.get_mut(&digest));
                let found = olds.and_then(|olds| {
                    let fits = |old: &&Node| !keeps_name || old.path.name() == new.path.name();
                    let at = olds.iter().position(fits)?;
                    olds.remove(at)
                });
                match found {
                    Some(old) => {
                        moved_away.insert(&old.path);
                        changes.push(self.moved(old, new));
                    }
                    None => left.push(new),
                }
            }
        }
        for new in left {
            changes.push(FileChange {
                path: new.path.clone(),
                fate: Fate::Added,
                base: None,
                target: Some(Side::new(self.target, new).facts()),
                fields: Vec::new(),
            });
        }
        for old in gone.iter().filter(|old| !moved_away.contains(&old.path)) {
            changes.push(FileChange {
                path: old.path.clone(),
                fate: Fate::Removed,
                base: Some(Side::new(self.base, old).facts()),
                target: None,
                fields: Vec::new(),
            });
        }
    }

    fn moved(&self, old: &'a Node, new: &'a Node) -> FileChange {
        let (before, after) = (Side::new(self.base, old), Side::new(self.target, new));
        FileChange {
            path: new.path.clone(),
            fate: Fate::Moved { from: old.path.clone() },
            fields: self.fields(&before, &after),
            base: Some(before.facts()),
            target: Some(after.facts()),
        }
    }

    fn fields(&self, before: &Side<'_>, after: &Side<'_>) -> Vec<FieldChange> {
        // A directory nobody wrote has no metadata to compare: runtimes make it as they like.
        let (Some(old), Some(new)) = (before.entry, after.entry) else { return Vec::new() };
        let mut fields = Vec::new();
        let mut push = |field, base: Option<String>, target: Option<String>| {
            if base != target {
                fields.push(FieldChange { field, base, target });
            }
        };
        // The mode of a symbolic link means nothing and differs between archivers.
        if !self.ignore.mode && new.kind != Kind::Symlink {
            let mode = |entry: &Entry| Some(format!("{:04o}", entry.mode));
            push(Field::Mode, mode(old), mode(new));
        }
        if !self.ignore.owner && old.owner != new.owner {
            push(Field::Owner, Some(owner_in_words(old)), Some(owner_in_words(new)));
        }
        if !self.ignore.mtime && old.mtime != new.mtime {
            push(Field::Mtime, Some(time_in_words(old.mtime)), Some(time_in_words(new.mtime)));
        }
        if !self.ignore.attributes {
            compare_attributes(&old.attributes, &new.attributes, &mut push);
        }
        if !self.ignore.links {
            let first = |groups: &HashMap<u32, &LayerPath>, node: &Node| {
                let first = node.link_group.and_then(|group| groups.get(&group).copied())?;
                (*first != node.path).then(|| first.to_string())
            };
            push(
                Field::HardLink,
                first(&self.base_groups, before.node),
                first(&self.target_groups, after.node),
            );
        }
        fields
    }
}

fn compare_attributes(
    old: &[Attribute],
    new: &[Attribute],
    push: &mut impl FnMut(Field, Option<String>, Option<String>),
) {
    let by_name = |attributes: &[Attribute]| -> BTreeMap<Box<[u8]>, String> {
        attributes.iter().map(|a| (a.name.clone(), value_in_words(&a.value))).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let mut names: Vec<&Box<[u8]>> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        push(Field::Attribute(name.clone()), old.get(name).cloned(), new.get(name).cloned());
    }
}

/// The first path of each hard link group of two or more.
fn first_of_groups(rootfs: &Rootfs) -> HashMap<u32, &LayerPath> {
    let mut firsts = HashMap::new();
    for node in rootfs.nodes() {
        if let Some(group) = node.link_group {
            firsts.entry(group).or_insert(&node.path);
        }
    }
    firsts
}

/// A node with the entries it points to.
struct Side<'a> {
    node: &'a Node,
    /// Whose header describes it; none for a directory that no layer mentions.
    entry: Option<&'a Entry>,
    /// Who holds its bytes: another entry for a hard link.
    content: Option<&'a Entry>,
}

impl<'a> Side<'a> {
    fn new(tree: Tree<'a>, node: &'a Node) -> Self {
        let find = |(layer, entry): (u32, u32)| {
            tree.layers.get(layer as usize)?.entries.get(entry as usize)
        };
        Self {
            node,
            entry: node.entry.and_then(|entry| find((node.layer, entry))),
            content: node.content.and_then(find),
        }
    }

    fn kind(&self) -> Kind {
        let entry = match self.entry {
            Some(entry) if entry.kind == Kind::HardLink => self.content,
            other => other,
        };
        entry.map_or(Kind::Directory, |entry| entry.kind)
    }

    fn is_same_content(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (self.content, other.content) else {
            return self.content.is_none() == other.content.is_none();
        };
        a.digest == b.digest && a.size_bytes == b.size_bytes && a.device == b.device
            // A hard link entry's link is another name, not content.
            && (a.kind != Kind::Symlink || a.link == b.link)
    }

    /// The content by which a file is recognised elsewhere. Empty files are all alike.
    fn movable(&self) -> Option<PayloadDigest> {
        self.content.filter(|entry| entry.size_bytes > 0).and_then(|entry| entry.digest)
    }

    fn facts(&self) -> FileFacts {
        let described = self.entry;
        let content = self.content;
        FileFacts {
            kind: self.kind(),
            size_bytes: content.map_or(0, |entry| entry.size_bytes),
            layer: self.node.content.map_or(self.node.layer, |(layer, _)| layer) as usize,
            mode: described.map_or(0o755, |entry| entry.mode),
            owner: described.map_or((0, 0), |entry| (entry.owner.uid, entry.owner.gid)),
            mtime: described.map_or((0, 0), |entry| entry.mtime),
            link: content
                .filter(|entry| entry.kind == Kind::Symlink)
                .and_then(|entry| entry.link.clone()),
        }
    }
}

fn owner_in_words(entry: &Entry) -> String {
    let owner = &entry.owner;
    let numbers = format!("{}:{}", owner.uid, owner.gid);
    if owner.user.is_empty() && owner.group.is_empty() {
        return numbers;
    }
    format!("{numbers} ({}:{})", escaped(&owner.user), escaped(&owner.group))
}

/// An attribute's value: as text where it is text, else in hexadecimal; a long one by its size.
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

/// A capability set or a label fits; an ACL of a hundred users is told by size and hash.
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
