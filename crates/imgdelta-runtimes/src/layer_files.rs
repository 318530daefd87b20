//! Directories of unpacked layers, and the files below them.
//! Never follows a link, and never opens anything except a regular file.

pub(crate) use imgdelta_frames::open_file;

use imgdelta_core::{Error, Result};
use rustix::fs::{Mode, OFlags, open};
use std::{os::fd::OwnedFd, path::Path};

/// Opens the directory of an unpacked layer.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|error| Error::io(path.display())(error.into()))
}
