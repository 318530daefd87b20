//! New files under random names, and files without a name.
//! Never opens a file that exists.

use libc::{EISDIR, EOPNOTSUPP, O_EXCL, O_TMPFILE};
use std::{
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A new file. Its name is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct NamedFile {
    file: File,
    path: PathBuf,
    is_named: bool,
}

impl NamedFile {
    /// Creates a file with the permissions `mode`, from which the umask takes away.
    pub(crate) fn create(directory: &Path, prefix: &str, mode: u32) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(mode);
        let mut attempts = 0;
        loop {
            let path = directory.join(format!("{prefix}{}", random_letters()));
            match options.open(&path) {
                Ok(file) => return Ok(Self { file, path, is_named: true }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempts < ATTEMPTS => {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the file; replaces a file of that name.
    pub(crate) fn rename(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_named = false;
        Ok(())
    }
}

impl Drop for NamedFile {
    fn drop(&mut self) {
        if self.is_named {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates an empty file without a name, open for reading and writing. Only this process has it.
pub(crate) fn unnamed_file(directory: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(PRIVATE).custom_flags(O_TMPFILE | O_EXCL);
    match options.open(directory).map_err(|error| (error.raw_os_error(), error)) {
        Ok(file) => Ok(file),
        // A file system that gives every file a name.
        Err((Some(EOPNOTSUPP | EISDIR), _)) => named_for_a_moment(directory),
        Err((_, error)) => Err(error),
    }
}

fn named_for_a_moment(directory: &Path) -> io::Result<File> {
    let named = NamedFile::create(directory, PREFIX, PRIVATE)?;
    named.file.try_clone()
}

/// Returns twelve random letters and digits. Every caller of the process gets others.
fn random_letters() -> String {
    // Each state has keys of its own, which begin with random numbers of the system.
    let mut random = RandomState::new().hash_one(std::process::id());
    let mut letters = String::with_capacity(RANDOM_LETTERS);
    for _ in 0..RANDOM_LETTERS {
        let count = LETTERS.len() as u64;
        letters.push(char::from(LETTERS[usize::try_from(random % count).expect("an index")]));
        random /= count;
    }
    letters
}

/// Random letters of a name: their number.
pub(crate) const RANDOM_LETTERS: usize = 12;

/// 36^12 names, of which 2^62 can occur. Capital letters would be one name with the small ones on
/// some file systems.
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ATTEMPTS: u32 = 1000;
const PREFIX: &str = ".imgdelta-scratch-";
const PRIVATE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::HashSet,
        io::{Read, Seek, Write},
        os::unix::fs::MetadataExt,
    };

    #[test]
    fn names_differ_and_consist_of_letters_and_digits() {
        let names: HashSet<String> = (0..1000).map(|_| random_letters()).collect();
        assert_eq!(names.len(), 1000);
        let is_plain = |name: &String| {
            name.len() == RANDOM_LETTERS && name.bytes().all(|c| c.is_ascii_alphanumeric())
        };
        assert!(names.iter().all(is_plain));
    }

    #[test]
    fn a_named_file_is_removed_unless_it_was_renamed() {
        let dir = tempfile::tempdir().unwrap();
        drop(NamedFile::create(dir.path(), "a-", PRIVATE).unwrap());
        let mut file = NamedFile::create(dir.path(), "b-", PRIVATE).unwrap();
        file.rename(&dir.path().join("name")).unwrap();
        drop(file);
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|item| item.unwrap()).collect();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].file_name(), "name");
    }

    #[test]
    fn files_without_a_name_are_private_and_leave_nothing_on_any_file_system() {
        let dir = tempfile::tempdir().unwrap();
        for create in [unnamed_file, named_for_a_moment] {
            let mut file = create(dir.path()).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
            assert_eq!(file.metadata().unwrap().mode() & 0o777, PRIVATE);
            file.write_all(b"content").unwrap();
            file.rewind().unwrap();
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            assert_eq!(content, "content");
        }
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert_eq!(unnamed_file(&missing).unwrap_err().kind(), ErrorKind::NotFound);
        let error = NamedFile::create(&missing, "a-", PRIVATE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
