//! Parts of archives: bytes in a scratch file, with an entry for each.
//! Never knows the image of an archive.
//!
//! Archives are opened level by level, since an archive may be a part of another one.

use super::{ArchiveSearch, ContentKey, PartIndex, inner_path};
use crate::spill::SpillFile;
use imgdelta_core::{DiffId, PayloadDigest, Result, path::LayerPath, progress::Progress};
use imgdelta_image::{
    index::{Entry, EntryKind, EntryTableBuilder, LayerIndex, Owner},
    volume::AddressSpace,
};
use imgdelta_layer::archive::{
    ArchiveBytes, ArchiveKind, ArchivePart, OpenedArchive, PartCompression, START_BYTES, recognise,
};
use std::{ops::Range, sync::Arc};
use zlib_rs::crc32::crc32;

/// An archive that may be opened.
#[derive(Clone, Debug)]
pub(super) struct Candidate<T> {
    /// The place of the archive.
    pub(super) owner: T,
    pub(super) kind: ArchiveKind,
    pub(super) path: LayerPath,
    /// The address space and the range with its bytes.
    pub(super) space: AddressSpace,
    pub(super) range: Range<u64>,
}

impl<T> Candidate<T> {
    pub(super) fn slice(&self) -> ArchiveBytes<'_> {
        ArchiveBytes::new(&self.space, self.range.start, self.range.end - self.range.start)
    }
}

/// Bytes in the scratch file.
#[derive(Clone, Debug)]
pub(super) struct SavedPart {
    pub(super) ranges: Vec<Range<u64>>,
    pub(super) bytes: u64,
    pub(super) digest: PayloadDigest,
    pub(super) crc: u32,
    /// Kind of archive by the first bytes, if they may be one.
    pub(super) kind: Option<ArchiveKind>,
}

impl SavedPart {
    pub(super) fn key(&self) -> ContentKey {
        (self.digest, self.bytes)
    }
}

/// Writes bytes to the scratch file.
struct PartWriter<'a> {
    spill: &'a SpillFile,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    start: Vec<u8>,
    saved: SavedPart,
}

impl<'a> PartWriter<'a> {
    fn new(spill: &'a SpillFile) -> Self {
        Self {
            spill,
            buffer: Vec::new(),
            hasher: blake3::Hasher::new(),
            start: Vec::with_capacity(START_BYTES),
            saved: SavedPart {
                ranges: Vec::new(),
                bytes: 0,
                digest: PayloadDigest([0; 32]),
                crc: 0,
                kind: None,
            },
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let missing = START_BYTES - self.start.len();
        self.start.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.saved.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
        self.saved.crc = crc32(self.saved.crc, bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= SAVED_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let range = self.spill.put(&self.buffer)?;
        match self.saved.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.saved.ranges.push(range),
        }
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<SavedPart> {
        self.flush()?;
        self.saved.digest = PayloadDigest(*self.hasher.finalize().as_bytes());
        self.saved.kind = recognise(&self.start);
        Ok(self.saved)
    }
}

/// Saves the content of a part; `None` if it does not match the archive's checksum or length.
pub(super) fn save(
    part: &ArchivePart,
    slice: &ArchiveBytes<'_>,
    spill: &SpillFile,
    progress: &dyn Progress,
) -> Result<Option<SavedPart>> {
    let mut writer = PartWriter::new(spill);
    let inflated =
        part.inflate(slice, MOST_PART_BYTES, progress, &mut |piece| writer.push(piece))?;
    if inflated.is_none() {
        return Ok(None);
    }
    let saved = writer.finish()?;
    let is_right = match part.compression {
        PartCompression::Deflate { crc, .. } => saved.crc == crc,
        PartCompression::Plain
        | PartCompression::Gzip
        | PartCompression::Sections
        | PartCompression::Xz
        | PartCompression::Zstd
        | PartCompression::Hollow
        | PartCompression::Index
        | PartCompression::Lz4 { .. } => saved.bytes > 0,
    };
    Ok(is_right.then_some(saved))
}

/// Saves the stored bytes of a part.
pub(super) fn save_stored(
    part: &ArchivePart,
    slice: &ArchiveBytes<'_>,
    spill: &SpillFile,
    progress: &dyn Progress,
) -> Result<SavedPart> {
    let mut writer = PartWriter::new(spill);
    slice.pieces(part.stored.clone(), progress, &mut |piece| {
        writer.push(piece)?;
        Ok(true)
    })?;
    writer.finish()
}

/// Returns the key of a part's stored bytes.
pub(super) fn stored_key(
    part: &ArchivePart,
    slice: &ArchiveBytes<'_>,
    progress: &dyn Progress,
) -> Result<ContentKey> {
    let mut hasher = blake3::Hasher::new();
    slice.pieces(part.stored.clone(), progress, &mut |piece| {
        hasher.update(piece);
        Ok(true)
    })?;
    let digest = PayloadDigest(*hasher.finalize().as_bytes());
    Ok((digest, part.stored.end - part.stored.start))
}

/// An archive that is opened, with a result for each part.
pub(super) struct LevelOpening<P> {
    pub(super) kind: ArchiveKind,
    pub(super) archive: OpenedArchive,
    pub(super) parts: Vec<P>,
}

/// One level of archives with a result for each part; `None` for an archive that stays closed.
pub(super) struct OpenedLevel<P> {
    pub(super) openings: Vec<Option<LevelOpening<P>>>,
}

impl ArchiveSearch<'_> {
    /// Opens archives and their parts in parallel.
    ///
    /// `part` processes a part; `with` makes its state, which serves several parts of one archive.
    pub(super) fn open_level<T: Sync + Send, P: Send, S>(
        &self,
        candidates: &[Candidate<T>],
        with: impl Fn() -> S + Sync,
        part: impl Fn(&mut S, &Candidate<T>, &ArchivePart) -> Result<Option<P>> + Sync,
    ) -> Result<OpenedLevel<P>> {
        let openings = self.workers.map(candidates.iter().collect(), |candidate| {
            self.progress.check()?;
            OpenedArchive::find(candidate.kind, &candidate.slice())
        })?;
        let mut tasks = Vec::new();
        for (archive, opening) in openings.iter().enumerate() {
            let Some((_, opening)) = opening else { continue };
            let mut from = 0;
            let mut filled = 0;
            for (ordinal, part) in opening.parts.iter().enumerate() {
                filled += part.stored.end - part.stored.start;
                if filled >= TASK_BYTES || ordinal + 1 == opening.parts.len() {
                    tasks.push((archive, from..ordinal + 1));
                    (from, filled) = (ordinal + 1, 0);
                }
            }
        }
        let results = self.workers.map(tasks, |(archive, range)| {
            let (_, opening) =
                openings[archive].as_ref().expect("only those that opened have parts");
            let (mut results, mut state) = (Vec::with_capacity(range.len()), with());
            for each in &opening.parts[range] {
                self.progress.check()?;
                results.push(part(&mut state, &candidates[archive], each)?);
            }
            Ok((archive, results))
        })?;
        let mut lists: Vec<Option<Vec<P>>> =
            openings.iter().map(|opening| opening.as_ref().map(|_| Vec::new())).collect();
        for (archive, results) in results {
            let whole: Option<Vec<P>> = results.into_iter().collect();
            lists[archive] = match (lists[archive].take(), whole) {
                (Some(mut list), Some(results)) => {
                    list.extend(results);
                    Some(list)
                }
                _ => None,
            };
        }
        let pairs = openings.into_iter().zip(lists);
        let opened = pairs.map(|(opening, list)| {
            let (kind, archive) = opening?;
            Some(LevelOpening { kind, archive, parts: list? })
        });
        Ok(OpenedLevel { openings: opened.collect() })
    }
}

/// Collects parts.
pub(super) struct PartList {
    entries: EntryTableBuilder,
    space: AddressSpace,
    at: u64,
    /// Ranges of the current level in its scratch file.
    ranges: Vec<Range<u64>>,
}

impl PartList {
    pub(super) fn new() -> Self {
        Self {
            entries: EntryTableBuilder::default(),
            space: AddressSpace::default(),
            at: 0,
            ranges: Vec::new(),
        }
    }

    /// Returns the number of parts.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.entries.table().len()).expect("parts are limited")
    }

    /// Returns the length of all parts.
    pub(super) fn bytes(&self) -> u64 {
        self.at
    }

    /// Returns the range of a part.
    pub(super) fn range(&self, part: u32) -> Range<u64> {
        self.entries.table().payload(part as usize)
    }

    /// Returns the path of a part.
    pub(super) fn path(&self, part: u32) -> LayerPath {
        self.entries.table().path(part as usize).to_path()
    }

    /// Returns the bytes of all levels that are ended.
    pub(super) fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// Adds a part.
    pub(super) fn push(
        &mut self,
        archive: &LayerPath,
        name: &[u8],
        saved: &SavedPart,
    ) -> Result<()> {
        let payload = self.at..self.at + saved.bytes;
        self.at = payload.end;
        self.ranges.extend(saved.ranges.iter().cloned());
        self.entries.push(&Entry {
            path: (&inner_path(archive, name)).into(),
            start: payload.start,
            payload,
            kind: EntryKind::File,
            size_bytes: saved.bytes,
            digest: Some(saved.digest),
            link: None,
            mode: 0,
            owner: &Owner::default(),
            mtime: (0, 0),
            device: None,
            attributes: &[],
            is_sparse: false,
            is_after_end: false,
        })
    }

    /// Adds an archive's structure.
    pub(super) fn push_structure(
        &mut self,
        archive: &LayerPath,
        structure: &[u8],
        spill: &SpillFile,
    ) -> Result<()> {
        let mut writer = PartWriter::new(spill);
        writer.push(structure)?;
        self.push(archive, b"", &writer.finish()?)
    }

    /// Ends a level, so that its bytes can be read.
    pub(super) fn end_level(&mut self, spill: SpillFile) -> Result<()> {
        let extent = Arc::new(spill.finish()?);
        for range in self.ranges.drain(..) {
            self.space.push(&extent, range)?;
        }
        Ok(())
    }

    /// Returns all parts; `None` if there are none. The index has no valid diff id.
    pub(super) fn finish(self) -> Option<PartIndex> {
        if self.entries.table().is_empty() {
            return None;
        }
        let index = LayerIndex {
            diff_id: DiffId::new(imgdelta_core::Algorithm::Sha256, &[0; 32]).expect("its length"),
            stream_bytes: self.at,
            entries: self.entries.finish(),
            tail_start: self.at,
            damage: None,
            findings: Arc::default(),
        };
        Some(PartIndex { index: Arc::new(index), space: self.space })
    }
}

/// Bytes that are written to the scratch file at a time.
const SAVED_BYTES: usize = 1 << 20;
/// Stored bytes that one worker opens at a time; small, so that all workers stay busy to the end.
const TASK_BYTES: u64 = 2 << 20;
/// Most bytes of a part, which stops decompression bombs.
const MOST_PART_BYTES: u64 = 16 << 30;
