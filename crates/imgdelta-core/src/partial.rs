//! The beginning of a blob whose download was interrupted, kept for the next run.
//!
//! Holds bytes that nobody has verified: the reader of the whole blob compares its digest. Every failure
//! here only costs a download from the start.

use crate::BlobDigest;
use libc::{O_NOFOLLOW, O_NONBLOCK};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The first bytes of a blob, in a file that its writer has locked.
#[derive(Debug)]
pub struct PartialBlob {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl PartialBlob {
    /// Opens the file for a blob of `size_bytes` in a directory, with the bytes that an earlier run
    /// left. `None` if another process writes it, or the directory cannot be used.
    pub fn open(directory: &Path, digest: &BlobDigest, size_bytes: u64) -> Option<Self> {
        let name = format!("{PREFIX}{}-{}", digest.algorithm().name(), digest.hex());
        let path = directory.join(name);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(O_NOFOLLOW | O_NONBLOCK);
        let file = options.open(&path).ok()?;
        file.try_lock().ok()?;
        let found = file.metadata().ok()?;
        // Another process may have finished and removed the file before the lock.
        let is_named = fs::metadata(&path).is_ok_and(|named| named.ino() == found.ino());
        if !found.is_file() || !is_named {
            return None;
        }
        // At least one byte is requested, whose answer shows that the blob is still there.
        let bytes = found.len().min(size_bytes.saturating_sub(1));
        Some(Self { file, path, bytes })
    }

    /// Returns the number of bytes that are here.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads bytes from an offset on.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = buffer.len().min(rest);
        self.file.read_at(&mut buffer[..count], offset)
    }

    /// Adds the bytes that follow. Returns false if the file cannot take them, and is of no more use.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let is_written = self.file.write_all_at(bytes, self.bytes).is_ok();
        self.bytes += bytes.len() as u64;
        is_written
    }

    /// Removes the file: the blob is complete, or wrong.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Removes all such files in a directory that no process writes. Ignores failures.
    pub fn sweep(directory: &Path) {
        let Ok(items) = fs::read_dir(directory) else { return };
        for item in items.flatten() {
            let name = item.file_name();
            if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                continue;
            }
            let mut options = File::options();
            options.read(true).custom_flags(O_NOFOLLOW);
            if let Ok(file) = options.open(item.path())
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(item.path());
            }
        }
    }
}

const PREFIX: &str = ".imgdelta-partial-";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn digest() -> BlobDigest {
        format!("sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    #[test]
    fn a_later_run_finds_the_bytes_and_a_complete_blob_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let open = || PartialBlob::open(dir.path(), &digest(), 10);
        let mut first = open().unwrap();
        assert_eq!(first.bytes(), 0);
        assert!(first.append(b"abc") && first.append(b"de"));
        assert!(open().is_none(), "another process writes it");
        drop(first);
        let second = open().unwrap();
        let mut buffer = [0; 10];
        assert_eq!((second.bytes(), second.read_at(&mut buffer, 1).unwrap()), (5, 4));
        assert_eq!(&buffer[..4], b"bcde");
        PartialBlob::sweep(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "it is in use");
        second.remove();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_of_others_are_not_followed_and_long_ones_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{PREFIX}sha256-{}", "a".repeat(64)));
        symlink("elsewhere", &path).unwrap();
        assert!(PartialBlob::open(dir.path(), &digest(), 10).is_none());
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"far longer than the blob").unwrap();
        assert_eq!(PartialBlob::open(dir.path(), &digest(), 10).unwrap().bytes(), 9);
        PartialBlob::sweep(dir.path());
        assert!(!path.exists());
        assert!(PartialBlob::open(&dir.path().join("none"), &digest(), 10).is_none());
    }
}
