//! Recipes: the data that remakes a compressed stream from its plain bytes.
//!
//! The byte form has a version and is compact: a pgzip layer takes about 25 bytes. Reading it
//! checks every length against [`RecipeLimits`] before memory is allocated. Never compresses.

use crate::error::RecipeError;
use crate::klauspost::KlauspostVersion;
use crate::model::EncoderModel;
use crate::zlib::{ChromiumHash, PigzBlocks, ZlibStrategy};
use crate::zlib_ng::{CallSizes, ZlibNgVersion};
use imgdelta_wire::varint::write_prefixed;
use imgdelta_wire::{Cursor, WireError};

pub(crate) use imgdelta_wire::varint::write as put_number;

/// The data that remakes a compressed stream from its plain bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The members, in order. Most streams have one.
    pub members: Vec<RecipeMember>,
    /// The bytes behind the last member, copied.
    pub tail: Vec<u8>,
}

/// One deflate stream with its header and trailer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeMember {
    /// The bytes before the deflate stream, copied.
    pub header: Vec<u8>,
    /// The encoder of the stream.
    pub model: EncoderModel,
    /// The bytes behind the stream.
    pub trailer: MemberTrailer,
    /// Plain bytes in the member.
    pub plain_bytes: u64,
}

/// The bytes behind a deflate stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberTrailer {
    /// No bytes: a raw deflate stream.
    None,
    /// gzip's checksum and length, if both are right.
    Gzip,
    /// Any other bytes, copied.
    Literal(Vec<u8>),
}

/// Limits for [`Recipe::from_bytes`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecipeLimits {
    /// Most members. bgzip makes one member per 64 KiB, so a million members are 64 GiB.
    pub members: u64,
    /// Most bytes of the recipe. Reading copies its literal parts once.
    pub recipe_bytes: u64,
}

impl Default for RecipeLimits {
    fn default() -> Self {
        Self { members: 1 << 20, recipe_bytes: 256 << 20 }
    }
}

/// Returns the plain bytes of some members, or the largest number if the sum overflows.
pub(crate) fn plain_bytes(members: &[RecipeMember]) -> u64 {
    members.iter().fold(0, |sum, member| sum.saturating_add(member.plain_bytes))
}

/// Version of a recipe without restart points.
const VERSION: u8 = 1;
/// Version of a recipe with restart points: see `divided`.
pub(crate) const NEWEST_VERSION: u8 = 2;

impl Recipe {
    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_number(&mut out, self.members.len() as u64);
        for member in &self.members {
            write_prefixed(&mut out, &member.header);
            put_model(&mut out, &member.model);
            match &member.trailer {
                MemberTrailer::None => out.push(0),
                MemberTrailer::Gzip => out.push(1),
                MemberTrailer::Literal(bytes) => {
                    out.push(2);
                    write_prefixed(&mut out, bytes);
                }
            }
            put_number(&mut out, member.plain_bytes);
        }
        write_prefixed(&mut out, &self.tail);
        out
    }

    /// Reads a recipe, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: RecipeLimits) -> Result<Self, RecipeError> {
        let mut reader = RecipeReader::new(bytes, limits)?;
        let version = reader.byte()?;
        if version != VERSION {
            return Err(RecipeError::Version { expected: NEWEST_VERSION, found: version });
        }
        let recipe = reader.recipe(limits)?;
        reader.finish()?;
        Ok(recipe)
    }

    /// Returns the plain bytes of all members, or the largest number if the sum overflows.
    pub fn plain_bytes(&self) -> u64 {
        plain_bytes(&self.members)
    }

    /// Estimates the nanoseconds of remaking the stream on one core: see
    /// [`EncoderModel::nanoseconds_per_byte`].
    pub fn nanoseconds(&self) -> u64 {
        let members = self.members.iter().map(|member| {
            let per_byte = u64::from(member.model.nanoseconds_per_byte());
            EncoderModel::NANOSECONDS_PER_STREAM
                .saturating_add(member.plain_bytes.saturating_mul(per_byte))
        });
        members.fold(0, u64::saturating_add)
    }
}

impl EncoderModel {
    /// Returns the model as bytes: two to seven, except for a record. zlib's models take four.
    /// A caller needs only these bytes to remake a raw stream with
    /// [`EncoderCache::remake_raw`](crate::EncoderCache::remake_raw).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_model(&mut out, self);
        out
    }

    /// Reads a model, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: RecipeLimits) -> Result<Self, RecipeError> {
        let mut reader = RecipeReader::new(bytes, limits)?;
        let model = reader.model()?;
        reader.finish()?;
        Ok(model)
    }
}

const GOLANG: u8 = 0;
const KLAUSPOST: u8 = 1;
const PGZIP: u8 = 2;
const ZLIB: u8 = 3;
const GNU_GZIP: u8 = 4;
const PIGZ: u8 = 5;
const TOKENS: u8 = 6;
const PIGZ_INDEPENDENT: u8 = 7;
const PIGZ_CONTINUED: u8 = 8;
const RSYNCABLE_GZIP: u8 = 9;
const ZLIB_NG: u8 = 10;
const CHROMIUM_ZLIB: u8 = 11;
const MINIZ: u8 = 12;
const USUAL_WINDOW_BITS: u8 = 15;

fn put_model(out: &mut Vec<u8>, model: &EncoderModel) {
    match *model {
        EncoderModel::Golang { level } => out.extend([GOLANG, level as u8]),
        EncoderModel::Klauspost { version, level } => {
            out.extend([KLAUSPOST, version_number(version), level as u8]);
        }
        EncoderModel::Pgzip { version, level, segment_bytes } => {
            out.extend([PGZIP, version_number(version), level as u8]);
            put_number(out, u64::from(segment_bytes));
        }
        EncoderModel::Zlib { level, mem_level, window_bits, strategy } => {
            let strategy = ZlibStrategy::ALL.iter().position(|&s| s == strategy).unwrap_or(0);
            // Zero in the upper half is the default window.
            let sizes = mem_level | (USUAL_WINDOW_BITS - window_bits) << 4;
            out.extend([ZLIB, level, sizes, strategy as u8]);
        }
        EncoderModel::Miniz { level, ends_flushed } => {
            out.extend([MINIZ, level, u8::from(ends_flushed)]);
        }
        EncoderModel::ChromiumZlib { hash, level, mem_level } => {
            let hash = ChromiumHash::ALL.iter().position(|&h| h == hash).unwrap_or(0);
            out.extend([CHROMIUM_ZLIB, hash as u8, level, mem_level]);
        }
        EncoderModel::ZlibNg { version, level, calls } => {
            let version = match version {
                ZlibNgVersion::V2_1 => 0,
                ZlibNgVersion::V2_2_0 => 1,
                ZlibNgVersion::V2_2_3 => 2,
            };
            out.extend([ZLIB_NG, version, level, u8::from(calls.ends_flushed)]);
            put_number(out, u64::from(calls.input_bytes));
            put_number(out, u64::from(calls.output_bytes));
        }
        EncoderModel::GnuGzip { level } => out.extend([GNU_GZIP, level]),
        EncoderModel::RsyncableGzip { level } => out.extend([RSYNCABLE_GZIP, level]),
        EncoderModel::Pigz { level, block_bytes, blocks } => {
            let kind = match blocks {
                PigzBlocks::Primed => PIGZ,
                PigzBlocks::Independent => PIGZ_INDEPENDENT,
                PigzBlocks::Continued => PIGZ_CONTINUED,
            };
            out.extend([kind, level]);
            put_number(out, u64::from(block_bytes));
        }
        EncoderModel::Tokens(ref record) => {
            out.push(TOKENS);
            write_prefixed(out, record);
        }
    }
}

/// Returns the number of a version in the byte form. A number is never reused.
fn version_number(version: KlauspostVersion) -> u8 {
    match version {
        KlauspostVersion::V1_15_10 => 0,
        KlauspostVersion::V1_15_15 => 1,
        KlauspostVersion::V1_18_0 => 2,
        KlauspostVersion::V1_18_2 => 3,
        KlauspostVersion::V1_20 => 4,
    }
}

/// Reads the values of a recipe.
pub(crate) struct RecipeReader<'a>(Cursor<'a>);

impl<'a> RecipeReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: RecipeLimits) -> Result<Self, RecipeError> {
        let (value, expected) = ("its number of bytes", limits.recipe_bytes);
        let found = bytes.len() as u64;
        if found > expected {
            return Err(RecipeError::Limit { value, expected, found });
        }
        Ok(Self(Cursor::new(bytes)))
    }

    /// Checks that no bytes are left.
    pub(crate) fn finish(&self) -> Result<(), RecipeError> {
        self.0.finish().map_err(of_wire)
    }

    /// Reads members and tail.
    pub(crate) fn recipe(&mut self, limits: RecipeLimits) -> Result<Recipe, RecipeError> {
        let count = self.number()?;
        if count > limits.members {
            let (value, expected) = ("the number of members", limits.members);
            return Err(RecipeError::Limit { value, expected, found: count });
        }
        // Each member takes some bytes of input, so memory stays proportional to the input.
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(RecipeMember {
                header: self.bytes()?.to_vec(),
                model: self.model()?,
                trailer: match self.byte()? {
                    0 => MemberTrailer::None,
                    1 => MemberTrailer::Gzip,
                    2 => MemberTrailer::Literal(self.bytes()?.to_vec()),
                    kind => {
                        let (value, found) = ("kind of trailer", u64::from(kind));
                        return Err(RecipeError::Unknown { value, found });
                    }
                },
                plain_bytes: self.number()?,
            });
        }
        Ok(Recipe { members, tail: self.bytes()?.to_vec() })
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RecipeError> {
        self.0.u8().map_err(of_wire)
    }

    pub(crate) fn number(&mut self) -> Result<u64, RecipeError> {
        self.0.varint_any_form().map_err(of_wire)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecipeError> {
        let count = self.number()?;
        self.0.take(count).map_err(of_wire)
    }

    fn flag(&mut self) -> Result<bool, RecipeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            flag => Err(RecipeError::Unknown { value: "flag", found: u64::from(flag) }),
        }
    }

    fn version(&mut self) -> Result<KlauspostVersion, RecipeError> {
        let number = self.byte()?;
        let version = KlauspostVersion::ALL.into_iter().find(|&v| version_number(v) == number);
        let (value, found) = ("version of klauspost/compress", u64::from(number));
        version.ok_or(RecipeError::Unknown { value, found })
    }

    fn size(&mut self) -> Result<u32, RecipeError> {
        // The limit is for blocks of pigz, which are buffered. Usual sizes are far below it.
        let (value, expected, found) = ("a block", u64::from(MAX_BLOCK_BYTES), self.number()?);
        let size = u32::try_from(found).ok().filter(|&size| size <= MAX_BLOCK_BYTES);
        size.ok_or(RecipeError::Limit { value, expected, found })
    }

    fn pigz(&mut self, blocks: PigzBlocks) -> Result<EncoderModel, RecipeError> {
        Ok(EncoderModel::Pigz { level: self.byte()?, block_bytes: self.size()?, blocks })
    }

    fn model(&mut self) -> Result<EncoderModel, RecipeError> {
        let kind = self.byte()?;
        let unknown = |value| RecipeError::Unknown { value, found: u64::from(kind) };
        let model = match kind {
            GOLANG => EncoderModel::Golang { level: self.byte()? as i8 },
            KLAUSPOST => {
                EncoderModel::Klauspost { version: self.version()?, level: self.byte()? as i8 }
            }
            PGZIP => EncoderModel::Pgzip {
                version: self.version()?,
                level: self.byte()? as i8,
                segment_bytes: self.size()?,
            },
            ZLIB => {
                let (level, sizes, strategy) = (self.byte()?, self.byte()?, self.byte()?);
                let (value, found) = ("strategy of zlib", u64::from(strategy));
                EncoderModel::Zlib {
                    level,
                    mem_level: sizes & 15,
                    window_bits: USUAL_WINDOW_BITS - (sizes >> 4),
                    strategy: *ZlibStrategy::ALL
                        .get(usize::from(strategy))
                        .ok_or(RecipeError::Unknown { value, found })?,
                }
            }
            ZLIB_NG => EncoderModel::ZlibNg {
                version: match self.byte()? {
                    0 => ZlibNgVersion::V2_1,
                    1 => ZlibNgVersion::V2_2_0,
                    2 => ZlibNgVersion::V2_2_3,
                    number => {
                        let (value, found) = ("version of zlib-ng", u64::from(number));
                        return Err(RecipeError::Unknown { value, found });
                    }
                },
                level: self.byte()?,
                calls: CallSizes {
                    ends_flushed: self.flag()?,
                    input_bytes: self.size()?,
                    output_bytes: self.size()?,
                },
            },
            MINIZ => EncoderModel::Miniz { level: self.byte()?, ends_flushed: self.flag()? },
            CHROMIUM_ZLIB => {
                let hash = self.byte()?;
                let (value, found) = ("hash of Chromium's zlib", u64::from(hash));
                EncoderModel::ChromiumZlib {
                    hash: *ChromiumHash::ALL
                        .get(usize::from(hash))
                        .ok_or(RecipeError::Unknown { value, found })?,
                    level: self.byte()?,
                    mem_level: self.byte()?,
                }
            }
            GNU_GZIP => EncoderModel::GnuGzip { level: self.byte()? },
            RSYNCABLE_GZIP => EncoderModel::RsyncableGzip { level: self.byte()? },
            PIGZ => self.pigz(PigzBlocks::Primed)?,
            PIGZ_INDEPENDENT => self.pigz(PigzBlocks::Independent)?,
            PIGZ_CONTINUED => self.pigz(PigzBlocks::Continued)?,
            TOKENS => EncoderModel::Tokens(self.bytes()?.to_vec()),
            _ => return Err(unknown("model")),
        };
        if model.exists() { Ok(model) } else { Err(unknown("parameter of model")) }
    }
}

/// Maps a fault in the bytes to the error of recipes.
fn of_wire(error: WireError) -> RecipeError {
    match error {
        WireError::Truncated { needed, left, .. } => {
            RecipeError::Truncated { expected_bytes: needed, found_bytes: left }
        }
        WireError::TrailingBytes { left, .. } => RecipeError::Trailing { found_bytes: left },
        WireError::Overlong { .. } | WireError::OutOfRange { .. } => {
            RecipeError::Limit { value: "a number", expected: u64::MAX >> 1, found: u64::MAX }
        }
    }
}

/// Largest segment or block that is accepted. A pigz block of this size is held in memory.
const MAX_BLOCK_BYTES: u32 = 64 << 20;
