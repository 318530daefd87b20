//! Temporary files without a name, which vanish however the process ends.
//!
//! Counts the bytes of all open files against a ceiling. Never chooses the directory; the caller
//! does.

mod file;
mod space;

pub use file::ScratchFile;

use crate::{Error, Result, limits::Ceiling, temporary::unnamed_file};
use space::ScratchSpace;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A directory for scratch files, with a ceiling for the bytes of all files. Clones share both.
#[derive(Clone, Debug)]
pub struct Scratch {
    directory: PathBuf,
    space: Arc<ScratchSpace>,
}

impl Scratch {
    /// Takes a directory without looking at it; the first file shows whether it can be used. Files
    /// have no ceiling.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), space: Arc::default() }
    }

    /// Takes a directory and makes a first file in it as a test.
    pub fn in_dir(directory: &Path) -> Result<Self> {
        let scratch = Self::new(directory);
        scratch.file()?;
        Ok(scratch)
    }

    /// Returns the same directory with a further ceiling. New files count towards all ceilings.
    #[must_use]
    pub fn ceiling(&self, ceiling: Ceiling) -> Self {
        let space = ScratchSpace::within(Arc::clone(&self.space), ceiling);
        Self { directory: self.directory.clone(), space: Arc::new(space) }
    }

    /// Raises the innermost ceiling for input that was admitted, such as a layer.
    pub fn raise(&self, bytes: u64) {
        self.space.raise(bytes);
    }

    /// Returns the bytes that files may still take.
    pub fn room_bytes(&self) -> u64 {
        self.space.room_bytes()
    }

    /// Creates an empty file, open for reading and writing, that vanishes when it is closed.
    pub fn file(&self) -> Result<ScratchFile> {
        let file = unnamed_file(&self.directory).map_err(Error::io(self.place()))?;
        Ok(ScratchFile::new(file, self.place(), Arc::clone(&self.space)))
    }

    /// Returns how errors name the directory.
    pub fn place(&self) -> String {
        format!("scratch directory {}", self.directory.display())
    }
}

/// Returns true if scratch files need more bytes than a ceiling admits.
pub fn is_full(error: &Error) -> bool {
    matches!(error, Error::OverLimit { what, .. } if *what == space::COUNTED)
}

/// Writes all of `bytes` at `offset`, without a cursor, so that several threads may.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LimitName, Limits};
    use std::io::{Seek, Write};

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

    #[test]
    fn all_open_files_together_stay_below_the_ceiling() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { scratch_free_bytes: 100, ..Limits::default() };
        let scratch = Scratch::in_dir(dir.path()).unwrap();
        let scratch = scratch.ceiling(limits.ceiling(LimitName::ScratchFreeBytes));
        let (mut one, two) = (scratch.file().unwrap(), scratch.clone().file().unwrap());
        one.write_all(&[0; 60]).unwrap();
        // Bytes that are written again take no more room.
        one.rewind().unwrap();
        one.write_all(&[1; 60]).unwrap();
        two.write_all_at(&[0; 10], 30).unwrap();
        assert_eq!(scratch.room_bytes(), 0);
        let full = Error::io("x")(two.write_all_at(&[0; 2], 39).unwrap_err());
        assert!(is_full(&full), "{full}");
        let text = full.to_string();
        assert!(text.contains("size of temporary files in bytes is 101"), "{text}");
        assert!(matches!(
            full,
            Error::OverLimit { name: Some(LimitName::ScratchFreeBytes), limit: 100, .. }
        ));
        // Refused before anything is written.
        assert_eq!(two.metadata().unwrap().len(), 40);
        assert!(two.reserve(1000).is_err());
        drop(one);
        assert_eq!(scratch.room_bytes(), 60);
        two.reserve(100).unwrap();
        scratch.raise(7);
        assert_eq!(scratch.room_bytes(), 7);
    }

    #[test]
    fn an_outer_ceiling_holds_for_all_inner_ones() {
        let dir = tempfile::tempdir().unwrap();
        let outer = Scratch::in_dir(dir.path()).unwrap().ceiling(Ceiling::fixed(100));
        let [one, two] = [80, 80].map(|bytes| outer.ceiling(Ceiling::fixed(bytes)));
        let mut file = one.file().unwrap();
        file.write_all(&[0; 70]).unwrap();
        assert_eq!((one.room_bytes(), two.room_bytes(), outer.room_bytes()), (10, 30, 30));
        let mut other = two.file().unwrap();
        assert!(other.write_all(&[0; 31]).is_err());
        other.write_all(&[0; 30]).unwrap();
        drop(file);
        assert_eq!((one.room_bytes(), two.room_bytes(), outer.room_bytes()), (70, 50, 70));
        // A request that one ceiling refuses counts towards none.
        assert!(one.file().unwrap().reserve(75).is_err());
        assert_eq!(outer.room_bytes(), 70);
    }
}
