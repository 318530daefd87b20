//! Recipes: the data that remakes a compressed stream from its plain bytes.
//!
//! The byte form has a version and is compact: a layer of one frame takes about 16 bytes. Reading
//! it checks every length against [`Limits`] before memory is allocated. Never compresses.

use crate::klauspost::{Behaviour, Level};
use crate::libzstd::Call;
use crate::model::Model;
use std::fmt;

/// The data that remakes a compressed stream from its plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The encoder of all frames.
    pub model: Model,
    /// The parts of the stream, in order.
    pub parts: Vec<Part>,
}

/// A part of a compressed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes that are copied: skippable frames, empty frames, and anything that is not a frame.
    Literal(Vec<u8>),
    /// A frame that is compressed again.
    Frame(Frame),
}

/// A frame that is compressed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The header, copied byte for byte.
    pub header: Vec<u8>,
    /// Plain bytes in the frame.
    pub plain_bytes: u64,
    /// Ends of blocks that are not full, in plain bytes from the start of the frame, ascending.
    /// Only klauspost's encoder has such cuts: they are its flushes.
    pub cuts: Vec<u64>,
}

/// Limits for [`Recipe::from_bytes`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Most parts. A zstd:chunked layer has one or two frames per file, and no layer has a million
    /// files.
    pub parts: u64,
    /// Most bytes of the recipe. Reading copies its literal parts once.
    pub recipe_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parts: 4 << 20, recipe_bytes: 256 << 20 }
    }
}

/// The reason why bytes are not a valid recipe. Callers refuse the file that contains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecipe {
    /// A later version of this crate wrote the recipe.
    Version(u8),
    /// The bytes end too early, or some are left over.
    Length,
    /// A value exceeds the limits.
    Limit,
    /// The recipe names a model, a part or a parameter that does not exist.
    Unknown,
}

impl fmt::Display for BadRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "recipe version {version} is not known"),
            Self::Length => f.write_str("recipe has the wrong length"),
            Self::Limit => f.write_str("recipe exceeds the limits"),
            Self::Unknown => f.write_str("recipe names an unknown model"),
        }
    }
}

impl std::error::Error for BadRecipe {}

const VERSION: u8 = 1;

const KLAUSPOST: u8 = 0;
/// The reference encoder 1.5.7. Another version would get another number.
const LIBZSTD_1_5_7: u8 = 1;

const LITERAL: u8 = 0;
const FRAME: u8 = 1;

impl Recipe {
    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self.model {
            Model::Klauspost { behaviour, level } => {
                out.extend([KLAUSPOST, behaviour_number(behaviour), level_number(level)]);
            }
            Model::Libzstd(call) => {
                out.push(LIBZSTD_1_5_7);
                // Zigzag: small numbers of both signs take one byte.
                put_number(&mut out, u64::from((call.level << 1 ^ call.level >> 31) as u32));
                out.push(u8::from(call.jobs) | u8::from(call.ends_with_data) << 1);
            }
        }
        put_number(&mut out, self.parts.len() as u64);
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => {
                    out.push(LITERAL);
                    put_bytes(&mut out, bytes);
                }
                Part::Frame(frame) => {
                    out.push(FRAME);
                    put_bytes(&mut out, &frame.header);
                    put_number(&mut out, frame.plain_bytes);
                    put_number(&mut out, frame.cuts.len() as u64);
                    let mut before = 0;
                    for &cut in &frame.cuts {
                        put_number(&mut out, cut.wrapping_sub(before));
                        before = cut;
                    }
                }
            }
        }
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
        let model = reader.model()?;
        let count = reader.number()?;
        if count > limits.parts {
            return Err(BadRecipe::Limit);
        }
        // Each part takes at least a byte of input, so memory stays proportional to the input.
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(match reader.byte()? {
                LITERAL => Part::Literal(reader.bytes()?.to_vec()),
                FRAME => Part::Frame(reader.frame()?),
                _ => return Err(BadRecipe::Unknown),
            });
        }
        if !reader.bytes.is_empty() {
            return Err(BadRecipe::Length);
        }
        Ok(Self { model, parts })
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
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

/// Returns the number of a version in the byte form. A number is never reused.
fn behaviour_number(behaviour: Behaviour) -> u8 {
    match behaviour {
        Behaviour::V1_15 => 0,
        Behaviour::V1_16_4 => 1,
        Behaviour::V1_17_0 => 2,
        Behaviour::V1_17_3 => 3,
        Behaviour::V1_17_8 => 4,
    }
}

/// Returns the number of a level in the byte form. A number is never reused.
fn level_number(level: Level) -> u8 {
    match level {
        Level::Fastest => 1,
        Level::Default => 2,
        Level::Better => 3,
        Level::Best => 4,
    }
}

struct RecipeReader<'a> {
    bytes: &'a [u8],
}

impl<'a> RecipeReader<'a> {
    fn byte(&mut self) -> Result<u8, BadRecipe> {
        let (&byte, rest) = self.bytes.split_first().ok_or(BadRecipe::Length)?;
        self.bytes = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, BadRecipe> {
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

    fn model(&mut self) -> Result<Model, BadRecipe> {
        match self.byte()? {
            KLAUSPOST => {
                let (behaviour, level) = (self.byte()?, self.byte()?);
                let behaviour =
                    Behaviour::ALL.into_iter().find(|&b| behaviour_number(b) == behaviour);
                let level = Level::ALL.into_iter().find(|&l| level_number(l) == level);
                let (Some(behaviour), Some(level)) = (behaviour, level) else {
                    return Err(BadRecipe::Unknown);
                };
                if !level.exists(behaviour) {
                    return Err(BadRecipe::Unknown);
                }
                Ok(Model::Klauspost { behaviour, level })
            }
            LIBZSTD_1_5_7 => {
                let folded = u32::try_from(self.number()?).map_err(|_| BadRecipe::Limit)?;
                let level = (folded >> 1) as i32 ^ -((folded & 1) as i32);
                let flags = self.byte()?;
                let call = Call { level, jobs: flags & 1 == 1, ends_with_data: flags & 2 == 2 };
                if flags > 3 || !call.exists() {
                    return Err(BadRecipe::Unknown);
                }
                Ok(Model::Libzstd(call))
            }
            _ => Err(BadRecipe::Unknown),
        }
    }

    fn frame(&mut self) -> Result<Frame, BadRecipe> {
        let header = self.bytes()?.to_vec();
        let plain_bytes = self.number()?;
        let count = self.number()?;
        let mut cuts: Vec<u64> = Vec::new();
        for _ in 0..count {
            let before = cuts.last().copied().unwrap_or(0);
            let cut = before.checked_add(self.number()?).ok_or(BadRecipe::Limit)?;
            if cut == before || cut > plain_bytes {
                return Err(BadRecipe::Unknown);
            }
            cuts.push(cut);
        }
        Ok(Frame { header, plain_bytes, cuts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(model: Model) -> Recipe {
        let header = vec![0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x68];
        let parts = vec![
            Part::Frame(Frame {
                header: header.clone(),
                plain_bytes: 7_000_000_000,
                cuts: vec![8],
            }),
            Part::Literal(b"literal".to_vec()),
            Part::Frame(Frame { header, plain_bytes: 300, cuts: vec![1, 299, 300] }),
        ];
        Recipe { model, parts }
    }

    fn models() -> Vec<Model> {
        let klauspost = Behaviour::ALL
            .into_iter()
            .flat_map(|behaviour| Level::ALL.map(|level| (behaviour, level)))
            .filter(|&(behaviour, level)| level.exists(behaviour))
            .map(|(behaviour, level)| Model::Klauspost { behaviour, level });
        let libzstd = [-131_072, -7, -1, 1, 19, 22].into_iter().flat_map(|level| {
            [false, true].map(|jobs| Model::Libzstd(Call { level, jobs, ends_with_data: !jobs }))
        });
        klauspost.chain(libzstd).collect()
    }

    #[test]
    fn recipes_survive_the_byte_form() {
        for model in models() {
            let recipe = recipe(model);
            let bytes = recipe.to_bytes();
            assert_eq!(Recipe::from_bytes(&bytes, Limits::default()), Ok(recipe));
        }
    }

    #[test]
    fn a_layer_of_one_frame_takes_few_bytes() {
        let mut recipe = recipe(models()[0]);
        recipe.parts.truncate(1);
        assert_eq!(recipe.to_bytes().len(), 20);
    }

    #[test]
    fn damage_is_refused() {
        let whole = recipe(models()[0]).to_bytes();
        for length in 0..whole.len() {
            let got = Recipe::from_bytes(&whole[..length], Limits::default());
            assert_eq!(got, Err(BadRecipe::Length), "{length} bytes");
        }
        let read = |bytes: &[u8]| Recipe::from_bytes(bytes, Limits::default());
        assert_eq!(read(&[2]), Err(BadRecipe::Version(2)));
        assert_eq!(read(&[&whole[..], &[0]].concat()), Err(BadRecipe::Length));
        assert_eq!(read(&[1, 0, 9, 2, 0]), Err(BadRecipe::Unknown));
        // Level 0, unknown flags, and a cut beyond the frame.
        assert_eq!(read(&[1, 1, 0, 0, 0]), Err(BadRecipe::Unknown));
        assert_eq!(read(&[1, 1, 2, 4, 0]), Err(BadRecipe::Unknown));
        assert_eq!(read(&[1, 0, 0, 2, 1, 1, 0, 5, 1, 6]), Err(BadRecipe::Unknown));
        let limits = Limits { parts: 2, ..Limits::default() };
        assert_eq!(Recipe::from_bytes(&whole, limits), Err(BadRecipe::Limit));
        let limits = Limits { recipe_bytes: 9, ..Limits::default() };
        assert_eq!(Recipe::from_bytes(&whole, limits), Err(BadRecipe::Limit));
    }
}
