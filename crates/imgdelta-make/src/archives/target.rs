//! Archives of the target, opened so that they can be closed again.
//! Never opens an archive whose bytes cannot be reproduced.

use super::{
    ArchiveSearch, ArchiveWork, TargetArchive, TargetParts,
    base::OpenedBase,
    parts::{
        Candidate, LevelOpening, OpenedLevel, PartList, SavedPart, save, save_stored, stored_key,
    },
    zstd::ZstdHabits,
};
use crate::{sources::masked, spill::SpillFile};
use imgdelta_core::{Error, Result, progress::Checkpoint, scratch::is_full};
use imgdelta_deflate::{DetectOptions, Detector, EncoderModel, Recipe, RecipeMember};
use imgdelta_format::recipe::StreamName;
use imgdelta_image::volume::AddressSpace;
use imgdelta_layer::archive::{
    ArchiveBytes, ArchiveKind, ArchivePart, InnerCoding, InnerCompression, InnerPayloads,
    OpenedArchive, PartCompression, close, section_streams,
};
use imgdelta_zstd::lz4::{self, Lz4Encoder};
use std::collections::HashMap;

/// The payload or part that is an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveOwner {
    /// The payload of an entry of the layer.
    Entry(u32),
    /// A part of another archive.
    Part(u32),
}

/// A part with its compression.
struct TargetPart {
    saved: SavedPart,
    /// Recipe that compresses it; empty if it is not compressed.
    compression: Vec<u8>,
    /// A part of the base with the same stored bytes.
    packed: Option<u32>,
    /// Work of compressing it, in nanoseconds.
    work: u64,
}

impl ArchiveSearch<'_> {
    /// Opens archives of a target layer.
    pub(super) fn open_target(
        &self,
        layer: u32,
        wanted: Vec<(u32, ArchiveKind)>,
        base: Option<&OpenedBase>,
        shared: &mut ArchiveWork,
    ) -> Result<TargetParts> {
        let index = &self.target.layers[layer as usize];
        let name = StreamName { diff_id: index.diff_id, bytes: index.stream_bytes };
        let space = AddressSpace::new(self.volume, &[name])?;
        let of_entry = |(entry, kind): (u32, ArchiveKind)| {
            let owner = index.entries.at(entry as usize);
            Candidate {
                owner: ArchiveOwner::Entry(entry),
                kind,
                path: owner.path.to_path(),
                space: space.clone(),
                range: owner.payload,
            }
        };
        let mut candidates: Vec<Candidate<ArchiveOwner>> =
            wanted.into_iter().map(of_entry).collect();
        let mut work = ArchiveWork::of_closing(index.stream_bytes, self.work_per_byte);
        let mut list = PartList::new();
        let mut result = TargetParts::default();
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut held = super::keys(&self.base.layers, &mut Checkpoint::new(self.progress))?;
        held.extend(base.iter().flat_map(|base| base.contents.iter().copied()));
        for depth in 1..=self.options.depth {
            if candidates.is_empty() {
                break;
            }
            let spill = SpillFile::new(self.scratch)?;
            let level = self.take_all(&candidates, base, &spill);
            let level = match level {
                // These archives expand too far, and are taken as they are.
                Err(error) if is_full(&error) => break,
                level => level?,
            };
            let closable = self.workers.map(
                candidates.iter().zip(&level.openings).collect(),
                |(candidate, opening)| {
                    let Some(opening) = opening else { return Ok(false) };
                    self.closes(opening.kind, &candidate.slice(), &opening.archive)
                },
            )?;
            let mut nested = Vec::new();
            for ((candidate, opening), is_closable) in
                candidates.iter().zip(level.openings).zip(closable)
            {
                let Some(opening) = opening.filter(|_| is_closable) else { continue };
                let LevelOpening { kind, archive, parts: found } = opening;
                let closing = found.iter().map(|part| part.work).fold(0, u64::saturating_add);
                if !work.take_with(shared, closing) {
                    continue;
                }
                result.nanoseconds = result.nanoseconds.saturating_add(closing);
                let first = list.count();
                for (part, found) in archive.parts.iter().zip(found) {
                    let number = list.count();
                    list.push(&candidate.path, &part.name, &found.saved)?;
                    let count =
                        u32::try_from(result.compressions.len()).expect("parts are limited");
                    result.coders.push(if found.compression.is_empty() {
                        0
                    } else {
                        1 + *numbers.entry(found.compression).or_insert_with_key(|recipe| {
                            result.compressions.push(recipe.clone());
                            count
                        })
                    });
                    result.packed.push(found.packed);
                    if found.packed.is_none()
                        && held.insert(found.saved.key())
                        && let Some(kind) = found.saved.kind
                    {
                        nested.push((number, kind));
                    }
                }
                if !archive.structure.is_empty() {
                    list.push_structure(&candidate.path, &archive.structure, &spill)?;
                    result.coders.push(0);
                    result.packed.push(None);
                }
                result.archives.push(TargetArchive {
                    owner: candidate.owner,
                    kind,
                    parts: first..list.count(),
                });
            }
            list.end_level(spill)?;
            let deeper = nested.into_iter().filter(|_| depth < self.options.depth);
            candidates = deeper
                .map(|(part, kind)| Candidate {
                    owner: ArchiveOwner::Part(part),
                    kind,
                    path: list.path(part),
                    space: list.space().clone(),
                    range: list.range(part),
                })
                .collect();
        }
        result.parts = list.finish();
        Ok(result)
    }

    /// Opens the archives of a level.
    fn take_all(
        &self,
        candidates: &[Candidate<ArchiveOwner>],
        base: Option<&OpenedBase>,
        spill: &SpillFile,
    ) -> Result<OpenedLevel<TargetPart>> {
        let habits = self.zstd_habits(candidates)?;
        let detector = || Detector::new(DetectOptions::default());
        self.open_level(candidates, detector, |detector, candidate, part| {
            if part.compression == PartCompression::Zstd {
                self.take_zstd(part, candidate, &habits, base, spill)
            } else {
                self.take(part, candidate, detector, base, spill)
            }
        })
    }

    /// Saves the content or the stored bytes of a part; `None` if its archive is not valid.
    fn take(
        &self,
        part: &ArchivePart,
        candidate: &Candidate<ArchiveOwner>,
        detector: &mut Detector,
        base: Option<&OpenedBase>,
        spill: &SpillFile,
    ) -> Result<Option<TargetPart>> {
        let slice = &candidate.slice();
        let plain = |saved: SavedPart| {
            let work = saved.bytes.saturating_mul(COPIED_BYTE);
            Some(TargetPart { saved, compression: Vec::new(), packed: None, work })
        };
        let stored_bytes = part.stored.end - part.stored.start;
        if matches!(
            part.compression,
            PartCompression::Plain | PartCompression::Hollow | PartCompression::Index
        ) {
            return Ok(save(part, slice, spill, self.progress)?.and_then(plain));
        }
        let is_zip = matches!(part.compression, PartCompression::Deflate { .. });
        // Such a member stays as it is stored if its compression is unknown.
        let is_member = is_zip || matches!(part.compression, PartCompression::Lz4 { .. });
        if is_member && let Some(base) = base {
            let key = stored_key(part, slice, self.progress)?;
            if let Some(&packed) = base.stored.get(&key) {
                let saved = save_stored(part, slice, spill, self.progress)?;
                let (compression, packed) = (Vec::new(), Some(packed));
                let work = saved.bytes.saturating_mul(COPIED_BYTE);
                return Ok(Some(TargetPart { saved, compression, packed, work }));
            }
        }
        let compression = if part.compression == PartCompression::Sections {
            self.sections_compression(slice, detector)?
        } else if stored_bytes > MOST_SOUGHT_BYTES {
            None
        } else if let PartCompression::Lz4 { bytes } = part.compression {
            let stored = slice.read(part.stored.start, stored_bytes)?;
            stored.and_then(|stored| self.lz4_compression(&stored, bytes))
        } else if part.compression == PartCompression::Xz {
            self.xz_compression(slice, has_counterpart(candidate, base))?
        } else {
            let stored = slice.read(part.stored.start, stored_bytes)?;
            stored.and_then(|stored| self.compression(&stored, detector, is_zip))
        };
        match compression {
            Some((compression, per_byte)) => {
                let saved = save(part, slice, spill, self.progress)?;
                Ok(saved.map(|saved| {
                    let content = saved.bytes.saturating_mul(COPIED_BYTE + u64::from(per_byte));
                    let work = content.saturating_add(EncoderModel::NANOSECONDS_PER_STREAM);
                    TargetPart { saved, compression, packed: None, work }
                }))
            }
            None if is_member => {
                // Its content must match the archive's directory nevertheless.
                if save(part, slice, spill, self.progress)?.is_none() {
                    return Ok(None);
                }
                Ok(plain(save_stored(part, slice, spill, self.progress)?))
            }
            None => Ok(None),
        }
    }

    /// Saves the content of a zstd file; `None` if its archive is not valid or cannot be made again.
    fn take_zstd(
        &self,
        part: &ArchivePart,
        candidate: &Candidate<ArchiveOwner>,
        habits: &ZstdHabits,
        base: Option<&OpenedBase>,
        spill: &SpillFile,
    ) -> Result<Option<TargetPart>> {
        let file = (part, &candidate.slice());
        let found = self.zstd_compression(file, habits, has_counterpart(candidate, base), spill)?;
        Ok(found.map(|(saved, recipe)| {
            let work = recipe.nanoseconds(saved.bytes);
            let work = work.saturating_add(saved.bytes.saturating_mul(COPIED_BYTE));
            let compression = InnerCompression::Zstd(recipe).to_bytes();
            TargetPart { saved, compression, packed: None, work }
        }))
    }

    /// Finds the compression of a member, with its nanoseconds per byte; `None` if it is unknown,
    /// too slow or too large.
    fn compression(
        &self,
        stored: &[u8],
        detector: &mut Detector,
        is_zip: bool,
    ) -> Option<(Vec<u8>, u32)> {
        let recipe = if is_zip { detector.raw(stored) } else { detector.gzip(stored) }?;
        self.admit(recipe, stored.len(), USUAL_RECIPE_BYTES)
    }

    /// Finds the compression of an xz file, with its nanoseconds per byte; `None` if it is unknown or
    /// too slow. A slow one is worth its time only if the base has a counterpart.
    fn xz_compression(
        &self,
        slice: &ArchiveBytes<'_>,
        has_counterpart: bool,
    ) -> Result<Option<(Vec<u8>, u32)>> {
        let Some(stored) = slice.read(0, slice.bytes())? else { return Ok(None) };
        let most = if has_counterpart { u32::MAX } else { super::QUICK };
        let mut options = imgdelta_xz::DetectOptions::default();
        options.nanoseconds_per_byte = self.options.nanoseconds_per_byte.min(most);
        let share = self.memory.take(imgdelta_xz::memory_bytes(&stored));
        let recipe = imgdelta_xz::detect(&stored, options);
        drop(share);
        Ok(recipe.map(|recipe| {
            let per_byte = recipe.nanoseconds_per_byte();
            (InnerCompression::Xz(recipe).to_bytes(), per_byte)
        }))
    }

    /// Finds the encoder of an LZ4 block, with its nanoseconds per byte; `None` if it is unknown or too
    /// slow.
    fn lz4_compression(&self, block: &[u8], plain_bytes: u64) -> Option<(Vec<u8>, u32)> {
        let plain = lz4::decode(block, usize::try_from(plain_bytes).ok()?)?;
        let encoder = Lz4Encoder::find(&plain, block)?;
        let per_byte = encoder.nanoseconds_per_byte();
        let is_quick = per_byte <= self.options.nanoseconds_per_byte;
        is_quick.then(|| (InnerCompression::Lz4(encoder).to_bytes(), per_byte))
    }

    /// Finds the compression of an ELF file's sections: a recipe with a member for each, whose header
    /// is that of zlib. The checksums behind the streams follow from the content.
    fn sections_compression(
        &self,
        slice: &ArchiveBytes<'_>,
        detector: &mut Detector,
    ) -> Result<Option<(Vec<u8>, u32)>> {
        let mut recipe = Recipe::default();
        let mut stored_bytes = 0;
        for range in section_streams(slice)? {
            self.progress.check()?;
            let count = range.end - range.start;
            if count > MOST_SOUGHT_BYTES {
                return Ok(None);
            }
            let Some(stream) = slice.read(range.start, count)? else { return Ok(None) };
            let Some((header, stored)) = stream.split_at_checked(ZLIB_HEADER_BYTES) else {
                return Ok(None);
            };
            let Some(mut found) = detector.raw(stored) else { return Ok(None) };
            let Some(member) = found.members.pop() else { return Ok(None) };
            if found.tail.len() != ZLIB_TRAILER_BYTES {
                return Ok(None);
            }
            stored_bytes += stream.len();
            let header = header.to_vec();
            recipe.members.push(RecipeMember { header, plain_bytes: 0, ..member });
        }
        let usual_bytes = USUAL_RECIPE_BYTES * recipe.members.len();
        Ok(self.admit(recipe, stored_bytes, usual_bytes))
    }

    /// Returns the bytes of a recipe, with its nanoseconds per byte; `None` if it is too slow or too
    /// large.
    fn admit(
        &self,
        mut recipe: Recipe,
        stored_bytes: usize,
        usual_bytes: usize,
    ) -> Option<(Vec<u8>, u32)> {
        let members = recipe.members.iter();
        let per_byte = members.map(|member| member.model.nanoseconds_per_byte()).max().unwrap_or(0);
        if per_byte > self.options.nanoseconds_per_byte {
            return None;
        }
        let whole = recipe.to_bytes().len();
        if whole > stored_bytes / WORTH && whole > usual_bytes {
            return None;
        }
        if let [member] = &mut recipe.members[..] {
            member.plain_bytes = 0;
        }
        Some((recipe.to_bytes(), per_byte))
    }

    /// True if an archive's structure and stored members make its bytes.
    ///
    /// Finding a compression has proved that the member compresses to its stored bytes.
    fn closes(
        &self,
        kind: ArchiveKind,
        slice: &ArchiveBytes<'_>,
        opening: &OpenedArchive,
    ) -> Result<bool> {
        // Reading an ELF file has compared its headers with those that closing makes.
        // Finding the compression of an xz or zstd file has compared all of it.
        // Reading a file with programs has proved that these do not change its headers.
        // Reading a runtime image has compared its index.
        if matches!(
            kind,
            ArchiveKind::Gzip
                | ArchiveKind::Elf
                | ArchiveKind::Xz
                | ArchiveKind::Zstd
                | ArchiveKind::Fatbin
                | ArchiveKind::Jimage
        ) {
            return Ok(true);
        }
        let stored = StoredMembers { slice, opening };
        let mut is_same = true;
        let closed = close(kind, &stored, self.progress, &mut |at, made| {
            let original = slice.read(at, made.len() as u64)?;
            is_same &= original.is_some_and(|original| original == made);
            Ok(())
        });
        match closed {
            Ok(bytes) => Ok(is_same && bytes == slice.bytes()),
            Err(Error::BadInput { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// True if the base has a packed file of the same name except for digits.
fn has_counterpart(candidate: &Candidate<ArchiveOwner>, base: Option<&OpenedBase>) -> bool {
    let name = masked(candidate.path.as_bytes());
    base.is_some_and(|base| base.packed_names.contains(&name))
}

/// The members of an archive in their stored form.
struct StoredMembers<'a> {
    slice: &'a ArchiveBytes<'a>,
    opening: &'a OpenedArchive,
}

impl InnerPayloads for StoredMembers<'_> {
    fn count(&self) -> usize {
        self.opening.parts.len() + 1
    }

    fn bytes(&self, inner: usize) -> u64 {
        match self.opening.parts.get(inner) {
            Some(part) => part.stored.end - part.stored.start,
            None => self.opening.structure.len() as u64,
        }
    }

    fn read_exact_at(&self, inner: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let found = if let Some(part) = self.opening.parts.get(inner) {
            self.slice.read(part.stored.start + at, buffer.len() as u64)?
        } else {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let rest = self.opening.structure.get(at..).unwrap_or_default();
            rest.get(..buffer.len()).map(<[u8]>::to_vec)
        };
        let found = found.ok_or_else(|| Error::bad_input(self.place(), "it ends early"))?;
        buffer.copy_from_slice(&found);
        Ok(())
    }

    fn coding(&self, inner: usize) -> InnerCoding<'_> {
        match self.opening.parts.get(inner).map(|part| part.compression) {
            Some(PartCompression::Deflate { crc, bytes }) => InnerCoding::Packed(crc, bytes),
            _ => InnerCoding::Plain,
        }
    }

    fn place(&self) -> String {
        "archive of the target".to_owned()
    }
}

/// Larger members are taken in their stored form, since the search holds a member in memory.
const MOST_SOUGHT_BYTES: u64 = 32 << 20;
/// Nanoseconds for a receiver to copy and write a byte of a part.
const COPIED_BYTE: u64 = 8;
/// Bytes of zlib around a deflate stream.
const ZLIB_HEADER_BYTES: usize = 2;
const ZLIB_TRAILER_BYTES: usize = 4;
/// Least ratio of stored bytes to the recipe; a larger recipe is not worth it.
const WORTH: usize = 4;
/// Bytes of a recipe with a model and its parameters.
const USUAL_RECIPE_BYTES: usize = 40;
