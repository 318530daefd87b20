//! Windows of a file that is too large to be matched whole, each with a similar range of the base.
//! Never holds the file: memory is one landmark for 64 KiB.
//!
//! The base range of a window is the one with most of the window's landmarks.

use crate::landmarks::LandmarkFinder;
use imgdelta_core::Result;
use imgdelta_format::recipe::PayloadWindow;
use std::{collections::HashMap, ops::Range};

/// Passes a range to a sink in pieces, in order.
pub(super) type Reader<'a> = dyn FnMut(Range<u64>, &mut dyn FnMut(&[u8])) -> Result<()> + 'a;

/// Divides a target into windows with base ranges.
pub(super) fn cut(
    base_bytes: u64,
    read_base: &mut Reader<'_>,
    target_bytes: u64,
    read_target: &mut Reader<'_>,
) -> Result<Vec<(PayloadWindow, Range<u64>)>> {
    let mut known: HashMap<u64, u64> = HashMap::new();
    let mut finder = LandmarkFinder::new(RARITY);
    read_base(0..base_bytes, &mut |piece| {
        finder.feed(piece, |at, landmark| {
            known.entry(landmark).or_insert(at);
        });
    })?;
    let mut cuts = Vec::new();
    let mut offset = 0;
    while offset < target_bytes {
        let bytes = (target_bytes - offset).min(WINDOW_BYTES);
        let mut places = Vec::new();
        let mut finder = LandmarkFinder::new(RARITY);
        read_target(offset..offset + bytes, &mut |piece| {
            finder.feed(piece, |_, landmark| places.extend(known.get(&landmark)));
        })?;
        cuts.push((PayloadWindow { offset, bytes }, densest(places, base_bytes)));
        offset += bytes;
    }
    Ok(cuts)
}

/// Returns the range with most of `places`, extended on both sides to at most [`BASE_BYTES`].
fn densest(mut places: Vec<u64>, base_bytes: u64) -> Range<u64> {
    places.sort_unstable();
    let mut best = 0..0;
    let mut first = 0;
    for end in 0..places.len() {
        while places[end] - places[first] > BASE_BYTES - 2 * MARGIN_BYTES {
            first += 1;
        }
        if end + 1 - first > best.len() {
            best = first..end + 1;
        }
    }
    match &places[best] {
        [] => 0..0,
        found => {
            found[0].saturating_sub(MARGIN_BYTES)
                ..found[found.len() - 1].saturating_add(MARGIN_BYTES).min(base_bytes)
        }
    }
}

/// Length of a window.
const WINDOW_BYTES: u64 = 32 << 20;
/// Longest base range of a window.
const BASE_BYTES: u64 = 48 << 20;
/// Bytes of the base range before the first landmark and after the last.
const MARGIN_BYTES: u64 = 1 << 20;
/// One landmark in 64 KiB: 500 per window.
const RARITY: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_testkit::noise;

    #[test]
    fn windows_cover_the_target_and_follow_moved_content() {
        // The target is the base's second half, then its first.
        let base_bytes = 80 << 20;
        let half = base_bytes / 2;
        let mut read_base = |range: Range<u64>, sink: &mut dyn FnMut(&[u8])| {
            range.step_by(1 << 20).for_each(|at| sink(&noise(at >> 20, 1 << 20)));
            Ok(())
        };
        let mut read_target = |range: Range<u64>, sink: &mut dyn FnMut(&[u8])| {
            range.step_by(1 << 20).for_each(|at| {
                let from = (at + half) % base_bytes;
                sink(&noise(from >> 20, 1 << 20));
            });
            Ok(())
        };
        let cuts = cut(base_bytes, &mut read_base, base_bytes, &mut read_target).unwrap();
        let ends: Vec<_> = cuts.iter().map(|(window, _)| window.offset + window.bytes).collect();
        assert_eq!(ends, [32 << 20, 64 << 20, 80 << 20]);
        let (first, base) = &cuts[0];
        assert!(base.contains(&(half + (1 << 20))), "{base:?}");
        assert!(base.contains(&(half + first.bytes - (1 << 20))), "{base:?}");
        assert!(base.end - base.start <= BASE_BYTES);
        assert!(cuts[2].1.contains(&(30 << 20)), "{:?}", cuts[2].1);
    }

    #[test]
    fn without_landmarks_there_is_no_base() {
        let mut read = |_: Range<u64>, sink: &mut dyn FnMut(&[u8])| {
            sink(&vec![1; 1 << 20]);
            Ok(())
        };
        let cuts = cut(1 << 20, &mut read, 1 << 20, &mut |_, sink| {
            sink(&vec![2; 1 << 20]);
            Ok(())
        });
        assert_eq!(cuts.unwrap(), [(PayloadWindow { offset: 0, bytes: 1 << 20 }, 0..0)]);
    }
}
