//! Temporary files without a name, which vanish however the process ends.
//!
//! Never chooses the directory; the caller does.

use crate::{Error, Result};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// A directory for scratch files.
#[derive(Clone, Debug)]
pub struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Takes a directory without looking at it; the first file shows whether it can be used.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Takes a directory and makes a first file in it as a test.
    pub fn in_dir(directory: &Path) -> Result<Self> {
        let scratch = Self { directory: directory.to_owned() };
        scratch.file()?;
        Ok(scratch)
    }

    /// Creates an empty file, open for reading and writing, that vanishes when it is closed.
    pub fn file(&self) -> Result<File> {
        tempfile::tempfile_in(&self.directory).map_err(Error::io(self.place()))
    }

    /// Returns how errors name the directory.
    pub fn place(&self) -> String {
        format!("scratch directory {}", self.directory.display())
    }
}

/// Writes all of `bytes` at `offset`, without a cursor, so that several threads may.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn files_have_no_name_and_faults_name_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::in_dir(dir.path()).unwrap();
        let mut file = scratch.file().unwrap();
        file.write_all(b"bytes").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = dir.path().join("missing");
        let error = Scratch::in_dir(&missing).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
        assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
    }
}
