//! A recipe in a delta or in a file of its own, with access to its groups.
//! Never decodes a group.
//!
//! The recipe is read whole; groups are read one by one. Together they must fill their range.

use super::{Recipe, read_range};
use imgdelta_codec::CoderSizes;
use imgdelta_core::{
    Error, LimitName, Limits, Result,
    limits::{Ceiling, DeltaLimits},
};
use imgdelta_format::recipe::RecipeFront;
use imgdelta_image::store::source::{RangeReader, ReadAt};
use std::{
    fmt::Display,
    ops::{Deref, Range},
    sync::Arc,
};

/// A recipe with access to the bytes of its groups.
#[derive(Clone, Debug)]
pub struct StoredRecipe {
    recipe: Recipe,
    source: Arc<dyn ReadAt>,
    place: String,
    /// Range in the file.
    range: Range<u64>,
    /// Offset of the first group.
    offset: u64,
    /// For each group, the bytes of the groups before it.
    before: Vec<u64>,
    group_bytes: Ceiling,
}

impl Deref for StoredRecipe {
    type Target = Recipe;

    fn deref(&self) -> &Recipe {
        &self.recipe
    }
}

impl StoredRecipe {
    /// Opens a recipe in a file of its own. `place` names it in errors.
    ///
    /// A recipe has no digest in it; the caller verifies the file.
    pub fn alone(source: &Arc<dyn ReadAt>, place: impl Display, limits: &Limits) -> Result<Self> {
        let place = format!("recipe {place}");
        let bytes = source.size_bytes().map_err(Error::io(&place))?;
        Self::open(
            source,
            0..bytes,
            place,
            &limits.of_deltas(),
            limits.ceiling(LimitName::GroupBytes),
        )
    }

    pub(super) fn open(
        source: &Arc<dyn ReadAt>,
        range: Range<u64>,
        place: String,
        limits: &DeltaLimits,
        group_bytes: Ceiling,
    ) -> Result<Self> {
        let head_bytes = head_bytes(&**source, &range, &place, limits)?;
        let head = read_range(&**source, range.start, head_bytes, &place)?;
        let recipe =
            Recipe::from_bytes(&head, limits.read()).map_err(|e| limits.error(&place, &e))?;
        let (found, expected) = (range.end - range.start - head_bytes, recipe.group_bytes());
        if found != expected {
            let what = format!("{found} bytes of groups, should be {expected}");
            return Err(Error::bad_input(place, what));
        }
        let before = recipe.groups.iter().scan(0, |end, group| {
            let start = *end;
            *end += group.packed_bytes;
            Some(start)
        });
        let (before, source) = (before.collect(), Arc::clone(source));
        let offset = range.start + head_bytes;
        Ok(Self { recipe, source, place, range, offset, before, group_bytes })
    }

    /// Returns its length, including the groups.
    pub fn size_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Returns a reader of its bytes; those of the groups come last.
    pub fn reader(&self) -> RangeReader {
        RangeReader::new(Arc::clone(&self.source), self.range.start, self.size_bytes())
    }

    /// Estimates the memory that the recipe and the tables made from it take.
    pub fn memory_bytes(&self) -> u64 {
        let members = self.recipe.groups.iter().map(|group| group.members.len() as u64);
        let members: u64 = members.sum();
        let compressions = self.recipe.nested.compressions.iter().map(|bytes| bytes.len() as u64);
        // Header columns are kept packed, and unpacked while a layer is read.
        let head_bytes = self.offset - self.range.start;
        self.recipe.origins.len() as u64 * 64
            + members * 128
            + self.recipe.groups.len() as u64 * 32
            + self.recipe.digests.len() as u64 * 96
            + (self.recipe.nested.opened.len() + self.recipe.nested.closed.len()) as u64 * 96
            + compressions.sum::<u64>() * 4
            + head_bytes * 2
    }

    /// Reads up to `most` of the first packed bytes of a group.
    pub(crate) fn group_start(&self, ordinal: usize, most: usize) -> Result<Vec<u8>> {
        let count = self.recipe.groups[ordinal].packed_bytes.min(most as u64);
        let offset = self.offset + self.before[ordinal];
        read_range(&*self.source, offset, count, &self.place)
    }

    /// Reads the packed bytes of a group.
    pub fn group(&self, ordinal: usize) -> Result<Vec<u8>> {
        let place = format!("{}, group {ordinal}", self.place);
        let Some(group) = self.recipe.groups.get(ordinal) else {
            let (what, present) = (format!("group {ordinal}"), Vec::new());
            return Err(Error::NotFound { place: self.place.clone(), what, present });
        };
        self.group_bytes.admit(group.packed_bytes, "number of bytes", &place)?;
        let offset = self.offset + self.before[ordinal];
        read_range(&*self.source, offset, group.packed_bytes, &place)
    }

    /// Returns the bytes of all groups by coder.
    pub fn coder_sizes(&self) -> Result<CoderSizes> {
        let mut sizes = CoderSizes::default();
        for ordinal in 0..self.recipe.groups.len() {
            let of_group = CoderSizes::of_group(&self.group(ordinal)?);
            let place = || format!("{}, group {ordinal}", self.place);
            sizes += of_group.map_err(|error| Error::bad_input(place(), error))?;
        }
        Ok(sizes)
    }
}

/// Reads only the front of a recipe.
pub(super) fn front(
    source: &dyn ReadAt,
    range: &Range<u64>,
    place: &str,
    limits: &DeltaLimits,
) -> Result<RecipeFront> {
    let head_bytes = head_bytes(source, range, place, limits)?;
    let count = RecipeFront::most_bytes(limits.read()).min(head_bytes);
    let start = read_range(source, range.start, count, place)?;
    RecipeFront::from_bytes(&start, limits.read()).map_err(|error| limits.error(place, &error))
}

/// Returns the length of the recipe without its groups, which is at most that of the range.
fn head_bytes(
    source: &dyn ReadAt,
    range: &Range<u64>,
    place: &str,
    limits: &DeltaLimits,
) -> Result<u64> {
    let there = range.end - range.start;
    let count = there.min(RecipeFront::LENGTH_BYTES as u64);
    let start = read_range(source, range.start, count, place)?;
    let bytes = RecipeFront::recipe_bytes(&start, limits.read())
        .map_err(|error| limits.error(place, &error))?;
    if bytes > there {
        let what = format!("a recipe of {bytes} bytes, but there are {there}");
        return Err(Error::bad_input(place, what));
    }
    Ok(bytes)
}
