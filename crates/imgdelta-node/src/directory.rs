//! The working directory of a mirror, which one process at a time uses.

use imgdelta_core::{Error, Result};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

/// A working directory, locked until it is dropped.
#[derive(Debug)]
pub(crate) struct WorkDirectory {
    path: PathBuf,
    _lock: File,
}

impl WorkDirectory {
    /// Makes the directory if necessary, and locks it.
    pub fn lock(path: &Path) -> Result<Self> {
        let place = || path.display();
        fs::create_dir_all(path).map_err(Error::io(place()))?;
        let lock = path.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(Error::io(lock.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(TryLockError::WouldBlock) => {
                let what = "another process uses this directory: stop that mirror first, or choose \
                            another `directory` in [rebuild]";
                Err(Error::bad_input(place(), what))
            }
            Err(TryLockError::Error(error)) => Err(Error::io(lock.display())(error)),
        }
    }

    /// Returns an empty folder of it; what an earlier process left there is removed.
    pub fn empty_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path.join(name);
        remove(&folder)?;
        fs::create_dir_all(&folder).map_err(Error::io(folder.display()))?;
        Ok(folder)
    }

    /// Removes everything that a mirror keeps there.
    pub fn clean(&self) -> Result<()> {
        [SCRATCH, BLOBS, FRAMES, STAGING].iter().try_for_each(|name| remove(&self.path.join(name)))
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(folder.display())(error))
        }
        _ => Ok(()),
    }
}

/// Folder of temporary files.
pub(crate) const SCRATCH: &str = "scratch";
/// Folder of blobs to be served.
pub(crate) const BLOBS: &str = "blobs";
/// Folder of the frames of staged layers.
pub(crate) const FRAMES: &str = "frames";
/// Folder of layers on their way into podman or docker.
pub(crate) const STAGING: &str = "staging";
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mirror_uses_a_directory_and_the_next_starts_empty() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("work");
        let first = WorkDirectory::lock(&path).unwrap();
        let folder = first.empty_folder(BLOBS).unwrap();
        fs::write(folder.join("left"), "x").unwrap();
        let error = WorkDirectory::lock(&path).unwrap_err().to_string();
        assert!(error.contains("stop that mirror first"), "{error}");
        drop(first);
        let second = WorkDirectory::lock(&path).unwrap();
        assert_eq!(fs::read_dir(second.empty_folder(BLOBS).unwrap()).unwrap().count(), 0);
        second.clean().unwrap();
        assert!(!folder.exists());
    }
}
