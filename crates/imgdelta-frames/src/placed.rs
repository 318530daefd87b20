//! A stream that is read at any offset: bytes between files in a scratch file, and files in place.
//! Never compares a digest: the caller compares the result that it makes of the bytes.

use crate::files::DiskFiles;
use imgdelta_core::{Context, Error, Result, path::escaped, scratch::ScratchFile};
use imgdelta_image::store::source::ReadAt;
use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, ErrorKind, Write},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// Takes the parts of a stream in their order.
#[derive(Debug)]
pub struct PlacedStreamBuilder {
    gaps: ScratchFile,
    gap_bytes: u64,
    files: Vec<PlacedFile>,
    paths: Vec<u8>,
    stream_bytes: u64,
    context: Context,
}

/// A file with its place in the stream.
#[derive(Debug)]
struct PlacedFile {
    start: u64,
    bytes: u64,
    /// Bytes of gaps before it.
    gap_bytes: u64,
    path: Range<usize>,
}

impl PlacedStreamBuilder {
    /// Starts an empty stream.
    pub fn new(context: &Context) -> Result<Self> {
        Ok(Self {
            gaps: context.scratch.file()?,
            gap_bytes: 0,
            files: Vec::new(),
            paths: Vec::new(),
            stream_bytes: 0,
            context: context.clone(),
        })
    }

    /// Appends bytes that are in no file.
    pub fn gap(&mut self, bytes: &[u8]) -> Result<()> {
        let count = bytes.len() as u64;
        self.context.progress.check()?;
        self.context.admit_layer_bytes(count);
        self.gaps.write_all(bytes).map_err(Error::io(self.context.scratch.place()))?;
        self.gap_bytes += count;
        self.grow(count)
    }

    /// Appends the content of a file of this length.
    pub fn file(&mut self, path: &[u8], bytes: u64) -> Result<()> {
        let start = self.stream_bytes;
        self.grow(bytes)?;
        let first = self.paths.len();
        self.paths.extend_from_slice(path);
        let path = first..self.paths.len();
        self.files.push(PlacedFile { start, bytes, gap_bytes: self.gap_bytes, path });
        Ok(())
    }

    /// Ends the stream, whose files are those of `source`.
    pub fn finish(self, source: impl DiskFiles + 'static) -> PlacedStream {
        PlacedStream {
            gaps: self.gaps,
            files: self.files,
            paths: self.paths,
            stream_bytes: self.stream_bytes,
            source: Box::new(source),
            open: Mutex::default(),
        }
    }

    fn grow(&mut self, bytes: u64) -> Result<()> {
        let end = self.stream_bytes.checked_add(bytes);
        let too_long = || Error::bad_input("a layer", "the lengths of its files overflow");
        self.stream_bytes = end.ok_or_else(too_long)?;
        Ok(())
    }
}

/// A stream that is read at any offset.
///
/// A file is opened when bytes of it are read. One that is missing, or has another length by then, is
/// an error; one with other content gives other bytes.
pub struct PlacedStream {
    gaps: ScratchFile,
    files: Vec<PlacedFile>,
    paths: Vec<u8>,
    stream_bytes: u64,
    source: Box<dyn DiskFiles>,
    /// The files that were read last, by their positions in the list.
    open: Mutex<VecDeque<(usize, Arc<File>)>>,
}

impl PlacedStream {
    fn opened(&self, at: usize) -> io::Result<Arc<File>> {
        let known = |open: &VecDeque<(usize, Arc<File>)>| {
            open.iter().find(|(known, _)| *known == at).map(|(_, file)| Arc::clone(file))
        };
        if let Some(file) = known(&self.open.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(file);
        }
        let PlacedFile { path, bytes, .. } = &self.files[at];
        let file = Arc::new(self.source.open_file(&self.paths[path.clone()], *bytes)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.truncate(MOST_OPEN_FILES - 1);
        open.push_front((at, Arc::clone(&file)));
        Ok(file)
    }
}

impl ReadAt for PlacedStream {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let next = self.files.partition_point(|file| file.start <= offset);
        let end = self.files.get(next).map_or(self.stream_bytes, |file| file.start);
        let before = next.checked_sub(1).map(|at| (at, &self.files[at]));
        let (gap_bytes, gap_start) = match before {
            Some((at, file)) if offset < file.start + file.bytes => {
                let opened = self.opened(at)?;
                let inside = offset - file.start;
                let room = room(buffer, file.bytes - inside);
                let count = ReadAt::read_at(&*opened, &mut buffer[..room], inside)?;
                if count == 0 && room > 0 {
                    let path = escaped(&self.paths[file.path.clone()]);
                    let place = format!("the layer's file {path:?}");
                    let shorter = Error::bad_input(place, "it became shorter while it was read");
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, shorter));
                }
                return Ok(count);
            }
            Some((_, file)) => (file.gap_bytes, file.start + file.bytes),
            None => (0, 0),
        };
        let room = room(buffer, end.saturating_sub(offset));
        if room == 0 {
            return Ok(0);
        }
        self.gaps.read_at(&mut buffer[..room], gap_bytes + (offset - gap_start))
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.stream_bytes)
    }
}

fn room(buffer: &[u8], bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len())
}

impl fmt::Debug for PlacedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, stream_bytes, .. } = self;
        f.debug_struct("PlacedStream")
            .field("files", &files.len())
            .field("stream_bytes", stream_bytes)
            .finish_non_exhaustive()
    }
}

/// Each thread reads one file at a time, mostly to its end.
const MOST_OPEN_FILES: usize = 32;
