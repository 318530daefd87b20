//! A recipe with restart points, where its streams can be cut into spans.
//!
//! pgzip's segments and pigz's blocks need no points. In other streams a *restart point* is the
//! first byte of a block. Go's and zlib's lazy levels index every position of the last 32 KiB, so
//! a point needs only a position, a bit, and the number of literals before it: about six bytes.
//! Other encoders parse a few chunks in advance, and a point is the first byte of a chunk.
//! A recipe without points has the byte form of version 1, and one with points that of version 2.
//! Never finds points, and never remakes a stream.

use crate::error::BadRecipe;
use crate::mid_stream::{CHUNK_BYTES, WARM_SPAN_BYTES};
use crate::model::RestartKind;
use crate::recipe::{Limits, Recipe, RecipeReader, put_number};

/// A recipe with the restart points of its streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divided {
    recipe: Recipe,
    points: Vec<Point>,
}

/// The first byte of a block, where an encoder can restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
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
/// before has a good copy, which can depend on all literals since the last copy. No stream so far
/// needed more than this.
pub const MAX_LITERALS: u64 = 255;
/// Most plain bytes between two points: a span is held in memory. A span ends with a block, and the
/// longest block of an encoder has 32768 copies of 258 bytes, so twice the usual spans fit.
pub const MAX_SPAN_BYTES: u64 = 32 << 20;
/// Fewest plain bytes between two points: each point costs indexing 64 KiB.
pub const MIN_SPAN_BYTES: u64 = 32 << 10;
/// Fewest plain bytes behind the last point of a member. They fill a buffer, so only the last span
/// sees the end of the data.
pub const LAST_SPAN_BYTES: u64 = 64 << 10;

const VERSION: u8 = 2;

impl Divided {
    /// Adds restart points to a recipe. The points must be in order and possible for their encoder.
    pub fn new(recipe: Recipe, points: Vec<Point>) -> Result<Self, BadRecipe> {
        let mut last = None;
        for point in &points {
            let member = recipe.members.get(point.member as usize).ok_or(BadRecipe::Unknown)?;
            let start = match last {
                Some((member, plain)) if member == point.member => plain,
                Some((member, _)) if member > point.member => return Err(BadRecipe::Length),
                _ => 0,
            };
            let span_bytes = point.plain.checked_sub(start).ok_or(BadRecipe::Length)?;
            let (least_bytes, step) = match member.model.restart() {
                RestartKind::Nowhere => return Err(BadRecipe::Unknown),
                RestartKind::AtBlocks => (MIN_SPAN_BYTES, 1),
                RestartKind::Warm => (WARM_SPAN_BYTES, CHUNK_BYTES),
            };
            let last_bytes = member.plain_bytes.checked_sub(point.plain);
            if point.phase > 7
                || !(least_bytes..=MAX_SPAN_BYTES).contains(&span_bytes)
                || !point.plain.is_multiple_of(step)
                || last_bytes.is_none_or(|bytes| bytes < LAST_SPAN_BYTES)
            {
                return Err(BadRecipe::Unknown);
            }
            last = Some((point.member, point.plain));
        }
        let divided = Self { recipe, points };
        let last_spans = divided.points.iter().enumerate().filter(|&(index, point)| {
            divided.points.get(index + 1).is_none_or(|next| next.member != point.member)
        });
        for (_, point) in last_spans {
            let member = &divided.recipe.members[point.member as usize];
            if member.plain_bytes - point.plain > MAX_SPAN_BYTES {
                return Err(BadRecipe::Limit);
            }
        }
        Ok(divided)
    }

    /// Returns the recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns the restart points.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Returns the recipe and its points as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.recipe.to_bytes();
        if self.points.is_empty() {
            return out;
        }
        out[0] = VERSION;
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
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<Self, BadRecipe> {
        if bytes.first() != Some(&VERSION) {
            return Ok(Self { recipe: Recipe::from_bytes(bytes, limits)?, points: Vec::new() });
        }
        if bytes.len() as u64 > limits.recipe_bytes {
            return Err(BadRecipe::Limit);
        }
        let mut reader = RecipeReader { bytes: &bytes[1..] };
        let recipe = reader.recipe(limits)?;
        let count = reader.number()?;
        // Each point takes at least three bytes of input, so memory stays proportional to it.
        let mut points = Vec::new();
        let (mut member, mut plain) = (0_u32, 0_u64);
        for _ in 0..count {
            let step = u32::try_from(reader.number()?).map_err(|_| BadRecipe::Limit)?;
            if step > 0 {
                plain = 0;
            }
            member = member.checked_add(step).ok_or(BadRecipe::Limit)?;
            plain = plain.checked_add(reader.number()?).ok_or(BadRecipe::Limit)?;
            let state = reader.number()?;
            let literals = u8::try_from(state >> 3).map_err(|_| BadRecipe::Limit)?;
            points.push(Point { member, plain, literals, phase: (state & 7) as u8 });
        }
        if !reader.bytes.is_empty() || points.is_empty() {
            return Err(BadRecipe::Length);
        }
        Self::new(recipe, points)
    }
}

impl From<Recipe> for Divided {
    fn from(recipe: Recipe) -> Self {
        Self { recipe, points: Vec::new() }
    }
}
