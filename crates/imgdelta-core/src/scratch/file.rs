//! One scratch file, whose length counts towards the ceilings of its directory.
//!
//! Its writes check the ceilings first. Reads are those of the file.

use super::space::ScratchSpace;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

/// A file that vanishes when it is closed. It reads like a [`File`]; its own methods write.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    place: String,
    space: Arc<ScratchSpace>,
    /// Bytes that were taken from the space.
    taken_bytes: Mutex<u64>,
    /// Offset of the next write.
    position: u64,
}

impl ScratchFile {
    pub(super) fn new(file: File, place: String, space: Arc<ScratchSpace>) -> Self {
        Self { file, place, space, taken_bytes: Mutex::new(0), position: 0 }
    }

    /// Writes all of `bytes` at `offset`, without a cursor, so that several threads may.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.take_to(offset.saturating_add(bytes.len() as u64))?;
        super::write_all_at(&self.file, bytes, offset)
    }

    /// Sets the file's length before its bytes are written, so that a lack of room shows early.
    pub fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.take_to(bytes)?;
        self.file.set_len(bytes)
    }

    /// Takes room for all bytes up to `end`.
    fn take_to(&self, end: u64) -> io::Result<()> {
        let mut taken_bytes = self.taken_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if end > *taken_bytes {
            self.space.take(end - *taken_bytes, &self.place).map_err(io::Error::other)?;
            *taken_bytes = end;
        }
        Ok(())
    }
}

impl From<File> for ScratchFile {
    /// Takes a file of the caller, which counts towards no ceiling.
    fn from(file: File) -> Self {
        Self::new(file, "temporary file".into(), Arc::default())
    }
}

impl Deref for ScratchFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Read for ScratchFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for ScratchFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take_to(self.position.saturating_add(bytes.len() as u64))?;
        let count = self.file.write(bytes)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for ScratchFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(position)?;
        Ok(self.position)
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let taken_bytes = self.taken_bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.space.give_back(*taken_bytes);
    }
}
