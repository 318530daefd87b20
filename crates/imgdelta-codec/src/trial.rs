//! Encoder only: one way to write a member, with all its streams, for comparison with others.
//! Never chooses: the encoder does.

use crate::{
    corrections::{self, ExactBytes},
    group::{StreamReader, StreamWriter},
    layout::{DistancePlaces, Layout},
    literals::{self, Coding, LiteralHistory},
    map::{AddressMap, Override, Step},
    member::MemberHead,
    names::{self, NameTable},
    overrides::{AnchorFix, MapFindings},
    pieces::{Piece, PieceCutter},
    predict::{PageFlags, Prediction, Predictor},
    prefix::LiteralPrefix,
    references,
    residue::{self, PatchWriter},
    script::{self, BaseCopy},
    spelling::{self, Spelling},
    stats::MemberStats,
    stream::StreamKind,
    stretches::{kinds, stretches},
    unwind_table::UnwindTable,
};
use imgdelta_coding::{
    aligned::{Kind, MixerState},
    corrections::CorrectionState,
    pack::Packer,
};
use imgdelta_fields::{
    field_index::{FieldCache, FieldIndex},
    host::{self, Host, RELEASED_BYTES},
    object,
    view::View,
};
use imgdelta_instructions as instructions;
use std::convert::Infallible;

/// Fewer literals compress better among those of other members.
const LEAST_APART: usize = 8 << 10;

/// The same for an aligned code, which learns from the base's bytes.
pub(crate) const LEAST_ALIGNED: usize = 2 << 10;

/// Patches of fewer packed bytes are shorter among those of other members.
const LEAST_CORRECTED: usize = 128;

/// Returns the most bytes of fields that each side of a scene keeps for all trials, by its length. Of
/// long programs they would be a small part.
pub(crate) fn kept_fields(len: usize) -> usize {
    if len > 64 << 20 { 0 } else { 24 << 20 }
}

/// The streams of patches.
const PATCHES: [StreamKind; 3] =
    [StreamKind::PatchGaps, StreamKind::PatchRuns, StreamKind::PatchValues];

/// One way to write a member.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) streams: StreamWriter,
    overrides: Vec<Override>,
    is_edited: bool,
    has_table: bool,
    /// Literals that are packed on their own.
    pub(crate) apart: Vec<u8>,
    /// Bytes that no patch changes, for a code of corrections.
    exact: Option<ExactBytes>,
    kinds: Vec<(usize, Kind)>,
    /// Bytes of the base that were walked for fields.
    walked_bytes: u64,
    pub(crate) stats: MemberStats,
}

impl Trial {
    /// Replaces the literals by the same ones packed on their own.
    pub(crate) fn set_apart(&mut self, packed: &StreamWriter) {
        let head = MemberHead {
            is_packed: true,
            is_edited: self.is_edited,
            has_table: self.has_table,
            ..MemberHead::of_view(self.stats.view)
        };
        self.streams.take(StreamKind::Members);
        self.streams.byte(StreamKind::Members, head.byte());
        self.apart = self.streams.take(StreamKind::Literals);
        self.streams.append(packed);
    }

    /// Estimates the packed bytes of the patches.
    pub(crate) fn patch_bytes(&self, packer: &mut Packer) -> usize {
        PATCHES.iter().map(|kind| packer.estimate(self.streams.stream(*kind))).sum()
    }

    /// Replaces the patches of `target` by a code, which goes on with the `state` of the code before, if
    /// `packer` does not estimate that they are shorter.
    pub(crate) fn set_corrected(
        &mut self,
        target: &[u8],
        state: &mut Option<CorrectionState>,
        packer: &mut Packer,
    ) {
        let Some(exact) = &self.exact else { return };
        let bytes = self.patch_bytes(packer);
        if bytes < LEAST_CORRECTED {
            return;
        }
        let mut reader =
            StreamReader::of_some(&PATCHES.map(|kind| (kind, self.streams.stream(kind))));
        let Some(mut predicted) = residue::predicted(&mut reader, target) else { return };
        let mut after = state.clone().unwrap_or_default();
        // A literal's spelling may not lead back to its bytes: the patches of those are left.
        let mut wanted = target.to_vec();
        for at in exact.iter() {
            wanted[at] = predicted[at];
        }
        let code = after.pack(&mut predicted, &wanted, exact.words(), &self.kinds);
        let Some(code) = code.filter(|code| code.len() < bytes - bytes / 8) else { return };
        for kind in PATCHES {
            self.streams.take(kind);
        }
        corrections::write(&mut self.streams, &code, state.is_some());
        let mut patches = PatchWriter::default();
        patches.add(&mut self.streams, 0, &wanted, target);
        patches.finish(&mut self.streams);
        let head = self.streams.take(StreamKind::Members)[0];
        self.streams.byte(StreamKind::Members, MemberHead::corrected(head));
        *state = Some(after);
    }
}

/// The estimated packed bytes of a trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrialSize {
    /// All streams but the literals.
    others: usize,
    /// The literals among those of other members.
    literals: usize,
    /// The literals on their own.
    apart: Option<usize>,
}

impl TrialSize {
    /// True if literals of these packed lengths are shorter on their own.
    ///
    /// Among those of other members they would be a little shorter than `literals`.
    pub(crate) fn pays(apart: usize, literals: usize) -> bool {
        apart < literals - literals / 64
    }

    /// True if the literals may be shorter on their own once they are packed for good: a low level
    /// uses what is before them less.
    pub(crate) fn may_be_apart(&self) -> bool {
        self.apart.is_some_and(|apart| apart < self.literals + self.literals / 4)
    }

    /// Returns if literals that take `apart` bytes on their own, packed for good, are shorter so;
    /// `None` if only packing the others for good shows it.
    ///
    /// Good packing takes nearly as much time as all other work. It makes the literals of programs
    /// shorter by a tenth to a fifth, and never longer.
    pub(crate) fn surely_pays(&self, apart: usize) -> Option<bool> {
        if self.is_apart() || apart < self.literals / 4 * 3 {
            return Some(true);
        }
        (apart >= self.literals).then_some(false)
    }

    /// Returns the bytes that all streams take at least once they are packed for good.
    pub(crate) fn least_bytes(&self) -> usize {
        self.others + self.apart.unwrap_or(self.literals).min(self.literals) / 4 * 3
    }

    /// True if the literals are shorter on their own.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart.is_some_and(|apart| Self::pays(apart, self.literals))
    }

    /// Returns the bytes of the literals on their own.
    pub(crate) fn apart(&self) -> Option<usize> {
        self.apart
    }

    /// Returns the bytes of all streams but the literals.
    pub(crate) fn others(&self) -> usize {
        self.others
    }

    /// Returns the bytes of all streams, with the literals in their shorter form.
    pub(crate) fn bytes(&self) -> usize {
        let literals = self.apart.filter(|_| self.is_apart()).unwrap_or(self.literals);
        self.others + literals
    }
}

/// Writes a member without fields.
pub(crate) fn plain(base: &[u8], target: &[u8], copies: &[BaseCopy], keeps_exact: bool) -> Trial {
    write_plain(View::Plain, base, target, copies, keeps_exact)
}

/// Writes a text whose names are replaced.
pub(crate) fn with_names(base: &[u8], target: &[u8], copies: &[BaseCopy]) -> Trial {
    write_plain(View::Names, base, target, copies, false)
}

fn write_plain(
    view: View,
    base: &[u8],
    target: &[u8],
    copies: &[BaseCopy],
    keeps_exact: bool,
) -> Trial {
    let layout = Layout::plain(copies.to_vec());
    let mut trial = begin((view, false), target, &layout);
    let mut table = (view == View::Names).then(|| NameTable::new(target.len()));
    let mut exact = keeps_exact.then(|| ExactBytes::new(target.len()));
    let (mut cutter, mut patches) = (PieceCutter::default(), PatchWriter::default());
    if table.is_some() {
        cutter = cutter.between_names(base);
    }
    let mut bytes = Vec::new();
    while let Some(piece) = cutter.next(copies, target.len(), None) {
        let wanted = &target[piece.target.clone()];
        lay_out(&piece, base, wanted, &layout, &mut bytes);
        for range in piece.literals(copies) {
            trial.streams.bytes(StreamKind::Literals, &bytes[range.clone()]);
            if let Some(exact) = &mut exact {
                exact.add(piece.target.start + range.start, range.len());
            }
        }
        if let Some(table) = &mut table {
            for (copy, part) in piece.copies(copies) {
                let text = &base[copy.base..copy.base_end()];
                for name in names::names(text, part) {
                    let at = copy.target + name.start - piece.target.start;
                    let place = at..at + name.len();
                    table.replace(&mut bytes[place.clone()]);
                    table.learn(&text[name], &wanted[place]);
                }
            }
        }
        patches.add(&mut trial.streams, piece.target.start, &bytes, wanted);
    }
    trial.stats.patched_bytes = patches.finish(&mut trial.streams);
    (trial.exact, trial.kinds) = (exact, corrections::plain_kinds(target.len()));
    trial
}

/// Writes a member's first byte and its script.
fn begin((view, has_table): (View, bool), target: &[u8], layout: &Layout) -> Trial {
    let mut streams = StreamWriter::default();
    let (copies, is_edited) = (layout.copies.as_slice(), layout.is_edited);
    let is_whole = !is_edited && !has_table && script::is_whole(copies, target.len());
    let head = MemberHead { is_whole, is_edited, has_table, ..MemberHead::of_view(view) };
    streams.byte(StreamKind::Members, head.byte());
    if is_edited {
        streams.append(&layout.script);
    } else {
        script::write(&mut streams, copies, target.len());
    }
    let literal_bytes = script::literal_bytes(copies, target.len()) as u64;
    let stats = MemberStats {
        view,
        copied_bytes: target.len() as u64 - literal_bytes,
        literal_bytes,
        patched_bytes: 0,
        missed_fields: 0,
    };
    let (overrides, apart, kinds) = (Vec::new(), Vec::new(), Vec::new());
    Trial {
        streams,
        overrides,
        is_edited,
        has_table,
        apart,
        exact: None,
        kinds,
        walked_bytes: 0,
        stats,
    }
}

/// Replaces `bytes` by a piece of the target as a decoder lays it out.
fn lay_out(piece: &Piece, base: &[u8], wanted: &[u8], layout: &Layout, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend_from_slice(wanted);
    for (copy, part) in piece.copies(&layout.copies) {
        let to = copy.target + part.start - piece.target.start;
        bytes[to..to + part.len()].copy_from_slice(layout.source(base, copy, part));
    }
    layout.lay_over(bytes, piece.target.start);
}

/// Base and target in a view with fields.
pub(crate) struct Scene<'a> {
    view: View,
    /// The target's unwind table, if it is computed.
    table: Option<UnwindTable>,
    pub(crate) host: &'a dyn Host,
    /// True if trials note which bytes are exact, for a code of corrections.
    keeps_exact: bool,
    pub(crate) base: FieldIndex<'a>,
    pub(crate) target: FieldIndex<'a>,
}

impl<'a> Scene<'a> {
    /// Reads both sides; `None` if one of them does not suit the view.
    pub(crate) fn open(
        view: View,
        base: &'a [u8],
        target: &'a [u8],
        host: &'a dyn Host,
    ) -> Option<Self> {
        Self::with_table(view, base, target, None, host)
    }

    /// Does the same with an unwind table that is computed, of which the target has another one.
    pub(crate) fn with_table(
        view: View,
        base: &'a [u8],
        target: &'a [u8],
        table: Option<UnwindTable>,
        host: &'a dyn Host,
    ) -> Option<Self> {
        if view == View::Elf {
            // Most files are not programs: the headers decide before the files are read.
            view.image_of(target)?;
        }
        let sides = [base, target];
        let open = |number: usize| {
            let file = sides[number];
            FieldIndex::open((view, table.is_some()), file, kept_fields(file.len()), host)
        };
        let mut sides = host::map(host, 2, open).into_iter();
        let (base, target) = (sides.next()??, sides.next()??);
        let are_alike = base.image.machine == target.image.machine
            && base.image.is_object() == target.image.is_object();
        are_alike.then_some(Self { view, table, host, keeps_exact: false, base, target })
    }

    /// Has trials note which bytes are exact, or not.
    pub(crate) fn keeping_exact(self, keeps_exact: bool) -> Self {
        Self { keeps_exact, ..self }
    }

    /// Finds the errors of the plain map of a layout's copies.
    pub(crate) fn survey(&self, layout: &Layout) -> Survey {
        let copies: &[BaseCopy] = &layout.placed();
        let (base, target) = (&self.base.image, &self.target.image);
        let steps = AddressMap::plain_steps(copies, base, target);
        let map = AddressMap::new(&steps, &[], base);
        let mut findings = self.findings(copies, &map, &[]);
        let fixes = findings.anchor_fixes(&self.base.anchors, &map);
        if !fixes.is_empty() {
            let overrides: Vec<Override> = fixes.iter().map(|fix| fix.right).collect();
            let map = AddressMap::new(&steps, &overrides, base);
            // Before the next ones: those of a large program take several hundred megabytes.
            drop(findings);
            findings = self.findings(copies, &map, &fixes);
        }
        let pages = findings.page_flags();
        Survey { steps, findings, pages }
    }

    fn findings(&self, copies: &[BaseCopy], map: &AddressMap, fixes: &[AnchorFix]) -> MapFindings {
        let pages = PageFlags::default();
        let predictor = Predictor::new(&self.base, &self.target.image, map, &pages);
        let mut fields = FieldCache::new(&self.base);
        let target = self.target.file;
        MapFindings::collect(&predictor, &mut fields, fixes, copies, target, self.host)
    }

    /// Writes the member with some of the overrides that its survey found.
    pub(crate) fn write(
        &self,
        layout: &Layout,
        survey: &Survey,
        overrides: Vec<Override>,
    ) -> Trial {
        let copies = layout.copies.as_slice();
        let (base, target) = (self.base.file, self.target.file);
        let mut trial = begin((self.view, self.table.is_some()), target, layout);
        let streams = &mut trial.streams;
        let mut header = Vec::new();
        if self.view == View::Elf {
            let len = self.target.image.header_len;
            header = object::headers(target).unwrap_or_else(|| target[..len].to_vec());
            references::write_header(streams, base, &header);
            if let Some(table) = &self.table {
                table.write(streams);
            }
        }
        write_overrides(streams, &overrides);
        survey.pages.write(streams);
        let map = AddressMap::new(&survey.steps, &overrides, &self.base.image);
        let image = &self.target.image;
        let predictor = Predictor::new(&self.base, image, &map, &survey.pages);
        let mut fields = FieldCache::new(&self.base);
        let (mut misses, mut patches) = (MissWriter::default(), PatchWriter::default());
        let places = DistancePlaces { base: &self.base.image, target: image, map: &map };
        let mut distance_misses = MissWriter::default();
        let mut exact = self.keeps_exact.then(|| ExactBytes::new(target.len()));
        let (mut cutter, mut bytes, mut unreleased) = (PieceCutter::default(), Vec::new(), 0);
        while let Some(piece) = cutter.next(copies, target.len(), Some(&mut fields)) {
            let start = piece.target.start;
            let wanted = &target[piece.target.clone()];
            lay_out(&piece, base, wanted, layout, &mut bytes);
            for range in piece.literals(copies) {
                spelling::respell(&mut bytes, start, range, image, Spelling::Address);
            }
            for range in piece.literals(copies) {
                streams.bytes(StreamKind::Literals, &bytes[range]);
            }
            for range in piece.literals(copies) {
                if let Some(exact) = &mut exact {
                    exact.add(start + range.start, range.len());
                }
                spelling::respell(&mut bytes, start, range, image, Spelling::Distance);
            }
            for (copy, part) in piece.copies(copies).filter(|part| layout.is_placed(part.0)) {
                let infallible: Result<(), Infallible> =
                    predictor.each(&mut fields, copy, part, |field| {
                        let at = field.at - start;
                        if let Some(exact) = &mut exact {
                            exact.add_field(field.field, field.at);
                        }
                        misses.correct(streams, &field, &mut bytes[at..], &wanted[at..]);
                        Ok(())
                    });
                infallible.unwrap_or_else(|never| match never {});
            }
            let infallible: Result<(), Infallible> =
                layout.each_distance(&places, piece.target.clone(), |at, len, number| {
                    let wanted = instructions::distance(&wanted[at..], len);
                    let unused = 64 - 8 * len as u32;
                    let off = wanted.wrapping_sub(number) << unused >> unused;
                    distance_misses.note(streams, StreamKind::DistanceValues, off);
                    instructions::put_distance(&mut bytes[at..], len, wanted);
                    Ok(())
                });
            infallible.unwrap_or_else(|never| match never {});
            image.lay_headers(&header, &mut bytes, start);
            patches.add(streams, start, &bytes, wanted);
            unreleased += bytes.len();
            if unreleased >= RELEASED_BYTES {
                self.host.release();
                unreleased = 0;
            }
        }
        trial.stats.missed_fields = misses.finish(streams, StreamKind::MissGaps);
        if layout.is_edited {
            distance_misses.finish(streams, StreamKind::DistanceGaps);
        }
        trial.stats.patched_bytes = patches.finish(streams);
        trial.overrides = overrides;
        (trial.exact, trial.kinds) = (exact, kinds(image, target.len()).collect());
        trial.walked_bytes = fields.walked_bytes;
        trial
    }

    /// Returns true if a reader walks no more of the base for a trial's fields than it admits.
    pub(crate) fn is_admitted(&self, trial: &Trial) -> bool {
        // A reader's walk differs by what it keeps of the walk before.
        let limit = references::walk_limit(self.base.file.len(), self.target.file.len());
        trial.walked_bytes < limit / 2
    }

    /// Estimates the bytes of a trial with `packer`, at its level.
    pub(crate) fn estimate(
        &self,
        trial: &Trial,
        layout: &Layout,
        history: &LiteralHistory,
        packer: &mut Packer,
        coding: Coding,
    ) -> TrialSize {
        let mut estimate = |stream| packer.estimate(trial.streams.stream(stream));
        let others = StreamKind::ALL.into_iter().filter(|kind| *kind != StreamKind::Literals);
        TrialSize {
            others: others.map(&mut estimate).sum(),
            literals: estimate(StreamKind::Literals),
            apart: self.pack_literals(trial, layout, history, coding).map(|packed| packed.len()),
        }
    }

    /// Packs a trial's literals on their own; `None` if they are too few, or of another view.
    pub(crate) fn pack_literals(
        &self,
        trial: &Trial,
        layout: &Layout,
        history: &LiteralHistory,
        coding: Coding,
    ) -> Option<StreamWriter> {
        let literals = trial.streams.stream(StreamKind::Literals);
        if self.view != View::Elf || literals.len() < LEAST_APART {
            return None;
        }
        let (base, target_image) = (&self.base, &self.target.image);
        let steps = AddressMap::plain_steps(&layout.placed(), &base.image, target_image);
        let map = AddressMap::new(&steps, &trial.overrides, &base.image);
        let taken = layout.taken();
        let prefix = LiteralPrefix { base, taken, target_image, map: &map };
        let mut fields = FieldCache::new(base);
        let mut packed = StreamWriter::default();
        literals::pack(&mut packed, history, &prefix, &mut fields, literals, coding);
        Some(packed)
    }
}

impl Scene<'_> {
    /// Packs a trial's literals as an aligned code, which goes on with a group's `mixer`, and returns
    /// the mixer state behind it, too. `None` if they are too few, of another view, or no reader would
    /// unpack them.
    pub(crate) fn pack_aligned(
        &self,
        trial: &Trial,
        layout: &Layout,
        history: &LiteralHistory,
        mixer: Option<&MixerState>,
    ) -> Option<(StreamWriter, MixerState)> {
        let literals = trial.streams.stream(StreamKind::Literals);
        if self.view != View::Elf || literals.len() < LEAST_ALIGNED {
            return None;
        }
        let (base, target_image) = (&self.base, &self.target.image);
        let steps = AddressMap::plain_steps(&layout.placed(), &base.image, target_image);
        let map = AddressMap::new(&steps, &trial.overrides, &base.image);
        let inputs = LiteralPrefix { base, taken: layout.taken(), target_image, map: &map };
        let taken = history.taken_by(literals.len());
        let reference = inputs.reference(&mut FieldCache::new(base), taken)?;
        let stretches = stretches(layout, self.target.file.len(), target_image, &reference);
        let mut after = mixer.cloned().unwrap_or_default();
        let code = after.pack(&reference.bytes, &stretches, literals)?;
        let mut packed = StreamWriter::default();
        literals::write_aligned(&mut packed, taken.len(), &code.bytes, mixer.is_some());
        Some((packed, after))
    }
}

/// Errors of predictions, collected field by field.
#[derive(Debug, Default)]
struct MissWriter {
    /// Correct predictions before each wrong one, and since the last.
    gaps: Vec<u64>,
    gap: u64,
}

impl MissWriter {
    /// Writes the error of a prediction, and corrects the field at the front of `bytes`.
    #[inline]
    fn correct(
        &mut self,
        streams: &mut StreamWriter,
        field: &Prediction,
        bytes: &mut [u8],
        wanted: &[u8],
    ) {
        let form = field.field.form;
        let (number, wanted) = (form.number(bytes), form.number(wanted));
        let off = form.folded(wanted.wrapping_sub(number).wrapping_sub(field.more));
        self.note(streams, StreamKind::MissValues, off);
        form.add(bytes, field.more.wrapping_add(off));
    }

    /// Writes the error of a prediction, which may be 0.
    #[inline]
    fn note(&mut self, streams: &mut StreamWriter, values: StreamKind, off: i64) {
        if off == 0 {
            self.gap += 1;
        } else {
            self.gaps.push(std::mem::take(&mut self.gap));
            streams.signed(values, off);
        }
    }

    /// Writes the places of all errors, and returns their number.
    fn finish(self, streams: &mut StreamWriter, gaps: StreamKind) -> u64 {
        streams.number(gaps, self.gaps.len() as u64);
        for &gap in &self.gaps {
            streams.number(gaps, gap);
        }
        self.gaps.len() as u64
    }
}

/// The corrections that a scene's copies need.
#[derive(Debug)]
pub(crate) struct Survey {
    steps: Vec<Step>,
    findings: MapFindings,
    pages: PageFlags,
}

impl Survey {
    /// Returns overrides that save at least `saving` misses each; `None` stands for none.
    pub(crate) fn overrides(&self, saving: Option<usize>) -> Vec<Override> {
        saving.map_or(Vec::new(), |saving| self.findings.overrides(saving))
    }
}

fn write_overrides(streams: &mut StreamWriter, overrides: &[Override]) {
    streams.number(StreamKind::OverrideGaps, overrides.len() as u64);
    let (mut end, mut shift) = (0, 0_i64);
    for item in overrides {
        streams.number(StreamKind::OverrideGaps, u64::from(item.start - end));
        streams.number(StreamKind::OverrideLengths, item.len.into());
        streams.signed(StreamKind::OverrideShifts, i64::from(item.shift) - shift);
        (end, shift) = (item.start + item.len, item.shift.into());
    }
}
