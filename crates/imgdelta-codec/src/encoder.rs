//! Writes members into a group: finds the shortest way to write each target from its base.
//! Never keeps a member's bytes; streams and scratch memory stay between members.

use crate::{
    compare,
    effort::Effort,
    error::Result,
    group::StreamWriter,
    literals::LiteralHistory,
    matcher::{Matcher, Reading, SearchDepth},
    pack::Packer,
    script::BaseCopy,
    stats::MemberStats,
    stream::StreamKind,
    trial::{self, Scene, Trial},
    view::View,
};

/// Collects members into one group.
#[derive(Debug)]
pub struct GroupEncoder {
    effort: Effort,
    streams: StreamWriter,
    matcher: Matcher,
    /// Estimates trials at a low level, since only comparisons count.
    judge: Packer,
    /// The literals packed so far, and the length of their stream when they were noted.
    history: (usize, LiteralHistory),
}

impl GroupEncoder {
    /// Starts an empty group.
    pub fn new(effort: Effort) -> Self {
        Self {
            effort,
            streams: StreamWriter::default(),
            matcher: Matcher::default(),
            judge: Packer::new(1),
            history: Default::default(),
        }
    }

    /// Adds `target`, to be rebuilt from `base`.
    pub fn member(&mut self, base: &[u8], target: &[u8]) -> MemberStats {
        if self.history.0 != self.streams.stream(StreamKind::PackedLiterals).len() {
            // Members were appended from another group: their literals are not in the history.
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

    /// Ends the group with little packing, for [`GroupEncoder::append`].
    ///
    /// Members that are matched in parallel become one group this way. Matching takes the time, and
    /// one long stream packs better than several short ones.
    pub fn finish_loose(self) -> Vec<u8> {
        Packer::new(1).pack(self.streams.all())
    }

    /// Appends the members of another group.
    pub fn append(&mut self, group: &[u8]) -> Result<()> {
        self.streams.append(&StreamWriter::unpack(group)?);
        Ok(())
    }

    /// Raw bytes of all streams so far; callers end groups by it.
    pub fn stream_bytes(&self) -> usize {
        self.streams.len()
    }

    /// Raw bytes of each stream so far.
    pub fn stream_lengths(&self) -> Vec<(StreamKind, usize)> {
        StreamKind::ALL.map(|stream| (stream, self.streams.stream(stream).len())).into()
    }

    /// Returns the shortest way to write a member whose copies are still to be found.
    fn search(&mut self, base: &[u8], target: &[u8]) -> Trial {
        if let Some(scene) = Scene::open(View::Elf, base, target) {
            return self.search_scene(&scene, None).1;
        }
        let (old, new) = (Reading::plain(base), Reading::plain(target));
        let copies = self.matcher.copies(old, new, SearchDepth::of(self.effort));
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

    /// Returns the shortest way to write a member that is one copy of its base.
    fn write_whole(&mut self, base: &[u8], target: &[u8], whole: BaseCopy) -> Trial {
        let plain = trial::plain(base, target, &[whole]);
        // A program rebuilt in place may differ in a few places, all of them references.
        if plain.stats.patched_bytes > 64
            && let Some(scene) = Scene::open(View::Elf, base, target)
        {
            let plain = self.judged(plain);
            let found = self.best_of_scene(&scene, &[whole]);
            return if found.0 < plain.0 { found.1 } else { plain.1 };
        }
        plain
    }

    /// Returns the shortest way to write a member in a view with fields, and its estimated bytes.
    ///
    /// `known` are copies to start with; without them the first round matches by content.
    fn search_scene(&mut self, scene: &Scene<'_>, known: Option<&[BaseCopy]>) -> (usize, Trial) {
        let mut copies = if let Some(copies) = known {
            copies.to_vec()
        } else {
            self.copies_of_scene(scene, &scene.by_content())
        };
        let mut best = self.best_of_scene(scene, &copies);
        let mut best_copies = copies.clone();
        for _ in 1..rounds(self.effort) {
            // The readings are as long as the files: they are dropped before the next step.
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

    fn copies_of_scene(
        &mut self,
        scene: &Scene<'_>,
        readings: &(Vec<u8>, Vec<u8>),
    ) -> Vec<BaseCopy> {
        let old = Reading { raw: scene.base, read: &readings.0 };
        let new = Reading { raw: scene.target, read: &readings.1 };
        self.matcher.copies(old, new, SearchDepth::of(self.effort))
    }

    /// Returns the shortest way to write given copies in a view with fields, and its estimated
    /// bytes.
    fn best_of_scene(&mut self, scene: &Scene<'_>, copies: &[BaseCopy]) -> (usize, Trial) {
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
        *noted = self.streams.stream(StreamKind::PackedLiterals).len();
        history.add(&trial.apart);
        let mut stats = trial.stats;
        stats.estimated_bytes = trial.streams.coded_len(&mut self.judge) as u64;
        stats
    }
}

/// The views that may suit a base which is not a program: offset tables, if it starts with one.
fn offset_views(base: &[u8]) -> impl Iterator<Item = View> {
    const LOOKED_AT: usize = 1 << 10;
    let words = base[..base.len().min(LOOKED_AT)].as_chunks::<4>().0;
    let fits = |word: u32| word >= 64 && (word as usize) < base.len();
    let little = words.iter().filter(|word| fits(u32::from_le_bytes(**word))).count();
    let big = words.iter().filter(|word| fits(u32::from_be_bytes(**word))).count();
    // Text has none of these words; in a table of lengths and offsets every second word is one.
    let enough = |count: usize| words.len() >= 32 && count * 4 >= words.len();
    let little = enough(little).then_some(View::OffsetsLittle);
    little.into_iter().chain(enough(big).then_some(View::OffsetsBig))
}

/// Returns the copy of all of `target`, if the base has the same length and differs in few places.
///
/// It finds a compiled script with a new time stamp in one pass, without an index.
fn nearly_equal(base: &[u8], target: &[u8]) -> Option<BaseCopy> {
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
    Some(BaseCopy { target: 0, base: 0, len: target.len() })
}

/// Rounds of matching code: by content first, then by the addresses of the last round.
fn rounds(effort: Effort) -> usize {
    match effort {
        Effort::Fast => 1,
        Effort::Default => 2,
        Effort::Best => 3,
    }
}

/// Least savings of an override, in missed fields, to try; `None` writes no overrides.
fn savings(effort: Effort) -> &'static [Option<usize>] {
    match effort {
        Effort::Fast => &[Some(3)],
        Effort::Default => &[Some(3), None],
        Effort::Best => &[Some(3), None, Some(2), Some(4)],
    }
}

/// Returns the packer for finished streams.
fn packer(effort: Effort) -> Packer {
    let packer = Packer::new(level(effort));
    if effort == Effort::Best { packer.mixing() } else { packer }
}

/// Returns the zstd level for finished streams.
fn level(effort: Effort) -> i32 {
    match effort {
        // Sparse streams are short: level 9 costs little time compared with matching.
        Effort::Fast => 9,
        // Level 19 takes 50 % more time and saves 0.1 %.
        Effort::Default => 18,
        Effort::Best => 22,
    }
}
