//! The members of a stream whose content the unpacked files have.
//! Encoder and reader decide by the same rule.

use imgdelta_core::path::LayerPath;
use imgdelta_image::tarscan::{EntryKind, MemberVisitor, TarMember};
use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    ops::Range,
};

/// A member with its place in the stream.
#[derive(Debug)]
pub(crate) struct PlacedMember {
    /// Offset of its first header block.
    pub start: u64,
    /// The content of its file; empty for other members.
    pub payload: Range<u64>,
    pub path: LayerPath,
}

impl PlacedMember {
    /// Returns `None` for members whose content is not a file's.
    pub fn of(member: &TarMember) -> Option<Self> {
        let path = LayerPath::parse(&member.name);
        let is_file = member.kind == EntryKind::File
            && member.sparse.is_none()
            && path.as_bytes().len() <= MOST_PATH_BYTES;
        let is_placed = is_file || member.payload.is_empty();
        is_placed.then(|| Self { start: member.start, payload: member.payload.clone(), path })
    }
}

/// Collects members while a stream is encoded, and notices files that do not last.
#[derive(Debug, Default)]
pub(crate) struct MemberCollector {
    pub members: VecDeque<PlacedMember>,
    hasher: RandomState,
    /// Hashes of paths; a false match only costs the frames of a layer.
    seen: HashSet<u64>,
    /// True if a file was replaced or removed by a later member.
    pub is_replaced: bool,
}

impl MemberVisitor for MemberCollector {
    fn begin(&mut self, member: TarMember) {
        let path = LayerPath::parse(&member.name);
        let hash = self.hasher.hash_one(path.as_bytes());
        self.is_replaced |= self.seen.contains(&hash) || self.seen.contains(&self.removed(&path));
        let Some(placed) = PlacedMember::of(&member) else { return };
        if !placed.payload.is_empty() {
            self.seen.insert(hash);
        }
        self.members.push_back(placed);
    }

    fn payload(&mut self, _: &[u8]) {}

    fn end(&mut self) {}
}

impl MemberCollector {
    /// Returns the hash of the path that a whiteout removes, or of the path itself.
    fn removed(&self, path: &LayerPath) -> u64 {
        let name = path.name().strip_prefix(b".wh.");
        let removed = name.zip(path.parent()).map(|(name, parent)| parent.join(name));
        self.hasher.hash_one(removed.as_ref().unwrap_or(path).as_bytes())
    }
}

/// Remembers the latest member while a stream is put together.
#[derive(Debug, Default)]
pub(crate) struct LatestMember(pub Option<PlacedMember>);

impl MemberVisitor for LatestMember {
    fn begin(&mut self, member: TarMember) {
        self.0 = PlacedMember::of(&member);
    }

    fn payload(&mut self, _: &[u8]) {}

    fn end(&mut self) {}
}

/// Most bytes of a path; the kernel admits 4,096.
const MOST_PATH_BYTES: usize = 1 << 16;
