//! Maps a file read-only, so that a base of any size is a byte slice.
//!
//! This crate holds the project's only unsafe code and does nothing else. It never writes, never
//! grows, never interprets what it maps.

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::{
    ffi::c_void,
    fs::File,
    io,
    ops::{Deref, Range},
    ptr::{self, NonNull},
    slice,
};

/// A whole file as a byte slice.
///
/// No process may shorten the file while the map lives: reading a page past the new end kills this
/// process with `SIGBUS`. Map only scratch files of this process, or content-addressed blobs, which
/// are written once and renamed into place.
#[derive(Debug)]
pub struct Map(Option<Pages>);

/// Pages that the kernel mapped: `bytes` readable bytes from `start` on, of which at least one.
#[derive(Debug)]
struct Pages {
    start: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: `Pages` owns its mapping, whose addresses mean the same in every thread. Nobody writes
// through it, and the only change, unmapping, needs the value itself.
unsafe impl Send for Pages {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps the first `bytes` bytes of `file`, at least one.
    fn open(file: &File, bytes: usize) -> io::Result<Self> {
        // A slice must not be longer, whatever a file system reports.
        if bytes > isize::MAX as usize {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: the kernel chooses the addresses, so that no memory of this process is replaced.
        let start =
            unsafe { mmap(ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    #[cfg(target_os = "linux")]
    fn release(&self, range: Range<usize>) {
        let end = range.end.min(self.bytes);
        if range.start >= end {
            return;
        }
        // The kernel takes the address of a whole page.
        let page = rustix::param::page_size();
        let start = range.start / page * page;
        // SAFETY: the range lies in the mapping. The map is shared and read-only, so that no page of
        // it differs from the file: a page that is dropped has the same bytes when it is read again.
        // A slice that another thread reads stays valid, since the addresses stay mapped.
        let hinted = unsafe {
            let address = self.start.as_ptr().byte_add(start);
            rustix::mm::madvise(address, end - start, rustix::mm::Advice::LinuxDontNeed)
        };
        // Memory is given back later if the kernel refuses the hint.
        let _ = hinted;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly this range was mapped, and every slice of it borrowed `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr(), self.bytes) };
        // The range is right; the kernel has no other reason to refuse.
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

impl Map {
    /// Maps `file` from its start to its present end.
    pub fn open(file: &File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        // The kernel refuses a map of length 0, so an empty file has none.
        if bytes == 0 {
            return Ok(Self(None));
        }
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self(Some(Pages::open(file, bytes)?)))
    }

    /// Drops the pages of a range from this process's memory; they are read again when needed.
    ///
    /// They stay in the kernel's cache as long as it has room. Does nothing outside Linux.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        if let Some(pages) = &self.0 {
            pages.release(range);
        }
        #[cfg(not(target_os = "linux"))]
        drop(range);
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(pages) = &self.0 else { return &[] };
        // SAFETY: these bytes are mapped and readable as long as `self` lives, and they are fewer
        // than `isize::MAX`. Another process may change them: if it rewrites the file, the bytes
        // change under us; if it shortens the file, a read kills this process. Neither breaks the
        // memory safety of code that treats the bytes as untrusted, as every consumer here does: it
        // checks a digest afterwards. The type's documentation leaves the second risk to the caller.
        unsafe { slice::from_raw_parts(pages.start.as_ptr().cast(), pages.bytes) }
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
