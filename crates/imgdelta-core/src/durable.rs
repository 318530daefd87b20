//! Directories that survive a loss of power.
//! Never touches the content of a file.
//!
//! A new name is safe when its directory was synced; the directory itself, when its own parent was.

use crate::{Error, Result};
use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Creates a directory and its missing ancestors. Syncs the parent of each one that it creates.
pub fn create_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = parent(directory);
    create_directory(&parent)?;
    match fs::create_dir(directory) {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => {}
        outcome => outcome.map_err(Error::io(directory.display()))?,
    }
    sync_directory(&parent)
}

/// Syncs the names in a directory.
///
/// Skips a directory that may be written and not read, and a file system that cannot sync one.
pub fn sync_directory(directory: &Path) -> Result<()> {
    match File::open(directory).and_then(|opened| opened.sync_all()) {
        Err(error)
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        outcome => outcome.map_err(Error::io(directory.display())),
    }
}

/// Returns the directory of a path; `.` for a bare name.
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ancestors_are_created_and_a_file_among_them_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_directory(&deep).unwrap();
        create_directory(&deep).unwrap();
        assert!(deep.is_dir());
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = create_directory(&file.join("x")).unwrap_err().to_string();
        assert!(error.starts_with(&file.display().to_string()), "{error}");
    }
}
