//! Maps a file read-only, so that a base of any size is a byte slice.
//!
//! This crate holds the project's only unsafe code and does nothing else: it never
//! writes, never grows, never interprets what it maps.

use std::{fs::File, io, ops::Deref};

/// A whole file as a byte slice.
///
/// The file must not be cut short by anyone while the map lives: reading a page past the
/// new end kills the process with `SIGBUS`. Map only files that this process made for
/// itself (scratch) or content-addressed blobs, which are written once and renamed into
/// place.
#[derive(Debug)]
pub struct Map(Option<memmap2::Mmap>);

impl Map {
    /// Maps `file` from its start to its present end.
    pub fn open(file: &File) -> io::Result<Self> {
        // The kernel refuses a map of length 0; an empty file is an empty slice all the same.
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the slice aliases memory another process may change: if it rewrites the file
        // the bytes change under us, if it cuts it we die. Neither can break memory safety of
        // code that treats the bytes as untrusted (every consumer here checks a digest
        // afterwards), and the type's documentation hands the second risk to the caller.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self(Some(map)))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Map;
    use std::io::Write;

    #[test]
    fn empty_file_is_an_empty_slice_and_a_full_one_is_its_bytes() {
        let path = std::env::temp_dir().join(format!("imgdelta-mmap-{}", std::process::id()));
        let mut file = std::fs::File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        assert_eq!(&*Map::open(&file).unwrap(), b"");
        file.write_all(b"some bytes").unwrap();
        assert_eq!(&*Map::open(&file).unwrap(), b"some bytes");
        std::fs::remove_file(path).unwrap();
    }
}
