//! Files that get their name when they are complete.
//! Never changes an existing file: a complete file is renamed over it.
//!
//! The name of an unfinished file has one exact shape: `.imgdelta-`, the kind of its content, `-`, and
//! twelve random letters and digits. Its writer holds a lock on it, which ends with the process. The
//! next writer of the same kind in the directory removes unfinished files without a lock.

use crate::{
    Error, Result,
    durable::{parent, sync_directory},
    temporary::{NamedFile, RANDOM_LETTERS},
};
use libc::{O_NOFOLLOW, O_NONBLOCK};
use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{ErrorKind, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

/// Content of an unfinished file. Each kind has its own names, and is swept by its own writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnfinishedKind {
    /// A delta file.
    Delta,
    /// An archive that holds an image.
    Archive,
    /// A blob or document of an OCI layout.
    Layout,
    /// The index of a layer, in a cache.
    Index,
    /// A setting of another program.
    Setting,
    /// The frames of a layer.
    Frames,
}

impl UnfinishedKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Delta => ".imgdelta-delta-",
            Self::Archive => ".imgdelta-archive-",
            Self::Layout => ".imgdelta-layout-",
            Self::Index => ".imgdelta-index-",
            Self::Setting => ".imgdelta-setting-",
            Self::Frames => ".imgdelta-frames-",
        }
    }

    /// True if an unfinished file of this kind may have this name.
    pub fn is_name(self, name: &OsStr) -> bool {
        let random = name.as_encoded_bytes().strip_prefix(self.prefix().as_bytes());
        random.is_some_and(|random| {
            random.len() == RANDOM_LETTERS && random.iter().all(u8::is_ascii_alphanumeric)
        })
    }
}

/// An unfinished file. It is removed when dropped without being published.
#[derive(Debug)]
pub struct UnfinishedFile {
    file: NamedFile,
    kind: UnfinishedKind,
}

impl UnfinishedFile {
    /// Creates and locks a file in the directory of its later name.
    pub fn in_directory(directory: &Path, kind: UnfinishedKind) -> Result<Self> {
        loop {
            let file = NamedFile::create(directory, kind.prefix(), READABLE_BY_ALL)
                .map_err(Error::io(directory.display()))?;
            // Before the lock is taken, another process may remove the file as abandoned.
            match file.file().try_lock() {
                Ok(()) if file.path().exists() => return Ok(Self { file, kind }),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                // A file system without locks; nothing is swept there.
                Err(TryLockError::Error(_)) => return Ok(Self { file, kind }),
            }
        }
    }

    /// Returns the open file.
    pub fn file(&self) -> &File {
        self.file.file()
    }

    /// Removes abandoned files of the same kind and owner in the same directory. Ignores failures.
    pub fn sweep_neighbours(&self) {
        let Ok(own) = self.file().metadata() else { return };
        let Ok(items) = fs::read_dir(parent(self.file.path())) else { return };
        for item in items.flatten() {
            let name = item.file_name();
            // Its own file has no lock if the system refused it.
            if self.kind.is_name(&name) && self.file.path().file_name() != Some(&name) {
                remove_abandoned(&item.path(), own.uid());
            }
        }
    }

    /// Syncs the file, renames it, then syncs its directory. Replaces a file of that name.
    pub fn publish(mut self, path: &Path) -> Result<()> {
        self.sync(path)?;
        self.rename(path)?;
        sync_directory(&parent(path))
    }

    /// Renames the file without syncing anything. Replaces a file of that name.
    pub fn publish_unsynced(mut self, path: &Path) -> Result<()> {
        self.rename(path)
    }

    /// Gives the file a name that is free; keeps the file that already has the name.
    fn publish_if_absent(mut self, path: &Path) -> Result<()> {
        self.sync(path)?;
        match fs::hard_link(self.file.path(), path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // A file system without hard links.
            Err(_) => self.rename(path)?,
        }
        sync_directory(&parent(path))
    }

    fn sync(&self, path: &Path) -> Result<()> {
        self.file().sync_all().map_err(Error::io(path.display()))
    }

    /// Keeps the lock until the file has its name: others may sweep at any moment.
    fn rename(&mut self, path: &Path) -> Result<()> {
        self.file.rename(path).map_err(Error::io(path.display()))
    }
}

/// Writes a small file in one step. Replaces a file of that name.
pub fn write_whole(path: &Path, bytes: &[u8], kind: UnfinishedKind) -> Result<()> {
    written(path, bytes, kind)?.publish(path)
}

/// Writes a small file in one step, unless a file has that name.
pub fn write_if_absent(path: &Path, bytes: &[u8], kind: UnfinishedKind) -> Result<()> {
    written(path, bytes, kind)?.publish_if_absent(path)
}

fn written(path: &Path, bytes: &[u8], kind: UnfinishedKind) -> Result<UnfinishedFile> {
    let unfinished = UnfinishedFile::in_directory(&parent(path), kind)?;
    unfinished.file().write_all(bytes).map_err(Error::io(path.display()))?;
    Ok(unfinished)
}

/// Removes a regular file of this owner that no process has locked.
fn remove_abandoned(path: &Path, owner: u32) {
    let is_ours = |found: &fs::Metadata| found.is_file() && found.uid() == owner;
    let Ok(named) = fs::symlink_metadata(path) else { return };
    if !is_ours(&named) {
        return;
    }
    let mut options = File::options();
    options.read(true).write(true).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let Ok(file) = options.open(path) else { return };
    let is_same = file.metadata().is_ok_and(|opened| {
        is_ours(&opened) && (opened.dev(), opened.ino()) == (named.dev(), named.ino())
    });
    if is_same && file.try_lock().is_ok() {
        let _ = fs::remove_file(path);
    }
}

/// The usual mode of a new file, to which the umask applies; a temporary file would have 0600.
const READABLE_BY_ALL: u32 = 0o666;

#[cfg(test)]
mod tests {
    use super::*;
    use UnfinishedKind::{Archive, Delta, Layout};
    use std::{
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        thread,
    };

    fn names(directory: &Path) -> Vec<String> {
        let items = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_published_file_is_whole_and_a_dropped_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name");
        write_whole(&path, b"one", Delta).unwrap();
        write_whole(&path, b"two", Delta).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        write_if_absent(&path, b"three", Delta).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        write_if_absent(&dir.path().join("other"), b"four", Delta).unwrap();
        drop(UnfinishedFile::in_directory(dir.path(), Delta).unwrap());
        assert_eq!(names(dir.path()), ["name", "other"]);
    }

    #[test]
    fn the_mask_of_the_user_decides_on_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, usual) = (dir.path().join("ours"), dir.path().join("usual"));
        write_whole(&ours, b"", Delta).unwrap();
        fs::write(&usual, b"").unwrap();
        let mode = |path| fs::metadata(path).unwrap().mode();
        assert_eq!(mode(&ours), mode(&usual));
    }

    #[test]
    fn a_file_that_cannot_get_its_name_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("directory");
        fs::create_dir(&path).unwrap();
        assert!(write_whole(&path, b"one", Delta).is_err());
        assert_eq!(names(dir.path()), ["directory"]);
        let missing = dir.path().join("missing");
        let error = UnfinishedFile::in_directory(&missing, Delta).unwrap_err().to_string();
        let expected = format!("{}: No such file or directory (os error 2)", missing.display());
        assert_eq!(error, expected);
    }

    #[test]
    fn abandoned_files_are_swept_by_the_next_writer_of_their_kind() {
        let dir = tempfile::tempdir().unwrap();
        let abandoned = ".imgdelta-delta-abcDEF012345";
        fs::write(dir.path().join(abandoned), b"half").unwrap();
        UnfinishedFile::in_directory(dir.path(), Archive).unwrap().sweep_neighbours();
        UnfinishedFile::in_directory(dir.path(), Layout).unwrap().sweep_neighbours();
        assert_eq!(names(dir.path()), [abandoned]);
        UnfinishedFile::in_directory(dir.path(), Delta).unwrap().sweep_neighbours();
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn a_locked_file_is_not_swept() {
        let dir = tempfile::tempdir().unwrap();
        let held = UnfinishedFile::in_directory(dir.path(), Delta).unwrap();
        UnfinishedFile::in_directory(dir.path(), Delta).unwrap().sweep_neighbours();
        held.publish(&dir.path().join("name")).unwrap();
        assert_eq!(names(dir.path()), ["name"]);
    }

    #[test]
    fn files_of_the_user_are_not_swept() {
        let dir = tempfile::tempdir().unwrap();
        let kept = [
            ".imgdelta-config",
            ".imgdelta-config.toml",
            ".imgdelta-delta-",
            ".imgdelta-delta-abc",
            ".imgdelta-delta-abcDEF0123456",
            ".imgdelta-delta-abcDEF01234.",
            "imgdelta-delta-abcDEF012345",
        ];
        for name in kept {
            fs::write(dir.path().join(name), b"precious").unwrap();
        }
        // Names of the exact shape that are not regular files.
        let (link, folder) = (".imgdelta-delta-linkLINK0000", ".imgdelta-delta-folder000000");
        std::os::unix::fs::symlink(kept[0], dir.path().join(link)).unwrap();
        fs::create_dir(dir.path().join(folder)).unwrap();
        let before = names(dir.path());
        UnfinishedFile::in_directory(dir.path(), Delta).unwrap().sweep_neighbours();
        assert_eq!(names(dir.path()), before);
        assert_eq!(fs::read(dir.path().join(link)).unwrap(), b"precious");
    }

    #[test]
    fn files_get_their_names_while_others_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let sweeper = UnfinishedFile::in_directory(dir.path(), Delta).unwrap();
                while !is_done.load(Relaxed) {
                    sweeper.sweep_neighbours();
                }
            });
            let written: Vec<Result<()>> =
                (0..200).map(|_| write_whole(&dir.path().join("name"), b"x", Delta)).collect();
            is_done.store(true, Relaxed);
            let failed = written.into_iter().find_map(Result::err);
            assert!(failed.is_none(), "{failed:?}");
        });
        assert_eq!(names(dir.path()), ["name"]);
    }

    #[test]
    fn a_writer_without_a_lock_does_not_sweep_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let unlocked = UnfinishedFile::in_directory(dir.path(), Delta).unwrap();
        unlocked.file().unlock().unwrap();
        unlocked.sweep_neighbours();
        unlocked.publish(&dir.path().join("name")).unwrap();
        assert_eq!(names(dir.path()), ["name"]);
    }

    #[test]
    fn files_of_another_owner_are_not_swept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".imgdelta-delta-abcDEF012345");
        fs::write(&path, b"half").unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        remove_abandoned(&path, owner + 1);
        assert!(path.exists());
        remove_abandoned(&path, owner);
        assert!(!path.exists());
    }
}
