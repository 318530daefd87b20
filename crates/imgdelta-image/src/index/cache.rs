//! A directory of indexes for later runs: one file for each layer, named by its `DiffId`.
//!
//! Its content never fails a run: a file that is damaged, of another version, or of another layer is
//! ignored with a note. Files appear by rename, so several processes may share the directory. The
//! last writer wins, and all write the same bytes.

use super::LayerIndex;
use imgdelta_core::{
    DiffId, Difference, Error, Limits, Result,
    limits::Ceiling,
    regular::open_regular,
    unfinished::{UnfinishedFile, UnfinishedKind},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

/// A directory of indexes.
#[derive(Clone, Debug)]
pub struct IndexCache {
    directory: PathBuf,
    limits: Limits,
}

/// The result of a lookup in the cache.
#[derive(Debug)]
#[must_use]
pub enum CacheLookup {
    /// The layer's index.
    Found(Box<LayerIndex>),
    /// No file for this layer.
    Absent,
    /// A file that is not an index of this layer, with the reason; treat it as [`CacheLookup::Absent`].
    Unusable(Error),
}

impl CacheLookup {
    /// Returns the index if the cache has it.
    pub fn found(self) -> Option<LayerIndex> {
        match self {
            Self::Found(index) => Some(*index),
            Self::Absent | Self::Unusable(_) => None,
        }
    }
}

impl IndexCache {
    /// Names a directory, which the first [`IndexCache::save`] creates if it is missing.
    pub fn new(directory: impl Into<PathBuf>, limits: &Limits) -> Self {
        Self { directory: directory.into(), limits: limits.clone() }
    }

    /// Looks up the index of a layer.
    pub fn load(&self, diff_id: &DiffId) -> CacheLookup {
        let path = self.path(diff_id);
        match self.read(&path, diff_id) {
            Ok(Some(index)) => CacheLookup::Found(Box::new(index)),
            Ok(None) => CacheLookup::Absent,
            Err(error) => CacheLookup::Unusable(error),
        }
    }

    /// Saves an index; readers see the whole file or none.
    pub fn save(&self, index: &LayerIndex) -> Result<()> {
        let path = self.path(&index.diff_id);
        let place = path.display();
        let bytes = index.to_bytes()?;
        fs::create_dir_all(&self.directory).map_err(Error::io(self.directory.display()))?;
        let unfinished = UnfinishedFile::in_directory(&self.directory, UnfinishedKind::Index)?;
        unfinished.sweep_neighbours();
        unfinished.file().write_all(&bytes).map_err(Error::io(&place))?;
        // After a loss of power the digest reveals a half-written file.
        unfinished.publish_unsynced(&path)
    }

    fn read(&self, path: &Path, diff_id: &DiffId) -> Result<Option<LayerIndex>> {
        let place = path.display();
        let Some(file) = open_regular(path)? else { return Ok(None) };
        let size = file.metadata().map_err(Error::io(&place))?.len();
        Ceiling::fixed(MAX_FILE_BYTES).admit(size, "number of bytes", &place)?;
        let mut bytes = Vec::new();
        let read = (&file).take(MAX_FILE_BYTES).read_to_end(&mut bytes);
        read.map_err(Error::io(&place))?;
        let index = LayerIndex::from_bytes(&bytes, &self.limits)
            .map_err(|error| Error::bad_input_because(&place, "not usable", error))?;
        if index.diff_id != *diff_id {
            return Err(Error::Mismatch {
                place: place.to_string(),
                difference: Difference::DiffId { expected: *diff_id, found: index.diff_id },
            });
        }
        Ok(Some(index))
    }

    fn path(&self, diff_id: &DiffId) -> PathBuf {
        // Without a colon, which some file systems do not allow.
        let name = format!("{}-{}.index", diff_id.algorithm().name(), diff_id.hex());
        self.directory.join(name)
    }
}

/// An index of four million entries, the most that a layer may have, takes about 150 MB.
const MAX_FILE_BYTES: u64 = 1 << 30;
