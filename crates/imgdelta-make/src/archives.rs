//! The content of archives that differ between the two images, opened before sources are chosen.
//! Never chooses a source, except for members that a base archive stores equally.
//!
//! An archive that both images have stays closed. Others are opened to the depth in the options;
//! their parts become entries of an index, so that sources are chosen for parts as for files.
//!
//! A target archive is opened only if it can be closed again. The compression of each member is
//! found by reproducing it. A member that cannot be reproduced, or not fast enough, is taken in its
//! stored form.

mod base;
mod parts;
mod target;
mod zstd;

pub(crate) use base::{ArchivePlace, BaseArchive};
pub(crate) use target::ArchiveOwner;

use imgdelta_core::{
    Context, PayloadDigest, Result,
    limits::Ceiling,
    parallel::{Budget, Workers},
    path::LayerPath,
    progress::{Checkpoint, Progress},
    scratch::Scratch,
};
use imgdelta_image::{
    index::{Entry, EntryKind, LayerIndex},
    survey::Survey,
    volume::{AddressSpace, Volume},
};
use imgdelta_layer::archive::{ArchiveKind, END_BYTES, is_zip_end, recognise};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

/// Limits for opening archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveOptions {
    /// Levels of archives inside archives: 3, which is enough for a jar in a war in a tar.
    pub depth: u32,
    /// Most time for the receiver to compress a member again, in nanoseconds per byte of content.
    ///
    /// 500, which is 2 MB/s: the default of xz takes less, its extreme presets take more. A slower
    /// member is sent in its stored form. So is one that takes more than 200, unless the base has an
    /// archive of the same name, since only then opening saves most of its bytes. 200 is what
    /// zlib's slowest level takes on bad data.
    pub nanoseconds_per_byte: u32,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self { depth: 3, nanoseconds_per_byte: 500 }
    }
}

impl ArchiveOptions {
    /// Sets the levels of archives that are opened; 0 opens none.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the most time for the receiver to compress a member again, per byte.
    #[must_use]
    pub fn nanoseconds_per_byte(mut self, nanoseconds: u32) -> Self {
        self.nanoseconds_per_byte = nanoseconds;
        self
    }
}

/// Content of the opened archives of both images.
#[derive(Debug, Default)]
pub(crate) struct OpenedArchives {
    /// Archives of the base, in the order of their parts in `base`.
    pub(crate) archives: Vec<BaseArchive>,
    /// Parts of the base's archives; `None` if no archive is opened.
    pub(crate) base: Option<PartIndex>,
    /// For each target layer, the parts of its opened archives.
    pub(crate) target: Vec<TargetParts>,
}

/// Parts of archives, one after another, with an index.
#[derive(Debug)]
pub(crate) struct PartIndex {
    /// An entry for each part.
    pub(crate) index: Arc<LayerIndex>,
    /// The bytes of the parts.
    pub(crate) space: AddressSpace,
}

/// The parts of a target layer's archives.
#[derive(Debug, Default)]
pub(crate) struct TargetParts {
    /// Their entries and bytes; `None` if there are none.
    pub(crate) parts: Option<PartIndex>,
    /// The archives, in the order of their parts.
    pub(crate) archives: Vec<TargetArchive>,
    /// For each part, 0 if it is not compressed, else an ordinal in `compressions`, from 1.
    pub(crate) coders: Vec<u32>,
    /// For each part, a part of the base with the same stored bytes.
    pub(crate) packed: Vec<Option<u32>>,
    /// Recipes of `imgdelta-deflate`, of which those of one member leave out its length, of
    /// `imgdelta-xz` and of `imgdelta-zstd`.
    pub(crate) compressions: Vec<Vec<u8>>,
    /// Time for one core of a receiver to close the archives.
    pub(crate) nanoseconds: u64,
}

/// An archive of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetArchive {
    pub(crate) owner: ArchiveOwner,
    pub(crate) kind: ArchiveKind,
    /// Range of its parts.
    pub(crate) parts: Range<u32>,
}

impl TargetParts {
    /// Returns for each part the entry of the layer that contains it, at any depth.
    pub(crate) fn roots(&self) -> Vec<u32> {
        let mut roots: Vec<u32> = vec![0; self.coders.len()];
        for archive in &self.archives {
            let root = match archive.owner {
                ArchiveOwner::Entry(entry) => entry,
                ArchiveOwner::Part(part) => roots[part as usize],
            };
            for part in archive.parts.clone() {
                roots[part as usize] = root;
            }
        }
        roots
    }
}

/// Opens the archives that changed.
pub(crate) fn open(
    surveys: [&Survey; 2],
    rebuilt: &[u32],
    has_links: bool,
    volume: &Volume,
    options: ArchiveOptions,
    context: &Context,
) -> Result<OpenedArchives> {
    let [base, target] = surveys;
    let none = || target.layers.iter().map(|_| TargetParts::default()).collect();
    let Context { scratch, workers, .. } = context;
    let progress = &*context.progress;
    // The other half is for the delta and its proof.
    let scratch = &scratch.ceiling(Ceiling::fixed(scratch.room_bytes() / 2));
    let (work_per_byte, free_work) = (context.limits.work_per_byte, context.limits.free_work);
    let memory = Budget::new(context.memory_bytes.unwrap_or(MEMORY_BYTES));
    let search = ArchiveSearch {
        base,
        target,
        volume,
        options,
        work_per_byte,
        free_work,
        scratch,
        workers,
        progress,
        memory,
    };
    let mut wanted = search.wanted(rebuilt)?;
    if has_links {
        search.drop_repeated(rebuilt, &mut wanted);
    }
    let mut opened = OpenedArchives { target: none(), ..OpenedArchives::default() };
    if options.depth == 0 || wanted.iter().all(Vec::is_empty) {
        return Ok(opened);
    }
    let base = search.open_base()?;
    let mut shared = search.base_work(base.as_ref());
    for (&layer, wanted) in rebuilt.iter().zip(wanted) {
        let target = search.open_target(layer, wanted, base.as_ref(), &mut shared)?;
        opened.target[layer as usize] = target;
    }
    if let Some(base) = base {
        (opened.archives, opened.base) = (base.archives, Some(base.parts));
    }
    Ok(opened)
}

/// The archives of both images that are candidates for opening.
struct ArchiveSearch<'a> {
    base: &'a Survey,
    target: &'a Survey,
    volume: &'a Volume,
    options: ArchiveOptions,
    /// Work that readers admit, in nanoseconds per byte of the images.
    work_per_byte: u64,
    /// Work that readers admit for any images, in nanoseconds.
    free_work: u64,
    scratch: &'a Scratch,
    workers: &'a Workers,
    progress: &'a dyn Progress,
    /// Memory for finding the encoders of xz and zstd files.
    memory: Budget,
}

/// Work that archives may ask of a receiver, in nanoseconds of one core.
///
/// Readers refuse a delta that asks for more than its images are worth. So archives that expand
/// very far, such as a file of zeros, are taken as they are.
struct ArchiveWork(u64);

impl ArchiveWork {
    /// Returns the work that closing archives may ask for: five eighths of what readers admit for
    /// these bytes. A layer of kernel modules asks for a half.
    fn of_closing(bytes: u64, work_per_byte: u64) -> Self {
        Self(bytes.saturating_mul(work_per_byte / 8 * 5))
    }

    /// Takes a part of the work; false if there is not as much left.
    fn take(&mut self, nanoseconds: u64) -> bool {
        let left = self.0.checked_sub(nanoseconds);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }

    /// Takes a part of the work, and what is missing of it from `shared`; false if both together have
    /// not as much left.
    fn take_with(&mut self, shared: &mut Self, nanoseconds: u64) -> bool {
        let own = nanoseconds.min(self.0);
        let is_enough = shared.take(nanoseconds - own);
        self.0 -= if is_enough { own } else { 0 };
        is_enough
    }
}

/// A key that equal contents share.
type ContentKey = (PayloadDigest, u64);

impl ArchiveSearch<'_> {
    /// Returns for each layer the entries that are archives and differ from all of the base.
    fn wanted(&self, rebuilt: &[u32]) -> Result<Vec<Vec<(u32, ArchiveKind)>>> {
        let held = keys(&self.base.layers, &mut Checkpoint::new(self.progress))?;
        self.workers.map(rebuilt.to_vec(), |layer| {
            let mut checkpoint = Checkpoint::new(self.progress);
            let index = &self.target.layers[layer as usize];
            let mut seen = HashSet::new();
            let mut wanted = Vec::new();
            for (ordinal, entry) in (0..).zip(&index.entries) {
                checkpoint.step()?;
                let Some(key) = key(&entry) else { continue };
                if !held.contains(&key)
                    && seen.insert(key)
                    && let Some(kind) = self.recognise(index, &entry)?
                {
                    wanted.push((ordinal, kind));
                }
            }
            Ok(wanted)
        })
    }

    /// Drops archives that an earlier layer has too, since they are copied from it.
    fn drop_repeated(&self, rebuilt: &[u32], wanted: &mut [Vec<(u32, ArchiveKind)>]) {
        let mut seen = HashSet::new();
        for (layer, wanted) in rebuilt.iter().zip(wanted) {
            let entries = &self.target.layers[*layer as usize].entries;
            wanted.retain(|(entry, _)| {
                key(&entries.at(*entry as usize)).is_none_or(|key| seen.insert(key))
            });
        }
    }

    /// Recognises an archive by its first or last bytes.
    fn recognise(&self, index: &LayerIndex, entry: &Entry<'_>) -> Result<Option<ArchiveKind>> {
        if entry.kind != EntryKind::File || entry.payload.end - entry.payload.start < LEAST_BYTES {
            return Ok(None);
        }
        let Some(stream) = self.volume.stream(&index.diff_id) else { return Ok(None) };
        // Opening an uncompressed tar file gains nothing, so these bytes are enough.
        let mut start = [0; 24];
        stream.read_exact_at(entry.payload.start, &mut start)?;
        let kind = recognise(&start);
        if kind.is_some_and(|kind| !matches!(kind, ArchiveKind::Elf | ArchiveKind::Tar)) {
            return Ok(kind);
        }
        // A program may be a zip file: a line for the shell or an ELF file, followed by the archive.
        let mut end = [0; END_BYTES];
        stream.read_exact_at(entry.payload.end - END_BYTES as u64, &mut end)?;
        Ok(if is_zip_end(&end) { Some(ArchiveKind::Zip) } else { kind })
    }
}

/// Returns the keys of all entries that have one.
fn keys(
    layers: &[Arc<LayerIndex>],
    checkpoint: &mut Checkpoint<'_>,
) -> Result<HashSet<ContentKey>> {
    let mut keys = HashSet::new();
    for entry in layers.iter().flat_map(|index| &index.entries) {
        checkpoint.step()?;
        keys.extend(key(&entry));
    }
    Ok(keys)
}

fn key(entry: &Entry<'_>) -> Option<ContentKey> {
    let bytes = entry.payload.end - entry.payload.start;
    (bytes > 0 && !entry.is_sparse).then_some((entry.digest?, bytes))
}

/// Returns the path of a part for people: that of the archive, `!/`, and the member's name.
///
/// Only the end of a long path stands before the name, since an archive may have a million members.
fn inner_path(archive: &LayerPath, name: &[u8]) -> LayerPath {
    let path = archive.as_bytes();
    let mut spelling = path[path.len().saturating_sub(MAX_ARCHIVE_PATH_BYTES)..].to_vec();
    spelling.push(b'!');
    if !name.is_empty() {
        spelling.push(b'/');
        spelling.extend_from_slice(name);
    }
    LayerPath::parse(&spelling)
}

/// Longer than the paths of archives in real images.
const MAX_ARCHIVE_PATH_BYTES: usize = 256;

/// Nanoseconds per byte that are worth spending without a counterpart in the base.
const QUICK: u32 = 200;
/// Memory for finding encoders: enough for two at the default preset.
const MEMORY_BYTES: u64 = 256 << 20;
/// Shorter archives cost less as they are.
const LEAST_BYTES: u64 = 64;

/// Parts of the base by their stored bytes.
type StoredParts = HashMap<ContentKey, u32>;
