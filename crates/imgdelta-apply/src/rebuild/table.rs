//! The payloads of one recipe, each with its length and the place of its bytes.
//! Never decodes or copies a payload.
//!
//! A recipe's claims are checked here against the lengths that its headers state. Ranges lie inside
//! the base, and windows cover their payload exactly once. No archive is made of itself, and the
//! total is the length of the target.

use super::{
    bill,
    open::{self, BasePart},
    order,
};
use crate::delta::{
    ArchiveKind, BaseSource, DigestPlace, DigestSpelling, GroupMember, PayloadOrigin, Recipe,
    StoredRecipe,
};
use imgdelta_core::map::MapRange;
use imgdelta_core::{
    Context, Error, LimitName, Limits, Result, scratch::ScratchFile, work::WorkMeter,
};
use imgdelta_image::{
    store::source::ReadAt,
    volume::{AddressSpace, Volume},
};
use imgdelta_layer::{archive::InnerCompression, headers::HeaderReader};
use std::{ops::Range, sync::Arc};

#[derive(Debug)]
pub(super) struct PayloadTable {
    /// Ordinal of the recipe in its delta.
    pub ordinal: u32,
    pub recipe: StoredRecipe,
    /// Name of the recipe in errors.
    pub place: String,
    /// The sources, followed by the parts of the opened archives.
    pub space: AddressSpace,
    skipped: Vec<Range<u64>>,
    parts: Vec<BasePart>,
    /// Sources that earlier layers of the target have.
    earlier: Vec<EarlierStream>,
    /// Payloads of the stream, then inner payloads.
    pub payloads: Vec<Payload>,
    /// Offsets of the stream's payloads.
    starts: Vec<u64>,
    /// Number of payloads of the stream.
    pub outer: usize,
    /// For each inner payload that is copied in compressed form, the checksum and length that the
    /// base archive states for its content.
    pub stated: Vec<Option<(u32, u64)>>,
    /// Payloads that groups make, in order.
    rebuilt: Vec<RebuiltPayload>,
    /// Ranges of the file of rebuilt payloads, each with its member, in order.
    covers: Vec<MemberCover>,
    /// Ranges of that file that are payloads with digests, in order.
    holders: Vec<Range<u64>>,
    /// The digests, in the order of the recipe.
    pub digests: Vec<PlacedDigest>,
    /// File of the rebuilt payloads, one after another; none if there are none.
    pub scratch: Option<ScratchFile>,
    /// Archives of the target, in the order of their payloads.
    pub archives: Vec<TargetArchive>,
    /// File of these archives, one after another; none if there are none.
    archive_file: Option<ScratchFile>,
    /// Compressions of inner payloads.
    pub compressions: Vec<InnerCompression>,
    /// A meter for reading the headers again, which is charged already.
    pub charged: WorkMeter,
}

/// The base bytes of a recipe: its sources and opened archives.
#[derive(Debug)]
pub(super) struct RecipeBase {
    space: AddressSpace,
    /// Addresses of the sources that other recipes make.
    skipped: Vec<Range<u64>>,
    parts: Vec<BasePart>,
}

/// A source that is the stream of an earlier layer, made by another recipe of the delta.
#[derive(Debug)]
struct EarlierStream {
    /// Its addresses.
    range: Range<u64>,
    table: Arc<PayloadTable>,
}

/// A range of the file of rebuilt payloads, and the member that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberCover {
    pub offset: u64,
    pub bytes: u64,
    pub group: u32,
    /// Ordinal of the member in its group.
    pub member: u32,
}

/// A digest in a rebuilt payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedDigest {
    /// Its first byte in the file of rebuilt payloads.
    pub offset: u64,
    pub spelling: DigestSpelling,
    /// The payload whose digest it is.
    pub content: Payload,
}

/// A range that a member reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum MemberRange<'a> {
    /// Addresses of the base.
    Base { address: u64, bytes: u64 },
    /// A range of the file of rebuilt payloads, of this recipe or of an earlier layer's.
    Rebuilt { table: &'a PayloadTable, offset: u64, bytes: u64 },
}

/// A payload of the stream, or of an archive in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Payload {
    pub bytes: u64,
    pub source: PayloadSource,
}

/// Place of a payload's bytes, valid after all groups are decoded and all archives closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PayloadSource {
    /// An address of the base.
    Base(u64),
    /// An offset in the file of rebuilt payloads.
    Scratch(u64),
    /// A target archive, by its ordinal.
    Archive(u32),
    /// Bytes of a payload of an earlier layer.
    Earlier {
        /// Ordinal among the sources that are earlier layers' streams.
        source: u32,
        /// Ordinal of the payload in that layer.
        payload: u32,
        /// Offset in the payload.
        offset: u64,
    },
}

/// A payload that members of groups make.
#[derive(Clone, Copy, Debug)]
struct RebuiltPayload {
    payload: u32,
    bytes: u64,
    /// Its first byte in the file of rebuilt payloads.
    offset: u64,
    /// Payload of the base entry that its header was written against.
    own: Option<(u64, u64)>,
}

/// An archive of the target.
#[derive(Clone, Debug)]
pub(super) struct TargetArchive {
    pub kind: ArchiveKind,
    /// The payload that it is.
    pub payload: usize,
    /// The payloads that it is made of.
    pub inner: Range<usize>,
    /// Its first byte in the file of archives.
    pub offset: u64,
    /// Above the ranks of all archives that it is made of.
    pub rank: u32,
}

/// Lengths of the files of rebuilt payloads and of archives, so far.
#[derive(Clone, Copy, Debug, Default)]
struct FileEnds {
    scratch_bytes: u64,
    archive_bytes: u64,
}

/// A member with its place in the file of rebuilt payloads.
#[derive(Clone, Debug)]
pub(super) struct PlacedMember<'a> {
    pub member: &'a GroupMember,
    pub offset: u64,
    pub bytes: u64,
    own: Option<(u64, u64)>,
}

impl MemberRange<'_> {
    /// Returns its length.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Base { bytes, .. } | Self::Rebuilt { bytes, .. } => bytes,
        }
    }
}

impl PlacedMember<'_> {
    /// Returns the bytes of its base that come from the header's base entry.
    pub(super) fn own_bytes(&self) -> u64 {
        let own = |source: &&BaseSource| **source == BaseSource::Own;
        let times = self.member.sources.iter().filter(own).count() as u64;
        self.own.map_or(0, |(_, bytes)| bytes.saturating_mul(times))
    }

    /// Returns the addresses of the ranges that make the member's base, with their lengths.
    pub(super) fn base(&self) -> impl Iterator<Item = Option<(u64, u64)>> {
        self.member.sources.iter().map(|source| match *source {
            BaseSource::Own => self.own,
            BaseSource::Slice { address, bytes } => Some((address, bytes)),
        })
    }
}

impl PayloadTable {
    /// Lays out the base of `recipe` and opens its archives.
    ///
    /// `makers` has an ordinal for each source that another recipe of the delta makes. Such a source
    /// has addresses and no bytes yet.
    pub(super) fn open_base(
        recipe: &Recipe,
        makers: &[Option<u32>],
        place: &str,
        volume: &Volume,
        context: &Context,
    ) -> Result<RecipeBase> {
        let mut space = AddressSpace::default();
        let mut skipped = Vec::new();
        for (source, maker) in recipe.sources.iter().zip(makers) {
            let start = space.bytes();
            if maker.is_some() {
                space.skip(source)?;
                skipped.push(start..space.bytes());
            } else {
                let stream = AddressSpace::new(volume, std::slice::from_ref(source))?;
                space.append(&stream, 0..source.bytes)?;
            }
        }
        for archive in &recipe.nested.opened {
            admit_base(&skipped, archive.address, archive.bytes, place)?;
        }
        let limits = &context.limits;
        limits.admit(LimitName::LayerBytes, recipe.target.bytes, "uncompressed size", place)?;
        admit_expansion(limits, space.bytes(), recipe.nested.plain_bytes(), place)?;
        let parts = open::open(&mut space, recipe, place, context)?;
        Ok(RecipeBase { space, skipped, parts })
    }

    /// Locates the payloads of a recipe. `made` has the tables of the sources that other recipes of
    /// the delta make.
    pub(super) fn new(
        ordinal: u32,
        recipe: StoredRecipe,
        place: String,
        base: RecipeBase,
        made: Vec<Option<Arc<Self>>>,
        meter: &WorkMeter,
        context: &Context,
    ) -> Result<Self> {
        let RecipeBase { space, skipped, parts } = base;
        let compressions = compressions(&recipe, &place)?;
        let earlier = earlier_streams(&recipe, made);
        let mut table = Self {
            ordinal,
            recipe,
            place,
            space,
            skipped,
            parts,
            earlier,
            payloads: Vec::new(),
            starts: Vec::new(),
            outer: 0,
            stated: Vec::new(),
            rebuilt: Vec::new(),
            covers: Vec::new(),
            holders: Vec::new(),
            digests: Vec::new(),
            scratch: None,
            archives: Vec::new(),
            archive_file: None,
            compressions,
            charged: WorkMeter::unlimited(Arc::clone(&context.progress)),
        };
        table.locate_all(meter, &context.limits)?;
        table.covers = table.covers()?;
        table.check_cover()?;
        table.rank_archives()?;
        table.place_digests(meter)?;
        // Rebuilt payloads and closed archives are each written once, within the stream's length.
        context.scratch.raise(table.recipe.target.bytes.saturating_mul(2));
        if !table.rebuilt.is_empty() {
            table.scratch = Some(context.scratch.file()?);
        }
        if !table.archives.is_empty() {
            table.archive_file = Some(context.scratch.file()?);
        }
        Ok(table)
    }

    /// Returns a member with its place.
    pub(super) fn place_member<'a>(&self, member: &'a GroupMember) -> Result<PlacedMember<'a>> {
        let found = self.rebuilt.binary_search_by_key(&member.payload, |rebuilt| rebuilt.payload);
        let Ok(at) = found else {
            let what = format!("a member makes payload {}, which is not rebuilt", member.payload);
            return Err(self.invalid(what));
        };
        let RebuiltPayload { bytes: whole, offset, own, .. } = self.rebuilt[at];
        let (start, bytes) = member.window.map_or((0, whole), |part| (part.offset, part.bytes));
        if start.checked_add(bytes).is_none_or(|end| end > whole) {
            let what = format!(
                "a window of {bytes} bytes from {start} leaves payload {} of {whole}",
                member.payload
            );
            return Err(self.invalid(what));
        }
        Ok(PlacedMember { member, offset: offset + start, bytes, own })
    }

    /// Fills `buffer` with bytes of a payload, from `at` on.
    pub(super) fn read_exact_at(
        &self,
        source: PayloadSource,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let (file, offset) = match source {
            PayloadSource::Base(address) => return self.space.read_exact_at(address + at, buffer),
            PayloadSource::Scratch(offset) => (self.scratch.as_ref(), offset),
            PayloadSource::Archive(ordinal) => {
                (self.archive_file.as_ref(), self.archives[ordinal as usize].offset)
            }
            PayloadSource::Earlier { source, payload, offset } => {
                let table = &self.earlier[source as usize].table;
                let source = table.payloads[payload as usize].source;
                return table.read_exact_at(source, offset + at, buffer);
            }
        };
        let file = file.expect("created with the table if a payload lies in it");
        file.fill_at(buffer, offset + at).map_err(Error::io(SCRATCH))
    }

    /// Returns the place of a range that a member reads: addresses and length.
    ///
    /// Takes no memory in proportion to the length.
    pub(super) fn member_range(&self, range: Option<(u64, u64)>) -> Result<MemberRange<'_>> {
        let Some((address, bytes)) = range else {
            return Err(self.invalid("a member's own base, but it has none"));
        };
        let end = address.checked_add(bytes);
        let base_end = self.space.bytes();
        if address >= base_end {
            let (offset, rebuilt_bytes) = (address - base_end, self.rebuilt_bytes());
            if end.is_none_or(|end| end - base_end > rebuilt_bytes) {
                let what = format!(
                    "a member's base: {bytes} rebuilt bytes from {offset}, there are {rebuilt_bytes}"
                );
                return Err(self.invalid(what));
            }
            self.admit_source(self, offset, bytes)?;
            return Ok(MemberRange::Rebuilt { table: self, offset, bytes });
        }
        if end.is_none_or(|end| end > base_end) {
            let what = format!(
                "a member's base: {bytes} bytes from {address}, the base ends at {base_end}"
            );
            return Err(self.invalid(what));
        }
        let Some(source) = self.earlier_at(address) else {
            self.admit_base(address, bytes)?;
            return Ok(MemberRange::Base { address, bytes });
        };
        let EarlierStream { range, table } = &self.earlier[source];
        let found = table.payload_of(address - range.start, bytes);
        match found.map(|(payload, offset)| (table.payloads[payload].source, offset)) {
            Some((PayloadSource::Scratch(start), offset)) => {
                self.admit_source(table, start + offset, bytes)?;
                Ok(MemberRange::Rebuilt { table, offset: start + offset, bytes })
            }
            _ => Err(self.invalid(format_args!(
                "a member's base: {bytes} bytes from {address} are not of a rebuilt file of an \
                 earlier layer"
            ))),
        }
    }

    /// Refuses rebuilt bytes of a payload with digests, which is complete only at the end.
    fn admit_source(&self, read: &Self, offset: u64, bytes: u64) -> Result<()> {
        let past = read.holders.partition_point(|holder| holder.start < offset + bytes);
        match past.checked_sub(1) {
            Some(last) if read.holders[last].end > offset => {
                Err(self.invalid("a member's base is a payload with digests"))
            }
            _ => Ok(()),
        }
    }

    /// Returns true if a payload has digests.
    fn has_digests(&self, source: PayloadSource) -> bool {
        match source {
            PayloadSource::Base(_) | PayloadSource::Archive(_) => false,
            PayloadSource::Scratch(offset) => {
                self.holders.binary_search_by_key(&offset, |holder| holder.start).is_ok()
            }
            PayloadSource::Earlier { source, payload, .. } => {
                let table = &self.earlier[source as usize].table;
                table.has_digests(table.payloads[payload as usize].source)
            }
        }
    }

    /// Finds the places of digests, and charges their work.
    fn place_digests(&mut self, meter: &WorkMeter) -> Result<()> {
        let (mut holders, mut digests) = (Vec::<Range<u64>>::new(), Vec::new());
        for place in &self.recipe.digests {
            let DigestPlace { holder, offset, spelling, content } = *place;
            let at = self.rebuilt.binary_search_by_key(&holder, |rebuilt| rebuilt.payload);
            let rebuilt = self.rebuilt[at.expect("compared when the recipe was read")];
            if holder as usize >= self.outer {
                return Err(self.invalid(format_args!("a digest in the inner payload {holder}")));
            }
            if place.end() > rebuilt.bytes {
                let bytes = rebuilt.bytes;
                let what = format!("a digest at {offset} leaves payload {holder} of {bytes}");
                return Err(self.invalid(what));
            }
            let range = rebuilt.offset..rebuilt.offset + rebuilt.bytes;
            if holders.last() != Some(&range) {
                holders.push(range);
            }
            let content = self.payloads[content as usize];
            bill::charge_digest(spelling, content.bytes, meter)?;
            digests.push(PlacedDigest { offset: rebuilt.offset + offset, spelling, content });
        }
        (self.holders, self.digests) = (holders, digests);
        for (digest, place) in self.digests.iter().zip(&self.recipe.digests) {
            if self.has_digests(digest.content.source) {
                let DigestPlace { holder, content, .. } = place;
                return Err(self.invalid(format_args!(
                    "payload {holder} has the digest of payload {content}, which has digests"
                )));
            }
        }
        // Archives are closed before digests are computed.
        let inner = (self.outer..).zip(&self.payloads[self.outer..]);
        match inner.into_iter().find(|(_, payload)| self.has_digests(payload.source)) {
            Some((ordinal, _)) => Err(self.invalid(format_args!(
                "the inner payload {ordinal} is a copy of a payload with digests"
            ))),
            None => Ok(()),
        }
    }

    /// Returns the members that make a range of the file of rebuilt payloads.
    pub(super) fn makers(&self, offset: u64, bytes: u64) -> &[MemberCover] {
        let end = offset.saturating_add(bytes);
        let first = self.covers.partition_point(|cover| cover.offset + cover.bytes <= offset);
        let past = self.covers.partition_point(|cover| cover.offset < end);
        &self.covers[first.min(past)..past]
    }

    /// Reads a range of the file of rebuilt payloads, whose length the caller bounds.
    pub(super) fn read_rebuilt(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let mut read = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        self.read_exact_at(PayloadSource::Scratch(offset), 0, &mut read)?;
        Ok(read)
    }

    /// Maps a range of the file of rebuilt payloads that is made already.
    pub(super) fn map_rebuilt(&self, offset: u64, bytes: u64) -> Result<MapRange> {
        let file = self.scratch.as_ref().expect("created with the table if a payload lies in it");
        MapRange::open(file, offset, bytes).map_err(Error::io(SCRATCH))
    }

    /// Returns the length of all rebuilt payloads.
    fn rebuilt_bytes(&self) -> u64 {
        self.rebuilt.last().map_or(0, |last| last.offset.saturating_add(last.bytes))
    }

    /// Refuses a range of the base that reaches into the stream of an earlier layer.
    fn admit_base(&self, address: u64, bytes: u64) -> Result<()> {
        admit_base(&self.skipped, address, bytes, &self.place)
    }

    /// Returns the source at an address that is an earlier layer's stream.
    fn earlier_at(&self, address: u64) -> Option<usize> {
        let past = self.earlier.partition_point(|earlier| earlier.range.start <= address);
        past.checked_sub(1).filter(|last| self.earlier[*last].range.contains(&address))
    }

    /// Returns the payload of the stream that contains a range, and the offset in it.
    fn payload_of(&self, at: u64, bytes: u64) -> Option<(usize, u64)> {
        let payload = self.starts.partition_point(|start| *start <= at).checked_sub(1)?;
        let offset = at - self.starts[payload];
        let end = offset.checked_add(bytes)?;
        (end <= self.payloads[payload].bytes).then_some((payload, offset))
    }

    /// Returns the file that archives of the target are written to.
    pub(super) fn archive_file(&self) -> &ScratchFile {
        self.archive_file.as_ref().expect("created with the table if there are archives")
    }

    /// Returns the error for a recipe that is not valid.
    pub(super) fn invalid(&self, what: impl std::fmt::Display) -> Error {
        Error::bad_input(&self.place, what)
    }

    /// Reads the headers for the payloads' lengths, and locates each payload.
    fn locate_all(&mut self, meter: &WorkMeter, limits: &Limits) -> Result<()> {
        let target_bytes = self.recipe.target.bytes;
        let mut reader = HeaderReader::open(&self.recipe.headers, limits)?.metered(meter);
        let (mut frame, mut seen_bytes, mut ends) = (Vec::new(), 0_u64, FileEnds::default());
        loop {
            let mut base = |address, buffer: &mut [u8]| {
                self.admit_base(address, buffer.len() as u64)?;
                self.space.read_exact_at(address, buffer)
            };
            let next = reader.next(&mut base, &mut frame)?;
            let payload_bytes = next.map_or(0, |payload| payload.bytes);
            // Two lengths below 2^63 at most, since a sum above the target's length ends the loop.
            let sum = seen_bytes.checked_add(frame.len() as u64);
            seen_bytes = sum.and_then(|sum| sum.checked_add(payload_bytes)).unwrap_or(u64::MAX);
            if seen_bytes > target_bytes {
                let what = format!("it makes {seen_bytes} bytes or more, should be {target_bytes}");
                return Err(self.invalid(what));
            }
            let Some(payload) = next else { break };
            if payload.bytes > 0 {
                self.starts.push(seen_bytes - payload.bytes);
                self.locate(Some(payload.bytes), payload.own, &mut ends)?;
            }
        }
        if seen_bytes != target_bytes {
            let what = format!("it makes {seen_bytes} bytes, should be {target_bytes}");
            return Err(self.invalid(what));
        }
        self.outer = self.payloads.len();
        let inner = self.recipe.nested.inner_payloads();
        let (found, expected) = (self.recipe.origins.len(), self.outer as u64 + inner);
        if found as u64 != expected {
            let what = format!("{found} payloads have an origin, but there are {expected}");
            return Err(self.invalid(what));
        }
        self.locate_inner(meter, limits, &mut ends)
    }

    /// Locates the inner payloads, archive by archive.
    fn locate_inner(
        &mut self,
        meter: &WorkMeter,
        limits: &Limits,
        ends: &mut FileEnds,
    ) -> Result<()> {
        let stored_lengths = self.recipe.nested.inner_bytes.clone();
        let mut stored_lengths = stored_lengths.into_iter();
        let mut at = 0;
        let mut inner_bytes = 0_u64;
        // Inner payloads that are archives extend the list.
        while at < self.archives.len() {
            meter.charge(0)?;
            let first = self.payloads.len();
            let count = self.recipe.nested.closed[at].inner as usize;
            self.archives[at].inner = first..first + count;
            for ordinal in first..first + count {
                let origin = self.recipe.origins[ordinal];
                let bytes = if origin.has_stored_length() { stored_lengths.next() } else { None };
                self.locate(bytes, None, ends)?;
                let bytes = self.payloads[ordinal].bytes;
                inner_bytes = inner_bytes.saturating_add(bytes);
                bill::charge_inner(bytes, meter)?;
                let coder = self.recipe.nested.coders[ordinal - self.outer];
                if let Some(at) = coder.checked_sub(1) {
                    bill::charge_compression(&self.compressions[at as usize], bytes, meter)?;
                }
                let stated = match origin {
                    PayloadOrigin::Packed(part) => self.parts[part as usize].stated,
                    _ => None,
                };
                self.stated.push(stated);
            }
            at += 1;
        }
        admit_expansion(limits, self.recipe.target.bytes, inner_bytes, &self.place)
    }

    /// Locates the next payload, and adds it to the table.
    ///
    /// `bytes` is its length if headers or recipe state it; otherwise the origin determines it.
    fn locate(
        &mut self,
        bytes: Option<u64>,
        own: Option<(u64, u64)>,
        ends: &mut FileEnds,
    ) -> Result<()> {
        let ordinal = self.payloads.len();
        let Some(&origin) = self.recipe.origins.get(ordinal) else {
            return Err(self.invalid(format_args!("payload {ordinal} has no origin")));
        };
        let (address, found) = match (origin, own) {
            (PayloadOrigin::Own, own) => own.unwrap_or((0, 0)),
            (PayloadOrigin::Base(address), _) => (address, bytes.unwrap_or(0)),
            (PayloadOrigin::Repeat(distance), _) => {
                let earlier = ordinal.checked_sub(distance as usize);
                let earlier = earlier.and_then(|at| self.payloads.get(at)).copied();
                return match earlier {
                    Some(earlier) if bytes.is_none_or(|bytes| earlier.bytes == bytes) => {
                        self.payloads.push(earlier);
                        Ok(())
                    }
                    _ => {
                        let bytes = bytes.unwrap_or(0);
                        let what = format!("payload {ordinal} repeats none of its {bytes} bytes");
                        Err(self.invalid(what))
                    }
                };
            }
            (PayloadOrigin::Part(part) | PayloadOrigin::Packed(part), _) => {
                let Some(part) = self.parts.get(part as usize) else {
                    let count = self.parts.len();
                    let what = format!("payload {ordinal} is part {part} of {count} of archives");
                    return Err(self.invalid(what));
                };
                match (origin, part.stored) {
                    (PayloadOrigin::Part(_), _) => (part.address, part.bytes),
                    (_, stored) => stored.unwrap_or((part.address, 0)),
                }
            }
            (PayloadOrigin::Rebuilt, _) => {
                let payload = u32::try_from(ordinal).expect("payloads are limited");
                let (bytes, offset) = (bytes.unwrap_or(0), ends.scratch_bytes);
                self.rebuilt.push(RebuiltPayload { payload, bytes, offset, own });
                // The sum of stated lengths is bounded: all count towards the target's length, or
                // towards that of inner payloads.
                ends.scratch_bytes = offset.saturating_add(bytes);
                self.payloads.push(Payload { bytes, source: PayloadSource::Scratch(offset) });
                return Ok(());
            }
            (PayloadOrigin::Closed, _) => {
                let (bytes, offset) = (bytes.unwrap_or(0), ends.archive_bytes);
                let Some(archive) = self.recipe.nested.closed.get(self.archives.len()) else {
                    return Err(self.invalid(format_args!("payload {ordinal} is not an archive")));
                };
                let source = u32::try_from(self.archives.len()).expect("archives are limited");
                self.archives.push(TargetArchive {
                    kind: archive.kind,
                    payload: ordinal,
                    inner: 0..0,
                    offset,
                    rank: 0,
                });
                ends.archive_bytes = offset.saturating_add(bytes);
                self.payloads.push(Payload { bytes, source: PayloadSource::Archive(source) });
                return Ok(());
            }
        };
        if found == 0 || bytes.is_some_and(|bytes| bytes != found) {
            let bytes = bytes.unwrap_or(0);
            let what = format!(
                "payload {ordinal} of {bytes} bytes should be its base entry's, of {found}"
            );
            return Err(self.invalid(what));
        }
        if let Some(source) = self.earlier_at(address) {
            return self.locate_earlier(source, address, found);
        }
        self.admit_base(address, found)?;
        if address.checked_add(found).is_none_or(|end| end > self.space.bytes()) {
            let end = self.space.bytes();
            let what =
                format!("payload {ordinal}: {found} bytes from {address}, the base ends at {end}");
            return Err(self.invalid(what));
        }
        self.payloads.push(Payload { bytes: found, source: PayloadSource::Base(address) });
        Ok(())
    }

    /// Locates a payload that is a copy from an earlier layer: from a file there that is rebuilt or an
    /// archive. Others are copies themselves, which a recipe takes from the base.
    fn locate_earlier(&mut self, source: usize, address: u64, bytes: u64) -> Result<()> {
        let EarlierStream { range, table } = &self.earlier[source];
        let found = table.payload_of(address - range.start, bytes);
        let is_made = |payload: usize| {
            matches!(
                table.payloads[payload].source,
                PayloadSource::Scratch(_) | PayloadSource::Archive(_)
            )
        };
        let Some((payload, offset)) = found.filter(|(payload, _)| is_made(*payload)) else {
            let ordinal = self.payloads.len();
            return Err(self.invalid(format_args!(
                "payload {ordinal}: {bytes} bytes from {address} are not of a rebuilt file of an \
                 earlier layer"
            )));
        };
        let [source, payload] = [source, payload].map(|at| u32::try_from(at).expect("limited"));
        let source = PayloadSource::Earlier { source, payload, offset };
        self.payloads.push(Payload { bytes, source });
        Ok(())
    }

    /// Returns the ranges of the file of rebuilt payloads that members make, in order.
    fn covers(&self) -> Result<Vec<MemberCover>> {
        let mut covers = Vec::new();
        for (group, members) in (0..).zip(&self.recipe.groups) {
            for (ordinal, member) in (0..).zip(&members.members) {
                let PlacedMember { offset, bytes, .. } = self.place_member(member)?;
                covers.push(MemberCover { offset, bytes, group, member: ordinal });
            }
        }
        covers.sort_unstable();
        Ok(covers)
    }

    /// Checks that members make each byte of the rebuilt payloads exactly once.
    fn check_cover(&self) -> Result<()> {
        let total = self.rebuilt_bytes();
        let mut at = 0;
        let ranges = self.covers.iter().map(|cover| (cover.offset, cover.bytes));
        for (offset, bytes) in ranges.chain([(total, 0)]) {
            if offset != at {
                let how = if offset > at { "by none" } else { "twice" };
                let at = at.min(offset);
                let before = self.rebuilt.partition_point(|rebuilt| rebuilt.offset <= at);
                let payload = before.checked_sub(1).map_or(0, |at| self.rebuilt[at].payload);
                let what = format!("members make part of payload {payload} {how}, should be once");
                return Err(self.invalid(what));
            }
            at += bytes;
        }
        Ok(())
    }

    /// Ranks archives by those that they are made of. Repeats make an archive part of several.
    fn rank_archives(&mut self) -> Result<()> {
        let mut needs = Vec::new();
        for (archive, ordinal) in self.archives.iter().zip(0..) {
            for payload in &self.payloads[archive.inner.clone()] {
                match payload.source {
                    PayloadSource::Archive(needed) => needs.push((ordinal, needed)),
                    PayloadSource::Base(_) | PayloadSource::Scratch(_) => {}
                    PayloadSource::Earlier { source, payload, .. } => {
                        let table = &self.earlier[source as usize].table;
                        let source = table.payloads[payload as usize].source;
                        // Archives of all layers are closed together.
                        if matches!(source, PayloadSource::Archive(_)) {
                            let payload = archive.payload;
                            return Err(self.invalid(format_args!(
                                "the archive in payload {payload} contains one of an earlier layer"
                            )));
                        }
                    }
                }
            }
        }
        let ranks = order::ranks(self.archives.len(), &needs).map_err(|archive| {
            let payload = self.archives[archive].payload;
            let what = format!(
                "the archive in payload {payload} is made of itself, or of an archive that is"
            );
            self.invalid(what)
        })?;
        for (archive, rank) in self.archives.iter_mut().zip(ranks) {
            archive.rank = rank;
        }
        Ok(())
    }
}

/// Refuses a range of the base that reaches into one of `skipped`, whose bytes are not there. They
/// are in order.
fn admit_base(skipped: &[Range<u64>], address: u64, bytes: u64, place: &str) -> Result<()> {
    let end = address.saturating_add(bytes);
    let past = skipped.partition_point(|range| range.start < end);
    if past.checked_sub(1).is_some_and(|last| skipped[last].end > address) {
        let what = format!("{bytes} bytes from {address} are not of a stream of the base");
        return Err(Error::bad_input(place, what));
    }
    Ok(())
}

/// Returns the sources that other recipes make, each with its addresses.
fn earlier_streams(recipe: &Recipe, made: Vec<Option<Arc<PayloadTable>>>) -> Vec<EarlierStream> {
    let mut start = 0;
    let streams = recipe.sources.iter().zip(made).map(|(source, made)| {
        // The front of the recipe bounds the sum.
        let range = start..start + source.bytes;
        start = range.end;
        made.map(|table| EarlierStream { range, table })
    });
    streams.flatten().collect()
}

/// Refuses archives that expand further than the limit for deflate.
fn admit_expansion(limits: &Limits, packed: u64, plain: u64, place: &str) -> Result<()> {
    limits.admit(LimitName::LayerBytes, plain, "uncompressed size of archives", place)?;
    if plain <= limits.expansion_free_bytes {
        return Ok(());
    }
    let expansion = plain / packed.max(1);
    limits.admit(LimitName::Expansion, expansion, "expansion factor of archives", place).map(|_| ())
}

/// Reads the compressions of inner payloads.
fn compressions(recipe: &Recipe, place: &str) -> Result<Vec<InnerCompression>> {
    let read = recipe.nested.compressions.iter().map(|bytes| {
        InnerCompression::from_bytes(bytes).map_err(|error| {
            let what = format_args!("a compression in it cannot be remade: {error}");
            Error::bad_input(place, what)
        })
    });
    read.collect()
}

const SCRATCH: &str = "scratch file of payloads";
