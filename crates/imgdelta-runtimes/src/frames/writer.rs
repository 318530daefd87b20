//! Taking the frames of a stream that passes.
//! Never keeps the content of a file.

use super::{BYTES, END, FILE, MAGIC, MOST_NAME_BYTES, MOST_PATH_BYTES};
use imgdelta_core::{
    Error, Limits, Result,
    path::LayerPath,
    unfinished::{UnfinishedFile, UnfinishedKind},
};
use imgdelta_image::tarscan::{EntryKind, MemberVisitor, TarMember, TarScanner};
use imgdelta_wire::varint;
use std::{
    collections::{HashSet, VecDeque},
    fmt,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};
use zstd::stream::write::Encoder;

/// Takes the frames of one stream, and publishes them with the caller's proof that it is whole.
pub(crate) struct FrameWriter {
    file: UnfinishedFile,
    path: PathBuf,
    encoder: Encoder<'static, BufWriter<File>>,
    scanner: TarScanner,
    files: FileCollector,
    stream_bytes: u64,
    /// Bytes whose kind is not decided: the scanner looks ahead.
    held: Vec<u8>,
    held_start: u64,
    /// Bytes for the next record.
    gap: Vec<u8>,
}

/// A file's content in the stream.
struct FileRange {
    range: Range<u64>,
    path: LayerPath,
}

/// Collects the files whose content the snapshot has.
#[derive(Default)]
struct FileCollector {
    files: VecDeque<FileRange>,
    hasher: RandomState,
    /// Hashes of paths; a false match only costs the frames of a layer.
    seen: HashSet<u64>,
    is_replaced: bool,
}

impl FrameWriter {
    pub(super) fn create(
        directory: &Path,
        name: &str,
        snapshot: &str,
        stream_bytes: u64,
    ) -> Result<Self> {
        let path = directory.join(name);
        let place = path.display().to_string();
        if snapshot.len() > MOST_NAME_BYTES {
            return Err(Error::bad_input(place, "the snapshot's name is too long"));
        }
        let file = UnfinishedFile::in_directory(directory, UnfinishedKind::Frames)?;
        file.sweep_neighbours();
        let mut writer = BufWriter::new(file.file().try_clone().map_err(Error::io(&place))?);
        let name_bytes = u16::try_from(snapshot.len()).expect("bounded above");
        let head =
            [MAGIC, &stream_bytes.to_le_bytes(), &name_bytes.to_le_bytes(), snapshot.as_bytes()];
        writer.write_all(&head.concat()).map_err(Error::io(&place))?;
        let encoder = Encoder::new(writer, LEVEL).map_err(Error::io(&place))?;
        Ok(Self {
            file,
            path,
            encoder,
            scanner: TarScanner::new(&Limits::default()),
            files: FileCollector::default(),
            stream_bytes,
            held: Vec::new(),
            held_start: 0,
            gap: Vec::new(),
        })
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.scanner.feed(bytes, &mut self.files)?;
        self.held.extend_from_slice(bytes);
        let decided = self.held.len().saturating_sub(LOOK_AHEAD_BYTES);
        self.decide(decided)
    }

    /// Publishes the frames; returns false if the stream cannot be put together from files.
    pub(crate) fn finish(mut self) -> Result<bool> {
        let scanner = std::mem::replace(&mut self.scanner, TarScanner::new(&Limits::default()));
        let summary = scanner.finish(&mut self.files);
        let is_whole = summary.damage.is_none() && summary.stream_bytes == self.stream_bytes;
        if !is_whole || self.files.is_replaced {
            return Ok(false);
        }
        self.decide(self.held.len())?;
        self.flush_gap()?;
        self.write(&[END])?;
        let place = self.path.display().to_string();
        let mut writer = self.encoder.finish().map_err(Error::io(&place))?;
        writer.flush().map_err(Error::io(&place))?;
        drop(writer);
        self.file.publish(&self.path)?;
        Ok(true)
    }

    /// Writes records for the first `bytes` held bytes.
    fn decide(&mut self, bytes: usize) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let (mut at, end) = (self.held_start, self.held_start + bytes as u64);
        let slice = |range: Range<u64>, start: u64| {
            let offset = |at: u64| usize::try_from(at - start).expect("within the held bytes");
            offset(range.start)..offset(range.end)
        };
        while at < end {
            let Some(FileRange { range, .. }) = self.files.files.front() else {
                self.gap.extend_from_slice(&held[slice(at..end, self.held_start)]);
                break;
            };
            let range = range.clone();
            if at < range.start {
                let gap_end = range.start.min(end);
                self.gap.extend_from_slice(&held[slice(at..gap_end, self.held_start)]);
                at = gap_end;
            } else {
                at = range.end.min(end);
                if at == range.end {
                    let file = self.files.files.pop_front().expect("looked at above");
                    self.write_file(&file)?;
                }
            }
        }
        if self.gap.len() >= MOST_GAP_BYTES {
            self.flush_gap()?;
        }
        self.held = held;
        self.held.drain(..bytes);
        self.held_start = end;
        Ok(())
    }

    fn write_file(&mut self, file: &FileRange) -> Result<()> {
        self.flush_gap()?;
        let mut record = vec![FILE];
        varint::write_prefixed(&mut record, file.path.as_bytes());
        varint::write(&mut record, file.range.end - file.range.start);
        self.write(&record)
    }

    fn flush_gap(&mut self) -> Result<()> {
        if self.gap.is_empty() {
            return Ok(());
        }
        let gap = std::mem::take(&mut self.gap);
        let mut record = vec![BYTES];
        varint::write_prefixed(&mut record, &gap);
        self.write(&record)
    }

    fn write(&mut self, record: &[u8]) -> Result<()> {
        self.encoder.write_all(record).map_err(Error::io(self.path.display()))
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl MemberVisitor for FileCollector {
    fn begin(&mut self, member: TarMember) {
        let path = LayerPath::parse(&member.name);
        let hash = self.hasher.hash_one(path.as_bytes());
        let replaces = self.seen.contains(&hash) || self.seen.contains(&self.removed(&path));
        self.is_replaced |= replaces;
        let is_stored = member.kind == EntryKind::File
            && member.sparse.is_none()
            && (path.as_bytes().len() as u64) <= MOST_PATH_BYTES;
        if is_stored && !member.payload.is_empty() {
            self.seen.insert(hash);
            self.files.push_back(FileRange { range: member.payload, path });
        }
    }

    fn payload(&mut self, _: &[u8]) {}

    fn end(&mut self) {}
}

impl FileCollector {
    /// Returns the hash of the path that a whiteout removes, or of the path itself.
    fn removed(&self, path: &LayerPath) -> u64 {
        let name = path.name().strip_prefix(b".wh.");
        let removed = name.zip(path.parent()).map(|(name, parent)| parent.join(name));
        self.hasher.hash_one(removed.as_ref().unwrap_or(path).as_bytes())
    }
}

/// The scanner decides about a block when it sees the next one; both may be in parts.
const LOOK_AHEAD_BYTES: usize = 1024;
const MOST_GAP_BYTES: usize = 64 << 10;
/// Headers compress a little better at 19, and take ten times as long.
const LEVEL: i32 = 9;
