//! A plan carried out: header columns, origins and groups of each layer that is rebuilt.
//!
//! Layers, and groups within them, are made side by side under a memory budget, in an order and with
//! bytes that depend on the images alone. Finished groups go to a scratch file. Never decides.

mod blob;
mod envelopes;
mod frames;
mod layout;
mod pieces;
mod windows;

use crate::{
    draft::{Draft, GroupDraft, MemberCost, RecipeDraft},
    plan::{Plan, Preset, Way},
    sources::{Choice, Content},
};
use frames::Frames;
use imgdelta_apply::delta::Envelope;
use imgdelta_codec::{Effort, GroupEncoder};
use imgdelta_core::{
    Error, Result,
    parallel::{Budget, Workers},
    progress::{Progress, Stage},
    scratch::Scratch,
};
use imgdelta_format::recipe::{
    Closed, Group, Member, Nested, Origin, Recipe, Source, StreamName, is_length_told,
};
use imgdelta_image::{
    image,
    index::Index,
    volume::{Space, Spill},
};
use layout::{Layout, Stretch, stretches};
use pieces::{Cutter, Piece, Target};
use std::{cmp::Reverse, collections::HashSet, ops::Range};

/// A layer on its way: all but what the workers make.
struct Layer<'a> {
    plan: &'a Plan<'a>,
    ordinal: u32,
    index: &'a Index,
    choices: &'a [Choice],
    layout: Layout,
    space: Space,
    target: Target<'a>,
    stretches: Vec<Stretch>,
    parts: Vec<Vec<Piece>>,
}

/// What one worker does at a time.
enum Job<'a> {
    Headers(&'a Layer<'a>),
    Part(&'a Layer<'a>, &'a [Piece]),
    Envelope(&'a image::Layer),
}

enum Made {
    Headers(Frames),
    Part(Part),
    Envelope(Envelope),
}

/// Pieces matched, and not yet packed: in the scratch file, with what each put into the streams.
struct Part {
    range: Range<u64>,
    stream_bytes: Vec<u64>,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.stream_bytes.iter().sum()
    }
}

/// Which blobs a delta is to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layers {
    /// The very blobs that the target's manifest names.
    #[default]
    Exact,
    /// Their streams only: the manifest's digest is lost, and no work is spent on compression.
    Uncompressed,
}

/// How a plan is carried out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncodeOptions {
    /// Which blobs the delta is to make.
    pub layers: Layers,
    /// What the workers may take together. Beside it stand the indexes of both images.
    pub memory_bytes: u64,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { layers: Layers::Exact, memory_bytes: 400 << 20 }
    }
}

impl EncodeOptions {
    /// Sets which blobs the delta is to make.
    #[must_use]
    pub fn layers(mut self, layers: Layers) -> Self {
        self.layers = layers;
        self
    }

    /// Sets what the workers may take together.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }
}

/// Carries out a plan.
pub fn encode<'a>(
    plan: &'a Plan<'a>,
    options: &EncodeOptions,
    scratch: &Scratch,
    workers: &Workers,
    progress: &dyn Progress,
) -> Result<Draft<'a>> {
    let rebuilt: Vec<u32> = (0..)
        .zip(&plan.layers)
        .filter(|(_, way)| matches!(way, Way::Rebuilt(_)))
        .map(|(ordinal, _)| ordinal)
        .collect();
    let memory_bytes = options.memory_bytes;
    let layers = workers.map(rebuilt, |ordinal| Layer::prepare(plan, ordinal, memory_bytes))?;
    let spill = Spill::new(scratch)?;
    let budget = Budget::new(memory_bytes);
    let mut jobs: Vec<(u64, usize, Job<'_>)> = Vec::new();
    let mut envelopes: Vec<Envelope> = known_envelopes(plan, options.layers);
    let sought: Vec<usize> = match options.layers {
        Layers::Uncompressed => Vec::new(),
        Layers::Exact => {
            (0..envelopes.len()).filter(|&layer| envelopes[layer] == Envelope::Unmade).collect()
        }
    };
    for &ordinal in &sought {
        let stream_bytes = plan.target.layers[ordinal].stream_bytes;
        let layer = &plan.target.image.layers[ordinal];
        jobs.push((stream_bytes, jobs.len(), Job::Envelope(layer)));
    }
    for layer in &layers {
        let headers_bytes = layer.index.entries.len() as u64 * 512;
        jobs.push((headers_bytes, jobs.len(), Job::Headers(layer)));
        for part in &layer.parts {
            jobs.push((target_bytes(part), jobs.len(), Job::Part(layer, part)));
        }
    }
    progress.begin(Stage::Matching, jobs.iter().map(|(bytes, ..)| bytes).sum());
    // The longest first, so that no worker is left with a long one at the end.
    jobs.sort_by_key(|(bytes, ..)| Reverse(*bytes));
    let mut made = workers.map(jobs, |(bytes, number, job)| {
        progress.check()?;
        let made = match job {
            Job::Headers(layer) => Made::Headers(frames::write(layer)?),
            Job::Part(layer, pieces) => {
                let memory_bytes = pieces.iter().map(|piece| piece.memory_bytes).max();
                let _held = budget.take(memory_bytes.unwrap_or(0));
                let (loose, stream_bytes) = layer.encode(pieces, progress)?;
                Made::Part(Part { range: spill.put(&loose)?, stream_bytes })
            }
            Job::Envelope(layer) => {
                let _held = budget.take(envelopes::memory(layer));
                let (image, volume) = (&plan.target.image, plan.volume);
                let seeker = envelopes::Seeker { image, layer, volume, workers, progress };
                Made::Envelope(seeker.find()?)
            }
        };
        progress.advance(bytes);
        Ok((number, made))
    })?;
    made.sort_by_key(|(number, _)| *number);
    let mut made = made.into_iter().map(|(_, made)| made);
    for ordinal in sought {
        let Some(Made::Envelope(envelope)) = made.next() else {
            unreachable!("envelopes come first");
        };
        envelopes[ordinal] = envelope;
    }
    let mut matched = Vec::new();
    let mut groups = Vec::new();
    for (place, layer) in layers.into_iter().enumerate() {
        let Some(Made::Headers(frames)) = made.next() else {
            unreachable!("a layer's headers come before its parts");
        };
        let parts = layer.parts.iter().map(|_| match made.next() {
            Some(Made::Part(part)) => part,
            _ => unreachable!("as many as the layer has parts"),
        });
        groups.extend(join(parts, plan.preset).into_iter().map(|parts| (place, parts)));
        matched.push((layer, frames));
    }
    let packed = pack(plan.preset, groups, &spill, &budget, workers, progress)?;
    let mut packed = packed.into_iter().peekable();
    let mut layers = Vec::new();
    for (place, (layer, frames)) in matched.into_iter().enumerate() {
        let own =
            std::iter::from_fn(|| packed.next_if(|(of, _)| *of == place).map(|(_, group)| group));
        layers.push(layer.finish(frames, own.collect()));
    }
    Ok(Draft::new(plan, options.layers == Layers::Exact, layers, envelopes, spill))
}

/// Envelopes that need not be sought: of layers whose very blob the base has, and those that came
/// with a recipe. [`Envelope::Unmade`] for all others.
fn known_envelopes(plan: &Plan<'_>, layers: Layers) -> Vec<Envelope> {
    let held: HashSet<_> =
        plan.base.image.layers.iter().map(|layer| layer.descriptor.digest).collect();
    let of_layer = |(layer, way): (&image::Layer, &Way)| {
        let blob = &layer.descriptor.digest;
        match way {
            _ if held.contains(blob) => Envelope::Base,
            Way::Known(number) if layers == Layers::Exact => {
                let envelope = plan.known[*number].envelopes.get(blob);
                // The base of those other images says nothing of ours.
                let made = envelope.filter(|envelope| **envelope != Envelope::Base);
                made.cloned().unwrap_or(Envelope::Unmade)
            }
            _ => Envelope::Unmade,
        }
    };
    plan.target.image.layers.iter().zip(&plan.layers).map(of_layer).collect()
}

/// Joins parts to groups: until there is enough to pack well.
fn join(parts: impl Iterator<Item = Part>, preset: Preset) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    let mut filled = 0;
    for part in parts {
        if groups.is_empty() || filled + part.bytes() > group_stream_bytes(preset) {
            groups.push(Vec::new());
            filled = 0;
        }
        filled += part.bytes();
        groups.last_mut().expect("pushed above").push(part);
    }
    groups
}

/// A packed group: its bytes, and what each of its pieces has of them.
struct Packed {
    range: Range<u64>,
    shares: Vec<u64>,
}

/// Packs groups side by side; each keeps the number it came with.
fn pack(
    preset: Preset,
    groups: Vec<(usize, Vec<Part>)>,
    spill: &Spill,
    budget: &Budget,
    workers: &Workers,
    progress: &dyn Progress,
) -> Result<Vec<(usize, Packed)>> {
    workers.map(groups, |(place, parts)| {
        progress.check()?;
        let stream_bytes: Vec<u64> =
            parts.iter().flat_map(|part| part.stream_bytes.iter().copied()).collect();
        let _held = budget.take(stream_bytes.iter().sum::<u64>() * 2 + packing_bytes(preset));
        let mut encoder = GroupEncoder::new(effort(preset));
        for part in parts {
            encoder.append(&spill.get(part.range)?).expect("a group of our own");
        }
        let packed = encoder.finish();
        let shares = shares(packed.len() as u64, &stream_bytes);
        Ok((place, Packed { range: spill.put(&packed)?, shares }))
    })
}

fn target_bytes(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.target.end - piece.target.start).sum()
}

impl<'a> Layer<'a> {
    fn prepare(plan: &'a Plan<'a>, ordinal: u32, memory_bytes: u64) -> Result<Self> {
        let index = &*plan.target.layers[ordinal as usize];
        let Way::Rebuilt(choices) = &plan.layers[ordinal as usize] else {
            unreachable!("only layers that are rebuilt are prepared");
        };
        let inner = &plan.inner[ordinal as usize];
        let layout = Layout::of(plan, choices.iter().chain(inner));
        let space = layout.space(plan)?;
        let stream = plan.volume.stream(&index.diff_id).ok_or_else(|| {
            Error::bad_input(format_args!("layer {}", index.diff_id), "its bytes are not here")
        })?;
        let target = Target { stream, parts: plan.inside.target[ordinal as usize].parts.as_ref() };
        let mut stretches = stretches(index);
        stretches.extend((0..).take(inner.len()).map(Stretch::Part));
        let cutter = Cutter {
            plan,
            ordinal,
            choices,
            layout: &layout,
            space: &space,
            target: &target,
            memory_bytes,
        };
        let parts = cutter.parts(&stretches)?;
        Ok(Self { plan, ordinal, index, choices, layout, space, target, stretches, parts })
    }

    /// Matches pieces: a loosely packed group, and what each put into its streams.
    fn encode(&self, pieces: &[Piece], progress: &dyn Progress) -> Result<(Vec<u8>, Vec<u64>)> {
        let mut encoder = GroupEncoder::new(effort(self.plan.preset));
        let (mut base, mut target) = (Vec::new(), Vec::new());
        let mut stream_bytes = Vec::with_capacity(pieces.len());
        for piece in pieces {
            progress.check()?;
            base.clear();
            base.resize(usize_of(piece.base_bytes()), 0);
            let mut rest = &mut base[..];
            for range in &piece.base {
                let (part, after) = rest.split_at_mut(usize_of(range.end - range.start));
                self.space.read_exact_at(range.start, part)?;
                rest = after;
            }
            target.clear();
            target.resize(usize_of(piece.target.end - piece.target.start), 0);
            self.target.read_exact_at(piece.is_inside, piece.target.start, &mut target)?;
            let before = encoder.stream_bytes();
            encoder.member(&base, &target);
            stream_bytes.push((encoder.stream_bytes() - before) as u64);
        }
        Ok((encoder.finish_loose(), stream_bytes))
    }

    fn finish(self, frames: Frames, packed: Vec<Packed>) -> RecipeDraft {
        let mut pieces = self.parts.iter().flatten();
        let mut groups = Vec::new();
        let mut drafts = Vec::new();
        for Packed { range, shares } in packed {
            let (mut members, mut costs) = (Vec::new(), Vec::new());
            for bytes in shares {
                let piece = pieces.next().expect("as many shares as pieces");
                members.push(self.member(piece, &frames));
                costs.push(MemberCost { payload: piece.member.payload, bytes });
            }
            groups.push(Group { packed_bytes: range.end - range.start, members });
            drafts.push(GroupDraft { range, costs });
        }
        let target = StreamName { diff_id: self.index.diff_id, bytes: self.index.stream_bytes };
        let origins = self.origins(&frames);
        let nested = self.nested(&origins);
        let roots = self.plan.inside.target[self.ordinal as usize].roots();
        let payloads = self.stretches.iter().map(|stretch| match stretch {
            Stretch::Entry(ordinal) => Some(*ordinal),
            Stretch::Raw(_) => None,
            Stretch::Part(part) => Some(roots[*part as usize]),
        });
        let (headers, sources) = (frames.columns, self.layout.sources);
        RecipeDraft {
            ordinal: self.ordinal,
            payload_entries: payloads.collect(),
            recipe: Recipe { target, sources, headers, origins, nested, groups },
            groups: drafts,
        }
    }

    /// What is opened and closed.
    fn nested(&self, origins: &[Origin]) -> Nested {
        let inside = &self.plan.inside.target[self.ordinal as usize];
        let Some(parts) = &inside.parts else {
            return Nested { opened: self.layout.opened.clone(), ..Nested::default() };
        };
        let closed = inside.archives.iter().map(|archive| {
            let inner = archive.parts.end - archive.parts.start;
            Closed { kind: archive.kind, inner }
        });
        let entries = &parts.index.entries;
        let inner = entries.iter().zip(&origins[origins.len() - entries.len()..]);
        let told = inner.filter(|(_, origin)| is_length_told(**origin));
        Nested {
            opened: self.layout.opened.clone(),
            closed: closed.collect(),
            inner_bytes: told.map(|(entry, _)| entry.payload.end - entry.payload.start).collect(),
            coders: inside.coders.clone(),
            compressions: inside.compressions.clone(),
        }
    }

    /// A piece's member; where the headers do not lead to its base, told by address.
    fn member(&self, piece: &Piece, frames: &Frames) -> Member {
        let mut member = piece.member.clone();
        if let ([Source::Own], Stretch::Entry(ordinal)) =
            (&member.sources[..], &self.stretches[member.payload as usize])
            && !frames.has_own[*ordinal as usize]
        {
            member.sources = pieces::slices(&piece.base);
        }
        member
    }

    fn origins(&self, frames: &Frames) -> Vec<Origin> {
        let mut payload_of = vec![0_u32; self.index.entries.len()];
        let inner = &self.plan.inner[self.ordinal as usize];
        let first_inner = u32::try_from(self.stretches.len() - inner.len());
        let first_inner = first_inner.expect("payloads are limited");
        let mut origins = Vec::with_capacity(self.stretches.len());
        for (payload, stretch) in (0_u32..).zip(&self.stretches) {
            let (choice, has_own) = match stretch {
                Stretch::Raw(_) => {
                    origins.push(Origin::Rebuilt);
                    continue;
                }
                Stretch::Entry(ordinal) => {
                    payload_of[*ordinal as usize] = payload;
                    (&self.choices[*ordinal as usize], frames.has_own[*ordinal as usize])
                }
                Stretch::Part(part) => (&inner[*part as usize], false),
            };
            origins.push(match &choice.content {
                Content::Same(place) if choice.header == Some(*place) && has_own => Origin::Own,
                Content::Same(place) if self.plan.is_inside(*place) => {
                    Origin::Part(self.layout.number(self.plan, place.entry))
                }
                Content::Same(place) => Origin::Base(self.layout.payload(self.plan, *place).start),
                Content::Repeat(before) => Origin::Repeat(match stretch {
                    Stretch::Part(_) => payload - (first_inner + before),
                    _ => payload - payload_of[*before as usize],
                }),
                Content::Built(..) => Origin::Rebuilt,
                Content::Opened => Origin::Closed,
                Content::Packed(part) => Origin::Packed(self.layout.number(self.plan, *part)),
                Content::Empty => unreachable!("an entry without payload is no stretch"),
            });
        }
        origins
    }
}

/// How much a group holds: for best as much as its coder takes (docs/format-group.md, coder 3).
fn group_stream_bytes(preset: Preset) -> u64 {
    match preset {
        Preset::Fast | Preset::Default => 16 << 20,
        Preset::Best => 4 << 20,
    }
}

fn effort(preset: Preset) -> Effort {
    match preset {
        Preset::Fast => Effort::Fast,
        Preset::Default => Effort::Default,
        Preset::Best => Effort::Best,
    }
}

/// What compressing a group's streams takes at the preset's level, beside the streams.
fn packing_bytes(preset: Preset) -> u64 {
    match preset {
        Preset::Fast => 16 << 20,
        Preset::Default => 80 << 20,
        Preset::Best => 160 << 20,
    }
}

/// Shares `total` out in proportion to `weights`; the shares add up to it.
fn shares(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u64 = weights.iter().sum();
    let (mut seen, mut given) = (0, 0);
    let share = |weight: &u64| {
        seen += weight;
        let until = u128::from(total) * u128::from(seen) / u128::from(sum.max(1));
        let until = u64::try_from(until).expect("at most the total");
        let share = until - given;
        given = until;
        share
    };
    weights.iter().map(share).collect()
}

/// Lengths of what was admitted to memory.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("windows and whole files in memory fit it")
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn shares_follow_the_weights_and_lose_nothing() {
        assert_eq!(shares(100, &[1, 0, 3]), [25, 0, 75]);
        assert_eq!(shares(10, &[1, 1, 1]).iter().sum::<u64>(), 10);
        assert_eq!(shares(7, &[]), [0; 0]);
    }
}
