//! Writes members into a group: finds the shortest way to say each target in terms of its base.
//! Never keeps a member's bytes: what stays between members is streams and scratch memory.

use crate::{
    bytes,
    decoder::WHOLE,
    matcher::{Matcher, Reading, Search},
    pack::{Packer, coded_len},
    residue,
    script::{self, Copy},
    streams::{Sinks, Stream},
    view::View,
};

/// How much time to spend on a smaller group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// For deltas that are made while somebody waits.
    Fast,
    /// For deltas that are made once and pulled a few times.
    #[default]
    Default,
    /// For deltas that are pulled very often.
    Best,
}

/// What became of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStats {
    /// The view that was chosen.
    pub view: View,
    /// Target bytes laid out from the base.
    pub copied_bytes: u64,
    /// Target bytes that had to be spelled out.
    pub literal_bytes: u64,
    /// Target bytes that were laid out or predicted wrongly, and patched.
    pub patched_bytes: u64,
    /// Fields whose prediction had to be corrected.
    pub missed_fields: u64,
    /// About how many bytes the member adds to its group.
    pub estimated_bytes: u64,
}

/// Collects members into one group.
#[derive(Debug)]
pub struct GroupEncoder {
    effort: Effort,
    streams: Sinks,
    matcher: Matcher,
    /// Judges trials: its level is low, since only comparisons count.
    judge: Packer,
}

impl GroupEncoder {
    /// Starts an empty group.
    pub fn new(effort: Effort) -> Self {
        Self {
            effort,
            streams: Sinks::default(),
            matcher: Matcher::default(),
            judge: Packer::new(1),
        }
    }

    /// Adds `target`, to be rebuilt from `base`.
    pub fn member(&mut self, base: &[u8], target: &[u8]) -> MemberStats {
        let copies = match nearly_equal(base, target) {
            Some(whole) => vec![whole],
            None => self.matcher.copies(
                Reading::plain(base),
                Reading::plain(target),
                search(self.effort),
            ),
        };
        let trial = plain(base, target, &copies);
        self.keep(&trial)
    }

    /// Packs the group.
    pub fn finish(self) -> Vec<u8> {
        Packer::new(level(self.effort)).pack(&self.streams)
    }

    /// Raw bytes of the streams so far: callers cut groups by it.
    pub fn stream_bytes(&self) -> usize {
        self.streams.len()
    }

    /// Raw bytes of each stream so far.
    pub fn stream_lengths(&self) -> Vec<(Stream, usize)> {
        Stream::ALL.map(|stream| (stream, self.streams.stream(stream).len())).into()
    }

    fn keep(&mut self, trial: &Trial) -> MemberStats {
        self.streams.append(&trial.streams);
        let mut stats = trial.stats;
        stats.estimated_bytes = coded_len(&mut self.judge, &trial.streams) as u64;
        stats
    }
}

/// One way to write a member.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) streams: Sinks,
    pub(crate) stats: MemberStats,
}

/// Writes a member without a view.
fn plain(base: &[u8], target: &[u8], copies: &[Copy]) -> Trial {
    let (mut trial, laid_out) = begin(View::Plain, base, target, copies);
    let patched = residue::write(&mut trial.streams, &laid_out, target);
    trial.stats.patched_bytes = patched as u64;
    trial
}

/// Writes what every view has in common, and lays out the target as a decoder would.
pub(crate) fn begin(view: View, base: &[u8], target: &[u8], copies: &[Copy]) -> (Trial, Vec<u8>) {
    let mut streams = Sinks::default();
    let whole = if script::is_whole(copies, target.len()) { WHOLE } else { 0 };
    streams.byte(Stream::Members, view.wire() | whole);
    script::write(&mut streams, copies, target);
    let mut laid_out = target.to_vec();
    let mut copied_bytes = 0;
    for copy in copies {
        laid_out[copy.target..copy.target_end()].copy_from_slice(&base[copy.base..copy.base_end()]);
        copied_bytes += copy.len as u64;
    }
    let stats = MemberStats {
        view,
        copied_bytes,
        literal_bytes: target.len() as u64 - copied_bytes,
        patched_bytes: 0,
        missed_fields: 0,
        estimated_bytes: 0,
    };
    (Trial { streams, stats }, laid_out)
}

/// The copy of all of `target`, if base and target are of one length and differ in few places.
///
/// A compiled script whose time stamp changed is found here in one pass, without an index.
fn nearly_equal(base: &[u8], target: &[u8]) -> Option<Copy> {
    if base.len() != target.len() {
        return None;
    }
    let admitted = base.len() / 64;
    let (mut at, mut wrong) = (0, 0);
    while let Some(found) = bytes::first_difference(&base[at..], &target[at..]) {
        at += found + 1;
        wrong += 1;
        if wrong > admitted.max(8) {
            return None;
        }
    }
    Some(Copy { target: 0, base: 0, len: target.len() })
}

/// How hard to look for copies.
fn search(effort: Effort) -> Search {
    match effort {
        // Half the index, and gaps only where the base has something right there.
        Effort::Fast => Search { seed: 32, step: 16, window: 4 << 10 },
        Effort::Default => Search { seed: 32, step: 8, window: 32 << 10 },
        Effort::Best => Search { seed: 16, step: 4, window: 128 << 10 },
    }
}

/// zstd level of the finished streams.
fn level(effort: Effort) -> i32 {
    match effort {
        // Sparse streams are short: level 9 costs little time beside matching.
        Effort::Fast => 9,
        Effort::Default => 19,
        Effort::Best => 22,
    }
}
