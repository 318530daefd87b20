//! Writes members into a group: finds the shortest way to write each target from its base.
//! Never keeps a member's bytes; streams and scratch memory stay between members.

use crate::{
    effort::Effort,
    error::Result,
    group::StreamWriter,
    layout::Layout,
    literals::{Coding, LiteralHistory},
    map::Override,
    member::MemberHead,
    member_shares::{MemberBits, StreamLengths},
    normalise::{Labels, Projection},
    pairing,
    program::MAX_PROGRAM,
    pruning::{Candidate, Pruner},
    script::BaseCopy,
    search::{LabelledSides, SceneSearch},
    stats::MemberStats,
    stream::StreamKind,
    trial::{self, Scene, Trial, TrialSize},
    unwind_table::UnwindTable,
};
use imgdelta_coding::{aligned::MixerState, corrections::CorrectionState, pack::Packer};
use imgdelta_fields::{
    field_index::FieldIndex,
    functions,
    host::{self, Host, NoHost},
    view::View,
};
use imgdelta_instructions::{
    EditedCopy, InstructionSet, Program, pair_functions,
    parts::{self, Part},
};
use imgdelta_wire::{
    compare,
    matcher::{Matcher, Reading},
};

/// Collects members into one group.
#[derive(Debug)]
pub struct GroupEncoder {
    effort: Effort,
    streams: StreamWriter,
    matcher: Matcher,
    /// Estimates trials at a low level, since only comparisons count.
    judge: Packer,
    pruner: Pruner,
    /// The literals packed so far, and the length of their stream when they were noted.
    history: (usize, LiteralHistory),
    /// The mixer state behind the last aligned code.
    mixer: Option<MixerState>,
    /// The state behind the last code of corrections, and the length of the stream of codes when it was
    /// noted.
    corrections: (usize, Option<CorrectionState>),
}

impl GroupEncoder {
    /// Starts an empty group.
    pub fn new(effort: Effort) -> Self {
        Self {
            effort,
            streams: StreamWriter::default(),
            matcher: Matcher::default(),
            judge: Packer::new(JUDGE_LEVEL),
            pruner: Pruner::default(),
            history: Default::default(),
            mixer: None,
            corrections: (0, None),
        }
    }

    /// Adds `target`, to be rebuilt from `base`.
    pub fn member(&mut self, base: &[u8], target: &[u8]) -> MemberStats {
        self.member_with(&NoHost, base, target)
    }

    /// Adds `target`, to be rebuilt from `base`, with the services of a host.
    ///
    /// The bytes do not depend on the host.
    pub fn member_with(&mut self, host: &dyn Host, base: &[u8], target: &[u8]) -> MemberStats {
        if self.history.0 != self.streams.stream(StreamKind::PackedLiterals).len() {
            // Members were appended from another group: their literals are not in the history, nor
            // do readers have the mixer state.
            self.history.1.clear();
            self.mixer = None;
        }
        if self.corrections.0 != self.streams.stream(StreamKind::Codes).len() {
            self.corrections.1 = None;
        }
        let trial = match nearly_equal(host, base, target) {
            Some(whole) => self.write_whole(host, base, target, whole),
            None => self.search(host, base, target),
        };
        self.keep(&trial)
    }

    /// Adds `target`, a program without a base, divided into parts that cover it. Returns false, and
    /// adds nothing, if it is shorter as a member without parts, or too long.
    pub fn program(&mut self, target: &[u8], parts: &[Part]) -> bool {
        if target.len() > MAX_PROGRAM || parts.len() > parts::MAX_PARTS {
            return false;
        }
        let head = MemberHead::of_program();
        let mut streams = StreamWriter::default();
        streams.byte(StreamKind::Members, head.byte());
        parts::divide(target, parts, &mut streams);
        let is_shorter = streams.coded_len(&mut self.judge) < self.judge.estimate(target);
        if is_shorter {
            self.streams.append(&streams);
        }
        is_shorter
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
    pub fn stream_lengths(&self) -> StreamLengths {
        StreamLengths::of(&self.streams)
    }

    /// Estimates the information that has been added since; [`crate::shares`] divides a group by it.
    pub fn bits_since(&self, before: &StreamLengths) -> MemberBits {
        MemberBits::since(before, &self.streams)
    }

    /// Returns the shortest way to write a member whose copies are still to be found.
    fn search(&mut self, host: &dyn Host, base: &[u8], target: &[u8]) -> Trial {
        if let Some(trial) = self.search_elf(host, base, target) {
            return trial;
        }
        let mut trial = self.search_plain(host, base, target);
        self.correct(&mut trial, target);
        trial
    }

    /// Returns the shortest way to write a file that is not a program.
    fn search_plain(&mut self, host: &dyn Host, base: &[u8], target: &[u8]) -> Trial {
        let keeps_exact = self.effort == Effort::Best;
        let (old, new) = (Reading::plain(base), Reading::plain(target));
        let copies = self.matcher.copies(old, new, self.effort.search_depth());
        let mut best = trial::plain(base, target, &copies, keeps_exact);
        best = self.with_names(best, base, target, &copies);
        // Nearly all files have no other view, and need no estimate.
        let mut best_bytes = None;
        for view in offset_views(base) {
            if let Some(scene) = Scene::open(view, base, target, host) {
                let scene = scene.keeping_exact(keeps_exact);
                let (bytes, trial) = self.search_offsets(&scene, &copies);
                let most = *best_bytes.get_or_insert_with(|| self.judge(&best));
                if bytes < most && scene.is_admitted(&trial) {
                    (best_bytes, best) = (Some(bytes), trial);
                }
            }
        }
        best
    }

    /// Returns a trial without fields, or one of the same copies whose names are replaced, if that is
    /// shorter.
    fn with_names(
        &mut self,
        plain: Trial,
        base: &[u8],
        target: &[u8],
        copies: &[BaseCopy],
    ) -> Trial {
        // Codes of corrections are shorter still, and not for names.
        if self.effort == Effort::Best || plain.stats.patched_bytes < LEAST_RENAMED {
            return plain;
        }
        let named = trial::with_names(base, target, copies);
        let patch_bytes = plain.patch_bytes(&mut self.judge);
        let pays = named.patch_bytes(&mut self.judge) < patch_bytes - patch_bytes / 16;
        if pays { named } else { plain }
    }

    /// Returns the shortest way to write a program, if both are programs.
    fn search_elf(&mut self, host: &dyn Host, base: &[u8], target: &[u8]) -> Option<Trial> {
        let (old, new) = (View::Elf.image_of(base), View::Elf.image_of(target)?);
        let table = old.and_then(|old| {
            let table = UnwindTable::of(target, &new)?;
            Some((table.replaced(target, base, &old)?, table))
        });
        let scene = match &table {
            Some((target, table)) => {
                Scene::with_table(View::Elf, base, target, Some(table.clone()), host)?
            }
            None => Scene::open(View::Elf, base, target, host)?,
        };
        let scene = scene.keeping_exact(self.effort == Effort::Best);
        let (mut trial, mixer) = self.search_program(&scene);
        if !scene.is_admitted(&trial) {
            return None;
        }
        self.mixer = mixer.or(self.mixer.take());
        self.correct(&mut trial, scene.target.file);
        Some(trial)
    }

    /// Returns the shortest way to write a member that is one copy of its base.
    fn write_whole(
        &mut self,
        host: &dyn Host,
        base: &[u8],
        target: &[u8],
        whole: BaseCopy,
    ) -> Trial {
        let keeps_exact = self.effort == Effort::Best;
        let mut plain = trial::plain(base, target, &[whole], keeps_exact);
        plain = self.with_names(plain, base, target, &[whole]);
        // A program rebuilt in place may differ in a few places, all of them references.
        if plain.stats.patched_bytes > 64
            && let Some(scene) = Scene::open(View::Elf, base, target, host)
        {
            let scene = scene.keeping_exact(keeps_exact);
            let layout = Layout::plain(vec![whole]);
            let (bytes, trial) = Self::best_of_scene(&scene, &layout, &mut savings(self.effort));
            if bytes < self.judge(&plain) {
                plain = trial;
            }
        }
        self.correct(&mut plain, target);
        plain
    }

    /// Returns the shortest way to write a program.
    ///
    /// Also returns the mixer state behind an aligned code, if the way has one.
    fn search_program(&mut self, scene: &Scene<'_>) -> (Trial, Option<MixerState>) {
        let content = (Labels::Content, Labels::Content);
        let mut found = vec![self.copies_of_scene(scene, content, None, &[])];
        let (mut of_functions, mut edited) = (None, Vec::new());
        let set = InstructionSet::of_file(scene.base.file);
        while found.len() < rounds(self.effort) {
            let (copies, labelled) = self.copies_by_address(scene, &found[found.len() - 1]);
            if let Some(labelled) = labelled {
                (of_functions, edited) = self.copies_of_functions(scene, &labelled, &copies);
            }
            found.push(copies);
        }
        let is_thorough = self.effort == Effort::Best || scene.target.file.len() <= SHORT_TARGET;
        let edits: usize = edited.iter().map(|copy| copy.edits.len()).sum();
        let is_sure =
            set == InstructionSet::X86_64 && !is_thorough && edits * SURELY_EDITED >= edited.len();
        let edited = match self.shortest_edited(scene, &edited) {
            Some(edited) if is_sure => return (self.with_literals_apart(scene, edited), None),
            edited => edited,
        };
        let is_best = self.effort == Effort::Best;
        let mut savings = savings(self.effort);
        let first = match (of_functions, found.pop()) {
            (Some(copies), last) => {
                found.extend(last);
                self.pruner.write(scene, &self.history.1, Layout::plain(copies))
            }
            (None, last) => self.candidate_of(scene, last.unwrap_or_default(), &mut savings),
        };
        let bytes = first.size.bytes();
        let copies = is_best.then(|| first.layout.copies.clone());
        let edited = edited.filter(|edited| edited.size.bytes() < bytes - bytes / LEAST_GAIN);
        let mut best = match edited {
            Some(edited) if !is_thorough => edited,
            edited => {
                let pruned = self.pruner.prune(scene, &self.history.1, first);
                edited.filter(|e| e.size.bytes() < pruned.size.bytes()).unwrap_or(pruned)
            }
        };
        if is_thorough && best.size.bytes() == bytes {
            // Another round is hardly ever better in a long program, and then by some bytes.
            for copies in found.into_iter().rev() {
                if copies == best.layout.copies {
                    continue;
                }
                let other = self.candidate_of(scene, copies, &mut savings);
                if other.size.bytes() <= best.size.bytes() {
                    best = other;
                }
            }
        }
        let aligned = copies.and_then(|copies| self.aligned(scene, &best, &copies));
        let size = best.size;
        if let Some((bytes, aligned, mixer)) = aligned {
            let code = aligned.streams.stream(StreamKind::Codes).len();
            let most = bytes + code / LEAST_ALIGNED_GAIN;
            if most < size.least_bytes() {
                return (aligned, Some(mixer));
            }
            let trial = self.with_literals_apart(scene, best);
            let pays = most < size.others() + self.literal_bytes(&trial);
            return if pays { (aligned, Some(mixer)) } else { (trial, None) };
        }
        (self.with_literals_apart(scene, best), None)
    }

    /// Returns the trial whose literals are an aligned code, its estimated bytes, and the mixer state behind
    /// it. `None` if it is surely too long.
    ///
    /// Copies below a limit may be left out: the code follows the base anyway. Other coders, which
    /// take little time, decide which ones.
    fn aligned(
        &mut self,
        scene: &Scene<'_>,
        best: &Candidate,
        copies: &[BaseCopy],
    ) -> Option<(usize, Trial, MixerState)> {
        if best.literal_bytes() < trial::LEAST_ALIGNED {
            return None;
        }
        let mut fewest: Option<Candidate> = None;
        let mut before = best.aligned_bytes();
        for limit in LEAST_ALIGNED {
            let kept = copies.iter().copied().filter(|copy| copy.len >= limit).collect();
            let fewer = self.pruner.write(scene, &self.history.1, Layout::plain(kept));
            let bytes = fewer.aligned_bytes();
            if bytes.0 >= before.0 {
                break;
            }
            (before, fewest) = (bytes, Some(fewer));
        }
        let (bytes, code) = before;
        let literals = best.size.bytes() - best.size.others();
        if bytes + code / LEAST_ALIGNED_GAIN > best.size.bytes() - literals / 10 {
            return None;
        }
        let chosen = fewest.as_ref().unwrap_or(best);
        let (mixer, history) = (self.mixer.as_ref(), &self.history.1);
        let (packed, mixer) = scene.pack_aligned(&chosen.trial, &chosen.layout, history, mixer)?;
        let mut trial = chosen.trial.clone();
        trial.set_apart(&packed);
        Some((chosen.size.others() + packed.len(), trial, mixer))
    }

    /// Returns the packed bytes of a trial's literals.
    fn literal_bytes(&self, trial: &Trial) -> usize {
        let literals = trial.streams.stream(StreamKind::Literals);
        let apart = trial.streams.stream(StreamKind::PackedLiterals).len();
        if literals.is_empty() {
            return apart;
        }
        // Among those of other members they are shorter.
        let alone = packer(self.effort).pack(&[literals]).len();
        alone - (alone / 16).min(SHARED_BYTES)
    }

    /// Returns the shortest candidate of copies with edits; `None` without edits.
    fn shortest_edited(&mut self, scene: &Scene<'_>, copies: &[EditedCopy]) -> Option<Candidate> {
        let (base, target_len) = (scene.base.file, scene.target.file.len());
        if copies.iter().all(|copy| copy.edits.is_empty()) {
            return None;
        }
        let are_short = target_len / copies.len() < SHORT_EDITED;
        let mut shortest: Option<Candidate> = None;
        for least in if are_short { LEAST_OF_SHORT } else { LEAST_EDITED } {
            let Some(layout) = pairing::layout(base, target_len, copies, least) else { break };
            let other = self.pruner.write(scene, &self.history.1, layout);
            if shortest.as_ref().is_some_and(|found| found.size.bytes() <= other.size.bytes()) {
                break;
            }
            shortest = Some(other);
            if target_len > LONG_TARGET {
                break;
            }
        }
        shortest
    }

    fn candidate_of(
        &mut self,
        scene: &Scene<'_>,
        copies: Vec<BaseCopy>,
        savings: &mut Vec<Option<usize>>,
    ) -> Candidate {
        let layout = Layout::plain(copies);
        let (_, trial) = Self::best_of_scene(scene, &layout, savings);
        self.pruner.candidate(scene, &self.history.1, layout, trial)
    }

    /// Searches each function in the one that it was, and pairs their instructions, if `copies` are
    /// so short on average that this may be better.
    ///
    /// Both sides are labelled whole, so large programs are left out.
    fn copies_of_functions(
        &mut self,
        scene: &Scene<'_>,
        labelled: &LabelledSides,
        copies: &[BaseCopy],
    ) -> (Option<Vec<BaseCopy>>, Vec<EditedCopy>) {
        let (base, target) = (&scene.base, &scene.target);
        let copied_bytes: usize = copies.iter().map(|copy| copy.len).sum();
        let average = copied_bytes / copies.len().max(1);
        if copies.len() < FEW_COPIES || average >= LONG_EDITED {
            return (None, Vec::new());
        }
        let old = Reading { raw: base.file, read: &labelled.base };
        let new = Reading { raw: target.file, read: &labelled.target };
        let ranges =
            |side: &FieldIndex<'_>| functions::ranges(side.file, &side.image, side.object.as_ref());
        let (old_ranges, new_ranges) = (&ranges(base)[..], &ranges(target)[..]);
        let mut found = None;
        if average < LONG_COPIES {
            let pairs = pair_functions((old.read, old_ranges), (new.read, new_ranges));
            found =
                (!pairs.is_empty()).then(|| self.matcher.copies_within(old, new, &pairs, copies));
        }
        let set = InstructionSet::of_file(base.file);
        let base = Program { raw: old.raw, labelled: old.read, functions: old_ranges, set };
        let target = Program { raw: new.raw, labelled: new.read, functions: new_ranges, set };
        let edited = pairing::edited_copies(base, target, found.as_deref().unwrap_or(copies));
        (found, edited)
    }

    /// Packs the literals of the chosen way on their own, if that makes them shorter.
    fn with_literals_apart(&self, scene: &Scene<'_>, chosen: Candidate) -> Trial {
        let mut trial = chosen.trial;
        // The estimate does not know the mixer.
        let is_mixed = self.effort == Effort::Best;
        if !is_mixed && !chosen.size.may_be_apart() {
            return trial;
        }
        let quick_frame = if self.effort == Effort::Fast { None } else { chosen.size.apart() };
        let coding = Coding { level: level(self.effort), quick_frame };
        let Some(apart) = scene.pack_literals(&trial, &chosen.layout, &self.history.1, coding)
        else {
            return trial;
        };
        let literals = trial.streams.stream(StreamKind::Literals);
        let pays = match chosen.size.surely_pays(apart.len()) {
            Some(pays) if !is_mixed => pays,
            _ => TrialSize::pays(apart.len(), packer(self.effort).pack(&[literals]).len()),
        };
        if pays {
            trial.set_apart(&apart);
        }
        trial
    }

    /// Returns the shortest way to write a file with offsets, and its estimated bytes.
    ///
    /// `plain` are the copies that were found without the view.
    fn search_offsets(&mut self, scene: &Scene<'_>, plain: &[BaseCopy]) -> (usize, Trial) {
        let mut savings = savings(self.effort);
        let mut layout = Layout::plain(plain.to_vec());
        let mut best = Self::best_of_scene(scene, &layout, &mut savings);
        for _ in 1..rounds(self.effort) {
            layout = Layout::plain(self.copies_by_address(scene, &layout.copies).0);
            let found = Self::best_of_scene(scene, &layout, &mut savings);
            if found.0 < best.0 {
                best = found;
            }
        }
        best
    }

    /// Searches by the addresses that `known` copies give. Also returns both sides with labels of
    /// these addresses, if they are short.
    fn copies_by_address(
        &mut self,
        scene: &Scene<'_>,
        known: &[BaseCopy],
    ) -> (Vec<BaseCopy>, Option<LabelledSides>) {
        let (base, target) = (&scene.base, &scene.target);
        let back = Projection::new(known, &base.image, &target.image);
        let labels = (Labels::Address, Labels::Projected(back));
        let labelled = LabelledSides::read((base, &labels.0), (target, &labels.1), scene.host);
        let copies = self.copies_of_scene(scene, labels, labelled.as_ref(), known);
        (copies, labelled)
    }

    fn copies_of_scene(
        &mut self,
        scene: &Scene<'_>,
        (base_labels, target_labels): (Labels, Labels),
        labelled: Option<&LabelledSides>,
        known: &[BaseCopy],
    ) -> Vec<BaseCopy> {
        let search = SceneSearch {
            base: (&scene.base, base_labels),
            target: (&scene.target, target_labels),
            labelled,
            known,
            depth: self.effort.search_depth(),
            host: scene.host,
        };
        search.copies(&mut self.matcher.base_seeds)
    }

    /// Returns the shortest way to write given copies in a view with fields, and its estimated
    /// bytes.
    ///
    /// Tries `savings` and leaves the best of them: other copies of the same file have the same one
    /// in nearly all programs.
    fn best_of_scene(
        scene: &Scene<'_>,
        layout: &Layout,
        savings: &mut Vec<Option<usize>>,
    ) -> (usize, Trial) {
        let survey = scene.survey(layout);
        let mut ways: Vec<(Option<usize>, Vec<Override>)> = Vec::new();
        for &saving in savings.iter() {
            // Files with few moved references have the same overrides, or none, for each saving.
            let overrides = survey.overrides(saving);
            if ways.iter().all(|(_, other)| *other != overrides) {
                ways.push((saving, overrides));
            }
        }
        let trials = host::map(scene.host, ways.len(), |number| {
            let trial = scene.write(layout, &survey, ways[number].1.clone());
            let bytes = trial.streams.coded_len(&mut Packer::new(JUDGE_LEVEL));
            (bytes, number, trial)
        });
        // Of equals, the first.
        let best = trials.into_iter().min_by_key(|trial| trial.0);
        let (bytes, number, trial) = best.expect("every effort has a saving");
        *savings = vec![ways[number].0];
        (bytes, trial)
    }

    /// Replaces the patches of the way that was chosen by a code, if that is shorter.
    fn correct(&mut self, trial: &mut Trial, target: &[u8]) {
        trial.set_corrected(target, &mut self.corrections.1, &mut self.judge);
    }

    /// Estimates the bytes of a trial.
    fn judge(&mut self, trial: &Trial) -> usize {
        trial.streams.coded_len(&mut self.judge)
    }

    fn keep(&mut self, trial: &Trial) -> MemberStats {
        self.streams.append(&trial.streams);
        let (noted, history) = &mut self.history;
        *noted = self.streams.stream(StreamKind::PackedLiterals).len();
        history.add(&trial.apart);
        self.corrections.0 = self.streams.stream(StreamKind::Codes).len();
        trial.stats
    }
}

/// Fewer patched bytes are not worth a second trial.
const LEAST_RENAMED: u64 = 256;

/// Most bytes that literals save among those of other members.
const SHARED_BYTES: usize = 1 << 10;

/// An aligned code saves at least one byte in this many of its own: a receiver takes twice as long for
/// it as for mixed literals.
const LEAST_ALIGNED_GAIN: usize = 64;

/// Shortest copies to keep before an aligned code, each tried if the one before paid.
const LEAST_ALIGNED: [usize; 2] = [300, 1000];

/// Shortest copies with edits to keep, each tried if the one before paid.
const LEAST_EDITED: [usize; 2] = [1, 24];

/// The same for copies that have fewer than `SHORT_EDITED` bytes on average.
const LEAST_OF_SHORT: [usize; 2] = [24, 48];
const SHORT_EDITED: usize = 100;

/// For targets of more bytes only the first length is tried: each trial reads the whole program.
const LONG_TARGET: usize = 16 << 20;

/// For targets of no more bytes all copies are tried, with and without edits.
const SHORT_TARGET: usize = 256 << 10;

/// Longer programs of x86-64 with an edit for so many copies are not tried without edits: edits won
/// in all of 25 such programs of three images.
const SURELY_EDITED: usize = 2;

/// Edits save at least one byte in this many: they take time to read.
const LEAST_GAIN: usize = 256;

/// Copies of more bytes on average cross many functions.
const LONG_COPIES: usize = 160;

/// With longer ones, edits save too little for their time.
const LONG_EDITED: usize = 1 << 10;

/// Fewer copies are not searched again.
const FEW_COPIES: usize = 64;

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
fn nearly_equal(host: &dyn Host, base: &[u8], target: &[u8]) -> Option<BaseCopy> {
    if base.len() != target.len() {
        return None;
    }
    let (mut left, chunk) = ((base.len() / 64).max(8), host::RELEASED_BYTES);
    for (base, target) in base.chunks(chunk).zip(target.chunks(chunk)) {
        let mut at = 0;
        while let Some(found) = compare::first_difference(&base[at..], &target[at..]) {
            at += found + 1;
            left = left.checked_sub(1)?;
        }
        if base.len() == chunk {
            host.release();
        }
    }
    Some(BaseCopy { target: 0, base: 0, len: target.len() })
}

/// The level of zstd that compares trials.
const JUDGE_LEVEL: i32 = 1;

/// Rounds of matching code: by content first, then by the addresses of the last round.
fn rounds(effort: Effort) -> usize {
    match effort {
        Effort::Fast => 1,
        Effort::Default => 2,
        Effort::Best => 3,
    }
}

/// Least savings of an override, in missed fields, to try; `None` writes no overrides.
fn savings(effort: Effort) -> Vec<Option<usize>> {
    match effort {
        Effort::Fast => vec![Some(3)],
        Effort::Default => vec![Some(3), None],
        Effort::Best => vec![Some(3), None, Some(2), Some(4)],
    }
}

/// Returns the packer for finished streams.
fn packer(effort: Effort) -> Packer {
    let packer = Packer::new(level(effort));
    match effort {
        Effort::Fast => packer,
        Effort::Default => packer.with_lz(),
        Effort::Best => packer.with_lz().mixing(),
    }
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
