//! Files that other programs made: opened only if they are regular files.
//! Never reads a byte of them.
//!
//! Opening a pipe blocks, and opening a device may act on it. The kind of a file is therefore looked
//! at before it is opened, and again afterwards.

use crate::{Error, Result};
use libc::{O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};
use std::{
    fs::{self, File, FileType},
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// Opens a regular file for reading; `None` if nothing has this name. Follows links.
pub fn open_regular(path: &Path) -> Result<Option<File>> {
    open_real(path, path, 0)
}

/// Opens a regular file below a directory for reading; `None` if nothing has this name.
///
/// Follows links inside the directory, and refuses links that leave it.
pub fn open_within(directory: &Path, name: &str) -> Result<Option<File>> {
    let path = directory.join(name);
    let real_path = |path: &Path| match fs::canonicalize(path) {
        Err(error) if is_absent(&error) => Ok(None),
        outcome => outcome.map(Some).map_err(Error::io(path.display())),
    };
    let (Some(root), Some(real)) = (real_path(directory)?, real_path(&path)?) else {
        return Ok(None);
    };
    if !real.starts_with(&root) {
        let what = format_args!(
            "a link out of {}; copy the directory with `cp -rL`, which replaces links with files",
            directory.display()
        );
        return Err(Error::bad_input(path.display(), what));
    }
    // The real path has no links; one that appears now is refused.
    open_real(&path, &real, O_NOFOLLOW)
}

/// Opens `real`; errors name it `path`.
fn open_real(path: &Path, real: &Path, flags: i32) -> Result<Option<File>> {
    let found = match fs::metadata(real) {
        Err(error) if is_absent(&error) => return Ok(None),
        outcome => outcome.map_err(Error::io(path.display()))?,
    };
    admit(path, found.file_type())?;
    // Without blocking, if a pipe takes the name in between.
    let mut options = File::options();
    options.read(true).custom_flags(flags | O_NONBLOCK | O_NOCTTY);
    let file = match options.open(real) {
        Err(error) if is_absent(&error) => return Ok(None),
        outcome => outcome.map_err(Error::io(path.display()))?,
    };
    admit(path, file.metadata().map_err(Error::io(path.display()))?.file_type())?;
    Ok(Some(file))
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

fn admit(path: &Path, kind: FileType) -> Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    Err(Error::bad_input(path.display(), format_args!("{}, not a regular file", kind_word(kind))))
}

/// Returns the kind of a file as a noun with its article.
pub fn kind_word(kind: FileType) -> &'static str {
    if kind.is_file() {
        "a regular file"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a block device"
    } else if kind.is_char_device() {
        "a character device"
    } else {
        "a file of an unknown kind"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, os::unix::fs::symlink};

    fn text(file: Result<Option<File>>) -> String {
        let mut text = String::new();
        file.unwrap().expect("it is there").read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_pipe_and_a_device_are_refused_before_they_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        make_pipe(&pipe);
        for opened in [open_regular(&pipe), open_within(dir.path(), "pipe")] {
            let error = opened.unwrap_err().to_string();
            assert!(error.ends_with("pipe: a pipe, not a regular file"), "{error}");
        }
        let error = open_regular(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.ends_with("a character device, not a regular file"), "{error}");
        let error = open_regular(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("a directory, not a regular file"), "{error}");
    }

    #[test]
    fn links_inside_a_directory_are_followed_and_links_out_of_it_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir_all(inner.join("sub")).unwrap();
        fs::write(inner.join("sub/file"), b"inside").unwrap();
        fs::write(dir.path().join("file"), b"outside").unwrap();
        symlink("sub/file", inner.join("relative")).unwrap();
        symlink(inner.join("sub/file"), inner.join("absolute")).unwrap();
        symlink("sub/../relative", inner.join("twice")).unwrap();
        for name in ["sub/file", "relative", "absolute", "twice"] {
            assert_eq!(text(open_within(&inner, name)), "inside", "{name}");
        }
        symlink("../file", inner.join("out")).unwrap();
        symlink("/etc/passwd", inner.join("far")).unwrap();
        symlink("..", inner.join("parent")).unwrap();
        for name in ["out", "far", "parent/file"] {
            let error = open_within(&inner, name).unwrap_err().to_string();
            assert!(error.contains("a link out of") && error.contains("cp -rL"), "{error}");
        }
        symlink("nothing", inner.join("dangling")).unwrap();
        for name in ["absent", "dangling"] {
            assert!(open_within(&inner, name).unwrap().is_none(), "{name}");
        }
        symlink("circle", inner.join("circle")).unwrap();
        assert!(matches!(open_within(&inner, "circle"), Err(Error::Io { .. })));
        // The directory itself may be named through a link.
        symlink(&inner, dir.path().join("named")).unwrap();
        assert_eq!(text(open_within(&dir.path().join("named"), "relative")), "inside");
    }

    /// Makes a pipe with a name.
    fn make_pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }
}
