//! A recipe with the places where its streams can be cut, as a value and as bytes.
//!
//! pgzip's segments and pigz's blocks need no places; in other streams a *restart point* names a
//! block's first byte. The index of Go's and zlib's lazy levels holds every position of the 32 KiB
//! before, whatever the parse was, so that a point is a position, the bit it starts at, and how
//! many literals lead to it: some six bytes. What else can be restarted parses a few chunks in
//! advance, and a point is a chunk's first byte. Without points the byte form is the recipe's own;
//! with points it is version 2. Never finds points itself and never remakes.

use crate::mid_stream::{CHUNK_BYTES, WARM_SPAN_BYTES};
use crate::model::Restart;
use crate::recipe::{BadRecipe, Limits, Reader, Recipe, put_number};

/// A recipe, and where its streams can be cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divided {
    recipe: Recipe,
    points: Vec<Point>,
}

/// A restart point: a block's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Which member, from 0.
    pub member: u32,
    /// Plain bytes of the member before it.
    pub plain: u64,
    /// Literals before it since the last copy, as far as they matter: at most [`MAX_LITERALS`].
    pub literals: u8,
    /// Bits of the byte it starts in that belong to the block before, 0 to 7.
    pub phase: u8,
}

/// Literals before a point that are parsed again. zlib's search gives up earlier where the byte
/// before has a good copy, which goes back to the last copy, but never that far in practice.
pub const MAX_LITERALS: u64 = 255;
/// Plain bytes between two points that are accepted: each span is held in memory. The largest that
/// encoders need is a block of 32768 copies of 258 bytes beyond what is aimed at.
pub const MAX_SPAN_BYTES: u64 = 32 << 20;
/// Plain bytes between two points at least: each costs the index of 64 KiB.
pub const MIN_SPAN_BYTES: u64 = 32 << 10;
/// Plain bytes behind the last point of a member at least: what a buffer holds, so that only the
/// last span sees the end of the data.
pub const LAST_SPAN_BYTES: u64 = 64 << 10;

const VERSION: u8 = 2;

impl Divided {
    /// Takes restart points with a recipe, in their order; refuses those that cannot be.
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
                Restart::Nowhere => return Err(BadRecipe::Unknown),
                Restart::AtBlocks => (MIN_SPAN_BYTES, 1),
                Restart::Warm => (WARM_SPAN_BYTES, CHUNK_BYTES),
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

    /// Returns both as bytes.
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

    /// Reads a recipe with or without points; all of `bytes` must belong to it.
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<Self, BadRecipe> {
        if bytes.first() != Some(&VERSION) {
            return Ok(Self { recipe: Recipe::from_bytes(bytes, limits)?, points: Vec::new() });
        }
        if bytes.len() as u64 > limits.recipe_bytes {
            return Err(BadRecipe::Limit);
        }
        let mut reader = Reader { bytes: &bytes[1..] };
        let recipe = reader.recipe(limits)?;
        let count = reader.number()?;
        // Each point takes bytes of its own, so memory follows what was really given.
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
