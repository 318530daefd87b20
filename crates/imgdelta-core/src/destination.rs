//! The file that an output path leads to: a name for a complete file, or a device or pipe.
//! Never opens a pipe before there is something to write.
//!
//! A symbolic link is followed, as by a shell's `>`: the link stays, and its target is replaced.

use crate::{
    Error, Result,
    regular::kind_word,
    unfinished::{UnfinishedFile, UnfinishedKind},
};
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// The end of an output path, with all links of its last name followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputTarget {
    /// A regular file or a free name: a complete file is renamed to it.
    Name(PathBuf),
    /// A character device or a pipe: bytes are written into it, and it stays.
    Stream(PathBuf),
}

impl OutputTarget {
    /// Looks at a path; refuses directories, sockets and block devices.
    pub fn of(path: &Path) -> Result<Self> {
        let kind = match fs::metadata(path) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return free_name(path).map(Self::Name);
            }
            Err(error) => return Err(Error::io(path.display())(error)),
        };
        if kind.is_char_device() || kind.is_fifo() {
            return Ok(Self::Stream(path.to_owned()));
        }
        if kind.is_file() {
            let is_link = path.is_symlink();
            let real = if is_link { fs::canonicalize(path) } else { Ok(path.to_owned()) };
            return real.map(Self::Name).map_err(Error::io(path.display()));
        }
        let advice = if kind.is_dir() {
            "name a file in it"
        } else if kind.is_block_device() {
            "name a file, and copy it to the device afterwards"
        } else {
            "name a file or a pipe"
        };
        Err(Error::bad_input(path.display(), format_args!("{}; {advice}", kind_word(kind))))
    }

    /// Checks before the work that a complete file can get this name, and sweeps its directory.
    pub fn check(&self, kind: UnfinishedKind) -> Result<()> {
        match self {
            Self::Name(path) => unfinished_for(path, kind).map(drop),
            Self::Stream(_) => Ok(()),
        }
    }
}

/// Creates the unfinished file that will be renamed to `path`, and sweeps its directory.
pub fn unfinished_for(path: &Path, kind: UnfinishedKind) -> Result<UnfinishedFile> {
    let unfinished = UnfinishedFile::in_directory(&crate::durable::parent(path), kind)?;
    unfinished.sweep_neighbours();
    Ok(unfinished)
}

/// Opens a device or pipe for writing. A pipe waits for its reader.
pub fn open_stream(path: &Path) -> Result<File> {
    File::options().write(true).open(path).map_err(Error::io(path.display()))
}

/// Follows a link to a name that does not exist yet.
fn free_name(path: &Path) -> Result<PathBuf> {
    let mut name = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&name) {
            Ok(target) => name = crate::durable::parent(&name).join(target),
            // Not a link, or nothing: the name is free.
            Err(_) => return Ok(name),
        }
    }
    Err(Error::io(path.display())(io::Error::from(ErrorKind::InvalidInput)))
}

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    #[test]
    fn a_link_is_followed_to_its_target_and_to_a_free_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| root.join(name);
        assert_eq!(OutputTarget::of(&at("free")).unwrap(), OutputTarget::Name(at("free")));
        fs::write(at("file"), b"").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("link", at("twice")).unwrap();
        for name in ["file", "link", "twice"] {
            assert_eq!(OutputTarget::of(&at(name)).unwrap(), OutputTarget::Name(at("file")));
        }
        symlink("absent", at("dangling")).unwrap();
        assert_eq!(OutputTarget::of(&at("dangling")).unwrap(), OutputTarget::Name(at("absent")));
        symlink("circle", at("circle")).unwrap();
        assert!(OutputTarget::of(&at("circle")).is_err());
    }

    #[test]
    fn devices_and_pipes_are_streams_and_other_kinds_are_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let null = Path::new("/dev/null");
        assert_eq!(OutputTarget::of(null).unwrap(), OutputTarget::Stream(null.to_owned()));
        let link = dir.path().join("link");
        symlink(null, &link).unwrap();
        assert_eq!(OutputTarget::of(&link).unwrap(), OutputTarget::Stream(link));
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let refused = |path: &Path| OutputTarget::of(path).unwrap_err().to_string();
        assert!(refused(&socket).ends_with("a socket; name a file or a pipe"));
        assert!(refused(dir.path()).ends_with("a directory; name a file in it"));
    }
}
