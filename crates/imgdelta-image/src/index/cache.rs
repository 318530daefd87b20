//! Indexes kept in a directory from run to run, one file a layer, named by its `DiffId`.
//!
//! It never fails a run by what it holds: a file that is damaged, of another version or another
//! layer's is as good as none. Files appear by rename, so any number of processes may share the
//! directory; the last writer wins, and all write the same.

use super::Index;
use imgdelta_core::{DiffId, Difference, Error, Limits, Result, limits::Ceiling};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

/// A directory of indexes.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
    limits: Limits,
}

/// What a cache holds for a layer.
#[derive(Debug)]
#[must_use]
pub enum Lookup {
    /// Its index.
    Found(Box<Index>),
    /// Nothing.
    Absent,
    /// A file that is no index of this layer, and why: worth a warning, then as [`Lookup::Absent`].
    Unusable(Error),
}

impl Lookup {
    /// Returns the index, if there is one.
    pub fn found(self) -> Option<Index> {
        match self {
            Self::Found(index) => Some(*index),
            Self::Absent | Self::Unusable(_) => None,
        }
    }
}

impl Cache {
    /// Opens a directory, which is made if it is missing.
    pub fn open(directory: impl Into<PathBuf>, limits: &Limits) -> Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(Error::io(directory.display()))?;
        Ok(Self { directory, limits: limits.clone() })
    }

    /// Returns what is held for a layer.
    pub fn load(&self, diff_id: &DiffId) -> Lookup {
        let path = self.path(diff_id);
        match self.read(&path, diff_id) {
            Ok(index) => Lookup::Found(Box::new(index)),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Lookup::Absent
            }
            Err(error) => Lookup::Unusable(error),
        }
    }

    /// Keeps an index. Nobody ever sees half of it.
    pub fn save(&self, index: &Index) -> Result<()> {
        let path = self.path(&index.diff_id);
        let place = path.display();
        let bytes = index.to_bytes()?;
        let mut scratch = tempfile::Builder::new()
            .prefix(".writing-")
            .tempfile_in(&self.directory)
            .map_err(Error::io(self.directory.display()))?;
        scratch.write_all(&bytes).map_err(Error::io(&place))?;
        // Not synced: what a cut of power leaves half written, the digest gives away.
        scratch.persist(&path).map_err(|failure| Error::io(&place)(failure.error))?;
        Ok(())
    }

    fn read(&self, path: &Path, diff_id: &DiffId) -> Result<Index> {
        let place = path.display();
        // Asked before opening: opening a pipe would wait for ever.
        if !fs::metadata(path).map_err(Error::io(&place))?.is_file() {
            return Err(Error::bad_input(place, "it is no regular file"));
        }
        let file = File::open(path).map_err(Error::io(&place))?;
        let size = file.metadata().map_err(Error::io(&place))?.len();
        Ceiling::fixed(MAX_FILE_BYTES).admit(size, "number of bytes", &place)?;
        let mut bytes = Vec::new();
        let read = (&file).take(MAX_FILE_BYTES).read_to_end(&mut bytes);
        read.map_err(Error::io(&place))?;
        let index = Index::from_bytes(&bytes, &self.limits)
            .map_err(|error| Error::bad_input_because(&place, "it is not usable", error))?;
        if index.diff_id != *diff_id {
            return Err(Error::Mismatch {
                place: place.to_string(),
                difference: Difference::DiffId { expected: *diff_id, found: index.diff_id },
            });
        }
        Ok(index)
    }

    fn path(&self, diff_id: &DiffId) -> PathBuf {
        // No colon: some file systems have none.
        let name = format!("{}-{}.index", diff_id.algorithm().name(), diff_id.hex());
        self.directory.join(name)
    }
}

/// An index of four million entries, the most a layer may have, takes some 150 MB.
const MAX_FILE_BYTES: u64 = 1 << 30;
