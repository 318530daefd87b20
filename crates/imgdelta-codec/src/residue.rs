//! Byte patches: what is still wrong after copies and fields, as gap, run and difference.
//! Never feeds a prediction: patches are laid over the finished target, so nothing depends on them.
//!
//! Differences are kept, not new values: a time stamp that moves by the same amount in a thousand
//! members then is one repeated value. Gaps, runs and values lie in streams of their own, which
//! codes 10 to 40 % smaller than one dense row of differences.

use crate::{error::Result, group::Sources, stream::Stream};

/// Reads a member's patches and lays them over `target`.
pub(crate) fn lay_over(sources: &mut Sources, target: &mut [u8]) -> Result<()> {
    let count = sources.number(Stream::PatchGaps)?;
    let mut at = 0_usize;
    for _ in 0..count {
        let left = target.len() - at;
        let gap = sources.number(Stream::PatchGaps)?;
        let less_one = sources.number(Stream::PatchRuns)?;
        let end = gap.checked_add(less_one).filter(|&end| end < left as u64);
        let Some(end) = end else {
            let found = gap.saturating_add(less_one);
            return Err(sources.malformed(Stream::PatchRuns, "end of a patch", left as u64, found));
        };
        // Both lie below `left`, which is a `usize`.
        let start = at + usize::try_from(gap).unwrap_or(0);
        at += usize::try_from(end).unwrap_or(0) + 1;
        let values = sources.bytes(Stream::PatchValues, at - start)?;
        for (byte, value) in target[start..at].iter_mut().zip(values) {
            *byte = byte.wrapping_add(*value);
        }
    }
    Ok(())
}

/// Writes the patches that turn `predicted` into `target`, and returns how many bytes they cover.
///
/// Each patch is one run of wrong bytes. To join runs over a right byte between them was tried:
/// the zero it puts among the values costs more than the gap and the run it saves.
#[cfg(feature = "encode")]
pub(crate) fn write(sinks: &mut crate::group::Sinks, predicted: &[u8], target: &[u8]) -> usize {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some(found) = crate::compare::first_difference(&predicted[at..], &target[at..]) {
        let start = at + found;
        let run = predicted[start..].iter().zip(&target[start..]).take_while(|(a, b)| a != b);
        at = start + run.count();
        runs.push((start, at));
    }
    sinks.number(Stream::PatchGaps, runs.len() as u64);
    let (mut before, mut patched_bytes) = (0, 0);
    for (start, end) in runs {
        sinks.number(Stream::PatchGaps, (start - before) as u64);
        sinks.number(Stream::PatchRuns, (end - start - 1) as u64);
        for (new, old) in target[start..end].iter().zip(&predicted[start..end]) {
            sinks.byte(Stream::PatchValues, new.wrapping_sub(*old));
        }
        before = end;
        patched_bytes += end - start;
    }
    patched_bytes
}
