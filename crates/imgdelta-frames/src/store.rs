//! A directory with the frames of layers.
//! Never decides which layers are needed.
//!
//! Each file has a head of its own, since frames name no snapshot: `imgdelta kept frames 2` and a line
//! end, the length of the stream (64 bits), the name of the snapshot that has the files (its length
//! in 16 bits, then the name). The frames follow.

use crate::{encoder::FrameEncoder, reader::FrameReader};
use imgdelta_core::{
    DiffId, Error, Result,
    durable::create_directory,
    regular::open_within,
    sort::SharedSort,
    unfinished::{UnfinishedFile, UnfinishedKind},
};
use std::{
    fmt,
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Bounds of a directory of frames.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FrameLimits {
    /// Most files. The default is 4,096: a node has some hundred layers.
    pub files: usize,
    /// Most bytes of all files. The default is 1 GiB; a layer with 10,000 files needs 0.2 MB.
    pub bytes: u64,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { files: 4096, bytes: 1 << 30 }
    }
}

impl FrameLimits {
    /// Sets the most files.
    #[must_use]
    pub fn files(mut self, files: usize) -> Self {
        self.files = files;
        self
    }

    /// Sets the most bytes of all files.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

/// A directory with the frames of layers, one file for each diff id. Cloning is cheap.
///
/// Several processes may use one directory. A file gets its name when it is complete. Beyond the
/// bounds the oldest files are removed.
#[derive(Clone, Debug)]
pub struct FrameStore {
    directory: PathBuf,
    limits: FrameLimits,
}

/// A file of frames in the directory.
struct FrameFile {
    path: PathBuf,
    diff_id: DiffId,
    bytes: u64,
    written: SystemTime,
}

impl FrameStore {
    /// Opens a directory, and creates it if it is not there.
    pub fn open(directory: &Path, limits: FrameLimits) -> Result<Self> {
        create_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), limits })
    }

    /// Returns the number of layers whose frames are kept, and the bytes of all files.
    pub fn totals(&self) -> Result<(usize, u64)> {
        let files = self.files()?;
        Ok((files.len(), files.iter().map(|file| file.bytes).sum()))
    }

    /// Removes frames that `is_needed` does not want, by diff id and name of the snapshot. Returns
    /// their number.
    pub fn sweep(&self, mut is_needed: impl FnMut(&DiffId, &str) -> Result<bool>) -> Result<usize> {
        let mut removed = 0;
        for file in self.files()? {
            let is_kept = match self.reader(&file.diff_id) {
                Ok(Some(reader)) => is_needed(&file.diff_id, reader.snapshot())?,
                // A damaged file, or one of another version.
                Ok(None) | Err(_) => false,
            };
            if !is_kept && fs::remove_file(&file.path).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Opens the frames of a layer; `None` if there are none.
    pub fn reader(&self, diff_id: &DiffId) -> Result<Option<FrameReader>> {
        let name = file_name(diff_id);
        let Some(file) = open_within(&self.directory, &name)? else { return Ok(None) };
        open_kept(file, self.directory.join(name).display().to_string()).map(Some)
    }

    /// Starts to take the frames of a layer whose files are those of a snapshot.
    pub fn writer(
        &self,
        diff_id: &DiffId,
        snapshot: &str,
        stream_bytes: u64,
    ) -> Result<FrameWriter> {
        let (unfinished, output, path) = self.begin(diff_id, snapshot, stream_bytes)?;
        let encoder = FrameEncoder::new(output, path.display().to_string())?;
        Ok(FrameWriter { unfinished, encoder, path, stream_bytes })
    }

    /// Starts to receive frames from outside, which are not trusted.
    pub fn receive(
        &self,
        diff_id: &DiffId,
        snapshot: &str,
        stream_bytes: u64,
    ) -> Result<UnprovedFrames> {
        let (unfinished, output, path) = self.begin(diff_id, snapshot, stream_bytes)?;
        Ok(UnprovedFrames { unfinished, output, path })
    }

    /// Creates a file with its head, for the name that it gets when it is complete.
    fn begin(
        &self,
        diff_id: &DiffId,
        snapshot: &str,
        stream_bytes: u64,
    ) -> Result<(UnfinishedFile, BufWriter<File>, PathBuf)> {
        let path = self.directory.join(file_name(diff_id));
        let place = path.display().to_string();
        let name_bytes = u16::try_from(snapshot.len()).ok();
        let name_bytes = name_bytes.filter(|bytes| *bytes <= MOST_NAME_BYTES);
        let Some(name_bytes) = name_bytes else {
            return Err(Error::bad_input(place, "the snapshot's name is too long"));
        };
        let unfinished = UnfinishedFile::in_directory(&self.directory, UnfinishedKind::Frames)?;
        unfinished.sweep_neighbours();
        let file = unfinished.file().try_clone().map_err(Error::io(&place))?;
        let mut output = BufWriter::new(file);
        let head =
            [HEAD, &stream_bytes.to_le_bytes(), &name_bytes.to_le_bytes(), snapshot.as_bytes()];
        output.write_all(&head.concat()).map_err(Error::io(&place))?;
        Ok((unfinished, output, path))
    }

    /// Removes the oldest files beyond the bounds.
    pub fn trim(&self) -> Result<()> {
        let mut files = self.files()?;
        files.shared_sort_by_key(|file| file.written);
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let mut count = files.len();
        for file in files {
            if count <= self.limits.files && bytes <= self.limits.bytes {
                break;
            }
            fs::remove_file(&file.path).map_err(Error::io(file.path.display()))?;
            bytes -= file.bytes;
            count -= 1;
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<FrameFile>> {
        let place = || self.directory.display();
        let mut files = Vec::new();
        for item in fs::read_dir(&self.directory).map_err(Error::io(place()))? {
            let item = item.map_err(Error::io(place()))?;
            let name = item.file_name();
            let Some(diff_id) = name.to_str().and_then(diff_id_of) else { continue };
            // It may be removed at this moment.
            let Ok(metadata) = item.metadata() else { continue };
            if metadata.is_file() {
                let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push(FrameFile {
                    path: item.path(),
                    diff_id,
                    bytes: metadata.len(),
                    written,
                });
            }
        }
        Ok(files)
    }
}

fn file_name(diff_id: &DiffId) -> String {
    format!("{}{SUFFIX}", diff_id.to_string().replace(':', "-"))
}

fn diff_id_of(name: &str) -> Option<DiffId> {
    name.strip_suffix(SUFFIX)?.replacen('-', ":", 1).parse().ok()
}

/// Reads the head of a file.
fn open_kept(file: File, place: String) -> Result<FrameReader> {
    let mut input = BufReader::new(Box::new(file) as Box<dyn Read + Send>);
    let mut take = |bytes: usize| {
        let mut head = vec![0; bytes];
        input.read_exact(&mut head).map(|()| head).map_err(Error::io(&place))
    };
    if take(HEAD.len())? != HEAD {
        return Err(Error::bad_input(place, "not kept frames of this version"));
    }
    let stream_bytes = take(8)?.try_into().map(u64::from_le_bytes).expect("eight bytes");
    let name_bytes = take(2)?.try_into().map(u16::from_le_bytes).expect("two bytes");
    if name_bytes > MOST_NAME_BYTES {
        return Err(Error::bad_input(place, "the snapshot's name is too long"));
    }
    let snapshot = String::from_utf8(take(usize::from(name_bytes))?)
        .map_err(|error| Error::bad_input_because(&place, "the name is not text", error))?;
    FrameReader::with_snapshot(input, stream_bytes, place, snapshot)
}

/// Frames of a stream that passes. The caller knows when the stream is proved.
pub struct FrameWriter {
    unfinished: UnfinishedFile,
    encoder: FrameEncoder<BufWriter<File>>,
    path: PathBuf,
    stream_bytes: u64,
}

impl FrameWriter {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.encoder.feed(bytes)
    }

    /// Publishes the frames of a stream that has its digest. Returns false if the stream cannot be put
    /// together from files.
    pub fn finish(self) -> Result<bool> {
        let Self { unfinished, encoder, path, stream_bytes } = self;
        let Some((output, found_bytes)) = encoder.finish()? else { return Ok(false) };
        if found_bytes != stream_bytes {
            return Ok(false);
        }
        publish(unfinished, output, &path)?;
        Ok(true)
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Frames from outside. They get their name when the caller has put the stream together and compared
/// its digest.
#[derive(Debug)]
pub struct UnprovedFrames {
    unfinished: UnfinishedFile,
    output: BufWriter<File>,
    path: PathBuf,
}

impl UnprovedFrames {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(Error::io(self.path.display()))
    }

    /// Opens the frames that were written.
    pub fn reader(&mut self) -> Result<FrameReader> {
        let place = self.path.display().to_string();
        self.output.flush().map_err(Error::io(&place))?;
        let mut file = self.unfinished.file().try_clone().map_err(Error::io(&place))?;
        file.rewind().map_err(Error::io(&place))?;
        open_kept(file, place)
    }

    /// Publishes frames whose stream has its digest.
    pub fn publish(self) -> Result<()> {
        publish(self.unfinished, self.output, &self.path)
    }
}

fn publish(file: UnfinishedFile, output: BufWriter<File>, path: &Path) -> Result<()> {
    let flushed = output.into_inner();
    drop(flushed.map_err(|error| Error::io(path.display())(error.into_error()))?);
    file.publish(path)
}

/// The directory of the frames in a folder that also has the documents of their image.
pub const FRAMES_DIRECTORY: &str = "frames";

const SUFFIX: &str = ".frames";
const HEAD: &[u8] = b"imgdelta kept frames 2\n";
/// Most bytes of a snapshot's name.
const MOST_NAME_BYTES: u16 = 255;
