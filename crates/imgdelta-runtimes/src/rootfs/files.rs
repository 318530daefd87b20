//! Files below the root of an unpacked image.
//! Never leaves the root, and never opens anything except a regular file.
//!
//! A layer may have written through a link of a lower layer, such as `bin -> usr/bin`. Links on the
//! way to a file are therefore followed, as a process with this root would follow them.

use imgdelta_core::{DiffId, Error, path::escaped};
use imgdelta_frames::{DiskFiles, ReplacedFiles};
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::Arc,
};

/// The files below a directory. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct RootFiles {
    root: Arc<OwnedFd>,
}

impl RootFiles {
    /// Opens the root.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: Arc::new(open(directory, flags, Mode::empty())?) })
    }

    /// Compares the kind and the length of a file; the error says what is there instead.
    pub(super) fn check(&self, path: &[u8], bytes: u64) -> Result<(), String> {
        admit(&self.resolve(path, OFlags::PATH)?, bytes)
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, String> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let attempt =
            || openat2(&self.root, OsStr::from_bytes(path), flags, Mode::empty(), resolve);
        // The kernel gives up if anything is renamed while it follows `..`.
        let mut outcome = attempt();
        for _ in 0..MOST_RETRIES {
            if !matches!(outcome, Err(Errno::AGAIN)) {
                break;
            }
            outcome = attempt();
        }
        outcome.map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => "missing".into(),
            error => io::Error::from(error).to_string(),
        })
    }
}

impl DiskFiles for RootFiles {
    fn open_file(&self, path: &[u8], bytes: u64) -> io::Result<File> {
        // A pipe or device is refused before it is opened.
        let opened = self.check(path, bytes).and_then(|()| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = self.resolve(path, flags)?;
            admit(&file, bytes).map(|()| file)
        });
        opened.map(File::from).map_err(|what| {
            let place = format!("the layer's file {:?}", escaped(path));
            io::Error::other(Error::bad_input(place, what))
        })
    }
}

/// The files of one layer: those that were kept since a higher layer replaces them, and the others
/// below the root. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct LayerContent {
    pub root: RootFiles,
    pub replaced: ReplacedFiles,
    pub diff_id: Option<DiffId>,
}

impl LayerContent {
    /// Returns the files of another layer.
    pub(super) fn of_layer(&self, diff_id: &DiffId) -> Self {
        Self { diff_id: Some(*diff_id), ..self.clone() }
    }

    /// True if the file was kept.
    pub(super) fn is_kept(&self, path: &[u8], bytes: u64) -> bool {
        self.kept(path, bytes).is_some()
    }

    fn kept(&self, path: &[u8], bytes: u64) -> Option<File> {
        self.replaced.open(self.diff_id.as_ref()?, path, bytes).ok()?
    }
}

impl DiskFiles for LayerContent {
    fn open_file(&self, path: &[u8], bytes: u64) -> io::Result<File> {
        self.kept(path, bytes).map_or_else(|| self.root.open_file(path, bytes), Ok)
    }
}

fn admit(file: &OwnedFd, bytes: u64) -> Result<(), String> {
    let found = fstat(file).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err("not a regular file".into());
    }
    match u64::try_from(found.st_size) {
        Ok(found) if found == bytes => Ok(()),
        _ => Err(format!("{} bytes long, should be {bytes}", found.st_size)),
    }
}

/// Each retry fails only if a rename falls into its microseconds.
const MOST_RETRIES: usize = 64;
