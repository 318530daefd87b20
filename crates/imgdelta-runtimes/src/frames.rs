//! Frames of layers: everything of a layer's stream except the content of files.
//! Never talks to a runtime.
//!
//! A runtime that discards blobs keeps unpacked files only. The files do not give the stream back:
//! headers, their order, padding and extensions are lost. The frames keep those. Frames and files
//! together are the exact stream, which its digest shows afterwards.
//!
//! Frames are taken while a stream passes. A file of frames begins with a magic number, the length of the
//! stream (64 bits), and the name of the snapshot that has the files (its length in 16 bits, then the
//! name). A zstd stream follows, with these records:
//!
//! | byte | content |
//! |--:|---|
//! | 1 | length (varint), then so many bytes of the stream |
//! | 2 | length of a path (varint), path, length of the file (varint): the file's bytes come here |
//! | 0 | end |
//!
//! A path that occurs twice, and a file that is removed again, have no content in the snapshot. Such a
//! layer gets no frames. Sparse files travel in the frames.

mod reader;
mod writer;

pub(crate) use reader::{AssembledStream, FrameReader};
pub(crate) use writer::FrameWriter;

use imgdelta_core::{DiffId, Error, Result, durable::create_directory, regular::open_within};
use std::{
    fs,
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
    pub(crate) fn reader(&self, diff_id: &DiffId) -> Result<Option<FrameReader>> {
        let name = file_name(diff_id);
        let Some(file) = open_within(&self.directory, &name)? else { return Ok(None) };
        FrameReader::open(file, &self.directory.join(name).display().to_string()).map(Some)
    }

    /// Starts to take the frames of a layer.
    pub(crate) fn writer(
        &self,
        diff_id: &DiffId,
        snapshot: &str,
        stream_bytes: u64,
    ) -> Result<FrameWriter> {
        FrameWriter::create(&self.directory, &file_name(diff_id), snapshot, stream_bytes)
    }

    /// Removes the oldest files beyond the bounds.
    pub(crate) fn trim(&self) -> Result<()> {
        let mut files = self.files()?;
        files.sort_by_key(|file| file.written);
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

const SUFFIX: &str = ".frames";
const MAGIC: &[u8] = b"imgdelta frames 1\n";

/// Kinds of records.
const END: u8 = 0;
const BYTES: u8 = 1;
const FILE: u8 = 2;

/// Most bytes of a snapshot's name.
const MOST_NAME_BYTES: usize = 255;
/// Most bytes of a path; the kernel admits 4,096.
const MOST_PATH_BYTES: u64 = 1 << 16;

#[cfg(test)]
mod tests;
