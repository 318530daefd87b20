//! Parts put aside: their bytes in a scratch file, an entry for each, one level of archives after
//! another.

use super::{Key, Look, Parts, inner_path};
use bytes::Bytes;
use imgdelta_core::{DiffId, PayloadDigest, Result, path::LayerPath, progress::Progress};
use imgdelta_image::{
    index::{Entry, EntryKind, LayerIndex, Owner},
    volume::{AddressSpace, SpillFile},
};
use imgdelta_layer::archive::{
    ArchiveBytes, ArchiveKind, ArchivePart, OpenedArchive, PartCompression, START_BYTES, recognise,
};
use std::{ops::Range, sync::Arc};

/// An archive to be opened.
#[derive(Clone, Debug)]
pub(super) struct Candidate<T> {
    /// Whose it is.
    pub(super) owner: T,
    pub(super) kind: ArchiveKind,
    pub(super) path: LayerPath,
    /// Where it lies.
    pub(super) space: AddressSpace,
    pub(super) range: Range<u64>,
}

impl<T> Candidate<T> {
    pub(super) fn slice(&self) -> ArchiveBytes<'_> {
        ArchiveBytes::new(&self.space, self.range.start, self.range.end - self.range.start)
    }
}

/// Bytes put aside.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) ranges: Vec<Range<u64>>,
    pub(super) bytes: u64,
    pub(super) digest: PayloadDigest,
    pub(super) crc: u32,
    /// What they are, by the first of them.
    pub(super) kind: Option<ArchiveKind>,
}

impl Kept {
    pub(super) fn key(&self) -> Key {
        (self.digest, self.bytes)
    }
}

/// Puts bytes aside as they come.
pub(super) struct Keeper<'a> {
    spill: &'a SpillFile,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    crc: crc32fast::Hasher,
    start: Vec<u8>,
    kept: Kept,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(spill: &'a SpillFile) -> Self {
        Self {
            spill,
            buffer: Vec::new(),
            hasher: blake3::Hasher::new(),
            crc: crc32fast::Hasher::new(),
            start: Vec::with_capacity(START_BYTES),
            kept: Kept {
                ranges: Vec::new(),
                bytes: 0,
                digest: PayloadDigest([0; 32]),
                crc: 0,
                kind: None,
            },
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let missing = START_BYTES - self.start.len();
        self.start.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.kept.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
        self.crc.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= KEPT_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let range = self.spill.put(&self.buffer)?;
        match self.kept.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.kept.ranges.push(range),
        }
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Kept> {
        self.flush()?;
        self.kept.digest = PayloadDigest(*self.hasher.finalize().as_bytes());
        self.kept.crc = self.crc.finalize();
        self.kept.kind = recognise(&self.start);
        Ok(self.kept)
    }
}

/// Puts the content of a part aside; `None` if it does not come out as its archive says.
pub(super) fn keep(
    part: &ArchivePart,
    slice: &ArchiveBytes<'_>,
    spill: &SpillFile,
    progress: &dyn Progress,
) -> Result<Option<Kept>> {
    let mut keeper = Keeper::new(spill);
    let inflated =
        part.inflate(slice, MOST_PART_BYTES, progress, &mut |piece| keeper.push(piece))?;
    if inflated.is_none() {
        return Ok(None);
    }
    let kept = keeper.finish()?;
    let is_right = match part.compression {
        PartCompression::Deflate { crc, .. } => kept.crc == crc,
        PartCompression::Plain | PartCompression::Gzip => kept.bytes > 0,
    };
    Ok(is_right.then_some(kept))
}

/// Puts the bytes of a part aside as they are stored.
pub(super) fn keep_stored(
    part: &ArchivePart,
    slice: &ArchiveBytes<'_>,
    spill: &SpillFile,
    progress: &dyn Progress,
) -> Result<Kept> {
    let mut keeper = Keeper::new(spill);
    slice.pieces(part.stored.clone(), progress, &mut |piece| {
        keeper.push(piece)?;
        Ok(true)
    })?;
    keeper.finish()
}

/// Returns what the bytes of a part are known by as they are stored.
pub(super) fn stored_key(
    part: &ArchivePart,
    slice: &ArchiveBytes<'_>,
    progress: &dyn Progress,
) -> Result<Key> {
    let mut hasher = blake3::Hasher::new();
    slice.pieces(part.stored.clone(), progress, &mut |piece| {
        hasher.update(piece);
        Ok(true)
    })?;
    let digest = PayloadDigest(*hasher.finalize().as_bytes());
    Ok((digest, part.stored.end - part.stored.start))
}

/// One level of archives, with what was found of each part; `None` for an archive that stays
/// closed.
pub(super) struct Level<P> {
    pub(super) openings: Vec<Option<(OpenedArchive, Vec<P>)>>,
}

impl Look<'_> {
    /// Opens archives side by side, and their parts as well, each worker with a state of `with`
    /// for some parts of one archive.
    pub(super) fn open_level<T: Sync + Send, P: Send, S>(
        &self,
        candidates: &[Candidate<T>],
        with: impl Fn() -> S + Sync,
        part: impl Fn(&mut S, &Candidate<T>, &ArchivePart) -> Result<Option<P>> + Sync,
    ) -> Result<Level<P>> {
        let openings = self.workers.map(candidates.iter().collect(), |candidate| {
            self.progress.check()?;
            OpenedArchive::read(candidate.kind, &candidate.slice())
        })?;
        let mut works = Vec::new();
        for (archive, opening) in openings.iter().enumerate() {
            let Some(opening) = opening else { continue };
            let mut from = 0;
            let mut filled = 0;
            for (ordinal, part) in opening.parts.iter().enumerate() {
                filled += part.stored.end - part.stored.start;
                if filled >= WORK_BYTES || ordinal + 1 == opening.parts.len() {
                    works.push((archive, from..ordinal + 1));
                    (from, filled) = (ordinal + 1, 0);
                }
            }
        }
        let found = self.workers.map(works, |(archive, range)| {
            let opening = openings[archive].as_ref().expect("only those that opened have parts");
            let (mut found, mut state) = (Vec::with_capacity(range.len()), with());
            for each in &opening.parts[range] {
                self.progress.check()?;
                found.push(part(&mut state, &candidates[archive], each)?);
            }
            Ok((archive, found))
        })?;
        let mut lists: Vec<Option<Vec<P>>> =
            openings.iter().map(|opening| opening.as_ref().map(|_| Vec::new())).collect();
        for (archive, found) in found {
            let whole: Option<Vec<P>> = found.into_iter().collect();
            lists[archive] = match (lists[archive].take(), whole) {
                (Some(mut list), Some(found)) => {
                    list.extend(found);
                    Some(list)
                }
                _ => None,
            };
        }
        let pairs = openings.into_iter().zip(lists);
        Ok(Level { openings: pairs.map(|(opening, list)| opening.zip(list)).collect() })
    }
}

/// Parts being gathered.
pub(super) struct Gathering {
    entries: Vec<Entry>,
    space: AddressSpace,
    at: u64,
    owner: Arc<Owner>,
    /// Those of the level at hand.
    ranges: Vec<Range<u64>>,
}

impl Gathering {
    pub(super) fn new() -> Self {
        let nobody = Owner { uid: 0, gid: 0, user: Box::default(), group: Box::default() };
        Self {
            entries: Vec::new(),
            space: AddressSpace::default(),
            at: 0,
            owner: Arc::new(nobody),
            ranges: Vec::new(),
        }
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("parts are limited")
    }

    /// Returns how long they are.
    pub(super) fn bytes(&self) -> u64 {
        self.at
    }

    /// Returns where one lies.
    pub(super) fn range(&self, part: u32) -> Range<u64> {
        self.entries[part as usize].payload.clone()
    }

    /// Returns what one is called.
    pub(super) fn path(&self, part: u32) -> &LayerPath {
        &self.entries[part as usize].path
    }

    /// Returns all that were gathered up to the last level.
    pub(super) fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// Adds a part.
    pub(super) fn push(&mut self, archive: &LayerPath, name: &[u8], kept: &Kept) {
        let payload = self.at..self.at + kept.bytes;
        self.at = payload.end;
        self.ranges.extend(kept.ranges.iter().cloned());
        self.entries.push(Entry {
            path: inner_path(archive, name),
            start: payload.start,
            payload,
            kind: EntryKind::File,
            size_bytes: kept.bytes,
            digest: Some(kept.digest),
            link: None,
            mode: 0,
            owner: Arc::clone(&self.owner),
            mtime: (0, 0),
            device: None,
            attributes: Box::default(),
            is_sparse: false,
            is_after_end: false,
        });
    }

    /// Ends a level, whose bytes can be read from now on.
    pub(super) fn end_level(&mut self, spill: SpillFile) -> Result<()> {
        let extent = Arc::new(spill.finish()?);
        for range in self.ranges.drain(..) {
            self.space.push(&extent, range)?;
        }
        Ok(())
    }

    /// Returns all, if there are any. The index stands for no layer: nobody may look its diff id up.
    pub(super) fn finish(self) -> Option<Parts> {
        if self.entries.is_empty() {
            return None;
        }
        let index = LayerIndex {
            diff_id: DiffId::new(imgdelta_core::Algorithm::Sha256, &[0; 32]).expect("its length"),
            stream_bytes: self.at,
            entries: self.entries,
            tail_start: self.at,
            damage: None,
            findings: Bytes::new(),
        };
        Some(Parts { index: Arc::new(index), space: self.space })
    }
}

/// What is put into the scratch file at a time.
const KEPT_BYTES: usize = 1 << 20;
/// What one worker opens at a time: small enough that all have work to the end.
const WORK_BYTES: u64 = 2 << 20;
/// No content is larger; a bomb may claim so.
const MOST_PART_BYTES: u64 = 16 << 30;
