//! Encoder only: drops copies that are too short to pay; trials choose the shortest one to keep.
//! Never adds, moves or shortens a copy.
//!
//! In a program, a copy takes two or three bytes of script, splits a literal, and brings misses and
//! patches. Literals packed on their own have the uncopied bytes of the base before them, so zstd
//! finds most of a dropped copy's bytes there for less. Where code was rebuilt by another compiler,
//! copies below 300 bytes may not pay at all; in a program with few changes nearly all do.
//!
//! A trial writes the member and packs it at a low level. So limits are tried in ascending order
//! only as long as the estimate falls.

use crate::{
    layout::Layout,
    literals::{Coding, LiteralHistory},
    stream::StreamKind,
    trial::{Scene, Trial, TrialSize},
};
use imgdelta_coding::pack::Packer;

/// A way to write a member in a view with fields.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) layout: Layout,
    pub(crate) trial: Trial,
    pub(crate) size: TrialSize,
}

/// Shortest copies to keep, each tried if the one before paid.
const LIMITS: [usize; 5] = [24, 48, 100, 300, 1000];

/// Bytes of script that a dropped copy saves.
const COPY_BYTES: usize = 3;

/// Limits are tried while the scripts of the copies that they drop take one byte in this many.
const LEAST_SHARE: usize = 64;

/// Zstd's level for estimates. Lower ones keep too many copies; higher ones choose the same.
const LEVEL: i32 = 5;
const JUDGE: Coding = Coding { level: LEVEL, quick_frame: None };

/// Least savings of an override, in missed fields: others hardly differ where copies are dropped.
const SAVING: usize = 3;

/// Tries fewer copies, and estimates the bytes of each trial.
#[derive(Debug)]
pub(crate) struct Pruner(Packer);

impl Default for Pruner {
    fn default() -> Self {
        Self(Packer::new(LEVEL))
    }
}

impl Pruner {
    /// Returns the candidate of `copies` as they are.
    pub(crate) fn candidate(
        &mut self,
        scene: &Scene<'_>,
        history: &LiteralHistory,
        layout: Layout,
        trial: Trial,
    ) -> Candidate {
        let size = scene.estimate(&trial, &layout, history, &mut self.0, JUDGE);
        Candidate { layout, trial, size }
    }

    /// Writes the member with another layout.
    pub(crate) fn write(
        &mut self,
        scene: &Scene<'_>,
        history: &LiteralHistory,
        layout: Layout,
    ) -> Candidate {
        let survey = scene.survey(&layout);
        let trial = scene.write(&layout, &survey, survey.overrides(Some(SAVING)));
        self.candidate(scene, history, layout, trial)
    }

    /// Returns the smallest of `first` and the candidates with fewer copies.
    pub(crate) fn prune(
        &mut self,
        scene: &Scene<'_>,
        history: &LiteralHistory,
        first: Candidate,
    ) -> Candidate {
        let mut best = first;
        for limit in LIMITS {
            if !best.may_drop(limit) {
                break;
            }
            let copies = best.layout.copies.iter().copied();
            let kept = copies.filter(|copy| copy.len >= limit).collect();
            let fewer = self.write(scene, history, Layout::plain(kept));
            if fewer.size.bytes() >= best.size.bytes() {
                break;
            }
            best = fewer;
        }
        best
    }
}

impl Candidate {
    /// Returns the number of literals.
    pub(crate) fn literal_bytes(&self) -> usize {
        self.trial.streams.stream(StreamKind::Literals).len()
    }

    /// Estimates the bytes of all streams with an aligned code of the literals, and those of the code.
    ///
    /// Measured for programs of both machines: a code takes three quarters of what zstd makes of
    /// 16 KiB of literals, and four hundredths less each time that there are twice as many.
    pub(crate) fn aligned_bytes(&self) -> (usize, usize) {
        let literals = self.literal_bytes().max(1);
        let (bits, size) = (literals.ilog2(), &self.size);
        let part = ((literals - (1 << bits)) * 43) >> bits;
        let share = 1310_usize.saturating_sub(43 * bits as usize + part).clamp(400, 800);
        let code = size.apart().unwrap_or(size.bytes() - size.others()) * share / 1000;
        (size.others() + code, code)
    }

    /// True if dropping the copies below `limit` may pay.
    fn may_drop(&self, limit: usize) -> bool {
        let dropped = self.layout.copies.iter().filter(|copy| copy.len < limit).count();
        dropped * COPY_BYTES * LEAST_SHARE > self.size.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::BaseCopy;
    use imgdelta_fields::{host::NoHost, view::View};
    use imgdelta_testkit::noise;

    /// Offset of the code in a program.
    const CODE: usize = 0x1000;

    /// A program with one segment of code.
    fn program(code: &[u8]) -> Vec<u8> {
        let mut file = vec![0; CODE];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01\x01");
        for (at, number) in [(18, 62_u16), (54, 56), (56, 1)] {
            put(at, &number.to_le_bytes());
        }
        for (at, number) in [(64, 1_u32), (68, 5)] {
            put(at, &number.to_le_bytes());
        }
        let len = code.len() as u64;
        for (at, number) in [(32, 64), (72, CODE as u64), (80, 0x40_1000), (96, len), (104, len)] {
            put(at, &number.to_le_bytes());
        }
        file.extend_from_slice(code);
        file
    }

    /// Returns the copies that are left of `copies`.
    fn pruned(base: &[u8], target: &[u8], copies: Vec<BaseCopy>) -> Vec<BaseCopy> {
        let scene = Scene::open(View::Elf, base, target, &NoHost).unwrap();
        let (mut pruner, history) = (Pruner::default(), LiteralHistory::default());
        let all = pruner.write(&scene, &history, Layout::plain(copies));
        let before = all.size.bytes();
        let best = pruner.prune(&scene, &history, all);
        assert!(best.size.bytes() <= before, "{} instead of {before}", best.size.bytes());
        best.layout.copies
    }

    #[test]
    fn short_copies_that_literals_beat_are_dropped_and_long_ones_stay() {
        let code = noise(1, 0x1_0000);
        let (base, mut target) = (program(&code), program(&code));
        target[CODE + 0x8000..].rotate_left(0x1234);
        let long = BaseCopy { target: 0, base: 0, len: CODE + 0x8000 };
        // All bytes of these are wrong; as literals, zstd finds them elsewhere in the base.
        let short = (CODE + 0x8000..CODE + 0x1_0000).step_by(32);
        let short = short.map(|at| BaseCopy { target: at, base: at, len: 16 });
        let copies = std::iter::once(long).chain(short).collect();
        assert_eq!(pruned(&base, &target, copies), [long]);
    }

    #[test]
    fn short_copies_that_beat_literals_stay() {
        let code = noise(2, 0x1_0000);
        // Snippets in another order, with one byte changed in each.
        let mut new = Vec::new();
        let mut copies = Vec::new();
        for i in 0..3000 {
            let from = i * 1009 % 3000 * 20;
            copies.push(BaseCopy { target: CODE + new.len(), base: CODE + from, len: 20 });
            new.extend_from_slice(&code[from..from + 20]);
            new[i * 20 + 10] ^= 1;
        }
        let (base, target) = (program(&code), program(&new));
        assert_eq!(pruned(&base, &target, copies.clone()), copies);
    }
}
