//! The content of a layer's files, from any place that has them.
//! Never compares content: the digest of the stream decides.

use imgdelta_core::{Error, path::escaped};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

/// A place that has the files of a layer.
pub trait LayerFiles: Send {
    /// Opens the file at a path, which is relative and has no `.` or `..`. A file that is missing or
    /// has another length than `bytes` is an error.
    fn open(&self, path: &[u8], bytes: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// A place that has the files of a layer on a disk, so that several threads may read them at any
/// offset.
pub trait DiskFiles: Send + Sync {
    /// Opens the file at a path, as [`LayerFiles::open`] does.
    fn open_file(&self, path: &[u8], bytes: u64) -> io::Result<File>;
}

impl<T: DiskFiles> LayerFiles for T {
    fn open(&self, path: &[u8], bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.open_file(path, bytes)?))
    }
}

/// A directory: files are opened below it without following any link.
impl DiskFiles for OwnedFd {
    fn open_file(&self, path: &[u8], bytes: u64) -> io::Result<File> {
        open_file(self, path, bytes).map_err(|what| unlike(path, &what))
    }
}

/// Opens a file of this length below a directory; the error says what is there instead.
pub fn open_file(directory: impl AsFd, path: &[u8], bytes: u64) -> Result<File, String> {
    let name = OsStr::from_bytes(path);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let open = |flags: OFlags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&directory, name, flags, Mode::empty(), resolve).map_err(|error| error.to_string())
    };
    // A pipe or device is refused before it is opened.
    admit(&open(OFlags::PATH)?, bytes)?;
    let file = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    admit(&file, bytes)?;
    Ok(File::from(file))
}

fn admit(file: &OwnedFd, bytes: u64) -> Result<(), String> {
    let found = fstat(file).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err("not a regular file".into());
    }
    if u64::try_from(found.st_size) != Ok(bytes) {
        return Err("a file of another length".into());
    }
    Ok(())
}

fn unlike(path: &[u8], what: &str) -> io::Error {
    let place = format!("the layer's file {:?}", escaped(path));
    io::Error::other(Error::bad_input(place, what))
}
