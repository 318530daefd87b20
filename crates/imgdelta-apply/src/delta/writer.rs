//! Writes a delta file from front to back.
//! Never holds a section in memory, except small ones that the caller passes.
//!
//! The outline comes first, then recipes and carried blobs in the order in which layers first use
//! them. The same calls give the same bytes.

use super::{LayerCost, Outline, Recipe, SectionKind, sections::digest_of};
use imgdelta_core::{Error, Result, limits::Ceiling};
use imgdelta_format::{
    container::{self, SectionHead},
    cost,
    limits::written,
    outline::LayerBody,
    recipe::BaseSource,
};
use std::io::{self, Read, Write};

/// Writes a delta file.
#[derive(Debug)]
pub struct DeltaWriter<W> {
    out: W,
    whole: blake3::Hasher,
    sections: Vec<SectionHead>,
    written_bytes: u64,
    recipes: u32,
    carried: u32,
}

impl<W: Write> DeltaWriter<W> {
    /// Begins a file.
    ///
    /// The outline numbers recipes from 0 in the order in which layers first use them, and carried
    /// blobs likewise.
    pub fn new(out: W, outline: &Outline) -> Result<Self> {
        let count = outline.layers.len() as u64;
        Ceiling::fixed(written::LAYERS).admit(count, "count of layers", PLACE)?;
        let used = |ordinal: fn(&LayerBody) -> Option<u32>| {
            outline
                .layers
                .iter()
                .filter_map(|layer| ordinal(&layer.body))
                .max()
                .map_or(0, |n| n + 1)
        };
        let recipes = used(|body| if let LayerBody::Recipe(n) = body { Some(*n) } else { None });
        let carried = used(|body| if let LayerBody::Carried(n) = body { Some(*n) } else { None });
        let (whole, sections) = (blake3::Hasher::new(), Vec::new());
        let mut writer = Self { out, whole, sections, written_bytes: 0, recipes, carried };
        let head = container::head();
        writer.whole.update(&head);
        writer.write(&head)?;
        writer.section_of(SectionKind::Outline, &outline.to_bytes())?;
        Ok(writer)
    }

    /// Writes the next recipe. `groups` has the bytes of its groups, one group after another.
    pub fn recipe(&mut self, recipe: &Recipe, groups: &mut dyn Read) -> Result<()> {
        let head = recipe.to_bytes();
        check_written(recipe, &head)?;
        let bytes = recipe.group_bytes();
        self.section(SectionKind::Recipe, &head, bytes, groups)
    }

    /// Writes the next recipe as a copy from another delta; `bytes` includes its groups.
    pub fn stored_recipe(&mut self, bytes: u64, recipe: &mut dyn Read) -> Result<()> {
        self.section(SectionKind::Recipe, &[], bytes, recipe)
    }

    /// Writes the next carried blob of `bytes` bytes.
    pub fn carried(&mut self, bytes: u64, blob: &mut dyn Read) -> Result<()> {
        self.section(SectionKind::Carried, &[], bytes, blob)
    }

    /// Writes the costs, one for each layer. At most one call is allowed.
    pub fn cost(&mut self, costs: &[LayerCost]) -> Result<()> {
        self.section_of(SectionKind::Cost, &cost::to_bytes(costs))
    }

    /// Ends the file, and returns the output and the length of the file.
    pub fn finish(mut self) -> Result<(W, u64)> {
        let count = |kind| self.sections.iter().filter(|section| section.kind == kind).count();
        let found = (
            count(SectionKind::Recipe),
            count(SectionKind::Carried),
            count(SectionKind::Cost).max(1),
        );
        let expected = (self.recipes as usize, self.carried as usize, 1);
        if found != expected {
            let what = format!(
                "recipes, carried blobs and costs are {found:?} in number, should be {expected:?}"
            );
            return Err(Error::bad_input(PLACE, what));
        }
        let table = container::table(&self.sections);
        let mut end = SectionHead::new(SectionKind::End, table.len() as u64).to_bytes();
        end.extend_from_slice(&table);
        let digest = digest_of(self.whole.update(&end));
        end.extend_from_slice(&digest);
        let end_bytes = u32::try_from(end.len()).expect("some thousands of sections at most");
        end.extend_from_slice(&container::trailer(end_bytes));
        self.write(&end)?;
        self.out.flush().map_err(Error::io(PLACE))?;
        Ok((self.out, self.written_bytes))
    }

    fn section_of(&mut self, kind: SectionKind, payload: &[u8]) -> Result<()> {
        self.section(kind, payload, 0, &mut io::empty())
    }

    /// Writes a section: `start`, then `rest_bytes` bytes from `rest`.
    fn section(
        &mut self,
        kind: SectionKind,
        start: &[u8],
        rest_bytes: u64,
        rest: &mut dyn Read,
    ) -> Result<()> {
        let section = SectionHead::new(kind, start.len() as u64 + rest_bytes);
        let head = section.to_bytes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head).update(start);
        self.write(&head)?;
        self.write(start)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = rest_bytes;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let count = match rest.read(&mut piece[..room]) {
                Ok(0) => return Err(Error::io(PLACE)(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io(PLACE)(error)),
            };
            hasher.update(&piece[..count]);
            self.write(&piece[..count])?;
            left -= count as u64;
        }
        let digest = digest_of(&hasher);
        self.whole.update(&head).update(&digest);
        self.write(&digest)?;
        self.sections.push(section);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written_bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(Error::io(PLACE))
    }
}

/// Enforces the limits of this version's writer, which are far below those of readers.
fn check_written(recipe: &Recipe, head: &[u8]) -> Result<()> {
    let members = || recipe.groups.iter().flat_map(|group| &group.members);
    let slices = members()
        .filter(|member| member.sources != [BaseSource::Own])
        .map(|member| member.sources.len())
        .sum::<usize>();
    for (limit, found, what) in [
        (written::SOURCES, recipe.sources.len(), "count of base streams"),
        (written::PAYLOADS, recipe.origins.len(), "count of payloads"),
        (written::GROUPS, recipe.groups.len(), "count of groups"),
        (written::MEMBERS, members().count(), "count of members"),
        (written::SLICES, slices, "count of base parts"),
        (written::RECIPE_BYTES, head.len(), "bytes of a recipe"),
    ] {
        Ceiling::fixed(limit).admit(found as u64, what, PLACE)?;
    }
    Ok(())
}

/// Name of the file in errors; the caller knows its real name.
const PLACE: &str = "delta being written";
const PIECE_BYTES: usize = 128 << 10;
