//! Writes members into a group: finds the shortest way to say each target in terms of its base.
//! Never keeps a member's bytes: what stays between members is streams and scratch memory.

use crate::{
    compare,
    effort::Effort,
    error::Result,
    group::Sinks,
    literals::History,
    matcher::{Matcher, Reading, Search},
    pack::Packer,
    script::Copy,
    stats::MemberStats,
    stream::Stream,
    trial::{self, Scene, Trial},
    view::View,
};

/// Collects members into one group.
#[derive(Debug)]
pub struct GroupEncoder {
    effort: Effort,
    streams: Sinks,
    matcher: Matcher,
    /// Judges trials: its level is low, since only comparisons count.
    judge: Packer,
    /// The packed literals so far, as long as that stream has the length noted here.
    history: (usize, History),
}

impl GroupEncoder {
    /// Starts an empty group.
    pub fn new(effort: Effort) -> Self {
        Self {
            effort,
            streams: Sinks::default(),
            matcher: Matcher::default(),
            judge: Packer::new(1),
            history: Default::default(),
        }
    }

    /// Adds `target`, to be rebuilt from `base`.
    pub fn member(&mut self, base: &[u8], target: &[u8]) -> MemberStats {
        if self.history.0 != self.streams.stream(Stream::PackedLiterals).len() {
            // Members from elsewhere: what they said is not in the history.
            self.history.1.clear();
        }
        let trial = match nearly_equal(base, target) {
            Some(whole) => self.write_whole(base, target, whole),
            None => self.search(base, target),
        };
        self.keep(&trial)
    }

    /// Packs the group.
    pub fn finish(self) -> Vec<u8> {
        packer(self.effort).pack(self.streams.all())
    }

    /// Ends the group without packing it well, for [`GroupEncoder::append`].
    ///
    /// Members that were matched side by side come together in one group that way: matching is what
    /// takes time, and streams pack the better the more of them there are.
    pub fn finish_loose(self) -> Vec<u8> {
        Packer::new(1).pack(self.streams.all())
    }

    /// Adds the members of a group behind the own ones.
    pub fn append(&mut self, group: &[u8]) -> Result<()> {
        self.streams.append(&Sinks::unpack(group)?);
        Ok(())
    }

    /// Raw bytes of the streams so far: callers cut groups by it.
    pub fn stream_bytes(&self) -> usize {
        self.streams.len()
    }

    /// Raw bytes of each stream so far.
    pub fn stream_lengths(&self) -> Vec<(Stream, usize)> {
        Stream::ALL.map(|stream| (stream, self.streams.stream(stream).len())).into()
    }

    /// The best way to write a member whose copies have to be found.
    fn search(&mut self, base: &[u8], target: &[u8]) -> Trial {
        if let Some(scene) = Scene::open(View::Elf, base, target) {
            return self.search_scene(&scene, None).1;
        }
        let (old, new) = (Reading::plain(base), Reading::plain(target));
        let copies = self.matcher.copies(old, new, Search::of(self.effort));
        let mut best = self.judged(trial::plain(base, target, &copies));
        for view in offset_views(base) {
            if let Some(scene) = Scene::open(view, base, target) {
                let found = self.search_scene(&scene, Some(&copies));
                if found.0 < best.0 {
                    best = found;
                }
            }
        }
        best.1
    }

    /// The best way to write a member whose copy is known to be the whole target.
    fn write_whole(&mut self, base: &[u8], target: &[u8], whole: Copy) -> Trial {
        let plain = trial::plain(base, target, &[whole]);
        // A program rebuilt in place may differ in few places, all of them references.
        if plain.stats.patched_bytes > 64
            && let Some(scene) = Scene::open(View::Elf, base, target)
        {
            let plain = self.judged(plain);
            let found = self.best_of_scene(&scene, &[whole]);
            return if found.0 < plain.0 { found.1 } else { plain.1 };
        }
        plain
    }

    /// The best way to write a member in a view with fields, and what it costs.
    ///
    /// `known` are copies to start from; without them the first round matches by content.
    fn search_scene(&mut self, scene: &Scene<'_>, known: Option<&[Copy]>) -> (usize, Trial) {
        let mut copies = if let Some(copies) = known {
            copies.to_vec()
        } else {
            self.copies_of_scene(scene, &scene.by_content())
        };
        let mut best = self.best_of_scene(scene, &copies);
        let mut best_copies = copies.clone();
        for _ in 1..rounds(self.effort) {
            // The readings are as long as the files: they must not outlive the search.
            copies = self.copies_of_scene(scene, &scene.by_address(&copies));
            let found = self.best_of_scene(scene, &copies);
            if found.0 < best.0 {
                (best, best_copies) = (found, copies.clone());
            }
        }
        let (packer, level) = (&mut packer(self.effort), level(self.effort));
        scene.pack_literals(&mut best.1, &best_copies, &self.history.1, packer, level);
        best
    }

    fn copies_of_scene(&mut self, scene: &Scene<'_>, readings: &(Vec<u8>, Vec<u8>)) -> Vec<Copy> {
        let old = Reading { raw: scene.base, read: &readings.0 };
        let new = Reading { raw: scene.target, read: &readings.1 };
        self.matcher.copies(old, new, Search::of(self.effort))
    }

    /// The best way to write known copies in a view with fields, and what it costs.
    fn best_of_scene(&mut self, scene: &Scene<'_>, copies: &[Copy]) -> (usize, Trial) {
        let survey = scene.survey(copies);
        let mut best = self.judged(scene.write(copies, &survey, savings(self.effort)[0]));
        for &saving in &savings(self.effort)[1..] {
            let other = self.judged(scene.write(copies, &survey, saving));
            if other.0 < best.0 {
                best = other;
            }
        }
        best
    }

    fn judged(&mut self, trial: Trial) -> (usize, Trial) {
        (trial.streams.coded_len(&mut self.judge), trial)
    }

    fn keep(&mut self, trial: &Trial) -> MemberStats {
        self.streams.append(&trial.streams);
        let (noted, history) = &mut self.history;
        *noted = self.streams.stream(Stream::PackedLiterals).len();
        history.add(&trial.apart);
        let mut stats = trial.stats;
        stats.estimated_bytes = trial.streams.coded_len(&mut self.judge) as u64;
        stats
    }
}

/// The views that may suit a base which is no program: those of offset tables, if it starts with one.
fn offset_views(base: &[u8]) -> impl Iterator<Item = View> {
    const LOOKED_AT: usize = 1 << 10;
    let words = base[..base.len().min(LOOKED_AT)].as_chunks::<4>().0;
    let fits = |word: u32| word >= 64 && (word as usize) < base.len();
    let little = words.iter().filter(|word| fits(u32::from_le_bytes(**word))).count();
    let big = words.iter().filter(|word| fits(u32::from_be_bytes(**word))).count();
    // Text has no such words at all, and in a table of lengths and offsets every other one is.
    let enough = |count: usize| words.len() >= 32 && count * 4 >= words.len();
    let little = enough(little).then_some(View::OffsetsLittle);
    little.into_iter().chain(enough(big).then_some(View::OffsetsBig))
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
    while let Some(found) = compare::first_difference(&base[at..], &target[at..]) {
        at += found + 1;
        wrong += 1;
        if wrong > admitted.max(8) {
            return None;
        }
    }
    Some(Copy { target: 0, base: 0, len: target.len() })
}

/// How often code is matched: first by content, then by the addresses the last round gave.
fn rounds(effort: Effort) -> usize {
    match effort {
        Effort::Fast => 1,
        Effort::Default => 2,
        Effort::Best => 3,
    }
}

/// Which prices of an override are tried, in missed fields; `None` is without overrides.
fn savings(effort: Effort) -> &'static [Option<usize>] {
    match effort {
        Effort::Fast => &[Some(3)],
        Effort::Default => &[Some(3), None],
        Effort::Best => &[Some(3), None, Some(2), Some(4)],
    }
}

/// What packs the finished streams.
fn packer(effort: Effort) -> Packer {
    let packer = Packer::new(level(effort));
    if effort == Effort::Best { packer.mixing() } else { packer }
}

/// zstd level of the finished streams.
fn level(effort: Effort) -> i32 {
    match effort {
        // Sparse streams are short: level 9 costs little time beside matching.
        Effort::Fast => 9,
        // Level 19 takes half as long again, for 0.1 %.
        Effort::Default => 18,
        Effort::Best => 22,
    }
}
