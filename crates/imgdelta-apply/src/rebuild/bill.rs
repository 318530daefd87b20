//! The work that a delta asks for, charged before any of it is done.
//! Never does any of it.
//!
//! Counts and lengths in the recipes, and in the first bytes of their groups, show nearly all the
//! work: bytes inflated, copied, decoded and compressed. The rest depends on header columns; their
//! reader charges the same meter as it goes. Costs are rounded measurements on one core of a
//! machine of 2020. `SECURITY.md` lists the tests that hold the bounds.

use super::plan::{BlobJob, OutputEncoding};
use crate::delta::{ArchiveKind, BaseSource, Delta, DigestSpelling, Recipe, StoredRecipe};
use imgdelta_codec::StreamKind;
use imgdelta_coding::{aligned, corrections, pack};
use imgdelta_core::{Error, Result, error::Cause, work::WorkMeter};
use imgdelta_deflate::DividedRecipe;
use imgdelta_layer::{archive::InnerCompression, chunked::ChunkedRecipe};

/// Charges the bytes of a blob: its stream, and the compression of the stream. A blob that a base
/// image has is copied, not compressed.
pub(super) fn charge_blob(delta: &Delta, job: &BlobJob, meter: &WorkMeter) -> Result<()> {
    meter.charge(job.stream.bytes.saturating_mul(STREAM_BYTE))?;
    if job.is_in_base { Ok(()) } else { charge_compression_of(delta, job, meter) }
}

/// Charges the compression of a blob's stream.
pub(super) fn charge_compression_of(delta: &Delta, job: &BlobJob, meter: &WorkMeter) -> Result<()> {
    let nanoseconds = nanoseconds(&job.encoding, job.stream.bytes).map_err(|error| {
        let place = format!("{}, layer {}", delta.place(), job.ordinal + 1);
        Error::bad_input(place, format_args!("its compression cannot be remade: {error}"))
    })?;
    meter.charge(nanoseconds)
}

/// Returns the nanoseconds of compressing a stream as its blob was.
pub(super) fn nanoseconds(
    encoding: &OutputEncoding,
    stream_bytes: u64,
) -> std::result::Result<u64, Cause> {
    Ok(match encoding {
        OutputEncoding::Deflate(bytes) => {
            let limits = imgdelta_deflate::RecipeLimits::default();
            DividedRecipe::from_bytes(bytes, limits)?.recipe().nanoseconds()
        }
        OutputEncoding::Zstd(bytes) => {
            let limits = imgdelta_zstd::RecipeLimits::default();
            imgdelta_zstd::Recipe::from_bytes(bytes, limits)?.nanoseconds()
        }
        OutputEncoding::Chunked(bytes) => {
            ChunkedRecipe::from_bytes(bytes)?.nanoseconds(stream_bytes)
        }
        OutputEncoding::None | OutputEncoding::Copied => 0,
    })
}

/// Charges a recipe: its archives, its members, and the streams of its groups.
pub(super) fn charge_recipe(recipe: &StoredRecipe, place: &str, meter: &WorkMeter) -> Result<()> {
    let payloads = recipe.origins.len() as u64;
    meter.charge(payloads.saturating_mul(PAYLOAD))?;
    charge_archives(recipe, meter)?;
    for (ordinal, group) in recipe.groups.iter().enumerate() {
        let start = recipe.group_start(ordinal, pack::TABLE_BYTES)?;
        let sizes = pack::sizes(&start, StreamKind::ALL.len())
            .map_err(|error| Error::bad_input(format!("{place}, group {ordinal}"), error))?;
        meter.charge(GROUP.saturating_add(sizes.unpacked_bytes.saturating_mul(UNPACKED_BYTE)))?;
        meter.charge(sizes.mixed_bytes.saturating_mul(MIXED_BYTE))?;
        meter.charge(sizes.lz_bytes.saturating_mul(LZ_BYTE))?;
        for member in &group.members {
            let base: u64 = member.sources.iter().fold(0, |sum, source| match source {
                // The table charges it once the header's base entry is known.
                BaseSource::Own => sum,
                BaseSource::Slice { bytes, .. } => sum.saturating_add(*bytes),
            });
            let parts = member.sources.len() as u64 * BASE_PART;
            meter.charge(MEMBER + parts + base.saturating_mul(BASE_BYTE))?;
        }
    }
    Ok(())
}

/// The members of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupWork {
    pub(super) members: u64,
    /// Bytes that they make, and bytes of their bases.
    pub(super) bytes: u64,
    pub(super) base_bytes: u64,
}

/// Charges the literals and corrections that a group may have as codes, and the programs in parts: at
/// most all bytes of its members.
pub(super) fn charge_forms(
    recipe: &StoredRecipe,
    ordinal: usize,
    (work, place): (GroupWork, &str),
    meter: &WorkMeter,
) -> Result<()> {
    let bytes = work.bytes;
    let start = recipe.group_start(ordinal, pack::TABLE_BYTES)?;
    let sizes = pack::sizes(&start, StreamKind::ALL.len())
        .map_err(|error| Error::bad_input(format!("{place}, group {ordinal}"), error))?;
    let has_literals_apart = sizes.streams > StreamKind::PackedLiterals as usize;
    meter.charge(if has_literals_apart { bytes.saturating_mul(LZ_BYTE) } else { 0 })?;
    // Its stream is the last one.
    let has_codes = sizes.streams > StreamKind::Codes as usize;
    let code = if has_codes { sizes.last_bytes } else { 0 };
    if code > 0 {
        let most = |each: u64| code.saturating_mul(each).min(work.bytes);
        // A byte of the codes belongs to literals or to corrections.
        let flagged = aligned::MAX_BYTES.max(corrections::MAX_OPEN);
        let full = aligned::MAX_FULL.max(corrections::MAX_WRONG);
        let flagged = most(flagged).saturating_mul(FLAGGED_BYTE);
        meter.charge(flagged.saturating_add(most(full).saturating_mul(FULL_BYTE)))?;
        meter.charge(work.bytes.saturating_mul(PASSED_BYTE))?;
        let tables = work.members.saturating_mul(ALIGNED_MEMBER);
        meter.charge(work.base_bytes.saturating_mul(REFERENCE_BYTE).saturating_add(tables))?;
    }
    let has_programs = sizes.streams > StreamKind::Parts as usize;
    meter.charge(if has_programs { bytes.saturating_mul(PROGRAM_BYTE) } else { 0 })
}

/// Charges the archives that a recipe opens and closes, except for compressing their members.
fn charge_archives(recipe: &Recipe, meter: &WorkMeter) -> Result<()> {
    let nested = &recipe.nested;
    for opened in &nested.opened {
        let per_byte = match opened.kind {
            ArchiveKind::Xz => UNPACKED_XZ_BYTE,
            _ => INFLATED_BYTE,
        };
        let inflating = opened.plain_bytes.saturating_mul(per_byte);
        let searching = opened.bytes.saturating_mul(SEARCHED_BYTE);
        meter.charge(ARCHIVE.saturating_add(inflating).saturating_add(searching))?;
    }
    meter.charge((nested.closed.len() as u64).saturating_mul(ARCHIVE))
}

/// Charges the compression of an archive's member.
pub(super) fn charge_compression(
    compression: &InnerCompression,
    plain_bytes: u64,
    meter: &WorkMeter,
) -> Result<()> {
    meter.charge(compression.nanoseconds(plain_bytes))
}

/// Charges the bytes of a payload of an archive.
pub(super) fn charge_inner(bytes: u64, meter: &WorkMeter) -> Result<()> {
    meter.charge(bytes.saturating_mul(STREAM_BYTE))
}

/// Charges the base bytes of a member that come from its header's base entry.
pub(super) fn charge_own_base(bytes: u64, meter: &WorkMeter) -> Result<()> {
    meter.charge(bytes.saturating_mul(BASE_BYTE))
}

/// Charges the search for the members whose results a member reads.
pub(super) fn charge_makers(count: usize, meter: &WorkMeter) -> Result<()> {
    meter.charge((count as u64).saturating_mul(BASE_PART))
}

/// Charges the digest of a payload.
pub(super) fn charge_digest(spelling: DigestSpelling, bytes: u64, meter: &WorkMeter) -> Result<()> {
    let per_byte = match spelling {
        DigestSpelling::Md5Hex => MD5_BYTE,
        DigestSpelling::Sha1Base64 => SHA1_BYTE,
        DigestSpelling::Sha256Hex | DigestSpelling::Sha256Base64Url => SHA256_BYTE,
    };
    meter.charge(PAYLOAD.saturating_add(bytes.saturating_mul(per_byte)))
}

/// Inflating, copying, hashing and writing a byte of a stream.
const STREAM_BYTE: u64 = 8;
/// Locating a payload.
const PAYLOAD: u64 = 100;
/// Starting the streams of a group.
const GROUP: u64 = 20_000;
/// Unpacking a byte of a group by zstd, and interpreting it.
const UNPACKED_BYTE: u64 = 10;
/// Unpacking a byte that is mixed from many contexts.
const MIXED_BYTE: u64 = 1000;
/// Making a byte of a program in parts: at worst a symbol, of whose name a kibibyte is hashed.
const PROGRAM_BYTE: u64 = 50;
/// Unpacking a byte that is LZ-coded.
const LZ_BYTE: u64 = 100;
/// Unpacking a byte of an aligned code or a code of corrections by a flag, and a byte without one or
/// after a wrong one.
const FLAGGED_BYTE: u64 = 600;
const FULL_BYTE: u64 = 3000;
/// Passing over a byte without a correction.
const PASSED_BYTE: u64 = 20;
/// Entering a byte of the reference of an aligned code, and making tables.
const REFERENCE_BYTE: u64 = 50;
const ALIGNED_MEMBER: u64 = 1_000_000;
/// Starting a member.
const MEMBER: u64 = 500;
/// Finding a part of a member's base.
const BASE_PART: u64 = 100;
/// Copying a byte of a member's base, or finding the references of a program in it.
const BASE_BYTE: u64 = 4;
/// Starting to open or close an archive.
const ARCHIVE: u64 = 20_000;
/// Searching a byte of an archive for its members.
const SEARCHED_BYTE: u64 = 2;
/// Inflating a byte to a scratch file.
const INFLATED_BYTE: u64 = 5;
/// Unpacking a byte of xz to a scratch file.
const UNPACKED_XZ_BYTE: u64 = 40;
/// Reading a byte and hashing it.
const MD5_BYTE: u64 = 3;
const SHA1_BYTE: u64 = 3;
const SHA256_BYTE: u64 = 4;
