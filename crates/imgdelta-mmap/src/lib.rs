//! Maps a file read-only, so that a base of any size is a byte slice.
//!
//! This crate holds the project's only unsafe code and does nothing else. It never writes, never
//! grows, never interprets what it maps.

use std::{fs::File, io, ops::Deref};

/// A whole file as a byte slice.
///
/// No process may shorten the file while the map lives: reading a page past the new end kills this
/// process with `SIGBUS`. Map only scratch files of this process, or content-addressed blobs, which
/// are written once and renamed into place.
#[derive(Debug)]
pub struct Map(Option<memmap2::Mmap>);

impl Map {
    /// Maps `file` from its start to its present end.
    pub fn open(file: &File) -> io::Result<Self> {
        // The kernel refuses a map of length 0, so an empty file has none.
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the slice aliases memory that another process may change. If it rewrites the file,
        // the bytes change under us; if it shortens the file, a read kills this process. Neither
        // breaks the memory safety of code that treats the bytes as untrusted, as every consumer
        // here does: it checks a digest afterwards. The type's documentation leaves the second risk
        // to the caller.
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
    fn a_map_is_the_bytes_of_its_file_even_if_empty() {
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
