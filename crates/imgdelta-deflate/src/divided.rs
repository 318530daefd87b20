//! A recipe with restart points, where its streams can be cut into spans.
//!
//! pgzip's segments and pigz's blocks need no points. In other streams a *restart point* is the
//! first byte of a block. Go's and zlib's lazy levels index every position of the last 32 KiB. So a
//! point is only a position, a bit, and the number of literals before it: about six bytes.
//! Other encoders parse a few chunks in advance, and a point is the first byte of a chunk.
//! A recipe without points has the byte form of version 1, and one with points that of version 2.
//! Never finds points, and never remakes a stream.

use crate::error::RecipeError;
use crate::mid_stream::{CHUNK_BYTES, WARM_SPAN_BYTES};
use crate::model::RestartKind;
use crate::recipe::{NEWEST_VERSION, Recipe, RecipeLimits, RecipeReader, put_number};

/// A recipe with the restart points of its streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DividedRecipe {
    recipe: Recipe,
    points: Vec<RestartPoint>,
}

/// The first byte of a block, where an encoder can restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPoint {
    /// Index of the member in the recipe.
    pub member: u32,
    /// Plain bytes of the member before the point.
    pub plain: u64,
    /// Literals between the last copy and the point, at most [`MAX_LITERALS`].
    pub literals: u8,
    /// Bits of the block before in the first byte, 0 to 7.
    pub phase: u8,
}

/// Most literals before a point that are parsed again. zlib's search stops earlier if the byte
/// before has a good copy. That can depend on all literals since the last copy, and no stream so
/// far needed more than this.
pub const MAX_LITERALS: u64 = 255;
/// Most plain bytes between two points: a span is held in memory. A span ends with a block, and the
/// longest block of an encoder has 32768 copies of 258 bytes, so twice the usual spans fit.
pub const MAX_SPAN_BYTES: u64 = 32 << 20;
/// Fewest plain bytes between two points: each point costs indexing 64 KiB.
pub const MIN_SPAN_BYTES: u64 = 32 << 10;
/// Fewest plain bytes behind the last point of a member. They fill a buffer, so only the last span
/// sees the end of the data.
pub const LAST_SPAN_BYTES: u64 = 64 << 10;

impl DividedRecipe {
    /// Adds restart points to a recipe. The points must be in order and possible for their encoder.
    pub fn new(recipe: Recipe, points: Vec<RestartPoint>) -> Result<Self, RecipeError> {
        let mut before: Option<&RestartPoint> = None;
        for (index, point) in points.iter().enumerate() {
            check_point(&recipe, before, point)
                .map_err(|(expected, found)| RecipeError::Point { index, expected, found })?;
            before = Some(point);
        }
        let divided = Self { recipe, points };
        let last_spans = divided.points.iter().enumerate().filter(|&(index, point)| {
            divided.points.get(index + 1).is_none_or(|next| next.member != point.member)
        });
        for (_, point) in last_spans {
            let member = &divided.recipe.members[point.member as usize];
            let (value, found) = ("the last span of a member", member.plain_bytes - point.plain);
            if found > MAX_SPAN_BYTES {
                return Err(RecipeError::Limit { value, expected: MAX_SPAN_BYTES, found });
            }
        }
        Ok(divided)
    }

    /// Returns the recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns the restart points.
    pub fn points(&self) -> &[RestartPoint] {
        &self.points
    }

    /// Returns the recipe and its points as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.recipe.to_bytes();
        if self.points.is_empty() {
            return out;
        }
        out[0] = NEWEST_VERSION;
        put_number(&mut out, self.points.len() as u64);
        let (mut member, mut plain) = (0, 0);
        for point in &self.points {
            if point.member != member {
                plain = 0;
            }
            put_number(&mut out, u64::from(point.member - member));
            put_number(&mut out, point.plain - plain);
            put_number(&mut out, u64::from(point.literals) << 3 | u64::from(point.phase));
            (member, plain) = (point.member, point.plain);
        }
        out
    }

    /// Reads a recipe with or without points, which must take all of `bytes`.
    pub fn from_bytes(bytes: &[u8], limits: RecipeLimits) -> Result<Self, RecipeError> {
        if bytes.first() != Some(&NEWEST_VERSION) {
            return Ok(Self { recipe: Recipe::from_bytes(bytes, limits)?, points: Vec::new() });
        }
        let mut reader = RecipeReader::new(bytes, limits)?;
        reader.byte()?;
        let recipe = reader.recipe(limits)?;
        let count = reader.number()?;
        // Each point takes at least three bytes of input, so memory stays proportional to it.
        let mut points = Vec::new();
        let (mut member, mut plain) = (0_u32, 0_u64);
        for _ in 0..count {
            let step = reader.number()?;
            if step > 0 {
                plain = 0;
            }
            let next = u64::from(member).saturating_add(step);
            member = u32::try_from(next).map_err(|_| {
                let (value, expected) = ("the member of a point", u64::from(u32::MAX));
                RecipeError::Limit { value, expected, found: next }
            })?;
            plain = plain.saturating_add(reader.number()?);
            let state = reader.number()?;
            let literals = u8::try_from(state >> 3).map_err(|_| {
                let value = "the number of literals before a point";
                RecipeError::Limit { value, expected: MAX_LITERALS, found: state >> 3 }
            })?;
            points.push(RestartPoint { member, plain, literals, phase: (state & 7) as u8 });
        }
        reader.finish()?;
        if points.is_empty() {
            return Err(RecipeError::Unknown { value: "number of points", found: count });
        }
        Self::new(recipe, points)
    }
}

/// Checks a point against its member and the point before. Returns the broken condition and the
/// number that breaks it.
fn check_point(
    recipe: &Recipe,
    before: Option<&RestartPoint>,
    point: &RestartPoint,
) -> Result<(), (&'static str, u64)> {
    let Some(member) = recipe.members.get(point.member as usize) else {
        return Err(("the index of a member", u64::from(point.member)));
    };
    let start = match before {
        Some(before) if before.member > point.member => {
            return Err(("members in order", u64::from(point.member)));
        }
        Some(before) if before.member == point.member => before.plain,
        _ => 0,
    };
    let (least_bytes, step) = match member.model.restart() {
        RestartKind::Nowhere => {
            return Err(("a model that can restart, in member", u64::from(point.member)));
        }
        RestartKind::AtBlocks => (MIN_SPAN_BYTES, 1),
        RestartKind::Warm => (WARM_SPAN_BYTES, CHUNK_BYTES),
    };
    let Some(span_bytes) = point.plain.checked_sub(start) else {
        return Err(("positions in order", point.plain));
    };
    if !(least_bytes..=MAX_SPAN_BYTES).contains(&span_bytes) {
        return Err(("a valid distance to the point before", span_bytes));
    }
    if !point.plain.is_multiple_of(step) {
        return Err(("the start of a chunk", point.plain));
    }
    if member.plain_bytes.checked_sub(point.plain).is_none_or(|bytes| bytes < LAST_SPAN_BYTES) {
        return Err(("a valid distance to the end of the member", point.plain));
    }
    if point.phase > 7 {
        return Err(("a phase of at most 7", u64::from(point.phase)));
    }
    Ok(())
}

impl From<Recipe> for DividedRecipe {
    fn from(recipe: Recipe) -> Self {
        Self { recipe, points: Vec::new() }
    }
}
