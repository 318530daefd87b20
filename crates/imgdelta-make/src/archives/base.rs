//! Archives of the base that the target lacks, opened.
//! Never finds a compression, since base archives are not closed again.

use super::{
    ArchiveSearch, ArchiveWork, ContentKey, PartIndex, StoredParts,
    parts::{Candidate, LevelOpening, PartList, SavedPart, save, stored_key},
};
use crate::{sources::masked, spill::SpillFile};
use imgdelta_core::{Result, progress::Checkpoint, scratch::is_full};
use imgdelta_format::recipe::StreamName;
use imgdelta_image::volume::AddressSpace;
use imgdelta_layer::archive::{ArchiveKind, PartCompression};
use std::{collections::HashSet, ops::Range};

/// An archive of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseArchive {
    pub(crate) at: ArchivePlace,
    pub(crate) kind: ArchiveKind,
    /// Its length.
    pub(crate) bytes: u64,
    /// Range of its parts' bytes among those of all parts.
    pub(crate) plain: Range<u64>,
    /// Range of its parts.
    pub(crate) parts: Range<u32>,
}

/// The first byte of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchivePlace {
    /// An offset in the stream of a layer.
    Layer(u32, u64),
    /// The first byte of a part of another archive.
    Part(u32),
}

pub(super) struct OpenedBase {
    pub(super) archives: Vec<BaseArchive>,
    pub(super) parts: PartIndex,
    pub(super) stored: StoredParts,
    pub(super) contents: HashSet<ContentKey>,
    /// Names of the xz and zstd files, with digits masked.
    pub(super) packed_names: HashSet<Vec<u8>>,
}

/// A part: its content, and the key of its stored bytes.
struct BasePart {
    saved: SavedPart,
    stored: Option<ContentKey>,
}

impl ArchiveSearch<'_> {
    pub(super) fn open_base(&self) -> Result<Option<OpenedBase>> {
        let mut list = PartList::new();
        let mut archives = Vec::new();
        let (mut stored, mut contents) = (StoredParts::new(), HashSet::new());
        let mut packed_names = HashSet::new();
        let mut candidates = self.dropped()?;
        let base_bytes = self.base.layers.iter().map(|index| index.stream_bytes);
        let base_bytes = base_bytes.fold(0, u64::saturating_add);
        let mut work = ArchiveWork(base_bytes.saturating_mul(self.work_per_byte / WORK_SHARE));
        for depth in 1..=self.options.depth {
            if candidates.is_empty() || list.bytes() > MOST_BYTES {
                break;
            }
            let spill = SpillFile::new(self.scratch)?;
            let level = self.open_level(
                &candidates,
                || (),
                |(), candidate, part| {
                    let slice = candidate.slice();
                    let Some(saved) = save(part, &slice, &spill, self.progress)? else {
                        return Ok(None);
                    };
                    let stored = match part.compression {
                        PartCompression::Deflate { .. } | PartCompression::Lz4 { .. } => {
                            Some(stored_key(part, &slice, self.progress)?)
                        }
                        PartCompression::Plain
                        | PartCompression::Gzip
                        | PartCompression::Sections
                        | PartCompression::Xz
                        | PartCompression::Zstd
                        | PartCompression::Hollow
                        | PartCompression::Index => None,
                    };
                    Ok(Some(BasePart { saved, stored }))
                },
            );
            let level = match level {
                // These archives expand too far, and are taken as they are.
                Err(error) if is_full(&error) => break,
                level => level?,
            };
            let mut nested = Vec::new();
            for (candidate, opening) in candidates.iter().zip(level.openings) {
                let Some(LevelOpening { kind, archive, parts: found }) = opening else { continue };
                let plain_bytes: u64 = found.iter().map(|part| part.saved.bytes).sum();
                if let ArchiveKind::Xz | ArchiveKind::Zstd = kind {
                    packed_names.insert(masked(candidate.path.as_bytes()));
                }
                let per_byte = if kind == ArchiveKind::Xz { OPENED_XZ_BYTE } else { OPENED_BYTE };
                if !work.take(plain_bytes.saturating_mul(per_byte)) {
                    continue;
                }
                let (first, start) = (list.count(), list.bytes());
                for (part, found) in archive.parts.iter().zip(&found) {
                    let number = list.count();
                    list.push(&candidate.path, &part.name, &found.saved)?;
                    contents.insert(found.saved.key());
                    if let Some(key) = found.stored {
                        stored.entry(key).or_insert(number);
                    }
                    if let Some(kind) = found.saved.kind {
                        nested.push((number, kind));
                    }
                }
                if !archive.structure.is_empty() {
                    list.push_structure(&candidate.path, &archive.structure, &spill)?;
                }
                archives.push(BaseArchive {
                    at: candidate.owner,
                    kind,
                    bytes: candidate.range.end - candidate.range.start,
                    plain: start..list.bytes(),
                    parts: first..list.count(),
                });
            }
            list.end_level(spill)?;
            let deeper = nested.into_iter().filter(|_| depth < self.options.depth);
            candidates = deeper
                .map(|(part, kind)| Candidate {
                    owner: ArchivePlace::Part(part),
                    kind,
                    path: list.path(part),
                    space: list.space().clone(),
                    range: list.range(part),
                })
                .collect();
        }
        let parts = list.finish();
        Ok(parts.map(|parts| OpenedBase { archives, parts, stored, contents, packed_names }))
    }

    /// Returns the work that base layers with opened archives are worth to the reader, and half of
    /// what it admits for any images. Target layers share it: their own worth does not cover archives
    /// that expand far.
    pub(super) fn base_work(&self, base: Option<&OpenedBase>) -> ArchiveWork {
        let places = base.iter().flat_map(|base| &base.archives).map(|archive| archive.at);
        let layers: HashSet<u32> = places
            .filter_map(|place| match place {
                ArchivePlace::Layer(layer, _) => Some(layer),
                ArchivePlace::Part(_) => None,
            })
            .collect();
        let bytes = layers.iter().map(|layer| self.base.layers[*layer as usize].stream_bytes);
        let bytes = bytes.fold(0, u64::saturating_add);
        let ArchiveWork(work) = ArchiveWork::of_closing(bytes, self.work_per_byte);
        ArchiveWork(work.saturating_add(self.free_work / 2))
    }

    /// Returns the archives that the target lacks, each content once.
    fn dropped(&self) -> Result<Vec<Candidate<ArchivePlace>>> {
        let mut checkpoint = Checkpoint::new(self.progress);
        let mut kept = super::keys(&self.target.layers, &mut checkpoint)?;
        let mut candidates = Vec::new();
        for (layer, index) in (0..).zip(&self.base.layers) {
            let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
            let space = match self.volume.stream(&index.diff_id) {
                Some(_) => AddressSpace::new(self.volume, &[name])?,
                None => continue,
            };
            for entry in &index.entries {
                checkpoint.step()?;
                let Some(key) = super::key(&entry) else { continue };
                if kept.insert(key)
                    && let Some(kind) = self.recognise(index, &entry)?
                {
                    candidates.push(Candidate {
                        owner: ArchivePlace::Layer(layer, entry.payload.start),
                        kind,
                        path: entry.path.to_path(),
                        space: space.clone(),
                        range: entry.payload.clone(),
                    });
                }
            }
        }
        Ok(candidates)
    }
}

/// Most inflated bytes of all archives together; no deeper level is opened beyond.
const MOST_BYTES: u64 = 8 << 30;
/// Share of the admitted work that opening the base's archives may ask for: a quarter.
const WORK_SHARE: u64 = 4;
/// Nanoseconds for a receiver to inflate a byte.
const OPENED_BYTE: u64 = 5;
/// Nanoseconds for a receiver to unpack a byte of xz.
const OPENED_XZ_BYTE: u64 = 40;
