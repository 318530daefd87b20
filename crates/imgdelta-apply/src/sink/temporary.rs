//! Files that get their name when they are complete.
//! Never changes an existing file: a complete file is renamed over it.
//!
//! An incomplete file has a random name that begins with `.imgdelta-`, and its writer locks it. The
//! next run removes such files that have no lock.

use imgdelta_core::{Error, Result};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// An incomplete file. It is removed when dropped without [`TemporaryFile::publish`].
#[derive(Debug)]
pub(super) struct TemporaryFile {
    file: NamedTempFile,
    directory: PathBuf,
}

impl TemporaryFile {
    /// Creates a file in the directory of its later name.
    pub(super) fn in_dir(directory: &Path) -> Result<Self> {
        loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX);
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(READABLE_BY_ALL));
            let file = builder.tempfile_in(directory).map_err(Error::io(directory.display()))?;
            // Before the lock is taken, another process may remove the file as abandoned.
            match file.as_file().try_lock() {
                Ok(()) if file.path().exists() => {
                    return Ok(Self { file, directory: directory.to_owned() });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                // A file system without locks; `sweep` removes nothing there.
                Err(TryLockError::Error(_)) => {
                    return Ok(Self { file, directory: directory.to_owned() });
                }
            }
        }
    }

    /// Returns the open file.
    pub(super) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Syncs the file, renames it, then syncs its directory.
    pub(super) fn publish(self, path: &Path) -> Result<()> {
        let Self { file, directory } = self;
        file.as_file().sync_all().map_err(Error::io(path.display()))?;
        file.persist(path).map_err(|failed| Error::io(path.display())(failed.error))?;
        sync_directory(&directory)
    }
}

/// Writes a small file in one step.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = TemporaryFile::in_dir(&super::parent(path))?;
    std::io::Write::write_all(&mut temporary.file(), bytes).map_err(Error::io(path.display()))?;
    temporary.publish(path)
}

/// Removes incomplete files of earlier runs that are not locked, and ignores failures.
pub(super) fn sweep(directory: &Path) {
    let Ok(items) = fs::read_dir(directory) else { return };
    for item in items.flatten() {
        let is_ours = item.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if !is_ours || !item.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // The writer of an incomplete file holds its lock.
        let Ok(file) = File::options().read(true).write(true).open(item.path()) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(item.path());
        }
    }
}

fn sync_directory(directory: &Path) -> Result<()> {
    let opened = File::open(directory).and_then(|directory| directory.sync_all());
    opened.map_err(Error::io(directory.display()))
}

const PREFIX: &str = ".imgdelta-";

/// The usual mode of a new file, to which the umask applies; a temporary file would have 0600.
const READABLE_BY_ALL: u32 = 0o666;
