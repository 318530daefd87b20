//! What lies inside the archives that changed, on both sides, found before sources are chosen.
//!
//! An archive that the base has as it is stays closed, as do those of the base that the target
//! kept. The others are opened, to the depth that is asked for: their parts become entries of an
//! index of their own, among which sources are then chosen as among files. A target archive is
//! only opened if it can be closed again: each member's compression is found by remaking it; what
//! cannot be remade, or would cost the receiver too much time, is taken as it is stored. Decides
//! nothing about where parts come from, but for members that the base stores just so.

mod base;
mod parts;
mod target;

pub(crate) use base::{At, BaseArchive};
pub(crate) use target::Owner;

use imgdelta_core::{
    Context, PayloadDigest, Result, parallel::Workers, path::LayerPath, progress::Progress,
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

/// How far archives are seen into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveOptions {
    /// Archives in archives, this deep: 3. A jar in a war in a tar is as deep as it gets.
    pub depth: u32,
    /// What remaking may cost the receiver, in nanoseconds for a byte of content on a core like
    /// ours: 200, or five megabytes a second, as zlib's slowest level on bad data. What would take
    /// longer travels as it is stored.
    pub nanoseconds_per_byte: u32,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self { depth: 3, nanoseconds_per_byte: 200 }
    }
}

impl ArchiveOptions {
    /// Sets how deep archives are opened; 0 for not at all.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// Sets what remaking may cost the receiver.
    #[must_use]
    pub fn nanoseconds_per_byte(mut self, nanoseconds: u32) -> Self {
        self.nanoseconds_per_byte = nanoseconds;
        self
    }
}

/// What lies inside the archives of both images.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// The base's archives, in the order of their parts in `base`.
    pub(crate) archives: Vec<BaseArchive>,
    /// The parts of the base's archives as entries; `None` if none is opened.
    pub(crate) base: Option<Parts>,
    /// For each target layer the parts of its archives; empty where none is opened.
    pub(crate) target: Vec<TargetParts>,
}

/// Parts of archives, one after another, as a stream with an index.
#[derive(Debug)]
pub(crate) struct Parts {
    /// An entry for each part.
    pub(crate) index: Arc<LayerIndex>,
    /// Their bytes.
    pub(crate) space: AddressSpace,
}

/// The parts of a target layer's archives.
#[derive(Debug, Default)]
pub(crate) struct TargetParts {
    /// Their entries and bytes; `None` if there are none.
    pub(crate) parts: Option<Parts>,
    /// The archives, in the order of their parts.
    pub(crate) archives: Vec<TargetArchive>,
    /// How each part is compressed: 0 for not at all, else which of `compressions`, from 1.
    pub(crate) coders: Vec<u32>,
    /// For each part the part of the base that is stored just so.
    pub(crate) packed: Vec<Option<u32>>,
    /// Recipes of `imgdelta-deflate`, without the lengths of single members.
    pub(crate) compressions: Vec<Vec<u8>>,
}

/// An archive of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetArchive {
    pub(crate) owner: Owner,
    pub(crate) kind: ArchiveKind,
    /// Which of the parts are its.
    pub(crate) parts: Range<u32>,
}

impl TargetParts {
    /// Returns for each part the entry of the layer that it lies in, however deep.
    pub(crate) fn roots(&self) -> Vec<u32> {
        let mut roots: Vec<u32> = vec![0; self.coders.len()];
        for archive in &self.archives {
            let root = match archive.owner {
                Owner::Entry(entry) => entry,
                Owner::Part(part) => roots[part as usize],
            };
            for part in archive.parts.clone() {
                roots[part as usize] = root;
            }
        }
        roots
    }
}

/// Opens what changed.
pub(crate) fn look(
    surveys: [&Survey; 2],
    rebuilt: &[u32],
    volume: &Volume,
    options: ArchiveOptions,
    context: &Context,
) -> Result<Inside> {
    let [base, target] = surveys;
    let none = || target.layers.iter().map(|_| TargetParts::default()).collect();
    let Context { scratch, workers, .. } = context;
    let progress = &*context.progress;
    let look = Look { base, target, volume, options, scratch, workers, progress };
    let wanted = look.wanted(rebuilt)?;
    if options.depth == 0 || wanted.iter().all(Vec::is_empty) {
        return Ok(Inside { target: none(), ..Inside::default() });
    }
    let opened = look.open_base()?;
    let mut inside = Inside { target: none(), ..Inside::default() };
    for (&layer, wanted) in rebuilt.iter().zip(wanted) {
        inside.target[layer as usize] = look.open_target(layer, wanted, opened.as_ref())?;
    }
    if let Some(opened) = opened {
        (inside.archives, inside.base) = (opened.archives, Some(opened.parts));
    }
    Ok(inside)
}

/// What is looked into, and with what.
struct Look<'a> {
    base: &'a Survey,
    target: &'a Survey,
    volume: &'a Volume,
    options: ArchiveOptions,
    scratch: &'a Scratch,
    workers: &'a Workers,
    progress: &'a dyn Progress,
}

/// What equal contents have in common.
type Key = (PayloadDigest, u64);

impl Look<'_> {
    /// For each layer the entries that are archives and that the base has not as they are.
    fn wanted(&self, rebuilt: &[u32]) -> Result<Vec<Vec<(u32, ArchiveKind)>>> {
        let held: HashSet<Key> = keys(&self.base.layers).collect();
        self.workers.map(rebuilt.to_vec(), |layer| {
            let index = &self.target.layers[layer as usize];
            let mut seen = held.clone();
            let mut wanted = Vec::new();
            for (ordinal, entry) in (0..).zip(&index.entries) {
                let Some(key) = key(entry) else { continue };
                if seen.insert(key)
                    && let Some(kind) = self.recognise(index, entry)?
                {
                    wanted.push((ordinal, kind));
                }
            }
            Ok(wanted)
        })
    }

    /// Recognises an archive by the first bytes of a file.
    fn recognise(&self, index: &LayerIndex, entry: &Entry) -> Result<Option<ArchiveKind>> {
        if entry.kind != EntryKind::File || entry.payload.end - entry.payload.start < LEAST_BYTES {
            return Ok(None);
        }
        let Some(stream) = self.volume.stream(&index.diff_id) else { return Ok(None) };
        // A tar file that lies open gains nothing from being taken apart, so few bytes are enough.
        let mut start = [0; 4];
        stream.read_exact_at(entry.payload.start, &mut start)?;
        if let Some(kind) = recognise(&start) {
            return Ok(Some(kind));
        }
        // Programs may be zip files: a line for the shell, and what it runs behind it.
        let mut end = [0; END_BYTES];
        stream.read_exact_at(entry.payload.end - END_BYTES as u64, &mut end)?;
        Ok(is_zip_end(&end).then_some(ArchiveKind::Zip))
    }
}

/// The keys of all entries that have one.
fn keys(layers: &[Arc<LayerIndex>]) -> impl Iterator<Item = Key> + '_ {
    layers.iter().flat_map(|index| &index.entries).filter_map(key)
}

fn key(entry: &Entry) -> Option<Key> {
    let bytes = entry.payload.end - entry.payload.start;
    (bytes > 0 && !entry.is_sparse).then_some((entry.digest?, bytes))
}

/// What people call a part: the archive, a mark, and the name in it.
fn inner_path(archive: &LayerPath, name: &[u8]) -> LayerPath {
    let mut spelling = archive.as_bytes().to_vec();
    spelling.push(b'!');
    if !name.is_empty() {
        spelling.push(b'/');
        spelling.extend_from_slice(name);
    }
    LayerPath::parse(&spelling)
}

/// Shorter ones cost less as they are.
const LEAST_BYTES: u64 = 64;

/// The parts of the base by how they are stored.
type Stored = HashMap<Key, u32>;
