//! Recipes: the data that remakes xz streams from their plain bytes.
//! Never packs.
//!
//! The byte form has a version and is compact. Files that were packed by the same command have the
//! same recipe: the last block takes what is left, so the length of the content is not stored.

use crate::{
    check::CheckKind,
    container::window_bytes,
    encoder::{EncoderSettings, Finder, SearchEffort},
    error::RecipeError,
    filters::Filter,
    state::Properties,
};
use imgdelta_wire::{Cursor, varint};

/// The data that remakes a file of xz streams from its plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Forms of blocks, each once.
    pub forms: Vec<BlockForm>,
    /// The streams, in order.
    pub streams: Vec<StreamRecipe>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecipe {
    /// Kind of the checksums.
    pub check: CheckKind,
    /// Its blocks.
    pub runs: Vec<BlockRun>,
    /// Groups of four zeros behind it.
    pub padding: u64,
}

/// Equal blocks one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRun {
    /// Ordinal of their form.
    pub form: usize,
    /// Plain bytes of each; 0 in an open run for a block without an end.
    pub plain_bytes: u64,
    /// Their number; 0 for an open run, which takes all that is left. The last block of an open run
    /// may be shorter. Only the last run of a recipe is open.
    pub count: u64,
}

/// The form of a block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlockForm {
    /// Length of the header, which padding may have made longer.
    pub header_bytes: usize,
    /// True if the header has the length of the packed bytes.
    pub has_packed_bytes: bool,
    /// True if the header has the length of the plain bytes.
    pub has_plain_bytes: bool,
    /// Filters before LZMA2.
    pub filters: Vec<Filter>,
    /// Code of the window's length.
    pub window_code: u8,
    /// The way its bytes are packed.
    pub packing: Packing,
}

/// The way the bytes of a block are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// By liblzma's encoder.
    Liblzma(Properties, SearchEffort),
    /// Stored in chunks of 64 KiB, as liblzma's threads do with a block that did not become smaller.
    Stored,
}

/// Limits for [`Recipe::from_bytes`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecipeLimits {
    /// Most forms, streams and runs, each: 65,536 by default, which is far beyond real files.
    pub parts: u64,
    /// Most bytes of a window, 16 MiB by default: an encoder takes about twelve times as much.
    pub window_bytes: u64,
}

impl Default for RecipeLimits {
    fn default() -> Self {
        Self { parts: 1 << 16, window_bytes: 16 << 20 }
    }
}

impl BlockForm {
    /// Returns the settings of the encoder; `None` if the content is stored.
    pub(crate) fn settings(&self) -> Option<EncoderSettings> {
        let Packing::Liblzma(properties, effort) = self.packing else { return None };
        let window = window_bytes(self.window_code)?;
        Some(EncoderSettings { window: u32::try_from(window).ok()?, properties, effort })
    }
}

impl Recipe {
    /// Returns the recipe as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        varint::write(&mut out, self.forms.len() as u64);
        for form in &self.forms {
            form.write(&mut out);
        }
        varint::write(&mut out, self.streams.len() as u64);
        for stream in &self.streams {
            out.push(stream.check.number());
            varint::write(&mut out, stream.padding);
            varint::write(&mut out, stream.runs.len() as u64);
            for run in &stream.runs {
                varint::write(&mut out, run.form as u64);
                varint::write(&mut out, run.plain_bytes);
                varint::write(&mut out, run.count);
            }
        }
        out
    }

    /// Reads a recipe, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: RecipeLimits) -> Result<Self, RecipeError> {
        let mut reader = RecipeReader { cursor: Cursor::new(bytes), limits };
        let version = reader.cursor.u8()?;
        if version != VERSION {
            return Err(RecipeError::Version { expected: VERSION, found: version });
        }
        let mut recipe = Self { forms: Vec::new(), streams: Vec::new() };
        // Each part takes at least a byte of input, so memory stays proportional to the input.
        for _ in 0..reader.count("number of forms")? {
            recipe.forms.push(reader.form()?);
        }
        let mut is_open = false;
        for _ in 0..reader.count("number of streams")? {
            let stream = reader.stream(recipe.forms.len(), &mut is_open)?;
            recipe.streams.push(stream);
        }
        let padding = recipe.streams.iter().map(|stream| stream.padding).sum();
        limited("padding", MOST_PADDING, padding)?;
        reader.cursor.finish()?;
        Ok(recipe)
    }

    /// Returns the nanoseconds for a byte of usual content, on one core; the slowest form's.
    pub fn nanoseconds_per_byte(&self) -> u32 {
        let forms = self.forms.iter().map(|form| match form.packing {
            Packing::Liblzma(_, effort) => effort.nanoseconds_per_byte(),
            Packing::Stored => 1,
        });
        forms.max().unwrap_or(0)
    }

    /// Estimates the nanoseconds of remaking the files from `plain_bytes`, on one core. Each block
    /// starts an encoder.
    pub fn nanoseconds(&self, plain_bytes: u64) -> u64 {
        let content = plain_bytes.saturating_mul(self.nanoseconds_per_byte().into());
        let runs = self.streams.iter().flat_map(|stream| &stream.runs);
        let blocks = runs.fold(0_u64, |sum, run| {
            sum.saturating_add(match (run.count, run.plain_bytes) {
                (0, 0) => 1,
                (0, bytes) => plain_bytes.div_ceil(bytes),
                (count, _) => count,
            })
        });
        let heads = self.forms.iter().filter_map(BlockForm::settings);
        let heads = heads.map(|settings| u64::from(settings.window)).max().unwrap_or(0);
        // Tables of heads are cleared for each block, whatever its length.
        let start = START.saturating_add(heads / CLEARED_BYTES);
        content.saturating_add(blocks.saturating_mul(start))
    }

    /// Returns the most memory that remaking `plain_bytes` takes.
    pub fn memory_bytes(&self, plain_bytes: u64) -> u64 {
        let forms = self.forms.iter().map(|form| {
            let packing = form.settings().map_or(0, |settings| settings.memory_bytes(plain_bytes));
            let is_held = form.has_packed_bytes || form.has_plain_bytes;
            packing + if is_held { plain_bytes.min(MOST_HELD_BYTES) } else { 0 }
        });
        forms.max().unwrap_or(0)
    }
}

impl BlockForm {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(
            u8::from(self.has_packed_bytes)
                | u8::from(self.has_plain_bytes) << 1
                | (self.filters.len() as u8) << 2,
        );
        out.push((self.header_bytes / 4).saturating_sub(1) as u8);
        for filter in &self.filters {
            out.push(filter.identifier());
            out.extend_from_slice(filter.properties());
        }
        out.push(self.window_code);
        match self.packing {
            Packing::Stored => out.push(STORED),
            Packing::Liblzma(properties, effort) => {
                let preset = SearchEffort::PRESETS.iter().position(|preset| *preset == effort);
                out.push(preset.map_or(OTHER_EFFORT, |preset| preset as u8));
                out.push(properties.to_byte());
                if preset.is_none() {
                    let finder = Finder::ALL.iter().position(|finder| *finder == effort.finder);
                    out.push(u8::from(effort.is_optimal) | (finder.unwrap_or(0) as u8) << 1);
                    varint::write(out, effort.nice_len.into());
                    varint::write(out, effort.depth.into());
                }
            }
        }
    }
}

/// Reads the values of a recipe.
struct RecipeReader<'a> {
    cursor: Cursor<'a>,
    limits: RecipeLimits,
}

impl RecipeReader<'_> {
    fn count(&mut self, value: &'static str) -> Result<u64, RecipeError> {
        let found = self.cursor.varint()?;
        limited(value, self.limits.parts, found)
    }

    fn form(&mut self) -> Result<BlockForm, RecipeError> {
        let flags = self.cursor.u8()?;
        if flags >> 4 != 0 {
            return Err(unknown("flag", flags));
        }
        let header_bytes = (usize::from(self.cursor.u8()?) + 1) * 4;
        let mut filters = Vec::new();
        for _ in 0..flags >> 2 {
            let identifier = self.cursor.u8()?;
            let properties = if identifier == DELTA { self.cursor.take(1)? } else { &[] };
            let filter = Filter::read(identifier.into(), properties);
            filters.push(filter.ok_or(unknown("filter", identifier))?);
        }
        let window_code = self.cursor.u8()?;
        let window = window_bytes(window_code).ok_or(unknown("window", window_code))?;
        limited("length of a window", self.limits.window_bytes, window)?;
        let packing = self.packing()?;
        Ok(BlockForm {
            header_bytes,
            has_packed_bytes: flags & 1 != 0,
            has_plain_bytes: flags & 2 != 0,
            filters,
            window_code,
            packing,
        })
    }

    fn packing(&mut self) -> Result<Packing, RecipeError> {
        let number = self.cursor.u8()?;
        if number == STORED {
            return Ok(Packing::Stored);
        }
        let byte = self.cursor.u8()?;
        let properties = Properties::from_byte(byte).ok_or(unknown("properties", byte))?;
        if let Some(effort) = SearchEffort::PRESETS.get(usize::from(number)) {
            return Ok(Packing::Liblzma(properties, *effort));
        }
        if number != OTHER_EFFORT {
            return Err(unknown("packing", number));
        }
        let byte = self.cursor.u8()?;
        let finder = Finder::ALL.get(usize::from(byte >> 1)).ok_or(unknown("finder", byte))?;
        let nice_len = limited("length of a match", 273, self.cursor.varint()?)?;
        let depth = limited("depth of a search", MOST_DEPTH, self.cursor.varint()?)?;
        let effort = SearchEffort {
            is_optimal: byte & 1 != 0,
            finder: *finder,
            nice_len: nice_len as u16,
            depth: depth as u32,
        };
        Ok(Packing::Liblzma(properties, effort))
    }

    fn stream(&mut self, forms: usize, is_open: &mut bool) -> Result<StreamRecipe, RecipeError> {
        let check = self.cursor.u8()?;
        let check = CheckKind::from_number(check).ok_or(unknown("checksum", check))?;
        let padding = limited("padding", MOST_PADDING, self.cursor.varint()?)?;
        let mut runs = Vec::new();
        for _ in 0..self.count("number of runs")? {
            if *is_open {
                return Err(RecipeError::Unknown { value: "run behind an open one", found: 0 });
            }
            let form = self.cursor.varint()?;
            if form >= forms as u64 {
                return Err(RecipeError::Unknown { value: "form", found: form });
            }
            let plain_bytes = self.cursor.varint()?;
            let count = limited("number of blocks", MOST_BLOCKS, self.cursor.varint()?)?;
            *is_open = count == 0;
            if count > 0 && plain_bytes == 0 {
                return Err(RecipeError::Unknown { value: "length of a block", found: 0 });
            }
            runs.push(BlockRun { form: form as usize, plain_bytes, count });
        }
        Ok(StreamRecipe { check, runs, padding })
    }
}

fn limited(value: &'static str, expected: u64, found: u64) -> Result<u64, RecipeError> {
    if found <= expected { Ok(found) } else { Err(RecipeError::Limit { value, expected, found }) }
}

fn unknown(value: &'static str, found: u8) -> RecipeError {
    RecipeError::Unknown { value, found: found.into() }
}

const VERSION: u8 = 1;
/// Number of a packing that stores.
const STORED: u8 = 254;
/// Number of an effort that is not a preset's.
const OTHER_EFFORT: u8 = 255;
/// Identifier of the filter with a property.
const DELTA: u8 = 3;
/// Most plain bytes of a block whose packed bytes wait for their length: threads make
/// at most 48 MiB with a window of 16 MiB.
pub(crate) const MOST_HELD_BYTES: u64 = 64 << 20;
/// Most plain bytes of a block: places are numbers of 32 bits.
pub(crate) const MOST_BLOCK_BYTES: u64 = 3 << 30;
/// Nanoseconds to start an encoder.
const START: u64 = 200_000;
/// Bytes of a window for each nanosecond of clearing tables.
const CLEARED_BYTES: u64 = 4;
/// Most candidates of a search: a hostile recipe must not make it endless.
const MOST_DEPTH: u64 = 1024;
/// Most groups of padding behind all streams: a mebibyte.
const MOST_PADDING: u64 = 1 << 18;
/// More blocks than any file has.
const MOST_BLOCKS: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let effort = SearchEffort::PRESETS[6];
        let form = BlockForm {
            header_bytes: 20,
            has_packed_bytes: true,
            has_plain_bytes: true,
            filters: Vec::new(),
            window_code: 16,
            packing: Packing::Liblzma(Properties::default(), effort),
        };
        let other = SearchEffort { depth: 7, nice_len: 100, ..effort };
        let forms = vec![
            form.clone(),
            BlockForm { packing: Packing::Stored, ..form.clone() },
            BlockForm {
                packing: Packing::Liblzma(Properties::default(), other),
                filters: vec![Filter::X86, Filter::Delta(7)],
                ..form
            },
        ];
        let streams = vec![
            StreamRecipe {
                check: CheckKind::Sha256,
                runs: vec![BlockRun { form: 2, plain_bytes: 500, count: 3 }],
                padding: 2,
            },
            StreamRecipe {
                check: CheckKind::Crc32,
                runs: vec![
                    BlockRun { form: 1, plain_bytes: 3 << 20, count: 1 },
                    BlockRun { form: 0, plain_bytes: 3 << 20, count: 0 },
                ],
                padding: 0,
            },
        ];
        Recipe { forms, streams }
    }

    fn read(bytes: &[u8]) -> Result<Recipe, RecipeError> {
        Recipe::from_bytes(bytes, RecipeLimits::default())
    }

    #[test]
    fn recipes_survive_the_byte_form() {
        assert_eq!(read(&recipe().to_bytes()), Ok(recipe()));
    }

    #[test]
    fn a_kernel_module_takes_few_bytes() {
        let mut recipe = recipe();
        recipe.forms.truncate(1);
        recipe.streams.remove(0);
        recipe.streams[0].runs.remove(0);
        assert_eq!(recipe.to_bytes().len(), 17);
    }

    #[test]
    fn damage_is_refused() {
        let whole = recipe().to_bytes();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(read(&[&whole[..], &[0]].concat()).is_err());
        assert_eq!(read(&[2]), Err(RecipeError::Version { expected: 1, found: 2 }));
        let unknown = |value, found| Err(RecipeError::Unknown { value, found });
        assert_eq!(read(&[1, 1, 16]), unknown("flag", 16));
        assert_eq!(read(&[1, 1, 4, 3, 6]), unknown("filter", 6));
        assert_eq!(read(&[1, 1, 0, 3, 41]), unknown("window", 41));
        assert_eq!(read(&[1, 1, 0, 3, 22, 9, 0x5d]), unknown("packing", 9));
        assert_eq!(read(&[1, 1, 0, 3, 22, 6, 0xff]), unknown("properties", 255));
        assert_eq!(read(&[1, 0, 1, 4, 0, 1, 0]), unknown("form", 0));
        let (value, expected, found) = ("length of a window", 16 << 20, 96 << 20);
        assert_eq!(read(&[1, 1, 0, 3, 29]), Err(RecipeError::Limit { value, expected, found }));
        // A second run behind an open one.
        let open = [1, 1, 0, 3, 22, 6, 0x5d, 1, 4, 0, 2, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&open), unknown("run behind an open one", 0));
    }
}
