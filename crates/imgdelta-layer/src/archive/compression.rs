//! The recipes that compress inner payloads, of any format.
//! Never compresses.

use imgdelta_core::error::Cause;
use imgdelta_zstd::lz4::Lz4Encoder;

/// A recipe that compresses an inner payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InnerCompression {
    /// Deflate, for gzip, zip and ELF files.
    Deflate(imgdelta_deflate::Recipe),
    /// Xz.
    Xz(imgdelta_xz::Recipe),
    /// Zstd.
    Zstd(imgdelta_zstd::FileRecipe),
    /// LZ4, for programs of graphics processors.
    Lz4(Lz4Encoder),
}

impl InnerCompression {
    /// Returns the recipe as bytes. The first byte is FD for xz, B5 for zstd, F4 for LZ4, and the
    /// version for deflate, which is small.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Deflate(recipe) => recipe.to_bytes(),
            Self::Xz(recipe) => [&[XZ], &recipe.to_bytes()[..]].concat(),
            Self::Zstd(recipe) => [&[ZSTD], &recipe.to_bytes()[..]].concat(),
            Self::Lz4(encoder) => vec![LZ4, encoder.number()],
        }
    }

    /// Reads a recipe, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Cause> {
        if let [XZ, recipe @ ..] = bytes {
            let limits = imgdelta_xz::RecipeLimits::default();
            return Ok(Self::Xz(imgdelta_xz::Recipe::from_bytes(recipe, limits)?));
        }
        if let [ZSTD, recipe @ ..] = bytes {
            let limits = imgdelta_zstd::RecipeLimits::default();
            return Ok(Self::Zstd(imgdelta_zstd::FileRecipe::from_bytes(recipe, limits)?));
        }
        if let [LZ4, recipe @ ..] = bytes {
            let encoder = match recipe {
                [number] => Lz4Encoder::with_number(*number),
                _ => None,
            };
            return encoder.map(Self::Lz4).ok_or_else(|| "it is not an encoder of LZ4".into());
        }
        let limits = imgdelta_deflate::RecipeLimits::default();
        Ok(Self::Deflate(imgdelta_deflate::Recipe::from_bytes(bytes, limits)?))
    }

    /// Returns the nanoseconds for a byte of the payload, on one core; the slowest member's.
    pub fn nanoseconds_per_byte(&self) -> u32 {
        match self {
            Self::Deflate(recipe) => {
                let members = recipe.members.iter();
                members.map(|member| member.model.nanoseconds_per_byte()).max().unwrap_or(0)
            }
            Self::Xz(recipe) => recipe.nanoseconds_per_byte(),
            Self::Zstd(recipe) => {
                u32::try_from(recipe.model().nanoseconds_per_byte()).unwrap_or(u32::MAX)
            }
            Self::Lz4(encoder) => encoder.nanoseconds_per_byte(),
        }
    }

    /// Returns the nanoseconds of compressing a payload of `plain_bytes`, on one core.
    pub fn nanoseconds(&self, plain_bytes: u64) -> u64 {
        let content = plain_bytes.saturating_mul(self.nanoseconds_per_byte().into());
        match self {
            Self::Deflate(recipe) => recipe.nanoseconds().max(content),
            Self::Xz(recipe) => recipe.nanoseconds(plain_bytes),
            Self::Zstd(recipe) => recipe.nanoseconds(plain_bytes),
            Self::Lz4(_) => content.saturating_add(LZ4_BLOCK),
        }
    }

    /// Returns the most memory that compressing a payload of `plain_bytes` takes.
    pub fn memory_bytes(&self, plain_bytes: u64) -> u64 {
        match self {
            Self::Deflate(_) => DEFLATE_BYTES,
            Self::Xz(recipe) => recipe.memory_bytes(plain_bytes),
            Self::Zstd(recipe) => recipe.memory_bytes(plain_bytes),
            Self::Lz4(encoder) => encoder.memory_bytes(plain_bytes),
        }
    }
}

/// First byte of an xz recipe, as of an xz file.
const XZ: u8 = 0xfd;
/// First byte of a zstd recipe: the second one of a zstd frame, since small bytes are versions.
const ZSTD: u8 = 0xb5;
/// First byte of a recipe for LZ4.
const LZ4: u8 = 0xf4;
/// Nanoseconds of starting a block, which clears tables.
const LZ4_BLOCK: u64 = 20_000;
/// Memory of the largest encoder of deflate.
const DEFLATE_BYTES: u64 = 4 << 20;
