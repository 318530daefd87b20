//! Byte patches: what is wrong after copies and fields, as gap, run and difference.
//! Never affects a prediction: patches are applied to the finished target.
//!
//! Patches store differences: a time stamp that moves by the same amount in a thousand members is
//! one repeated value. Gaps, runs and values have streams of their own, which take 10 to 40 % less
//! than one dense row of differences.

use crate::{error::Result, group::StreamReader, stream::StreamKind};

/// Reads a member's patches and adds them to `target`.
pub(crate) fn lay_over(reader: &mut StreamReader, target: &mut [u8]) -> Result<()> {
    let count = reader.number(StreamKind::PatchGaps)?;
    let mut at = 0_usize;
    for _ in 0..count {
        let left = target.len() - at;
        let gap = reader.number(StreamKind::PatchGaps)?;
        let less_one = reader.number(StreamKind::PatchRuns)?;
        let end = gap.checked_add(less_one).filter(|&end| end < left as u64);
        let Some(end) = end else {
            let found = gap.saturating_add(less_one);
            return Err(reader.malformed(
                StreamKind::PatchRuns,
                "end of a patch",
                left as u64,
                found,
            ));
        };
        // Both lie below `left`, which is a `usize`.
        let start = at + usize::try_from(gap).unwrap_or(0);
        at += usize::try_from(end).unwrap_or(0) + 1;
        let values = reader.bytes(StreamKind::PatchValues, at - start)?;
        for (byte, value) in target[start..at].iter_mut().zip(values) {
            *byte = byte.wrapping_add(*value);
        }
    }
    Ok(())
}

/// Writes the patches that turn `predicted` into `target`, and returns the bytes they cover.
///
/// Each patch is one run of wrong bytes. Joining two runs over a correct byte was tried: the zero
/// among the values costs more than the gap and the run it saves.
#[cfg(feature = "encode")]
pub(crate) fn write(
    writer: &mut crate::group::StreamWriter,
    predicted: &[u8],
    target: &[u8],
) -> usize {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some(found) = crate::compare::first_difference(&predicted[at..], &target[at..]) {
        let start = at + found;
        let run = predicted[start..].iter().zip(&target[start..]).take_while(|(a, b)| a != b);
        at = start + run.count();
        runs.push((start, at));
    }
    writer.number(StreamKind::PatchGaps, runs.len() as u64);
    let (mut before, mut patched_bytes) = (0, 0);
    for (start, end) in runs {
        writer.number(StreamKind::PatchGaps, (start - before) as u64);
        writer.number(StreamKind::PatchRuns, (end - start - 1) as u64);
        for (new, old) in target[start..end].iter().zip(&predicted[start..end]) {
            writer.byte(StreamKind::PatchValues, new.wrapping_sub(*old));
        }
        before = end;
        patched_bytes += end - start;
    }
    patched_bytes
}
