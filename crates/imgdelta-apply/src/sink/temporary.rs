//! Files that get their name when they are complete.
//!
//! Until then a file is called `.imgdelta-` and something random, and is locked by who writes it:
//! the next start tells by the lock what nobody will finish, and removes it. Never replaces a file
//! but by renaming a complete one over it.

use imgdelta_core::{Error, Result};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file that is not complete yet; without [`Temporary::publish`] it is removed when dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    file: NamedTempFile,
    directory: PathBuf,
}

impl Temporary {
    /// Makes one in the directory that its name will be in.
    pub(super) fn in_dir(directory: &Path) -> Result<Self> {
        loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX);
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(READABLE_BY_ALL));
            let file = builder.tempfile_in(directory).map_err(Error::io(directory.display()))?;
            // Between its making and its locking another start may take it for abandoned.
            match file.as_file().try_lock() {
                Ok(()) if file.path().exists() => {
                    return Ok(Self { file, directory: directory.to_owned() });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                // Some network file systems have no locks; then nothing is swept there either.
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

    /// Brings the bytes to the disk, then gives them the name, then brings that to the disk.
    pub(super) fn publish(self, path: &Path) -> Result<()> {
        let Self { file, directory } = self;
        file.as_file().sync_all().map_err(Error::io(path.display()))?;
        file.persist(path).map_err(|failed| Error::io(path.display())(failed.error))?;
        sync_directory(&directory)
    }
}

/// Writes a small file in one step.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = Temporary::in_dir(&super::parent(path))?;
    std::io::Write::write_all(&mut temporary.file(), bytes).map_err(Error::io(path.display()))?;
    temporary.publish(path)
}

/// Removes what earlier runs left behind and nobody holds. What cannot be removed stays.
pub(super) fn sweep(directory: &Path) {
    let Ok(items) = fs::read_dir(directory) else { return };
    for item in items.flatten() {
        let is_ours = item.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if !is_ours || !item.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // A second name of an open file is not removed while the lock is held by its writer.
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

/// As a file made without further thought: the user's mask takes away what it takes away.
const READABLE_BY_ALL: u32 = 0o666;
