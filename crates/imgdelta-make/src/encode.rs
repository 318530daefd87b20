//! The encoding of a plan: header columns, origins and groups of each rebuilt layer.
//! Never chooses a source.
//!
//! Layers, and groups within them, are encoded in parallel under a memory budget. Their order and
//! bytes depend on the images alone. Finished groups go to a scratch file.

mod blob;
mod digests;
mod envelopes;
mod frames;
mod layout;
mod mapped;
mod order;
mod pieces;
mod siblings;
mod target;
mod windows;

use crate::{
    draft::{Draft, GroupDraft, LargeProgram, MemberCost, RecipeDraft},
    envelopes::{PlannedEnvelopes, WantedEnvelope},
    options::Preset,
    plan::{LayerPlan, Plan},
    sources::{Choice, PayloadSource},
    spill::SpillFile,
};
use digests::LayerDigests;
use frames::EncodedFrames;
use imgdelta_apply::delta::Envelope;
use imgdelta_codec::{CoderSizes, Effort, GroupEncoder, MemberBits, StreamKind};
use imgdelta_core::{
    Context, Result,
    parallel::Budget,
    progress::{Progress, Stage},
    sort::SharedSort,
};
use imgdelta_format::recipe::{
    ArchiveTarget, BaseSource, GroupMember, NestedArchives, PayloadOrigin, Recipe, RecipeGroup,
    StreamName,
};
use imgdelta_image::{index::LayerIndex, volume::AddressSpace};
use layout::{PayloadSpan, RecipeLayout};
use mapped::{MappedBytes, MappedPiece};
use order::{LayerPayloads, PieceClass};
use pieces::{Piece, PieceCutter, PieceMemory};
use siblings::{LayerSiblings, Sibling};
use std::{cmp::Reverse, collections::BTreeSet, ops::Range};

/// A layer that is being encoded: everything except the workers' results.
struct LayerEncoder<'a> {
    plan: &'a Plan,
    index: &'a LayerIndex,
    payloads: &'a LayerPayloads<'a>,
    digests: LayerDigests,
    layout: RecipeLayout,
    /// The address space, with the rebuilt bytes behind it if the layer reads them.
    space: AddressSpace,
    parts: Vec<Vec<Piece>>,
}

/// A unit of work, with the place of its result.
enum Task<'a> {
    /// Finds the envelope of a target layer.
    Envelope(WantedEnvelope<'a>),
    /// Writes the header columns of an encoded layer.
    Headers { place: usize },
    /// Matches a part of an encoded layer.
    Part { place: usize, part: usize },
}

/// The result of a [`Task`], with its place.
enum TaskResult {
    Envelope(usize, Envelope),
    Headers(usize, EncodedFrames),
    Part(usize, usize, MatchedPart),
}

/// Results for one encoded layer, filled in any order.
struct LayerResults {
    frames: Option<EncodedFrames>,
    parts: Vec<Option<MatchedPart>>,
}

/// Matched pieces before packing: their range in the scratch file, and what each adds to the streams.
struct MatchedPart {
    range: Range<u64>,
    stream_bytes: u64,
    added: Vec<MemberBits>,
    /// Bytes of aligned codes and of codes of corrections.
    code_bytes: u64,
    /// The class of its pieces, if others are packed apart from them.
    class: Option<PieceClass>,
}

/// Memory for all workers together, unless the caller sets another amount.
///
/// The indexes of both images are extra.
const MEMORY_BYTES: u64 = 400 << 20;

/// Memory for one program, unless the caller sets another amount. One that needs more than
/// [`MEMORY_BYTES`], which is one of several hundred megabytes, is matched alone.
const PROGRAM_BYTES: u64 = 1 << 30;

impl Plan {
    /// Carries the plan out: matches, packs, and finds each blob's envelope.
    pub fn encode(self) -> Result<Draft> {
        encode(self)
    }
}

fn encode(plan: Plan) -> Result<Draft> {
    let Context { workers, scratch, .. } = &plan.context;
    let memory_bytes = plan.context.memory_bytes.unwrap_or(MEMORY_BYTES);
    let most = PieceMemory {
        program_bytes: plan.context.memory_bytes.unwrap_or(PROGRAM_BYTES),
        file_bytes: memory_bytes,
    };
    let rebuilt: Vec<(u32, &[Choice])> = (0..)
        .zip(&plan.layers)
        .filter_map(|(ordinal, layer)| match layer {
            LayerPlan::Rebuilt(choices) => Some((ordinal, &choices[..])),
            _ => None,
        })
        .collect();
    let payloads =
        workers.map(rebuilt, |(ordinal, choices)| LayerPayloads::of(&plan, ordinal, choices))?;
    let digests = workers.map(payloads.iter().collect(), |of| digests::find(&plan, of))?;
    let siblings = siblings::find(&plan, &payloads, &digests)?;
    let tasks = digests.into_iter().zip(siblings).enumerate().collect();
    let layers = workers.map(tasks, |(place, (digests, siblings))| {
        LayerEncoder::prepare(&plan, &payloads, place, (digests, siblings), most)
    })?;
    let spill = SpillFile::new(scratch)?;
    let budget = Budget::new(memory_bytes);
    let mut envelopes = PlannedEnvelopes::of(&plan);
    let results = run(&plan, &layers, &mut envelopes, &spill, &budget)?;

    let mut groups = Vec::new();
    let mut matched = Vec::new();
    for (place, (layer, results)) in layers.into_iter().zip(results).enumerate() {
        let done = "workers finish every task or return an error";
        let parts = results.parts.into_iter().map(|part| part.expect(done));
        groups.extend(join(parts, plan.preset).into_iter().map(|parts| (place, parts)));
        matched.push((layer, results.frames.expect(done)));
    }
    let packed = pack(&plan, groups, &spill, &budget)?;
    let mut packed = packed.into_iter().peekable();
    let mut recipes = Vec::new();
    for (place, (layer, frames)) in matched.into_iter().enumerate() {
        let own =
            std::iter::from_fn(|| packed.next_if(|(of, _)| *of == place).map(|(_, group)| group));
        recipes.push(layer.finish(frames, own.collect()));
    }
    Ok(Draft::new(plan, recipes, envelopes, spill))
}

/// Runs all tasks, the longest first, so that no worker has a long one left at the end.
fn run(
    plan: &Plan,
    layers: &[LayerEncoder<'_>],
    envelopes: &mut PlannedEnvelopes,
    spill: &SpillFile,
    budget: &Budget,
) -> Result<Vec<LayerResults>> {
    let Context { workers, .. } = &plan.context;
    let progress = &*plan.context.progress;
    let mut tasks: Vec<(u64, Task<'_>)> = Vec::new();
    for wanted in envelopes.wanted(plan) {
        let stream_bytes = plan.target.layers[wanted.layer.ordinal].stream_bytes;
        tasks.push((stream_bytes, Task::Envelope(wanted)));
    }
    for (place, layer) in layers.iter().enumerate() {
        tasks.push((layer.index.entries.len() as u64 * 512, Task::Headers { place }));
        for (part, pieces) in layer.parts.iter().enumerate() {
            tasks.push((target_bytes(pieces), Task::Part { place, part }));
        }
    }
    progress.begin(Stage::Matching, tasks.iter().map(|(bytes, _)| bytes).sum());
    // The sort is stable: tasks of one length keep their order.
    tasks.shared_sort_by_key(|(bytes, _)| Reverse(*bytes));
    let done = workers.map(tasks, |(bytes, task)| {
        progress.check()?;
        let result = match task {
            Task::Headers { place } => {
                let frames = frames::write(&layers[place])?;
                progress.advance(bytes);
                TaskResult::Headers(place, frames)
            }
            Task::Part { place, part } => {
                let pieces = &layers[place].parts[part];
                let memory_bytes = pieces.iter().map(|piece| piece.memory_bytes).max();
                let _held = budget.take(memory_bytes.unwrap_or(0));
                let (encoder, added) = layers[place].encode(pieces, progress)?;
                let stream_bytes = encoder.stream_bytes() as u64;
                let code_bytes = code_bytes(&encoder);
                let (range, class) = (spill.put(&encoder.finish_loose())?, pieces::class(pieces));
                let matched = MatchedPart { range, stream_bytes, added, code_bytes, class };
                TaskResult::Part(place, part, matched)
            }
            Task::Envelope(WantedEnvelope { layer, most_bytes }) => {
                let _held = budget.take(envelopes::memory(layer));
                let (image, volume) = (&plan.target.image, &*plan.volume);
                let search = envelopes::EnvelopeSearch {
                    image,
                    layer,
                    volume,
                    most_bytes,
                    workers,
                    progress,
                };
                let envelope = search.find()?;
                progress.advance(bytes);
                TaskResult::Envelope(layer.ordinal, envelope)
            }
        };
        Ok(result)
    })?;
    let mut results: Vec<LayerResults> = layers
        .iter()
        .map(|layer| LayerResults {
            frames: None,
            parts: layer.parts.iter().map(|_| None).collect(),
        })
        .collect();
    for result in done {
        match result {
            TaskResult::Envelope(ordinal, envelope) => envelopes.found(plan, ordinal, envelope),
            TaskResult::Headers(place, frames) => results[place].frames = Some(frames),
            TaskResult::Part(place, part, matched) => results[place].parts[part] = Some(matched),
        }
    }
    Ok(results)
}

/// Joins parts to groups that are large enough to pack well.
fn join(parts: impl Iterator<Item = MatchedPart>, preset: Preset) -> Vec<Vec<MatchedPart>> {
    let parts: Vec<MatchedPart> = parts.collect();
    let apart = [PieceClass::New, PieceClass::NewProgram].map(|class| {
        let parts = parts.iter().filter(|part| part.class == Some(class));
        Some(class)
            .filter(|_| parts.map(|part| part.stream_bytes).sum::<u64>() >= pieces::APART_BYTES)
    });
    let mut groups: Vec<Vec<MatchedPart>> = Vec::new();
    let (mut filled, mut aligned, mut before) = (0, 0, None);
    for part in parts {
        let class = part.class.filter(|class| apart.contains(&Some(*class)));
        let most_bytes = if class.is_some() { NEW_BYTES } else { group_stream_bytes(preset) };
        let is_full = filled + part.stream_bytes > most_bytes
            || aligned > 0 && aligned + part.code_bytes > CODE_BYTES;
        if groups.is_empty() || class != before || is_full {
            groups.push(Vec::new());
            (filled, aligned) = (0, 0);
        }
        before = class;
        filled += part.stream_bytes;
        aligned += part.code_bytes;
        groups.last_mut().expect("pushed above").push(part);
    }
    groups
}

/// A packed group: its range in the scratch file, and the share of each piece.
struct PackedGroup {
    range: Range<u64>,
    shares: Vec<u64>,
    coders: CoderSizes,
    /// Bytes of aligned codes and of codes of corrections.
    code_bytes: u64,
}

/// Packs groups in parallel; each keeps the number of its layer.
fn pack(
    plan: &Plan,
    groups: Vec<(usize, Vec<MatchedPart>)>,
    spill: &SpillFile,
    budget: &Budget,
) -> Result<Vec<(usize, PackedGroup)>> {
    let (preset, progress) = (plan.preset, &*plan.context.progress);
    let bytes = groups.iter().flat_map(|(_, parts)| parts).map(|part| part.stream_bytes);
    progress.begin(Stage::Packing, bytes.sum());
    plan.context.workers.map(groups, |(place, parts)| {
        progress.check()?;
        let stream_bytes: u64 = parts.iter().map(|part| part.stream_bytes).sum();
        let _held = budget.take(stream_bytes * 3 + packing_bytes(preset));
        let added: Vec<MemberBits> =
            parts.iter().flat_map(|part| part.added.iter().copied()).collect();
        let mut encoder = GroupEncoder::new(effort(preset));
        for part in parts {
            encoder.append(&spill.get(part.range)?).expect("a group of our own");
        }
        let code_bytes = code_bytes(&encoder);
        let packed = encoder.finish();
        let shares = imgdelta_codec::shares(&packed, &added).expect("a group of our own");
        let coders = CoderSizes::of_group(&packed).expect("a group of our own");
        progress.advance(stream_bytes);
        Ok((place, PackedGroup { range: spill.put(&packed)?, shares, coders, code_bytes }))
    })
}

/// Returns the bytes of codes that an encoder has written so far.
fn code_bytes(encoder: &GroupEncoder) -> u64 {
    encoder.stream_lengths().bytes(StreamKind::Codes)
}

fn target_bytes(pieces: &[Piece]) -> u64 {
    pieces.iter().map(Piece::target_bytes).sum()
}

impl<'a> LayerEncoder<'a> {
    /// Lays out the base of a layer, which is one of `all`, and divides its payloads into pieces.
    fn prepare(
        plan: &'a Plan,
        all: &'a [LayerPayloads<'a>],
        place: usize,
        (digests, siblings): (LayerDigests, LayerSiblings),
        most: PieceMemory,
    ) -> Result<Self> {
        let payloads = &all[place];
        let index = &*plan.target.layers[payloads.ordinal as usize];
        let inner = &plan.inner[payloads.ordinal as usize];
        let copied = payloads.choices.iter().filter_map(|choice| match choice.content {
            PayloadSource::Earlier(place) => Some(place.layer),
            _ => None,
        });
        let read = siblings.iter().flatten().map(|sibling| all[sibling.layer].ordinal);
        let mut earlier: BTreeSet<u32> = copied.chain(read).collect();
        let reads_itself = earlier.remove(&payloads.ordinal);
        let layout = RecipeLayout::of(plan, payloads.choices.iter().chain(inner), &earlier);
        let mut space = layout.space(plan)?;
        if reads_itself {
            payloads.append_rebuilt(plan, &mut space)?;
        }
        let addresses = |sibling: &Sibling| {
            let of = &all[sibling.layer];
            let start = if sibling.layer == place {
                layout.end + of.rebuilt_before[sibling.payload as usize]
            } else {
                layout.earlier(of.ordinal, of.stream_offset(sibling.payload))
            };
            start + sibling.range.start..start + sibling.range.end
        };
        let siblings = siblings.iter().map(|of| of.iter().map(addresses).collect()).collect();
        let target = &payloads.target;
        let cutter = PieceCutter { plan, layout: &layout, space: &space, target, most };
        let parts = cutter.parts(&payloads.rebuilt, siblings)?;
        Ok(Self { plan, index, payloads, digests, layout, space, parts })
    }

    /// Matches pieces, and returns a group of them that is not packed, with what each piece adds to
    /// the streams.
    fn encode(
        &self,
        pieces: &[Piece],
        progress: &dyn Progress,
    ) -> Result<(GroupEncoder, Vec<MemberBits>)> {
        let mut encoder = GroupEncoder::new(effort(self.plan.preset));
        let (mut base, mut target) = (Vec::new(), Vec::new());
        let mut added = Vec::with_capacity(pieces.len());
        for piece in pieces {
            progress.check()?;
            let before = encoder.stream_lengths();
            let payload = piece.member.payload;
            if piece.is_mapped() && !self.digests.are_in(payload) {
                let sides = MappedPiece {
                    base: MappedBytes::of_space(&self.space, &piece.base)?,
                    target: self.payloads.target.map(piece.is_part, &piece.target)?,
                    workers: &self.plan.context.workers,
                };
                if !encode_new_program(&mut encoder, &sides.base, &sides.target) {
                    encoder.member_with(&sides, &sides.base, &sides.target);
                }
            } else {
                base.resize(usize_of(piece.base_bytes()), 0);
                let mut rest = &mut base[..];
                for range in &piece.base {
                    let (part, after) = rest.split_at_mut(usize_of(range.end - range.start));
                    self.space.read_exact_at(range.start, part)?;
                    rest = after;
                }
                target.resize(usize_of(piece.target_bytes()), 0);
                self.payloads.target.read_exact_at(
                    piece.is_part,
                    piece.target.start,
                    &mut target,
                )?;
                let offset = piece.member.window.map_or(0, |window| window.offset);
                self.digests.leave_out(payload, offset, &mut target);
                if !encode_new_program(&mut encoder, &base, &target) {
                    encoder.member(&base, &target);
                }
            }
            added.push(encoder.bits_since(&before));
            progress.advance(piece.target_bytes());
        }
        Ok((encoder, added))
    }

    fn finish(self, frames: EncodedFrames, packed: Vec<PackedGroup>) -> RecipeDraft {
        let large = self.parts.iter().flatten().filter_map(|piece| {
            let memory_bytes = piece.whole_memory_bytes?;
            Some(LargeProgram { payload: piece.member.payload, memory_bytes })
        });
        let large = large.collect();
        let mut pieces = self.parts.iter().flatten();
        let mut groups = Vec::new();
        let mut drafts = Vec::new();
        let mut aligned = 0_u64;
        for PackedGroup { range, shares, coders, code_bytes } in packed {
            aligned = aligned.saturating_add(code_bytes.saturating_mul(CODE_BYTE));
            let (mut members, mut costs) = (Vec::new(), Vec::new());
            for bytes in shares {
                let piece = pieces.next().expect("as many shares as pieces");
                members.push(self.member(piece, &frames));
                costs.push(MemberCost { payload: piece.member.payload, bytes });
            }
            groups.push(RecipeGroup { packed_bytes: range.end - range.start, members });
            drafts.push(GroupDraft { range, coders, costs });
        }
        let target = StreamName { diff_id: self.index.diff_id, bytes: self.index.stream_bytes };
        let origins = self.origins(&frames);
        let nested = self.nested(&origins);
        let roots = self.plan.opened.target[self.payloads.ordinal as usize].roots();
        let payloads = self.payloads.spans.iter().map(|span| match span {
            PayloadSpan::Entry(ordinal) => Some(*ordinal),
            PayloadSpan::Raw(_) => None,
            PayloadSpan::Part(part) => Some(roots[*part as usize]),
        });
        let (headers, sources) = (frames.columns, self.layout.sources);
        let digests = self.digests.places;
        let archives = &self.plan.opened.target[self.payloads.ordinal as usize];
        RecipeDraft {
            ordinal: self.payloads.ordinal,
            payload_entries: payloads.collect(),
            recipe: Recipe { target, sources, headers, origins, nested, groups, digests },
            groups: drafts,
            archive_milliseconds: archives.nanoseconds.saturating_add(aligned).div_ceil(1_000_000),
            large,
        }
    }

    /// Returns the archives that the recipe opens and closes.
    fn nested(&self, origins: &[PayloadOrigin]) -> NestedArchives {
        let inside = &self.plan.opened.target[self.payloads.ordinal as usize];
        let Some(parts) = &inside.parts else {
            return NestedArchives {
                opened: self.layout.opened.clone(),
                ..NestedArchives::default()
            };
        };
        let closed = inside.archives.iter().map(|archive| {
            let inner = archive.parts.end - archive.parts.start;
            ArchiveTarget { kind: archive.kind, inner }
        });
        let entries = &parts.index.entries;
        let inner = entries.iter().zip(&origins[origins.len() - entries.len()..]);
        let stored = inner.filter(|(_, origin)| origin.has_stored_length());
        NestedArchives {
            opened: self.layout.opened.clone(),
            closed: closed.collect(),
            inner_bytes: stored.map(|(entry, _)| entry.payload.end - entry.payload.start).collect(),
            coders: inside.coders.clone(),
            compressions: inside.compressions.clone(),
        }
    }

    /// Returns the member of a piece; its base is an address if the headers do not give it.
    fn member(&self, piece: &Piece, frames: &EncodedFrames) -> GroupMember {
        let mut member = piece.member.clone();
        if let (Some(BaseSource::Own), PayloadSpan::Entry(ordinal)) =
            (member.sources.first(), &self.payloads.spans[member.payload as usize])
            && !frames.has_own[*ordinal as usize]
        {
            member.sources = pieces::slices(&piece.base);
        }
        member
    }

    fn origins(&self, frames: &EncodedFrames) -> Vec<PayloadOrigin> {
        let mut payload_of = vec![0_u32; self.index.entries.len()];
        let inner = &self.plan.inner[self.payloads.ordinal as usize];
        let first_inner = u32::try_from(self.payloads.spans.len() - inner.len());
        let first_inner = first_inner.expect("payloads are limited");
        let mut origins = Vec::with_capacity(self.payloads.spans.len());
        for (payload, span) in (0_u32..).zip(&self.payloads.spans) {
            let (choice, has_own) = match span {
                PayloadSpan::Raw(_) => {
                    origins.push(PayloadOrigin::Rebuilt);
                    continue;
                }
                PayloadSpan::Entry(ordinal) => {
                    payload_of[*ordinal as usize] = payload;
                    (&self.payloads.choices[*ordinal as usize], frames.has_own[*ordinal as usize])
                }
                PayloadSpan::Part(part) => (&inner[*part as usize], false),
            };
            origins.push(match &choice.content {
                PayloadSource::Same(place) if choice.header == Some(*place) && has_own => {
                    PayloadOrigin::Own
                }
                PayloadSource::Same(place) if self.plan.is_part(*place) => {
                    PayloadOrigin::Part(self.layout.number(self.plan, place.entry))
                }
                PayloadSource::Same(place) => {
                    PayloadOrigin::Base(self.layout.payload(self.plan, *place).start)
                }
                PayloadSource::Earlier(place) => {
                    let entries = &self.plan.target.layers[place.layer as usize].entries;
                    let offset = entries.payload(place.entry as usize).start;
                    PayloadOrigin::Base(self.layout.earlier(place.layer, offset))
                }
                PayloadSource::Repeat(before) => PayloadOrigin::Repeat(match span {
                    PayloadSpan::Part(_) => payload - (first_inner + before),
                    _ => payload - payload_of[*before as usize],
                }),
                PayloadSource::Built(..) => PayloadOrigin::Rebuilt,
                PayloadSource::Opened => PayloadOrigin::Closed,
                PayloadSource::Packed(part) => {
                    PayloadOrigin::Packed(self.layout.number(self.plan, *part))
                }
                PayloadSource::Empty => unreachable!("an entry without payload is not a span"),
            });
        }
        origins
    }
}

/// Adds a program without a base in parts, if it is one and if that is shorter.
fn encode_new_program(encoder: &mut GroupEncoder, base: &[u8], target: &[u8]) -> bool {
    let parts = if base.is_empty() { imgdelta_fields::parts::parts(target) } else { None };
    parts.is_some_and(|parts| encoder.program(target, &parts))
}

/// Returns the size of a group's streams. `Best` uses the most that coder 3 of docs/format-group.md
/// takes.
fn group_stream_bytes(preset: Preset) -> u64 {
    match preset {
        Preset::Fast | Preset::Default => 16 << 20,
        Preset::Best => 4 << 20,
    }
}

/// Stream bytes of a group of new files. Most bytes of such files have an earlier place only in other
/// new files, and an LZ code reaches back 64 MiB. A receiver holds a group in memory.
const NEW_BYTES: u64 = 60 << 20;

/// Bytes of codes in a group, if it has several parts. A receiver decodes groups in parallel, and
/// one of this length takes about three seconds.
const CODE_BYTES: u64 = 320 << 10;

/// Nanoseconds of a receiver for each byte of a code: of an aligned code, which stands for about ten bytes,
/// or of corrections, for which about twenty bytes are looked at.
const CODE_BYTE: u64 = 10_000;

fn effort(preset: Preset) -> Effort {
    match preset {
        Preset::Fast => Effort::Fast,
        Preset::Default => Effort::Default,
        Preset::Best => Effort::Best,
    }
}

/// Returns the memory for compressing a group's streams, in addition to the streams.
fn packing_bytes(preset: Preset) -> u64 {
    match preset {
        Preset::Fast => 16 << 20,
        Preset::Default => 80 << 20,
        Preset::Best => 160 << 20,
    }
}

/// Passes a range to a sink, piece by piece.
fn read_pieces(
    range: Range<u64>,
    sink: &mut dyn FnMut(&[u8]),
    read: impl Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let length = usize::try_from(range.end - range.start).unwrap_or(PIECE_BYTES);
    let mut buffer = vec![0; length.min(PIECE_BYTES)];
    let mut at = range.start;
    while at < range.end {
        let count = usize::try_from(range.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        read(at, &mut buffer[..count])?;
        sink(&buffer[..count]);
        at += count as u64;
    }
    Ok(())
}

/// Bytes that are read at one time when a whole file passes.
const PIECE_BYTES: usize = 256 << 10;

/// Converts a length that fits in memory.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("windows and whole files in memory fit it")
}
