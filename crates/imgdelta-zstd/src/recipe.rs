//! Recipes: the data that remakes a compressed stream from its plain bytes.
//!
//! The byte form has a version and is compact: a layer of one frame takes about 16 bytes. Reading
//! it checks every length against [`RecipeLimits`] before memory is allocated. Never compresses.

use crate::error::RecipeError;
use crate::klauspost::{KlauspostLevel, KlauspostVersion};
use crate::libzstd::{LibzstdCall, LibzstdInput};
use crate::model::EncoderModel;
use imgdelta_wire::{Cursor, WireError, varint};

/// The data that remakes a compressed stream from its plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The encoder of all frames.
    pub model: EncoderModel,
    /// The parts of the stream, in order.
    pub parts: Vec<RecipePart>,
}

/// A part of a compressed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipePart {
    /// Bytes that are copied: skippable frames, empty frames, and anything that is not a frame.
    Literal(Vec<u8>),
    /// A frame that is compressed again.
    Frame(FrameRecipe),
}

/// A frame that is compressed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameRecipe {
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
pub struct RecipeLimits {
    /// Most parts. A zstd:chunked layer has one or two frames per file, and no layer has a million
    /// files.
    pub parts: u64,
    /// Most bytes of the recipe. Reading copies its literal parts once.
    pub recipe_bytes: u64,
}

impl Default for RecipeLimits {
    fn default() -> Self {
        Self { parts: 4 << 20, recipe_bytes: 256 << 20 }
    }
}

const VERSION: u8 = 1;

const KLAUSPOST: u8 = 0;
/// The reference encoder 1.5.7. Another version would get another number.
const LIBZSTD_1_5_7: u8 = 1;

/// Flags of a call of the reference encoder.
const IN_JOBS: u8 = 1;
const ENDS_WITH_DATA: u8 = 2;
const IN_ONE_CALL: u8 = 4;
const HAS_LONG_WINDOW: u8 = 8;

const LITERAL: u8 = 0;
const FRAME: u8 = 1;

impl Recipe {
    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        write_model(self.model, &mut out);
        varint::write(&mut out, self.parts.len() as u64);
        for part in &self.parts {
            match part {
                RecipePart::Literal(bytes) => {
                    out.push(LITERAL);
                    varint::write_prefixed(&mut out, bytes);
                }
                RecipePart::Frame(frame) => {
                    out.push(FRAME);
                    varint::write_prefixed(&mut out, &frame.header);
                    varint::write(&mut out, frame.plain_bytes);
                    varint::write(&mut out, frame.cuts.len() as u64);
                    let mut before = 0;
                    for &cut in &frame.cuts {
                        varint::write(&mut out, cut.wrapping_sub(before));
                        before = cut;
                    }
                }
            }
        }
        out
    }

    /// Reads a recipe, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: RecipeLimits) -> Result<Self, RecipeError> {
        let mut reader = RecipeReader::new(bytes, limits)?;
        let version = reader.byte()?;
        if version != VERSION {
            return Err(RecipeError::Version { expected: VERSION, found: version });
        }
        let model = reader.model()?;
        let count = reader.number()?;
        if count > limits.parts {
            let (value, expected) = ("the number of parts", limits.parts);
            return Err(RecipeError::Limit { value, expected, found: count });
        }
        // Each part takes at least a byte of input, so memory stays proportional to the input.
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(match reader.byte()? {
                LITERAL => RecipePart::Literal(reader.bytes()?.to_vec()),
                FRAME => RecipePart::Frame(reader.frame()?),
                kind => return Err(unknown("kind of part", kind)),
            });
        }
        reader.finish()?;
        Ok(Self { model, parts })
    }

    /// Returns the plain bytes of all frames, or the largest number if the sum overflows.
    pub fn plain_bytes(&self) -> u64 {
        plain_bytes(&self.parts)
    }

    /// Estimates the nanoseconds of remaking the stream on one core.
    ///
    /// The numbers of [`EncoderModel`] are rounded measurements on a machine of 2020. Input that is
    /// made to be slow takes several times longer at high levels.
    pub fn nanoseconds(&self) -> u64 {
        let parts = self.parts.iter().map(|part| match part {
            RecipePart::Literal(_) => 0,
            RecipePart::Frame(frame) => {
                let content = frame.plain_bytes.saturating_mul(self.model.nanoseconds_per_byte());
                self.model.nanoseconds_per_frame(&frame.header).saturating_add(content)
            }
        });
        parts.fold(self.model.nanoseconds_to_start(), u64::saturating_add)
    }
}

/// Appends a model to a recipe.
pub(crate) fn write_model(model: EncoderModel, out: &mut Vec<u8>) {
    match model {
        EncoderModel::Klauspost { version, level } => {
            out.extend([KLAUSPOST, version_number(version), level_number(level)]);
        }
        EncoderModel::Libzstd(call) => {
            out.push(LIBZSTD_1_5_7);
            // Zigzag: small numbers of both signs take one byte.
            varint::write(out, u64::from((call.level << 1 ^ call.level >> 31) as u32));
            let input = match call.input {
                LibzstdInput::EndAfterData => 0,
                LibzstdInput::EndWithData => ENDS_WITH_DATA,
                LibzstdInput::OneCall => IN_ONE_CALL,
            };
            let long = if call.long_window > 0 { HAS_LONG_WINDOW } else { 0 };
            out.push(if call.jobs { IN_JOBS } else { 0 } | input | long);
            if call.long_window > 0 {
                out.push(call.long_window);
            }
        }
    }
}

/// Returns the plain bytes of some parts, or the largest number if the sum overflows.
pub(crate) fn plain_bytes(parts: &[RecipePart]) -> u64 {
    parts.iter().fold(0, |sum, part| match part {
        RecipePart::Frame(frame) => sum.saturating_add(frame.plain_bytes),
        RecipePart::Literal(_) => sum,
    })
}

/// Returns the number of a version in the byte form. A number is never reused.
fn version_number(version: KlauspostVersion) -> u8 {
    match version {
        KlauspostVersion::V1_15 => 0,
        KlauspostVersion::V1_16_4 => 1,
        KlauspostVersion::V1_17_0 => 2,
        KlauspostVersion::V1_17_3 => 3,
        KlauspostVersion::V1_17_8 => 4,
    }
}

/// Returns the number of a level in the byte form. A number is never reused.
fn level_number(level: KlauspostLevel) -> u8 {
    match level {
        KlauspostLevel::Fastest => 1,
        KlauspostLevel::Default => 2,
        KlauspostLevel::Better => 3,
        KlauspostLevel::Best => 4,
    }
}

pub(crate) fn unknown(value: &'static str, found: u8) -> RecipeError {
    RecipeError::Unknown { value, found: u64::from(found) }
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

    pub(crate) fn byte(&mut self) -> Result<u8, RecipeError> {
        self.0.u8().map_err(of_wire)
    }

    fn number(&mut self) -> Result<u64, RecipeError> {
        self.0.varint_any_form().map_err(of_wire)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecipeError> {
        let count = self.number()?;
        self.0.take(count).map_err(of_wire)
    }

    pub(crate) fn model(&mut self) -> Result<EncoderModel, RecipeError> {
        match self.byte()? {
            KLAUSPOST => {
                let (version, level) = (self.byte()?, self.byte()?);
                let no_version = unknown("version of klauspost/compress", version);
                let no_level = unknown("level", level);
                let version =
                    KlauspostVersion::ALL.into_iter().find(|&v| version_number(v) == version);
                let level = KlauspostLevel::ALL.into_iter().find(|&l| level_number(l) == level);
                let (version, level) = (version.ok_or(no_version)?, level.ok_or(no_level)?);
                if !level.exists(version) {
                    return Err(no_level);
                }
                Ok(EncoderModel::Klauspost { version, level })
            }
            LIBZSTD_1_5_7 => {
                let folded = self.number()?;
                let folded = u32::try_from(folded).map_err(|_| {
                    let expected = u64::from(u32::MAX);
                    RecipeError::Limit { value: "a level", expected, found: folded }
                })?;
                let level = (folded >> 1) as i32 ^ -((folded & 1) as i32);
                let flags = self.byte()?;
                let input = match flags & (ENDS_WITH_DATA | IN_ONE_CALL) {
                    0 => LibzstdInput::EndAfterData,
                    ENDS_WITH_DATA => LibzstdInput::EndWithData,
                    IN_ONE_CALL => LibzstdInput::OneCall,
                    _ => return Err(unknown("flag", flags)),
                };
                if flags > HAS_LONG_WINDOW | IN_ONE_CALL | ENDS_WITH_DATA | IN_JOBS {
                    return Err(unknown("flag", flags));
                }
                let has_window = flags & HAS_LONG_WINDOW != 0;
                let long_window = if has_window { self.byte()? } else { 0 };
                let call = LibzstdCall { level, jobs: flags & IN_JOBS != 0, input, long_window };
                if has_window && (long_window == 0 || !call.exists()) {
                    return Err(unknown("window", long_window));
                }
                if !call.exists() {
                    return Err(RecipeError::Unknown { value: "level", found: u64::from(folded) });
                }
                Ok(EncoderModel::Libzstd(call))
            }
            kind => Err(unknown("model", kind)),
        }
    }

    fn frame(&mut self) -> Result<FrameRecipe, RecipeError> {
        let header = self.bytes()?.to_vec();
        let plain_bytes = self.number()?;
        let count = self.number()?;
        let mut cuts: Vec<u64> = Vec::new();
        for _ in 0..count {
            let before = cuts.last().copied().unwrap_or(0);
            let cut = before.saturating_add(self.number()?);
            if cut == before || cut > plain_bytes {
                return Err(RecipeError::Unknown { value: "cut", found: cut });
            }
            cuts.push(cut);
        }
        Ok(FrameRecipe { header, plain_bytes, cuts })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(model: EncoderModel) -> Recipe {
        let header = vec![0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x68];
        let parts = vec![
            RecipePart::Frame(FrameRecipe {
                header: header.clone(),
                plain_bytes: 7_000_000_000,
                cuts: vec![8],
            }),
            RecipePart::Literal(b"literal".to_vec()),
            RecipePart::Frame(FrameRecipe { header, plain_bytes: 300, cuts: vec![1, 299, 300] }),
        ];
        Recipe { model, parts }
    }

    fn models() -> Vec<EncoderModel> {
        let klauspost = KlauspostVersion::ALL
            .into_iter()
            .flat_map(|version| KlauspostLevel::ALL.map(|level| (version, level)))
            .filter(|&(version, level)| level.exists(version))
            .map(|(version, level)| EncoderModel::Klauspost { version, level });
        let libzstd = [-131_072, -7, -1, 1, 19, 22].into_iter().flat_map(|level| {
            let call = LibzstdCall::new(level);
            let input = LibzstdInput::EndWithData;
            [
                call,
                LibzstdCall { jobs: true, ..call },
                LibzstdCall { input, long_window: 27, ..call },
                LibzstdCall { input: LibzstdInput::OneCall, ..call },
            ]
            .map(EncoderModel::Libzstd)
        });
        klauspost.chain(libzstd).collect()
    }

    #[test]
    fn recipes_survive_the_byte_form() {
        for model in models() {
            let recipe = recipe(model);
            let bytes = recipe.to_bytes();
            assert_eq!(Recipe::from_bytes(&bytes, RecipeLimits::default()), Ok(recipe));
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
            let got = Recipe::from_bytes(&whole[..length], RecipeLimits::default());
            assert!(matches!(got, Err(RecipeError::Truncated { .. })), "{length} bytes: {got:?}");
        }
        let read = |bytes: &[u8]| Recipe::from_bytes(bytes, RecipeLimits::default());
        assert_eq!(read(&[2]), Err(RecipeError::Version { expected: 1, found: 2 }));
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(read(&longer), Err(RecipeError::Trailing { found_bytes: 1 }));
        // Version 9, level 0, unknown flags, and a cut beyond the frame.
        let unknown = |value, found| Err(RecipeError::Unknown { value, found });
        assert_eq!(read(&[1, 0, 9, 2, 0]), unknown("version of klauspost/compress", 9));
        assert_eq!(read(&[1, 1, 0, 0, 0]), unknown("level", 0));
        assert_eq!(read(&[1, 1, 2, 6, 0]), unknown("flag", 6));
        assert_eq!(read(&[1, 1, 2, 16, 0]), unknown("flag", 16));
        assert_eq!(read(&[1, 1, 2, 8, 28, 0]), unknown("window", 28));
        assert_eq!(read(&[1, 0, 0, 2, 1, 1, 0, 5, 1, 6]), unknown("cut", 6));
        let limits = RecipeLimits { parts: 2, ..RecipeLimits::default() };
        let (value, expected, found) = ("the number of parts", 2, 3);
        let too_many = RecipeError::Limit { value, expected, found };
        assert_eq!(Recipe::from_bytes(&whole, limits), Err(too_many));
        let limits = RecipeLimits { recipe_bytes: 9, ..RecipeLimits::default() };
        let (value, expected, found) = ("its number of bytes", 9, whole.len() as u64);
        let too_long = RecipeError::Limit { value, expected, found };
        assert_eq!(Recipe::from_bytes(&whole, limits), Err(too_long));
    }
}
