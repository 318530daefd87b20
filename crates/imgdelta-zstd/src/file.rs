//! Recipes of files: a stream whose plain length the caller knows.
//!
//! Most files are one frame of the reference encoder. Its recipe has no length, so that all files
//! that were compressed alike share one recipe. Never compresses, and never detects an encoder.

use crate::encoder::DEFAULT_WINDOW;
use crate::error::RecipeError;
use crate::frame::{FrameHeader, MAGIC};
use crate::libzstd::LibzstdCall;
use crate::model::EncoderModel;
use crate::recipe::{
    FrameRecipe, Recipe, RecipeLimits, RecipePart, RecipeReader, unknown, write_model,
};

/// The data that remakes a compressed file from its plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRecipe {
    /// One frame of the reference encoder, which has all plain bytes.
    OneFrame {
        /// The call that wrote the frame.
        call: LibzstdCall,
        /// True if a checksum ends the frame.
        has_checksum: bool,
        /// True if the header has the plain length, so that the encoder knew it in advance.
        has_length: bool,
    },
    /// Any other stream.
    Frames(Recipe),
}

/// Largest window of a file whose encoder or decoder runs: 32 MiB.
pub const MOST_FILE_WINDOW: u64 = 32 << 20;

/// Version byte of [`FileRecipe::OneFrame`]; other recipes begin with that of [`Recipe`].
const ONE_FRAME: u8 = 2;
const HAS_CHECKSUM: u8 = 1;
const HAS_LENGTH: u8 = 2;

impl FileRecipe {
    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::OneFrame { call, has_checksum, has_length } => {
                let mut out = vec![ONE_FRAME];
                write_model(EncoderModel::Libzstd(*call), &mut out);
                let checksum = if *has_checksum { HAS_CHECKSUM } else { 0 };
                out.push(checksum | if *has_length { HAS_LENGTH } else { 0 });
                out
            }
            Self::Frames(recipe) => recipe.to_bytes(),
        }
    }

    /// Reads a recipe, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: RecipeLimits) -> Result<Self, RecipeError> {
        if bytes.first() != Some(&ONE_FRAME) {
            let recipe = Recipe::from_bytes(bytes, limits)?;
            let headers = frames(&recipe).filter_map(|frame| FrameHeader::read(&frame.header));
            let window = headers.filter_map(|header| header.window).max().unwrap_or(0);
            if window > MOST_FILE_WINDOW {
                let (value, expected) = ("a window", MOST_FILE_WINDOW);
                return Err(RecipeError::Limit { value, expected, found: window });
            }
            return Ok(Self::Frames(recipe));
        }
        let mut reader = RecipeReader::new(bytes, limits)?;
        reader.byte()?;
        let model = reader.model()?;
        let EncoderModel::Libzstd(call) = model else {
            return Err(unknown("model of one frame", 0));
        };
        let flags = reader.byte()?;
        if flags > HAS_CHECKSUM | HAS_LENGTH {
            return Err(unknown("flag", flags));
        }
        reader.finish()?;
        let (has_checksum, has_length) = (flags & HAS_CHECKSUM != 0, flags & HAS_LENGTH != 0);
        if !has_length && 1 << call.long_window > MOST_FILE_WINDOW {
            return Err(unknown("window", call.long_window));
        }
        Ok(Self::OneFrame { call, has_checksum, has_length })
    }

    /// Returns the recipe of a file with so many plain bytes.
    pub fn frames(&self, plain_bytes: u64) -> Recipe {
        match self {
            Self::OneFrame { call, has_checksum, has_length } => {
                let checksum = if *has_checksum { 4 } else { 0 };
                // The encoder writes the real header; this one says the same two things.
                let header = if *has_length { [0x20 | checksum, 0] } else { [checksum, 0] };
                let header = [&MAGIC[..], &header].concat();
                let frame = FrameRecipe { header, plain_bytes, cuts: Vec::new() };
                let model = EncoderModel::Libzstd(*call);
                Recipe { model, parts: vec![RecipePart::Frame(frame)] }
            }
            Self::Frames(recipe) => recipe.clone(),
        }
    }

    /// Returns the model of the encoder.
    pub fn model(&self) -> EncoderModel {
        match self {
            Self::OneFrame { call, .. } => EncoderModel::Libzstd(*call),
            Self::Frames(recipe) => recipe.model,
        }
    }

    /// Estimates the nanoseconds of remaking a file of so many plain bytes on one core.
    pub fn nanoseconds(&self, plain_bytes: u64) -> u64 {
        match self {
            Self::OneFrame { call, has_length, .. } => {
                let content = plain_bytes.saturating_mul(self.model().nanoseconds_per_byte());
                // A quarter of a nanosecond for each byte of tables, which are cleared.
                let start = call.table_bytes(*has_length, plain_bytes) / 4;
                content.saturating_add(FRAME + start)
            }
            Self::Frames(recipe) => recipe.nanoseconds(),
        }
    }

    /// Estimates the most memory that remaking a file of so many plain bytes takes.
    pub fn memory_bytes(&self, plain_bytes: u64) -> u64 {
        match self {
            Self::OneFrame { call, has_length, .. } => call.memory_bytes(*has_length, plain_bytes),
            Self::Frames(recipe) => {
                let of_frame = |frame: &FrameRecipe| {
                    let header = FrameHeader::read(&frame.header);
                    match recipe.model {
                        EncoderModel::Libzstd(call) => {
                            let has_length =
                                header.is_some_and(|header| header.plain_bytes.is_some());
                            call.memory_bytes(has_length, frame.plain_bytes)
                        }
                        EncoderModel::Klauspost { .. } => {
                            let window = header.and_then(|header| header.window);
                            2 * window.unwrap_or(DEFAULT_WINDOW) + KLAUSPOST_TABLES
                        }
                    }
                };
                frames(recipe).map(of_frame).max().unwrap_or(0).min(MOST_MEMORY)
            }
        }
    }
}

impl From<Recipe> for FileRecipe {
    fn from(recipe: Recipe) -> Self {
        if let (EncoderModel::Libzstd(call), [RecipePart::Frame(frame)]) =
            (recipe.model, &recipe.parts[..])
            && let Some(header) = FrameHeader::read(&frame.header)
        {
            let has_length = header.plain_bytes.is_some();
            return Self::OneFrame { call, has_checksum: header.checksum, has_length };
        }
        Self::Frames(recipe)
    }
}

fn frames(recipe: &Recipe) -> impl Iterator<Item = &FrameRecipe> {
    recipe.parts.iter().filter_map(|part| match part {
        RecipePart::Frame(frame) => Some(frame),
        RecipePart::Literal(_) => None,
    })
}

/// Nanoseconds of starting an encoder besides its tables.
const FRAME: u64 = 50_000;
/// Tables of klauspost's encoder at its best level, and blocks.
const KLAUSPOST_TABLES: u64 = 48 << 20;
/// No encoder that is allowed takes more.
const MOST_MEMORY: u64 = LibzstdCall::MOST_MEMORY_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LibzstdInput, Remaker};

    fn calls() -> Vec<LibzstdCall> {
        let new = LibzstdCall::new;
        vec![
            new(3),
            LibzstdCall { jobs: true, input: LibzstdInput::EndWithData, ..new(19) },
            LibzstdCall { input: LibzstdInput::OneCall, ..new(-5) },
            LibzstdCall { long_window: 24, ..new(1) },
        ]
    }

    #[test]
    fn recipes_of_one_frame_survive_and_make_what_the_frame_made() {
        let plain: Vec<u8> = (0..700_000_u32).map(|at| (at.wrapping_mul(at) >> 9) as u8).collect();
        for call in calls() {
            for (has_checksum, has_length) in [(false, true), (true, true), (true, false)] {
                if !has_length && call.input == LibzstdInput::OneCall {
                    continue;
                }
                let recipe = FileRecipe::OneFrame { call, has_checksum, has_length };
                let bytes = recipe.to_bytes();
                assert!(bytes.len() <= 6, "{bytes:?}");
                let limits = RecipeLimits::default();
                assert_eq!(FileRecipe::from_bytes(&bytes, limits).as_ref(), Ok(&recipe));
                let (whole, mut made) = (recipe.frames(plain.len() as u64), Vec::new());
                let mut remaker = Remaker::new(&whole);
                remaker.write(&plain, &mut made).unwrap();
                remaker.finish(&mut made).unwrap();
                assert!(zstd::decode_all(&made[..]).unwrap() == plain);
                let header = FrameHeader::read(&made).unwrap();
                assert_eq!(header.checksum, has_checksum);
                assert_eq!(header.plain_bytes, has_length.then_some(plain.len() as u64));
                // The recipe of the whole stream, whose header is the real one, is this one again.
                let frame = FrameRecipe {
                    header: made[..header.bytes].to_vec(),
                    plain_bytes: plain.len() as u64,
                    cuts: Vec::new(),
                };
                let model = EncoderModel::Libzstd(call);
                let stream = Recipe { model, parts: vec![RecipePart::Frame(frame)] };
                assert_eq!(FileRecipe::from(stream), recipe);
            }
        }
    }

    #[test]
    fn windows_and_flags_that_do_not_exist_are_refused() {
        let read = |bytes: &[u8]| FileRecipe::from_bytes(bytes, RecipeLimits::default());
        assert!(read(&[2, 1, 6, 0, 3]).is_ok());
        for damage in [
            &[2, 1, 6, 0, 4][..],
            &[2, 1, 6, 6, 3],
            &[2, 1, 6, 16, 3],
            &[2, 1, 6, 8, 28, 3],
            &[2, 1, 6, 8, 0, 3],
            &[2, 1, 6, 8, 26, 1],
            &[2, 1, 0, 0, 3],
            &[2, 0, 0, 1, 3],
            &[2, 1, 6, 0, 3, 0],
            &[2, 1, 6, 0],
            &[3, 1, 6, 0, 3],
        ] {
            assert!(read(damage).is_err(), "{damage:?}");
        }
        // A window of 64 MiB.
        let header = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x80];
        let frame = FrameRecipe { header, plain_bytes: 1, cuts: Vec::new() };
        let model = EncoderModel::Libzstd(LibzstdCall::new(3));
        let recipe = Recipe { model, parts: vec![RecipePart::Frame(frame)] };
        let found = read(&recipe.to_bytes());
        assert!(matches!(found, Err(RecipeError::Limit { found: 0x400_0000, .. })), "{found:?}");
    }

    #[test]
    fn an_encoder_that_takes_too_much_memory_is_refused() {
        let new = LibzstdCall::new;
        let (mega, one_call) = (1 << 20, LibzstdInput::OneCall);
        for (call, has_length, plain_bytes, is_made) in [
            (new(19), false, 3000 * mega, true),
            (LibzstdCall { jobs: true, ..new(19) }, false, 3000 * mega, true),
            (new(20), true, 30 * mega, true),
            (new(21), true, 30 * mega, false),
            (new(22), true, 8 * mega, true),
            (new(22), true, 30 * mega, false),
            (new(22), false, 1, false),
            (LibzstdCall { input: one_call, ..new(3) }, true, 100 * mega, true),
            (LibzstdCall { input: one_call, ..new(3) }, true, 200 * mega, false),
            (LibzstdCall { long_window: 27, ..new(3) }, false, 500 * mega, true),
            (LibzstdCall { long_window: 27, ..new(20) }, false, 500 * mega, false),
        ] {
            let recipe = FileRecipe::OneFrame { call, has_checksum: false, has_length };
            let whole = recipe.frames(plain_bytes);
            // The encoder is refused before it gets a byte.
            let begun = Remaker::new(&whole).write(b"x", &mut Vec::new());
            assert_eq!(begun.is_ok(), is_made, "{call:?} {plain_bytes}");
            let fits = recipe.memory_bytes(plain_bytes) <= LibzstdCall::MOST_MEMORY_BYTES;
            assert_eq!(fits, is_made, "{call:?} {plain_bytes}");
        }
    }
}
