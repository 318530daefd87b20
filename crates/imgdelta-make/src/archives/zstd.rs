//! The encoders of zstd files.
//! Never holds the content of a large file.
//!
//! One encoder made most files of a layer, and a search among all of them takes longer than decoding.
//! So a few files are searched first. The others are tried with the encoders that were found there,
//! and with little more. If no model makes the first files, the search costs the others next to nothing.

use super::{
    ArchiveSearch,
    parts::{Candidate, SavedPart, save},
};
use crate::spill::SpillFile;
use imgdelta_core::{Error, Result};
use imgdelta_layer::archive::{ArchiveBytes, ArchiveKind, ArchivePart, OpenedArchive};
use imgdelta_zstd::{
    ByteSource, DetectOptions, EncoderModel, FileRecipe, LibzstdCall, LibzstdInput, detect_file,
};
use std::ops::Range;

/// The encoders of the files that were searched first.
pub(super) struct ZstdHabits {
    likely: Vec<EncoderModel>,
    /// Nanoseconds that wrong candidates may take for a file, and for each byte of its content.
    trial: (u64, u64),
}

impl ArchiveSearch<'_> {
    /// Searches some zstd files of a level.
    pub(super) fn zstd_habits<T>(&self, candidates: &[Candidate<T>]) -> Result<ZstdHabits> {
        let of_zstd = candidates.iter().filter(|candidate| candidate.kind == ArchiveKind::Zstd);
        let files: Vec<_> = of_zstd.map(Candidate::slice).collect();
        let bytes = files.iter().fold(0, |sum, file| file.bytes().saturating_add(sum));
        let telling: Vec<_> =
            files.iter().filter(|file| TELLING_BYTES.contains(&file.bytes())).collect();
        let samples = telling.len().min(SAMPLES);
        let budget = SAMPLE_TIME + bytes.saturating_mul(SAMPLE_TIME_PER_BYTE);
        let mut likely: Vec<EncoderModel> = Vec::new();
        for sample in 0..samples {
            let file = telling[sample * telling.len() / samples];
            let mut content = Vec::new();
            let part = &OpenedArchive::read(ArchiveKind::Zstd, file)?;
            let Some(part) = part.as_ref().and_then(|archive| archive.parts.first()) else {
                continue;
            };
            if !self.fill(part, file, &mut content)? {
                continue;
            }
            let options = self.zstd_options(true, (budget / samples as u64, 0));
            let _share = self.memory.take(search_bytes(content.len() as u64));
            let found = detect_file(&StoredFile(file), &Content(&content), &likely, options)?;
            let models = found.map(|recipe| variants(recipe.model())).unwrap_or_default();
            if !models.iter().all(|model| likely.contains(model)) {
                likely.extend(models);
            }
        }
        let trial = match (samples, likely.is_empty()) {
            (0, _) => (SAMPLE_TIME / files.len().max(1) as u64, OTHER_TIME_PER_BYTE),
            (_, false) => (0, OTHER_TIME_PER_BYTE),
            // One candidate.
            (_, true) => (1, 0),
        };
        Ok(ZstdHabits { likely, trial })
    }

    /// Saves the content of a file and finds its recipe; `None` if the file is not valid, or if no
    /// encoder makes it or all are too slow.
    pub(super) fn zstd_compression(
        &self,
        (part, slice): (&ArchivePart, &ArchiveBytes<'_>),
        habits: &ZstdHabits,
        has_counterpart: bool,
        spill: &SpillFile,
    ) -> Result<Option<(SavedPart, FileRecipe)>> {
        let options = self.zstd_options(has_counterpart, habits.trial);
        let (file, likely) = (StoredFile(slice), &habits.likely[..]);
        let mut content = Vec::new();
        if self.fill(part, slice, &mut content)? {
            let share = self.memory.take(search_bytes(content.len() as u64));
            let found = detect_file(&file, &Content(&content), likely, options)?;
            drop(share);
            let Some(recipe) = found.filter(|recipe| is_worth(recipe, slice.bytes())) else {
                return Ok(None);
            };
            return Ok(save(part, slice, spill, self.progress)?.map(|saved| (saved, recipe)));
        }
        // It is longer, or damaged; then saving it fails.
        drop(content);
        let Some(saved) = save(part, slice, spill, self.progress)? else { return Ok(None) };
        if saved.bytes > MOST_CONTENT_BYTES {
            return Ok(None);
        }
        let content = SpilledContent { spill, ranges: &saved.ranges, bytes: saved.bytes };
        let share = self.memory.take(search_bytes(saved.bytes));
        let found = detect_file(&file, &content, likely, options)?;
        drop(share);
        let recipe = found.filter(|recipe| is_worth(recipe, slice.bytes()));
        Ok(recipe.map(|recipe| (saved, recipe)))
    }

    /// Decodes a file into `content`; false if it is damaged, or has more than [`HELD_BYTES`].
    fn fill(
        &self,
        part: &ArchivePart,
        slice: &ArchiveBytes<'_>,
        content: &mut Vec<u8>,
    ) -> Result<bool> {
        let decoded = part.inflate(slice, HELD_BYTES as u64, self.progress, &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(decoded.is_some_and(|bytes| bytes > 0))
    }

    fn zstd_options(&self, has_counterpart: bool, trial: (u64, u64)) -> DetectOptions {
        let most = if has_counterpart { u32::MAX } else { super::QUICK };
        let mut options = DetectOptions::default();
        (options.trial_nanoseconds, options.trial_nanoseconds_per_byte) = trial;
        options.nanoseconds_per_byte = self.options.nanoseconds_per_byte.min(most).into();
        options
    }
}

/// True if a recipe is short, since equally compressed files share one, or small for its file.
fn is_worth(recipe: &FileRecipe, stored_bytes: u64) -> bool {
    match recipe {
        FileRecipe::OneFrame { .. } => true,
        FileRecipe::Frames(_) => recipe.to_bytes().len() as u64 <= stored_bytes / WORTH,
    }
}

/// Returns the models that write files of other lengths if this one writes some.
fn variants(model: EncoderModel) -> Vec<EncoderModel> {
    let EncoderModel::Libzstd(call) = model else { return vec![model] };
    let other = if call.input == LibzstdInput::EndWithData {
        [LibzstdInput::EndAfterData, LibzstdInput::OneCall]
    } else {
        [LibzstdInput::EndWithData, LibzstdInput::OneCall]
    };
    let inputs = [call.input, other[0], other[1]];
    let of_input = |input| [true, false].map(|jobs| LibzstdCall { jobs, input, ..call });
    inputs.into_iter().flat_map(of_input).map(EncoderModel::Libzstd).collect()
}

/// Returns the most memory that a search takes.
fn search_bytes(plain_bytes: u64) -> u64 {
    let of_content = plain_bytes.saturating_mul(MEMORY_PER_BYTE);
    of_content.saturating_add(LEAST_MEMORY).min(LibzstdCall::MOST_MEMORY_BYTES)
}

/// The stored bytes of a file.
struct StoredFile<'a>(&'a ArchiveBytes<'a>);

impl ByteSource for StoredFile<'_> {
    type Error = Error;

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let found = self.0.read(offset, buffer.len() as u64)?;
        let ends_early = || Error::bad_input("archive of the target", "it ends early");
        buffer.copy_from_slice(&found.ok_or_else(ends_early)?);
        Ok(())
    }
}

/// A content in memory.
struct Content<'a>(&'a [u8]);

impl ByteSource for Content<'_> {
    type Error = Error;

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let offset = usize::try_from(offset).expect("a content in memory");
        buffer.copy_from_slice(&self.0[offset..][..buffer.len()]);
        Ok(())
    }
}

/// A content in a scratch file.
struct SpilledContent<'a> {
    spill: &'a SpillFile,
    ranges: &'a [Range<u64>],
    bytes: u64,
}

impl ByteSource for SpilledContent<'_> {
    type Error = Error;

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let (mut at, end) = (0, offset + buffer.len() as u64);
        for range in self.ranges {
            let next = at + (range.end - range.start);
            let (from, until) = (offset.max(at), end.min(next));
            if from < until {
                let found = self.spill.get(range.start + from - at..range.start + until - at)?;
                let start = usize::try_from(from - offset).expect("within the buffer");
                buffer[start..start + found.len()].copy_from_slice(&found);
            }
            at = next;
        }
        Ok(())
    }
}

/// Files that are searched first.
const SAMPLES: usize = 4;
/// Stored bytes of such files: enough to tell encoders apart, and soon compressed.
const TELLING_BYTES: Range<u64> = 2 << 10..512 << 10;
/// Nanoseconds for the searches of these files together, and for each stored byte of all files.
const SAMPLE_TIME: u64 = 400_000_000;
const SAMPLE_TIME_PER_BYTE: u64 = 150;
/// Nanoseconds for each byte of another file whose encoder is none of those.
const OTHER_TIME_PER_BYTE: u64 = 60;
/// A content up to this length is searched in memory.
const HELD_BYTES: usize = 4 << 20;
/// Longest content that is searched; at the slowest level that takes minutes.
const MOST_CONTENT_BYTES: u64 = 1 << 30;
/// Least ratio of stored bytes to a recipe that other files do not share.
const WORTH: u64 = 16;
/// Bytes of memory for each byte of a content, for tables and buffers.
const MEMORY_PER_BYTE: u64 = 24;
const LEAST_MEMORY: u64 = 8 << 20;
