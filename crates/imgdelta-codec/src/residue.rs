//! Byte patches: what is wrong after copies and fields, as gap, run and difference.
//! Never affects a prediction: patches are applied to the finished target.
//!
//! Patches store differences: a time stamp that moves by the same amount in a thousand members is
//! one repeated value. Gaps, runs and values have streams of their own, which take 10 to 40 % less
//! than one dense row of differences.

use crate::{error::Result, group::StreamReader, stream::StreamKind};
use std::ops::Range;

/// Patches of a member that are read piece by piece.
#[derive(Debug)]
pub(crate) struct PatchReader {
    /// Length of the member.
    len: usize,
    /// Patches that were not read.
    left: u64,
    /// End of the last patch that was read, and the part of it that was not applied.
    at: usize,
    open: Range<usize>,
}

impl PatchReader {
    /// Begins to read the patches of a member of `len` bytes.
    pub(crate) fn open(reader: &mut StreamReader, len: usize) -> Result<Self> {
        let left = reader.number(StreamKind::PatchGaps)?;
        Ok(Self { len, left, at: 0, open: 0..0 })
    }

    /// Adds the patches within a piece to it; the piece starts at `start` in the member.
    pub(crate) fn lay_over(
        &mut self,
        reader: &mut StreamReader,
        piece: &mut [u8],
        start: usize,
    ) -> Result<()> {
        let end = start + piece.len();
        loop {
            if self.open.is_empty() {
                if self.left == 0 {
                    return Ok(());
                }
                self.open = self.next(reader)?;
                self.left -= 1;
            }
            let part = self.open.start..self.open.end.min(end);
            if part.is_empty() {
                return Ok(());
            }
            let values = reader.bytes(StreamKind::PatchValues, part.len())?;
            for (byte, value) in piece[part.start - start..part.end - start].iter_mut().zip(values)
            {
                *byte = byte.wrapping_add(*value);
            }
            self.open.start = part.end;
        }
    }

    /// Checks that every patch was applied.
    pub(crate) fn finish(&self, reader: &StreamReader) -> Result<()> {
        if self.left > 0 {
            return Err(reader.malformed(StreamKind::PatchGaps, "patches left", 0, self.left));
        }
        Ok(())
    }

    fn next(&mut self, reader: &mut StreamReader) -> Result<Range<usize>> {
        let left = self.len - self.at;
        let gap = reader.number(StreamKind::PatchGaps)?;
        let less_one = reader.number(StreamKind::PatchRuns)?;
        let end = gap.checked_add(less_one).filter(|&end| end < left as u64);
        let Some(end) = end else {
            let (what, found) = ("end of a patch", gap.saturating_add(less_one));
            return Err(reader.malformed(StreamKind::PatchRuns, what, left as u64, found));
        };
        // Both lie below `left`, which is a `usize`.
        let start = self.at + usize::try_from(gap).unwrap_or(0);
        self.at += usize::try_from(end).unwrap_or(0) + 1;
        Ok(start..self.at)
    }
}

/// Returns a target as it was before its patches, which `reader` has; `None` if there are none.
#[cfg(feature = "encode")]
pub(crate) fn predicted(reader: &mut StreamReader, target: &[u8]) -> Option<Vec<u8>> {
    let mut patches =
        PatchReader::open(reader, target.len()).ok().filter(|found| found.left > 0)?;
    let mut predicted = target.to_vec();
    while patches.left > 0 {
        let range = patches.next(reader).ok()?;
        let values = reader.bytes(StreamKind::PatchValues, range.len()).ok()?;
        for (byte, value) in predicted[range].iter_mut().zip(values) {
            *byte = byte.wrapping_sub(*value);
        }
        patches.left -= 1;
    }
    Some(predicted)
}

/// Patches of a member that are found piece by piece.
///
/// Each patch is one run of wrong bytes. Joining two runs over a correct byte was tried: the zero
/// among the values costs more than the gap and the run it saves.
#[cfg(feature = "encode")]
#[derive(Debug, Default)]
pub(crate) struct PatchWriter {
    runs: Vec<Range<usize>>,
}

#[cfg(feature = "encode")]
impl PatchWriter {
    /// Adds the patches that turn a predicted piece, which starts at `start`, into the target's.
    pub(crate) fn add(
        &mut self,
        writer: &mut crate::group::StreamWriter,
        start: usize,
        predicted: &[u8],
        target: &[u8],
    ) {
        let mut at = 0;
        while let Some(found) =
            imgdelta_wire::compare::first_difference(&predicted[at..], &target[at..])
        {
            let from = at + found;
            let run = predicted[from..].iter().zip(&target[from..]).take_while(|(a, b)| a != b);
            at = from + run.count();
            for (new, old) in target[from..at].iter().zip(&predicted[from..at]) {
                writer.byte(StreamKind::PatchValues, new.wrapping_sub(*old));
            }
            match self.runs.last_mut() {
                Some(last) if last.end == start + from => last.end = start + at,
                _ => self.runs.push(start + from..start + at),
            }
        }
    }

    /// Writes the places of all patches, and returns the bytes they cover.
    pub(crate) fn finish(self, writer: &mut crate::group::StreamWriter) -> u64 {
        writer.number(StreamKind::PatchGaps, self.runs.len() as u64);
        let (mut before, mut patched_bytes) = (0, 0);
        for run in self.runs {
            writer.number(StreamKind::PatchGaps, (run.start - before) as u64);
            writer.number(StreamKind::PatchRuns, run.len() as u64 - 1);
            before = run.end;
            patched_bytes += run.len() as u64;
        }
        patched_bytes
    }
}
