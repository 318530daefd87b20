//! The front of a recipe: its target and its sources, readable without the rest.
//! Never reads columns.
//!
//! To open a delta, the fronts of all its recipes are read: the first bytes of each are enough.

use crate::{
    ReadLimitName, ReadLimits,
    bounds::admit,
    error::Result,
    fields::{FieldReader, write_stream_name},
    stream::StreamName,
};
use imgdelta_wire::{MAX_PLACE, varint};
use std::collections::HashSet;

/// Target and sources of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeFront {
    /// The stream that it makes.
    pub target: StreamName,
    /// The streams that it needs, in the order of the address space: of the base, or of earlier
    /// layers of the target.
    pub sources: Vec<StreamName>,
}

impl RecipeFront {
    /// First bytes that [`RecipeFront::recipe_bytes`] needs, unless the recipe is shorter.
    pub const LENGTH_BYTES: usize = MAGIC.len() + 1 + 10;

    /// Returns the length of a recipe without its groups, from its first bytes.
    pub fn recipe_bytes(start: &[u8], limits: &ReadLimits) -> Result<u64> {
        let mut fields = FieldReader::new(PLACE, start);
        let rest = length(&mut fields)?;
        let bytes = fields.at().saturating_add(rest);
        admit(limits, ReadLimitName::RecipeBytes, bytes, "bytes of a recipe")?;
        Ok(bytes)
    }

    /// Returns the first bytes that hold any front within the limits.
    pub fn most_bytes(limits: &ReadLimits) -> u64 {
        limits.sources.saturating_add(2).saturating_mul(MOST_NAME_BYTES)
    }

    /// Reads the front from the first bytes of a recipe.
    pub fn from_bytes(start: &[u8], limits: &ReadLimits) -> Result<Self> {
        let mut fields = FieldReader::new(PLACE, start);
        length(&mut fields)?;
        Self::read(&mut fields, limits)
    }

    /// Returns the length of the address space.
    pub fn space_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    pub(super) fn read(fields: &mut FieldReader<'_>, limits: &ReadLimits) -> Result<Self> {
        let target = fields.stream_name()?;
        let count = fields.number("count of sources")?;
        admit(limits, ReadLimitName::Sources, count, "sources of a recipe")?;
        let mut sources = Vec::new();
        let mut known = HashSet::new();
        let mut space = target.bytes;
        for _ in 0..count {
            let source = fields.stream_name()?;
            // Otherwise a few bytes could name an address space of any length.
            if !known.insert(source.diff_id) {
                return Err(fields.malformed("times that a source is named", 1, 2));
            }
            space = space.saturating_add(source.bytes);
            sources.push(source);
        }
        // Positions in the target are places as well, so its length counts.
        if space > MAX_PLACE {
            return Err(fields.malformed("length of target and sources", MAX_PLACE, space));
        }
        Ok(Self { target, sources })
    }

    /// Reads magic, version and length, and compares the length with the bytes that follow.
    pub(super) fn open<'a>(bytes: &'a [u8], limits: &ReadLimits) -> Result<FieldReader<'a>> {
        admit(limits, ReadLimitName::RecipeBytes, bytes.len() as u64, "bytes of a recipe")?;
        let mut fields = FieldReader::new(PLACE, bytes);
        let rest = length(&mut fields)?;
        let found = fields.rest().len() as u64;
        if rest != found {
            return Err(fields.malformed("length", rest, found));
        }
        Ok(fields)
    }

    /// Puts magic, version and length before `rest`.
    pub(super) fn wrap(rest: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        varint::write(&mut out, rest.len() as u64);
        out.extend_from_slice(rest);
        out
    }

    pub(super) fn write(out: &mut Vec<u8>, target: &StreamName, sources: &[StreamName]) {
        write_stream_name(out, target);
        varint::write(out, sources.len() as u64);
        for source in sources {
            write_stream_name(out, source);
        }
    }
}

fn length(fields: &mut FieldReader<'_>) -> Result<u64> {
    for byte in MAGIC {
        let found = fields.byte("magic byte")?;
        if found != byte {
            return Err(fields.malformed("magic byte", byte.into(), found.into()));
        }
    }
    let version = fields.byte("version")?;
    if version != VERSION {
        return Err(fields.malformed("version", VERSION.into(), version.into()));
    }
    fields.number("length")
}

const PLACE: &str = "recipe";
const MAGIC: [u8; 4] = *b"imgr";
const VERSION: u8 = 1;
/// Algorithm, the longest digest, the longest number. Magic, version and length take less.
const MOST_NAME_BYTES: u64 = 1 + 64 + 10;
