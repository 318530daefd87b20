//! The patch of a diff: the change inside each chosen file.
//! Never reads a layer: it takes streams that somebody else has read.

use crate::{
    content::{FileContent, StreamSet},
    hunk::{LineMark, TextChange},
    member::{self, ContentChange, ContentLimits},
    rows::PackageRows,
};
use imgdelta_core::{Context, DiffId, Result, path::LayerPath, progress::Progress};
use imgdelta_diff::{Diff, FileChange, FileChangeKind, FileFacts, MetadataField};
use imgdelta_image::{
    index::EntryKind,
    survey::Survey,
    volume::{AddressSpace, Volume},
};
use imgdelta_layer::archive::ArchiveBytes;
use std::collections::BTreeSet;

/// Limits of a patch. Larger files are described in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PatchOptions {
    /// Bytes of a file that is looked into; 32 MiB, since two for each worker are in memory.
    pub file_bytes: u64,
    /// Bytes of a text; 4 MiB, since nobody reads a patch of more.
    pub text_bytes: u64,
    /// Lines in the hunks of a file; 20,000.
    pub hunk_lines: u64,
    /// Bytes of all hunks together; 64 MiB. Files behind them are counted.
    pub total_bytes: u64,
}

impl Default for PatchOptions {
    fn default() -> Self {
        Self {
            file_bytes: 32 << 20,
            text_bytes: 4 << 20,
            hunk_lines: 20_000,
            total_bytes: 64 << 20,
        }
    }
}

/// The change inside each chosen file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PatchSet {
    /// Files in the order of their paths.
    pub files: Vec<FilePatch>,
    /// Number of files that were not looked into, because the patch became too long.
    pub omitted_files: u64,
}

/// The change inside one file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilePatch {
    /// The file and its metadata.
    pub change: FileChange,
    /// The change of its content; none if only its mode or its path changed.
    pub content: Option<ContentChange>,
}

impl PatchSet {
    /// Looks into the files of `diff` for which `chooses` is true.
    ///
    /// `volumes` have the streams that [`PatchSet::missing_streams`] lists.
    pub fn between(
        diff: &Diff,
        surveys: [&Survey; 2],
        volumes: &[&Volume],
        chooses: &(dyn Fn(&FileChange) -> bool + Sync),
        options: PatchOptions,
        context: &Context,
    ) -> Result<Self> {
        let streams = StreamSet(volumes);
        let reader = PatchReader {
            surveys,
            streams,
            rows: PackageRows::new(surveys),
            limits: ContentLimits {
                file_bytes: options.file_bytes,
                text_bytes: options.text_bytes,
                hunk_lines: options.hunk_lines,
            },
            progress: &*context.progress,
        };
        let chosen: Vec<&FileChange> = shown(diff).filter(|change| chooses(change)).collect();
        let (mut set, mut left) = (Self::default(), options.total_bytes);
        for batch in chosen.chunks(BATCH_FILES) {
            if left == 0 {
                set.omitted_files += batch.len() as u64;
                continue;
            }
            let files = context.workers.map(batch.to_vec(), |change| reader.file(change))?;
            for file in files {
                let bytes = file.content.as_ref().map_or(0, ContentChange::text_bytes);
                if left == 0 {
                    set.omitted_files += 1;
                    continue;
                }
                left = left.saturating_sub(bytes);
                set.files.push(file);
            }
        }
        Ok(set)
    }

    /// Returns the streams that [`PatchSet::between`] needs and `volume` lacks.
    pub fn missing_streams(
        diff: &Diff,
        surveys: [&Survey; 2],
        volume: &Volume,
        chooses: &dyn Fn(&FileChange) -> bool,
    ) -> Vec<DiffId> {
        let mut missing = BTreeSet::new();
        for change in shown(diff).filter(|change| chooses(change)) {
            for content in contents(change, surveys).into_iter().flatten() {
                missing.extend(content.stream());
            }
        }
        let volumes = [volume];
        let streams = StreamSet(&volumes);
        missing.into_iter().filter(|stream| !streams.has(stream)).collect()
    }
}

impl FilePatch {
    /// Returns the path in the old image, which differs for a moved file.
    pub fn old_path(&self) -> &LayerPath {
        match &self.change.kind {
            FileChangeKind::Moved { from } => from,
            _ => &self.change.path,
        }
    }
}

/// Returns the changes that a patch can show: of files and links, in content, path or mode.
fn shown(diff: &Diff) -> impl Iterator<Item = &FileChange> {
    let is_file = |facts: &Option<FileFacts>| {
        facts.as_ref().is_some_and(|f| matches!(f.kind, EntryKind::File | EntryKind::Symlink))
    };
    diff.files.iter().filter(move |change| {
        let has_mode = change.fields.iter().any(|field| field.field == MetadataField::Mode);
        (is_file(&change.base) || is_file(&change.target))
            && (change.kind != FileChangeKind::Metadata || has_mode)
    })
}

/// Returns the content of both sides of a change, as far as it may differ.
fn contents(change: &FileChange, surveys: [&Survey; 2]) -> [Option<FileContent>; 2] {
    if matches!(change.kind, FileChangeKind::Metadata | FileChangeKind::Moved { .. }) {
        return [None, None];
    }
    let of =
        |survey, is_there: bool| is_there.then(|| FileContent::of(survey, &change.path)).flatten();
    [of(surveys[0], change.base.is_some()), of(surveys[1], change.target.is_some())]
}

/// Reads the two sides of a file and compares them.
struct PatchReader<'a> {
    surveys: [&'a Survey; 2],
    streams: StreamSet<'a>,
    rows: PackageRows<'a>,
    limits: ContentLimits,
    progress: &'a dyn Progress,
}

/// Content that was found: bytes in a stream, or in memory.
enum ContentSide {
    Stored(AddressSpace, u64, u64),
    Text(Vec<u8>),
    Sparse,
}

impl PatchReader<'_> {
    fn file(&self, change: &FileChange) -> Result<FilePatch> {
        self.progress.check()?;
        let sides = contents(change, self.surveys);
        let rows = sides.iter().any(Option::is_some).then(|| self.rows.of(change)).flatten();
        let content = match rows {
            Some([old, new]) => {
                let rows = TextChange::between(&old, &new, self.limits.hunk_lines);
                Some(ContentChange::Packages(rows))
            }
            None => self.compare(sides)?,
        };
        Ok(FilePatch { change: change.clone(), content })
    }

    fn compare(&self, [old, new]: [Option<FileContent>; 2]) -> Result<Option<ContentChange>> {
        let old = old.map(|content| self.side(content)).transpose()?;
        let new = new.map(|content| self.side(content)).transpose()?;
        let of = |side: &Option<ContentSide>| match side {
            Some(ContentSide::Text(text)) => text.clone(),
            _ => Vec::new(),
        };
        Ok(Some(match (&old, &new) {
            (None, None) => return Ok(None),
            (Some(ContentSide::Sparse), _) | (_, Some(ContentSide::Sparse)) => {
                ContentChange::Opaque("stored sparse".to_owned())
            }
            (Some(ContentSide::Text(_)) | None, Some(ContentSide::Text(_)) | None) => {
                ContentChange::Text(TextChange::between(
                    &of(&old),
                    &of(&new),
                    self.limits.hunk_lines,
                ))
            }
            (Some(ContentSide::Text(link)), Some(file @ ContentSide::Stored(..))) => {
                self.with_link(link, file, LineMark::Old)?
            }
            (Some(file @ ContentSide::Stored(..)), Some(ContentSide::Text(link))) => {
                self.with_link(link, file, LineMark::New)?
            }
            _ => {
                let (old, new) = (stored(old.as_ref()), stored(new.as_ref()));
                member::compare(old.as_ref(), new.as_ref(), self.limits, self.progress)?
            }
        }))
    }

    /// Compares a file with a link that replaced it, or that it replaced.
    fn with_link(&self, link: &[u8], file: &ContentSide, side: LineMark) -> Result<ContentChange> {
        let bytes = match stored(Some(file)) {
            Some(bytes) if bytes.bytes() <= self.limits.text_bytes => {
                bytes.read(0, bytes.bytes())?
            }
            _ => None,
        };
        let Some(bytes) = bytes else {
            return Ok(ContentChange::Opaque("too large to compare with a link".to_owned()));
        };
        let (old, new) =
            if side == LineMark::Old { (link, &bytes[..]) } else { (&bytes[..], link) };
        Ok(member::compare_bytes(old, new, self.limits))
    }

    fn side(&self, content: FileContent) -> Result<ContentSide> {
        Ok(match content {
            FileContent::Link(target) => ContentSide::Text(target),
            FileContent::Sparse => ContentSide::Sparse,
            FileContent::Stored { stream, range } => {
                let space = self.streams.space(stream)?;
                ContentSide::Stored(space, range.start, range.end - range.start)
            }
        })
    }
}

fn stored(side: Option<&ContentSide>) -> Option<ArchiveBytes<'_>> {
    match side {
        Some(ContentSide::Stored(space, start, bytes)) => {
            Some(ArchiveBytes::new(space, *start, *bytes))
        }
        _ => None,
    }
}

/// Files that are in memory at once.
const BATCH_FILES: usize = 64;
