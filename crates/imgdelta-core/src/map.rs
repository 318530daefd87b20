//! Maps a file read-only, so that a base of any size is a byte slice.
//! Never writes, never grows, never interprets what it maps.
//!
//! This module holds the project's only unsafe code, and does nothing else (test
//! `only_maps_of_files_are_unsafe`).

#![allow(unsafe_code, reason = "a map of a file that another process may change")]
#![deny(clippy::undocumented_unsafe_blocks)]

use std::{
    fs::File,
    io,
    ops::{Deref, Range},
};

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

    /// Drops the pages of a range from this process's memory; they are read again when needed.
    ///
    /// They stay in the kernel's cache as long as it has room. Without support it does nothing.
    pub fn release(&self, range: Range<usize>) {
        let Some(map) = &self.0 else { return };
        let range = range.start.min(map.len())..range.end.min(map.len());
        #[cfg(unix)]
        if !range.is_empty() {
            // SAFETY: the map is shared and read-only, so that no page of it differs from the file:
            // a page that is dropped has the same bytes when it is read again. A slice that another
            // thread reads stays valid, since the addresses stay mapped.
            let dropped = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
            // It is a hint: memory is given back later if the kernel refuses it.
            drop(dropped);
        }
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

/// A range of a file as a byte slice, with a map of its own.
#[derive(Debug)]
pub struct MapRange {
    map: Map,
    range: Range<usize>,
}

impl MapRange {
    /// Maps `bytes` bytes of `file` from `offset` on; fails if the file ends before.
    pub fn open(file: &File, offset: u64, bytes: u64) -> io::Result<Self> {
        let map = Map::open(file)?;
        let end = offset.checked_add(bytes).and_then(|end| usize::try_from(end).ok());
        let range = usize::try_from(offset).ok().zip(end.filter(|end| *end <= map.len()));
        let (start, end) = range.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Self { map, range: start..end })
    }

    /// Drops its pages from this process's memory, as [`Map::release`].
    pub fn release(&self) {
        self.map.release(self.range.clone());
    }
}

impl Deref for MapRange {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::{Map, MapRange};
    use std::io::Write;

    #[test]
    fn a_map_is_the_bytes_of_its_file_even_if_empty() {
        let path = std::env::temp_dir().join(format!("imgdelta-map-{}", std::process::id()));
        let mut file = std::fs::File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        assert_eq!(&*Map::open(&file).unwrap(), b"");
        file.write_all(b"some bytes").unwrap();
        let map = Map::open(&file).unwrap();
        assert_eq!(&*map, b"some bytes");
        map.release(3..7);
        map.release(0..1 << 20);
        assert_eq!(&*map, b"some bytes");
        let range = MapRange::open(&file, 5, 4).unwrap();
        assert_eq!(&*range, b"byte");
        range.release();
        assert_eq!(&*range, b"byte");
        assert!(MapRange::open(&file, 5, 6).is_err());
        assert!(MapRange::open(&file, u64::MAX, 6).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
