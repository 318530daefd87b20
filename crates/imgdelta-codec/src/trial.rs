//! Encoder only: one way to write a member, with all its streams, for comparison with others.
//! Never chooses: the encoder does.

use crate::{
    elf::MemoryImage,
    fields::Fields,
    group::StreamWriter,
    literals::{self, LiteralHistory},
    map::{AddressMap, Override, Step},
    member::MemberHead,
    normalise,
    overrides::{AnchorFix, MapFindings},
    pack::Packer,
    predict::{PageFlags, Predictor},
    prefix::LiteralPrefix,
    references, residue,
    script::{self, BaseCopy},
    spelling::{self, Spelling},
    stats::MemberStats,
    stream::StreamKind,
    view::View,
};
use std::convert::Infallible;

/// Fewer literals compress better among those of other members.
const LEAST_APART: usize = 8 << 10;

/// One way to write a member.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) streams: StreamWriter,
    overrides: Vec<Override>,
    /// Literals that are packed on their own.
    pub(crate) apart: Vec<u8>,
    pub(crate) stats: MemberStats,
}

/// Writes a member without fields.
pub(crate) fn plain(base: &[u8], target: &[u8], copies: &[BaseCopy]) -> Trial {
    let (mut trial, laid_out) = begin(View::Plain, base, target, copies, None);
    let patched_bytes = residue::write(&mut trial.streams, &laid_out, target);
    trial.stats.patched_bytes = patched_bytes as u64;
    trial
}

/// Writes the parts that all views share, and lays out the target as a decoder does.
fn begin(
    view: View,
    base: &[u8],
    target: &[u8],
    copies: &[BaseCopy],
    image: Option<&MemoryImage>,
) -> (Trial, Vec<u8>) {
    let mut streams = StreamWriter::default();
    let is_whole = script::is_whole(copies, target.len());
    streams.byte(StreamKind::Members, MemberHead { view, is_whole, is_packed: false }.byte());
    let mut laid_out = target.to_vec();
    let mut copied_bytes = 0;
    for copy in copies {
        laid_out[copy.target..copy.target_end()].copy_from_slice(&base[copy.base..copy.base_end()]);
        copied_bytes += copy.len as u64;
    }
    if let Some(image) = image {
        spelling::respell(&mut laid_out, copies, image, Spelling::Address);
        script::write(&mut streams, copies, &laid_out);
        spelling::respell(&mut laid_out, copies, image, Spelling::Distance);
    } else {
        script::write(&mut streams, copies, target);
    }
    let stats = MemberStats {
        view,
        copied_bytes,
        literal_bytes: target.len() as u64 - copied_bytes,
        patched_bytes: 0,
        missed_fields: 0,
        estimated_bytes: 0,
    };
    (Trial { streams, overrides: Vec::new(), apart: Vec::new(), stats }, laid_out)
}

/// Base and target in a view with fields.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    view: View,
    pub(crate) base: &'a [u8],
    pub(crate) target: &'a [u8],
    base_image: MemoryImage,
    target_image: MemoryImage,
    base_fields: Fields,
}

impl<'a> Scene<'a> {
    /// Reads both sides; `None` if one of them does not suit the view.
    pub(crate) fn open(view: View, base: &'a [u8], target: &'a [u8]) -> Option<Self> {
        let target_image = match view {
            View::Elf => MemoryImage::parse(target, target.len())?,
            _ => MemoryImage::flat(target.len())?,
        };
        let (base_image, base_fields) = references::read_base(view, base)?;
        (base_image.machine == target_image.machine).then_some(Self {
            view,
            base,
            target,
            base_image,
            target_image,
            base_fields,
        })
    }

    /// Returns both sides with each field replaced by a hash of the bytes it refers to.
    pub(crate) fn by_content(&self) -> (Vec<u8>, Vec<u8>) {
        let old = normalise::by_content(self.base, &self.base_image, &self.base_fields);
        let fields = self.target_fields();
        (old, normalise::by_content(self.target, &self.target_image, &fields))
    }

    /// Returns both sides with each field replaced by its target's address in the base.
    pub(crate) fn by_address(&self, copies: &[BaseCopy]) -> (Vec<u8>, Vec<u8>) {
        let (image, base) = (&self.target_image, &self.base_image);
        let old = normalise::by_address(self.base, &self.base_fields);
        let fields = self.target_fields();
        (old, normalise::projected(self.target, image, &fields, base, copies))
    }

    /// Returns the target's fields; keeping them would cost half the target's length.
    fn target_fields(&self) -> Fields {
        references::fields(self.view, self.target, &self.target_image)
    }

    /// Finds the errors of the plain map of `copies`.
    pub(crate) fn survey(&self, copies: &[BaseCopy]) -> Survey {
        let steps = AddressMap::plain_steps(copies, &self.base_image, &self.target_image);
        let map = AddressMap::new(&steps, &[], &self.base_image);
        let mut findings = self.findings(copies, &map, &[]);
        let fixes = findings.anchor_fixes(&self.base_fields, &map);
        if !fixes.is_empty() {
            let overrides: Vec<Override> = fixes.iter().map(|fix| fix.right).collect();
            let map = AddressMap::new(&steps, &overrides, &self.base_image);
            findings = self.findings(copies, &map, &fixes);
        }
        let pages = findings.page_flags();
        Survey { steps, findings, pages }
    }

    fn findings(&self, copies: &[BaseCopy], map: &AddressMap, fixes: &[AnchorFix]) -> MapFindings {
        let pages = PageFlags::default();
        let predictor = self.predictor(map, &pages);
        MapFindings::collect(&predictor, fixes, copies, self.base, self.target)
    }

    /// Writes the member with overrides that save at least `saving` misses each; `None`: without.
    pub(crate) fn write(
        &self,
        copies: &[BaseCopy],
        survey: &Survey,
        saving: Option<usize>,
    ) -> Trial {
        let overrides = saving.map_or(Vec::new(), |saving| survey.findings.overrides(saving));
        let image = Some(&self.target_image);
        let (mut trial, mut laid_out) = begin(self.view, self.base, self.target, copies, image);
        let streams = &mut trial.streams;
        let mut header = &self.target[..0];
        if self.view == View::Elf {
            header = &self.target[..self.target_image.header_len];
            streams.number(StreamKind::Headers, header.len() as u64);
            let padded = self.base.iter().copied().chain(std::iter::repeat(0));
            header
                .iter()
                .zip(padded)
                .for_each(|(new, old)| streams.byte(StreamKind::Headers, new ^ old));
        }
        write_overrides(streams, &overrides);
        survey.pages.write(streams);
        let map = AddressMap::new(&survey.steps, &overrides, &self.base_image);
        let predictor = self.predictor(&map, &survey.pages);
        trial.stats.missed_fields = self.write_misses(streams, &predictor, copies, &mut laid_out);
        laid_out[..header.len()].copy_from_slice(header);
        trial.stats.patched_bytes = residue::write(streams, &laid_out, self.target) as u64;
        trial.overrides = overrides;
        trial
    }

    /// Packs a trial's literals on their own, if that makes them shorter.
    pub(crate) fn pack_literals(
        &self,
        trial: &mut Trial,
        copies: &[BaseCopy],
        history: &LiteralHistory,
        packer: &mut Packer,
        level: i32,
    ) {
        let literals = trial.streams.stream(StreamKind::Literals);
        if self.view != View::Elf || literals.len() < LEAST_APART {
            return;
        }
        let steps = AddressMap::plain_steps(copies, &self.base_image, &self.target_image);
        let map = AddressMap::new(&steps, &trial.overrides, &self.base_image);
        let prefix = LiteralPrefix {
            base: self.base,
            copies,
            base_image: &self.base_image,
            target_image: &self.target_image,
            fields: &self.base_fields,
            map: &map,
        };
        let mut packed = StreamWriter::default();
        literals::pack(&mut packed, history, &prefix, literals, level);
        // Among those of other members they would be a little shorter than alone.
        let shared = packer.pack(&[literals]).len();
        if packed.len() < shared - shared / 64 {
            let head = MemberHead { view: self.view, is_whole: false, is_packed: true };
            trial.streams.take(StreamKind::Members);
            trial.streams.byte(StreamKind::Members, head.byte());
            trial.apart = trial.streams.take(StreamKind::Literals);
            trial.streams.append(&packed);
        }
    }

    fn predictor<'b>(&'b self, map: &'b AddressMap, pages: &'b PageFlags) -> Predictor<'b> {
        Predictor::new(&self.base_image, &self.target_image, &self.base_fields, map, pages)
    }

    /// Writes the errors of predictions, and corrects the fields of `laid_out`.
    fn write_misses(
        &self,
        streams: &mut StreamWriter,
        predictor: &Predictor<'_>,
        copies: &[BaseCopy],
        laid_out: &mut [u8],
    ) -> u64 {
        let (mut gaps, mut gap) = (Vec::new(), 0_u64);
        let infallible: Result<(), Infallible> = predictor.each(copies, |field| {
            let form = field.field.form;
            let number = form.number(&laid_out[field.at..]);
            let wanted = form.number(&self.target[field.at..]);
            let off = form.folded(wanted.wrapping_sub(number).wrapping_sub(field.more));
            if off == 0 {
                gap += 1;
            } else {
                gaps.push(std::mem::take(&mut gap));
                streams.signed(StreamKind::MissValues, off);
            }
            form.add(&mut laid_out[field.at..], field.more.wrapping_add(off));
            Ok(())
        });
        infallible.unwrap_or_else(|never| match never {});
        streams.number(StreamKind::MissGaps, gaps.len() as u64);
        for &gap in &gaps {
            streams.number(StreamKind::MissGaps, gap);
        }
        gaps.len() as u64
    }
}

/// The corrections that a scene's copies need.
#[derive(Debug)]
pub(crate) struct Survey {
    steps: Vec<Step>,
    findings: MapFindings,
    pages: PageFlags,
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
