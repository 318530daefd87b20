//! A scratch file that workers append to, in the order in which they finish.
//!
//! Never interprets its bytes.

use imgdelta_core::{
    Error, Result,
    scratch::{Scratch, ScratchFile},
};
use imgdelta_image::{store::source::ReadAt, volume::FileExtent};
use std::{
    io::{self, Read, Write},
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// A scratch file that workers append to.
#[derive(Debug)]
pub struct SpillFile {
    place: String,
    state: Mutex<(ScratchFile, u64)>,
}

impl SpillFile {
    /// Starts an empty scratch file.
    pub fn new(scratch: &Scratch) -> Result<Self> {
        Ok(Self { place: scratch.place(), state: Mutex::new((scratch.file()?, 0)) })
    }

    /// Appends bytes and returns their range.
    pub fn put(&self, bytes: &[u8]) -> Result<Range<u64>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = state.1;
        state.0.write_all(bytes).map_err(Error::io(&self.place))?;
        state.1 += bytes.len() as u64;
        Ok(start..state.1)
    }

    /// Ends writing; the result is read by offset.
    pub fn finish(self) -> Result<FileExtent> {
        let (file, _) = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        FileExtent::new(self.place, file.into())
    }

    /// Reads a range back.
    pub fn get(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.reader(vec![range]).read_to_end(&mut bytes);
        read.map_err(Error::io(&self.place))?;
        Ok(bytes)
    }

    /// Returns a reader of several ranges in sequence.
    pub fn reader(&self, ranges: Vec<Range<u64>>) -> SpillReader<'_> {
        SpillReader { spill: self, ranges: ranges.into_iter(), range: 0..0 }
    }
}

/// Reads ranges of a spill file in sequence.
#[derive(Debug)]
pub struct SpillReader<'a> {
    spill: &'a SpillFile,
    ranges: std::vec::IntoIter<Range<u64>>,
    range: Range<u64>,
}

impl Read for SpillReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.range.is_empty() {
            let Some(range) = self.ranges.next() else { return Ok(0) };
            self.range = range;
        }
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let state = self.spill.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.0.read_at(&mut buffer[..room], self.range.start)?;
        self.range.start += count as u64;
        Ok(count)
    }
}
