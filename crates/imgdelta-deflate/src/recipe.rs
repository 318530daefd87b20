//! Recipes: the data that remakes a compressed stream from its plain bytes.
//!
//! The byte form has a version and is compact: a pgzip layer takes about 25 bytes. Reading it
//! checks every length against [`Limits`] before memory is allocated. Never compresses.

use crate::error::BadRecipe;
use crate::klauspost::Behaviour;
use crate::model::Model;
use crate::zlib::{PigzBlocks, Strategy};

/// The data that remakes a compressed stream from its plain bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The members, in order. Most streams have one.
    pub members: Vec<Member>,
    /// The bytes behind the last member, copied.
    pub tail: Vec<u8>,
}

/// One deflate stream with its header and trailer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The bytes before the deflate stream, copied.
    pub header: Vec<u8>,
    /// The encoder of the stream.
    pub model: Model,
    /// The bytes behind the stream.
    pub trailer: Trailer,
    /// Plain bytes in the member.
    pub plain_bytes: u64,
}

/// The bytes behind a deflate stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trailer {
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
pub struct Limits {
    /// Most members. bgzip makes one member per 64 KiB, so a million members are 64 GiB.
    pub members: u64,
    /// Most bytes of the recipe. Reading copies its literal parts once.
    pub recipe_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members: 1 << 20, recipe_bytes: 256 << 20 }
    }
}

const VERSION: u8 = 1;

impl Recipe {
    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_number(&mut out, self.members.len() as u64);
        for member in &self.members {
            put_bytes(&mut out, &member.header);
            put_model(&mut out, &member.model);
            match &member.trailer {
                Trailer::None => out.push(0),
                Trailer::Gzip => out.push(1),
                Trailer::Literal(bytes) => {
                    out.push(2);
                    put_bytes(&mut out, bytes);
                }
            }
            put_number(&mut out, member.plain_bytes);
        }
        put_bytes(&mut out, &self.tail);
        out
    }

    /// Reads a recipe, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<Self, BadRecipe> {
        if bytes.len() as u64 > limits.recipe_bytes {
            return Err(BadRecipe::Limit);
        }
        let mut reader = RecipeReader { bytes };
        let version = reader.byte()?;
        if version != VERSION {
            return Err(BadRecipe::Version(version));
        }
        let recipe = reader.recipe(limits)?;
        if !reader.bytes.is_empty() {
            return Err(BadRecipe::Length);
        }
        Ok(recipe)
    }
}

impl Model {
    /// Returns the model as bytes: two to seven, except for a record. zlib's models take four.
    /// A caller needs only these bytes to remake a raw stream with
    /// [`Encoders::remake_raw`](crate::Encoders::remake_raw).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_model(&mut out, self);
        out
    }

    /// Reads a model, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<Self, BadRecipe> {
        if bytes.len() as u64 > limits.recipe_bytes {
            return Err(BadRecipe::Limit);
        }
        let mut reader = RecipeReader { bytes };
        let model = reader.model()?;
        if reader.bytes.is_empty() { Ok(model) } else { Err(BadRecipe::Length) }
    }
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
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
const USUAL_WINDOW_BITS: u8 = 15;

fn put_model(out: &mut Vec<u8>, model: &Model) {
    match *model {
        Model::Golang { level } => out.extend([GOLANG, level as u8]),
        Model::Klauspost { behaviour, level } => {
            out.extend([KLAUSPOST, behaviour_number(behaviour), level as u8]);
        }
        Model::Pgzip { behaviour, level, segment_bytes } => {
            out.extend([PGZIP, behaviour_number(behaviour), level as u8]);
            put_number(out, u64::from(segment_bytes));
        }
        Model::Zlib { level, mem_level, window_bits, strategy } => {
            let strategy = Strategy::ALL.iter().position(|&s| s == strategy).unwrap_or(0);
            // Zero in the upper half is the default window.
            let sizes = mem_level | (USUAL_WINDOW_BITS - window_bits) << 4;
            out.extend([ZLIB, level, sizes, strategy as u8]);
        }
        Model::GnuGzip { level } => out.extend([GNU_GZIP, level]),
        Model::Pigz { level, block_bytes, blocks } => {
            let kind = match blocks {
                PigzBlocks::Primed => PIGZ,
                PigzBlocks::Independent => PIGZ_INDEPENDENT,
                PigzBlocks::Continued => PIGZ_CONTINUED,
            };
            out.extend([kind, level]);
            put_number(out, u64::from(block_bytes));
        }
        Model::Tokens(ref record) => {
            out.push(TOKENS);
            put_bytes(out, record);
        }
    }
}

/// Returns the number of a version in the byte form. A number is never reused.
fn behaviour_number(behaviour: Behaviour) -> u8 {
    match behaviour {
        Behaviour::V1_15_10 => 0,
        Behaviour::V1_15_15 => 1,
        Behaviour::V1_18_0 => 2,
        Behaviour::V1_18_2 => 3,
        Behaviour::V1_20 => 4,
    }
}

pub(crate) struct RecipeReader<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> RecipeReader<'a> {
    /// Reads members and tail.
    pub(crate) fn recipe(&mut self, limits: Limits) -> Result<Recipe, BadRecipe> {
        let count = self.number()?;
        if count > limits.members {
            return Err(BadRecipe::Limit);
        }
        // Each member takes some bytes of input, so memory stays proportional to the input.
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(Member {
                header: self.bytes()?.to_vec(),
                model: self.model()?,
                trailer: match self.byte()? {
                    0 => Trailer::None,
                    1 => Trailer::Gzip,
                    2 => Trailer::Literal(self.bytes()?.to_vec()),
                    _ => return Err(BadRecipe::Unknown),
                },
                plain_bytes: self.number()?,
            });
        }
        Ok(Recipe { members, tail: self.bytes()?.to_vec() })
    }

    fn byte(&mut self) -> Result<u8, BadRecipe> {
        let (&byte, rest) = self.bytes.split_first().ok_or(BadRecipe::Length)?;
        self.bytes = rest;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, BadRecipe> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(BadRecipe::Limit)
    }

    fn bytes(&mut self) -> Result<&'a [u8], BadRecipe> {
        let count = usize::try_from(self.number()?).map_err(|_| BadRecipe::Length)?;
        let (bytes, rest) = self.bytes.split_at_checked(count).ok_or(BadRecipe::Length)?;
        self.bytes = rest;
        Ok(bytes)
    }

    fn behaviour(&mut self) -> Result<Behaviour, BadRecipe> {
        let number = self.byte()?;
        let behaviour = Behaviour::ALL.into_iter().find(|&b| behaviour_number(b) == number);
        behaviour.ok_or(BadRecipe::Unknown)
    }

    fn size(&mut self) -> Result<u32, BadRecipe> {
        // The limit is for blocks of pigz, which are buffered. Usual sizes are far below it.
        u32::try_from(self.number()?).ok().filter(|&n| n <= MAX_BLOCK_BYTES).ok_or(BadRecipe::Limit)
    }

    fn pigz(&mut self, blocks: PigzBlocks) -> Result<Model, BadRecipe> {
        Ok(Model::Pigz { level: self.byte()?, block_bytes: self.size()?, blocks })
    }

    fn model(&mut self) -> Result<Model, BadRecipe> {
        let model = match self.byte()? {
            GOLANG => Model::Golang { level: self.byte()? as i8 },
            KLAUSPOST => {
                Model::Klauspost { behaviour: self.behaviour()?, level: self.byte()? as i8 }
            }
            PGZIP => Model::Pgzip {
                behaviour: self.behaviour()?,
                level: self.byte()? as i8,
                segment_bytes: self.size()?,
            },
            ZLIB => {
                let (level, sizes, strategy) = (self.byte()?, self.byte()?, self.byte()?);
                Model::Zlib {
                    level,
                    mem_level: sizes & 15,
                    window_bits: USUAL_WINDOW_BITS - (sizes >> 4),
                    strategy: *Strategy::ALL
                        .get(usize::from(strategy))
                        .ok_or(BadRecipe::Unknown)?,
                }
            }
            GNU_GZIP => Model::GnuGzip { level: self.byte()? },
            PIGZ => self.pigz(PigzBlocks::Primed)?,
            PIGZ_INDEPENDENT => self.pigz(PigzBlocks::Independent)?,
            PIGZ_CONTINUED => self.pigz(PigzBlocks::Continued)?,
            TOKENS => Model::Tokens(self.bytes()?.to_vec()),
            _ => return Err(BadRecipe::Unknown),
        };
        if model.exists() { Ok(model) } else { Err(BadRecipe::Unknown) }
    }
}

/// Largest segment or block that is accepted. A pigz block of this size is held in memory.
const MAX_BLOCK_BYTES: u32 = 64 << 20;
