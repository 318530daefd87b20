//! Rebuilds members from a group and their bases.
//! Never trusts either: the caller compares each result with a digest before anybody sees it.

use crate::{
    corrections::{self, CorrectionCode, ExactBytes, MemberPatches},
    error::{CodecError, Result},
    group::StreamReader,
    layout::{self, DistancePlaces, Layout},
    limits::GroupLimits,
    literals::{LiteralHistory, LiteralReader, PackedLiterals},
    map::AddressMap,
    member::MemberHead,
    names::{self, NameTable},
    pieces::PieceCutter,
    predict::{PageFlags, Predictor},
    prefix::LiteralPrefix,
    program,
    references::{self, MissReader},
    residue::PatchReader,
    script::{self, BaseCopy},
    spelling::{self, Spelling},
    stream::StreamKind,
    stretches::{kinds, stretches},
    unwind_table::UnwindTable,
};
use imgdelta_coding::{aligned::MixerState, corrections::CorrectionState};
use imgdelta_fields::{
    field_index::{FieldCache, FieldIndex},
    host::{Host, NoHost, RELEASED_BYTES},
    view::View,
};
use imgdelta_instructions::put_distance;

/// Reads the members of one group, in the order they were written.
///
/// Memory: the unpacked streams, 24 bytes for each copy of a member, and for programs at most
/// 140 MiB: fields of a part of the base, the prefix of packed literals, and edits.
/// Time: linear in target, base and streams, for any bytes.
#[derive(Debug)]
pub struct GroupDecoder {
    reader: StreamReader,
    history: LiteralHistory,
    /// The mixer state of the last aligned code.
    mixer: Option<MixerState>,
    /// The state of the last code of corrections.
    corrections: Option<CorrectionState>,
}

impl GroupDecoder {
    /// Unpacks `group` within `limits`.
    pub fn open(group: &[u8], limits: &GroupLimits) -> Result<Self> {
        let reader = StreamReader::unpack(group, limits)?;
        Ok(Self { reader, history: LiteralHistory::default(), mixer: None, corrections: None })
    }

    /// Rebuilds the next member from its base into `target`, which has the member's length.
    ///
    /// Drop the decoder after an error: it stands somewhere within the streams.
    pub fn member(&mut self, base: &[u8], target: &mut [u8]) -> Result<()> {
        let mut at = 0;
        self.member_in_pieces(base, target.len(), &NoHost, |piece| {
            target[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
            Ok(())
        })
    }

    /// Rebuilds the next member of `len` bytes from its base, and passes it on in pieces.
    ///
    /// Pieces have about 1 MiB; one that holds a long literal is as long as that. Drop the decoder
    /// after an error, also one of `put`.
    pub fn member_in_pieces<E: From<CodecError>>(
        &mut self,
        base: &[u8],
        len: usize,
        host: &dyn Host,
        put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = &mut self.reader;
        let head = MemberHead::read(reader)?;
        if head.view == View::Program {
            return program::rebuild(reader, len)?.chunks(PROGRAM_PIECE).try_for_each(put);
        }
        let layout = layout::read(reader, head, base, len)?;
        let member = Member { base, len, layout: &layout, host };
        let corrections = head.is_corrected.then_some(&mut self.corrections);
        match head.view {
            View::Plain => member.rebuild(reader, None, None, corrections, put),
            View::Names => member.rebuild_names(reader, put),
            view => {
                let before = (&mut self.history, &mut self.mixer, corrections);
                member.rebuild_in_view(reader, before, head, view, put)
            }
        }
    }

    /// Checks that members have used every byte of every stream.
    pub fn finish(self) -> Result<()> {
        self.reader.finish()
    }
}

/// Bytes of a program without a base that are passed on at a time.
const PROGRAM_PIECE: usize = 1 << 20;

/// A member whose script was read.
struct Member<'a> {
    base: &'a [u8],
    len: usize,
    layout: &'a Layout,
    host: &'a dyn Host,
}

/// The states that the members before have left.
type Before<'a> =
    (&'a mut LiteralHistory, &'a mut Option<MixerState>, Option<&'a mut Option<CorrectionState>>);

/// The inputs of a member's fields.
struct FieldInputs<'a> {
    cache: FieldCache<'a>,
    predictor: Predictor<'a>,
    misses: MissReader,
    /// Distances of edited copies, and their corrections.
    places: DistancePlaces<'a>,
    distance_misses: Option<MissReader>,
    header: &'a [u8],
    table: Option<UnwindTable>,
    /// Most bytes of the base to walk for fields.
    walk_limit: u64,
}

impl Member<'_> {
    fn rebuild_in_view<E: From<CodecError>>(
        &self,
        reader: &mut StreamReader,
        (history, mixer, corrections): Before<'_>,
        head: MemberHead,
        view: View,
        put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let header = match view {
            View::Elf => references::read_header(reader, self.base, self.len)?,
            _ => Vec::new(),
        };
        let index = FieldIndex::open((view, head.has_table), self.base, 0, self.host).ok_or(
            CodecError::BaseUnlike {
                what: "number of headers that suit the view",
                expected: 1,
                found: 0,
            },
        )?;
        let target = references::target_image(reader, view, &header, self.len)?;
        if target.is_object() != index.image.is_object() {
            let what = "a relocatable file if the base is one";
            return Err(reader.malformed(StreamKind::Headers, what, 1, 0).into());
        }
        let table = head.has_table.then(|| UnwindTable::read(reader, &target)).transpose()?;
        let overrides = references::read_overrides(reader, index.image.reach())?;
        let pages = PageFlags::read(reader, self.base.len())?;
        let steps = AddressMap::plain_steps(&self.layout.placed(), &index.image, &target);
        let map = AddressMap::new(&steps, &overrides, &index.image);
        drop(steps);
        let mut cache = FieldCache::new(&index);
        let mut prefix;
        let literals = if head.is_packed {
            let packed = PackedLiterals::read(reader, history)?;
            let (base, target_image) = (&index, &target);
            let len = script::literal_bytes(&self.layout.copies, self.len);
            let taken = self.layout.taken();
            let inputs = LiteralPrefix { base, taken, target_image, map: &map };
            let literals = if packed.is_aligned() {
                let reference = inputs.reference(&mut cache, &packed.taken);
                let reference = reference.ok_or_else(|| self.too_long())?;
                let stretches = stretches(self.layout, self.len, &target, &reference);
                packed.unpack_aligned(mixer, &reference.bytes, &stretches)?
            } else {
                prefix = inputs.build(&mut cache, &packed.taken, packed.room(len));
                packed.unpack(&mut prefix, len, index.image.machine)?
            };
            self.host.release();
            Some((literals, history))
        } else {
            None
        };
        let misses = MissReader::open(reader, StreamKind::MissGaps, StreamKind::MissValues)?;
        let (gaps, values) = (StreamKind::DistanceGaps, StreamKind::DistanceValues);
        let distance_misses = head.is_edited.then(|| MissReader::open(reader, gaps, values));
        let distance_misses = distance_misses.transpose()?;
        let predictor = Predictor::new(&index, &target, &map, &pages);
        let walk_limit = references::walk_limit(self.base.len(), self.len);
        let header = header.as_slice();
        let places = DistancePlaces { base: &index.image, target: &target, map: &map };
        let fields = FieldInputs {
            cache,
            predictor,
            misses,
            places,
            distance_misses,
            header,
            table,
            walk_limit,
        };
        self.rebuild(reader, literals, Some(fields), corrections, put)
    }

    #[cold]
    fn too_long(&self) -> CodecError {
        CodecError::TooLarge {
            what: "bytes of a base that an aligned code refers to",
            limit: imgdelta_coding::aligned::MAX_REFERENCE as u64,
            found: self.base.len() as u64,
        }
    }

    /// Rebuilds a text whose names are replaced. A name is expected by those before it, which have
    /// their patches by then.
    fn rebuild_names<E: From<CodecError>>(
        &self,
        reader: &mut StreamReader,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut patches = PatchReader::open(reader, self.len)?;
        let mut cutter = PieceCutter::default().between_names(self.base);
        let (mut table, mut bytes) = (NameTable::new(self.len), Vec::new());
        let copies = self.layout.copies.as_slice();
        while let Some(piece) = cutter.next(copies, self.len, None) {
            let start = piece.target.start;
            bytes.clear();
            bytes.resize(piece.target.len(), 0);
            for range in piece.literals(copies) {
                bytes[range.clone()]
                    .copy_from_slice(reader.bytes(StreamKind::Literals, range.len())?);
            }
            let mut patched = 0;
            for (copy, part) in piece.copies(copies) {
                let text = &self.base[copy.base..copy.base_end()];
                let to = copy.target + part.start - start;
                bytes[to..to + part.len()].copy_from_slice(&text[part.clone()]);
                for name in names::names(text, part) {
                    let place = copy.target + name.start - start..copy.target + name.end - start;
                    table.replace(&mut bytes[place.clone()]);
                    patches.lay_over(reader, &mut bytes[patched..place.end], start + patched)?;
                    patched = place.end;
                    table.learn(&text[name], &bytes[place]);
                }
            }
            patches.lay_over(reader, &mut bytes[patched..], start + patched)?;
            put(&bytes)?;
        }
        Ok(patches.finish(reader)?)
    }

    /// Rebuilds the target piece by piece; `literals` are those of the member, if not in a stream.
    fn rebuild<E: From<CodecError>>(
        &self,
        reader: &mut StreamReader,
        mut literals: Option<(LiteralReader<'_>, &mut LiteralHistory)>,
        mut fields: Option<FieldInputs<'_>>,
        corrections: Option<&mut Option<CorrectionState>>,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut code = None;
        if let Some(state) = corrections {
            code = Some((CorrectionCode::read(reader, state)?, state));
        }
        let streams = PatchReader::open(reader, self.len)?;
        let mut patches = match &mut code {
            None => MemberPatches::of_streams(streams),
            Some((code, state)) => {
                let kinds = match &fields {
                    None => corrections::plain_kinds(self.len),
                    Some(fields) => kinds(fields.predictor.target_image(), self.len).collect(),
                };
                MemberPatches::of_code(code, state.get_or_insert_default(), kinds, streams)
            }
        };
        let table = fields.as_ref().and_then(|fields| fields.table.clone());
        let held = table.as_ref().map_or(0..0, UnwindTable::held);
        let mut cutter = PieceCutter::holding(held).in_steps_of(patches.step());
        let (mut bytes, mut unreleased) = (Vec::new(), 0);
        let (layout, copies) = (self.layout, self.layout.copies.as_slice());
        loop {
            let cache = fields.as_mut().map(|fields| &mut fields.cache);
            let Some(piece) = cutter.next(copies, self.len, cache) else { break };
            let start = piece.target.start;
            patches.begin(piece.target.len());
            bytes.clear();
            bytes.resize(piece.target.len(), 0);
            for (copy, part) in piece.copies(copies) {
                let to = copy.target + part.start - start;
                bytes[to..to + part.len()].copy_from_slice(layout.source(self.base, copy, part));
            }
            layout.lay_over(&mut bytes, start);
            for range in piece.literals(copies) {
                if let Some(exact) = patches.exact() {
                    exact.add(range.start, range.len());
                }
                let place = &mut bytes[range];
                if let Some((packed, history)) = &mut literals {
                    packed.fill(history, place)?;
                } else {
                    place.copy_from_slice(reader.bytes(StreamKind::Literals, place.len())?);
                }
            }
            if let Some(fields) = &mut fields {
                let image = fields.predictor.target_image();
                for range in piece.literals(copies) {
                    spelling::respell(&mut bytes, start, range, image, Spelling::Distance);
                }
                for (copy, part) in piece.copies(copies) {
                    if layout.is_placed(copy) {
                        let piece = (start, &mut bytes[..], patches.exact());
                        fields.correct(reader, copy, part, piece)?;
                    }
                }
                fields.set_distances(reader, layout, start, &mut bytes)?;
                image.lay_headers(fields.header, &mut bytes, start);
            }
            patches.lay_over(reader, &mut bytes, start)?;
            if let Some(table) = &table
                && !table.lay_over(&mut bytes, start)
            {
                let what = "functions of an unwind table";
                return Err(reader.malformed(StreamKind::Headers, what, 1, 0).into());
            }
            put(&bytes)?;
            unreleased += bytes.len();
            if unreleased >= RELEASED_BYTES {
                self.host.release();
                unreleased = 0;
            }
        }
        if let Some(fields) = fields {
            fields.misses.finish(reader)?;
            fields.distance_misses.map_or(Ok(()), |misses| misses.finish(reader))?;
        }
        if let Some((packed, _)) = literals {
            packed.finish()?;
        }
        patches.finish(reader)?;
        Ok(())
    }
}

impl FieldInputs<'_> {
    /// Sets the distances of edited copies in a piece that starts at `start`.
    fn set_distances(
        &mut self,
        reader: &mut StreamReader,
        layout: &Layout,
        start: usize,
        piece: &mut [u8],
    ) -> Result<()> {
        let Some(misses) = &mut self.distance_misses else { return Ok(()) };
        let range = start..start + piece.len();
        layout.each_distance(&self.places, range, |at, len, number| {
            let number = number.wrapping_add(misses.next(reader)?);
            put_distance(&mut piece[at..], len, number);
            Ok(())
        })
    }

    /// Corrects the fields of a part of a copy in a piece that starts at `start`, and notes those of them that
    /// are exact.
    fn correct(
        &mut self,
        reader: &mut StreamReader,
        copy: &BaseCopy,
        part: std::ops::Range<usize>,
        (start, piece, mut exact): (usize, &mut [u8], Option<&mut ExactBytes>),
    ) -> Result<()> {
        let misses = &mut self.misses;
        self.predictor.each::<CodecError>(&mut self.cache, copy, part, |field| {
            if let Some(exact) = &mut exact {
                exact.add_field(field.field, field.at - start);
            }
            let more = field.more.wrapping_add(misses.next(reader)?);
            if more != 0 {
                field.field.form.add(&mut piece[field.at - start..], more);
            }
            Ok(())
        })?;
        let (limit, found) = (self.walk_limit, self.cache.walked_bytes);
        if found > limit {
            let what = "bytes of a base that are walked for references";
            return Err(CodecError::TooLarge { what, limit, found });
        }
        Ok(())
    }
}
