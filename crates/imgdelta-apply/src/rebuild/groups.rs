//! Groups decoded in parallel into the scratch files of their recipes.
//! Never verifies the result: the digest of the finished layer does that.
//!
//! A group that reads what others make is decoded after them. Each group takes its share of a memory
//! budget before it begins.

use super::{
    bill::{self, GroupWork},
    close, digests, sources,
    table::{MemberRange, PayloadTable, PlacedMember},
};
use imgdelta_codec::{CodecError, GroupDecoder, GroupLimits, Host, StreamKind};
use imgdelta_coding::pack;
use imgdelta_core::map::MapRange;
use imgdelta_core::{
    Context, Error, LimitName, Limits, Result,
    limits::Ceiling,
    parallel::Budget,
    progress::{Progress, Stage},
    scratch::{Scratch, ScratchFile},
    sort::SharedSort,
    work::WorkMeter,
};
use imgdelta_image::volume::FileExtent;
use std::{cmp::Reverse, collections::BTreeMap, ops::Deref, sync::Arc};

/// Decodes all groups, rank by rank and the largest first; then closes the archives that contain the
/// results, and lays in digests.
pub(super) fn decode_all(
    recipes: &BTreeMap<u32, Arc<PayloadTable>>,
    meter: &WorkMeter,
    context: &Context,
) -> Result<()> {
    let ranks = sources::ranks(recipes, meter, &context.limits)?;
    let mut works: BTreeMap<u32, Vec<(u64, &PayloadTable, usize)>> = BTreeMap::new();
    let mut total = 0_u64;
    for (recipe, table) in recipes {
        for (ordinal, group) in table.recipe.groups.iter().enumerate() {
            let mut work = GroupWork::default();
            for member in &group.members {
                let placed = table.place_member(member)?;
                work.members += 1;
                work.bytes = work.bytes.saturating_add(placed.bytes);
                for range in placed.base() {
                    let bytes = table.member_range(range)?.bytes();
                    work.base_bytes = work.base_bytes.saturating_add(bytes);
                }
                bill::charge_own_base(placed.own_bytes(), meter)?;
            }
            let target_bytes = work.bytes;
            bill::charge_forms(&table.recipe, ordinal, (work, &table.place), meter)?;
            total = total.saturating_add(target_bytes);
            let rank = ranks[recipe][ordinal];
            works.entry(rank).or_default().push((target_bytes, table, ordinal));
        }
    }
    let closed = recipes.values().flat_map(|table| {
        table.archives.iter().map(|closing| table.payloads[closing.payload].bytes)
    });
    total = closed.fold(total, u64::saturating_add);
    let progress = &*context.progress;
    progress.begin(Stage::Rebuilding, total);
    let budget = Budget::new(context.memory_bytes.unwrap_or(MEMORY_BYTES));
    for mut works in works.into_values() {
        works.shared_sort_by_key(|(target_bytes, ..)| Reverse(*target_bytes));
        context.workers.map(works, |(target_bytes, table, ordinal)| {
            let Context { limits, scratch, .. } = context;
            let group = GroupDecoding { table, ordinal, target_bytes, limits, scratch };
            group.decode(&budget, progress)
        })?;
    }
    close::close_all(recipes, &budget, context)?;
    digests::lay_all(recipes, context)
}

struct GroupDecoding<'a> {
    table: &'a PayloadTable,
    ordinal: usize,
    /// Bytes that its members make.
    target_bytes: u64,
    limits: &'a Limits,
    scratch: &'a Scratch,
}

impl GroupDecoding<'_> {
    fn decode(&self, budget: &Budget, progress: &dyn Progress) -> Result<()> {
        progress.check()?;
        let table = self.table;
        let members = &table.recipe.groups[self.ordinal].members;
        let placed: Vec<PlacedMember<'_>> =
            members.iter().map(|member| table.place_member(member)).collect::<Result<_>>()?;
        let packed = table.recipe.group(self.ordinal)?;
        let _share = budget.take(self.cost(&placed, &packed)?);
        let limits = GroupLimits::default().stream_bytes(self.most_stream_bytes().value);
        let wrong = |error: CodecError| self.wrong(&error);
        let mut decoder = GroupDecoder::open(&packed, &limits).map_err(wrong)?;
        drop(packed);
        for placed in placed {
            progress.check()?;
            let bytes = usize::try_from(placed.bytes).expect("limited when its cost was counted");
            let mut at = placed.offset;
            let base = self.base(&placed)?;
            let host = BaseHost(&base);
            let rebuilt = decoder.member_in_pieces(&base, bytes, &host, |piece| {
                progress.check().map_err(PieceError::Stopped)?;
                if let Some(file) = &table.scratch {
                    let written = file.write_all_at(piece, at).map_err(Error::io(SCRATCH));
                    written.map_err(PieceError::Stopped)?;
                }
                at += piece.len() as u64;
                progress.advance(piece.len() as u64);
                Ok(())
            });
            rebuilt.map_err(|error| match error {
                PieceError::Codec(error) => wrong(error),
                PieceError::Stopped(error) => error,
            })?;
        }
        decoder.finish().map_err(wrong)
    }

    /// Returns the memory that the largest member needs: its target, its base, the group's streams.
    fn cost(&self, placed: &[PlacedMember<'_>], packed: &[u8]) -> Result<u64> {
        let sizes = pack::sizes(packed, StreamKind::ALL.len())
            .map_err(|error| Error::bad_input(self.place(), error))?;
        // A program in parts is in memory as a whole, and a table of it a second time.
        let has_programs = sizes.streams > StreamKind::Parts as usize;
        let has_codes = sizes.streams > StreamKind::Codes as usize && sizes.last_bytes > 0;
        let (mut target_bytes, mut base_bytes) = (0, 0);
        for placed in placed {
            let mut bytes = 0_u64;
            let mut is_copied = placed.base().count() > 1;
            for range in placed.base() {
                let range = self.table.member_range(range)?;
                bytes = bytes.saturating_add(range.bytes());
                is_copied |= self.is_copied(range);
            }
            let ceiling = self.limits.ceiling(LimitName::MemberBytes);
            ceiling.admit(bytes, "base bytes of a member", self.place())?;
            ceiling.admit(placed.bytes, "bytes of a member", self.place())?;
            let copy = if is_copied { bytes } else { 0 };
            let ceiling = self.limits.ceiling(LimitName::CopiedBytes);
            ceiling.admit(copy, "copied base bytes of a member", self.place())?;
            // Codes have tables, and an aligned code has the base as its reference.
            let codes = if has_codes { bytes.min(MOST_REFERENCE) + CODES_BYTES } else { 0 };
            let views = bytes.saturating_mul(2).min(VIEW_BYTES).saturating_add(codes);
            base_bytes = base_bytes.max(copy.saturating_add(views));
            target_bytes = target_bytes.max(if has_programs {
                placed.bytes.saturating_mul(2)
            } else {
                placed.bytes.min(PIECE_BYTES.max(placed.bytes / 4))
            });
        }
        let streams = sizes.unpacked_bytes.min(self.most_stream_bytes().value);
        let streams = streams.saturating_add(packed.len() as u64);
        Ok(target_bytes.saturating_add(base_bytes).saturating_add(streams))
    }

    /// Returns the most unpacked bytes that the group's streams may have.
    ///
    /// Each number and literal in them makes a byte or more.
    fn most_stream_bytes(&self) -> Ceiling {
        let bearable = self.target_bytes.saturating_mul(STREAM_BYTES).saturating_add(FREE_BYTES);
        let ceiling = self.limits.ceiling(LimitName::GroupBytes);
        if ceiling.value <= bearable { ceiling } else { Ceiling::fixed(bearable) }
    }

    /// Returns true if a range takes memory of its own.
    fn is_copied(&self, range: MemberRange<'_>) -> bool {
        match range {
            MemberRange::Base { address, bytes } => {
                let file = self.table.space.file_of(address, bytes);
                file.is_none() || bytes < MAPPED_BYTES
            }
            MemberRange::Rebuilt { bytes, .. } => bytes < MAPPED_BYTES,
        }
    }

    fn base(&self, placed: &PlacedMember<'_>) -> Result<MemberBase> {
        let space = &self.table.space;
        let mut base = Vec::new();
        let is_one = placed.base().count() == 1;
        for range in placed.base() {
            let range = self.table.member_range(range)?;
            let is_mapped = is_one && range.bytes() >= MAPPED_BYTES;
            let part = match range {
                MemberRange::Base { address, bytes } => {
                    if is_mapped && let Some((extent, offset)) = space.file_of(address, bytes) {
                        if let Some(map) = extent.map_range(offset, bytes)? {
                            return Ok(MemberBase::Mapped(map));
                        }
                        return self.spilled(extent, offset, bytes);
                    }
                    space.slice(address, bytes)?
                }
                MemberRange::Rebuilt { table, offset, bytes } => {
                    if is_mapped {
                        return Ok(MemberBase::Mapped(table.map_rebuilt(offset, bytes)?));
                    }
                    table.read_rebuilt(offset, bytes)?
                }
            };
            if base.is_empty() {
                base = part;
            } else {
                base.extend_from_slice(&part);
            }
        }
        Ok(MemberBase::Copied(base))
    }

    /// Copies a range of unpacked files into a scratch file, which can be mapped.
    fn spilled(&self, extent: &FileExtent, offset: u64, bytes: u64) -> Result<MemberBase> {
        let file = self.scratch.file()?;
        let mut piece = vec![0; COPY_BYTES];
        let mut done = 0;
        while done < bytes {
            let count = usize::try_from(bytes - done).unwrap_or(usize::MAX).min(COPY_BYTES);
            let piece = &mut piece[..count];
            extent.read_exact_at(offset + done, piece)?;
            file.write_all_at(piece, done).map_err(Error::io(SCRATCH))?;
            done += count as u64;
        }
        let map = MapRange::open(&file, 0, bytes).map_err(Error::io(SCRATCH))?;
        Ok(MemberBase::Spilled { map, _file: file })
    }

    fn wrong(&self, error: &CodecError) -> Error {
        match *error {
            CodecError::TooLarge { what, limit, found } => {
                let name = self.most_stream_bytes().name;
                Error::OverLimit { place: self.place(), what, name, found, limit }
            }
            _ => Error::bad_input(self.place(), error),
        }
    }

    fn place(&self) -> String {
        format!("{}, group {}", self.table.place, self.ordinal)
    }
}

/// The base of a member.
enum MemberBase {
    /// A copy.
    Copied(Vec<u8>),
    /// A map of a part of its file.
    Mapped(MapRange),
    /// A map of a copy in a scratch file, which counts as long as it is open.
    Spilled { map: MapRange, _file: ScratchFile },
}

impl Deref for MemberBase {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Mapped(map) | Self::Spilled { map, .. } => map,
        }
    }
}

/// Gives back mapped pages of a base while it is read.
struct BaseHost<'a>(&'a MemberBase);

impl Host for BaseHost<'_> {
    fn release(&self) {
        if let MemberBase::Mapped(range) | MemberBase::Spilled { map: range, .. } = self.0 {
            range.release();
        }
    }
}

/// An error while a member is rebuilt piece by piece.
enum PieceError {
    /// The group or its base is wrong.
    Codec(CodecError),
    /// The piece could not be written, or the caller has cancelled.
    Stopped(Error),
}

impl From<CodecError> for PieceError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

/// Memory for groups that are being decoded, unless the caller sets another amount.
///
/// A group that needs more is decoded alone.
const MEMORY_BYTES: u64 = 128 << 20;

/// A base of this length is mapped, and a shorter one is read.
const MAPPED_BYTES: u64 = 1 << 20;
/// Memory for the fields of a base, a prefix and mapped pages, at most.
const VIEW_BYTES: u64 = 90 << 20;
/// Memory for the states of codes and the indexes of an aligned code, and for its reference at most.
const CODES_BYTES: u64 = 44 << 20;
const MOST_REFERENCE: u64 = imgdelta_coding::aligned::MAX_REFERENCE as u64;
/// Bytes of a target that are in memory together.
const PIECE_BYTES: u64 = 2 << 20;
/// A part of unpacked files that is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Bytes of streams for each byte that a group makes, and for any group.
const STREAM_BYTES: u64 = 8;
const FREE_BYTES: u64 = 64 << 10;

const SCRATCH: &str = "scratch file of rebuilt payloads";
