//! The front of a recipe: what it makes and from what, readable without the rest.
//!
//! Opening a delta asks every recipe for its streams; this answers from the first bytes.

use super::StreamName;
use crate::{
    ReadLimits,
    error::Result,
    fields::{Fields, MAX_PLACE, admit, write_stream_name},
};
use imgdelta_wire::varint;

/// What a recipe says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// What it makes.
    pub target: StreamName,
    /// What it takes from, in the order of the address space.
    pub sources: Vec<StreamName>,
}

impl Front {
    /// Bytes that [`Front::recipe_bytes`] needs, where a recipe has as many.
    pub const LENGTH_BYTES: usize = MAGIC.len() + 1 + 10;

    /// Returns how long a recipe is without its groups, from its first bytes.
    pub fn recipe_bytes(start: &[u8], limits: &ReadLimits) -> Result<u64> {
        let mut fields = Fields::new(PLACE, start);
        let rest = length(&mut fields)?;
        let bytes = fields.at().saturating_add(rest);
        admit(limits.recipe_bytes, bytes, "bytes of a recipe")?;
        Ok(bytes)
    }

    /// Returns how many first bytes hold any front of at most so many sources.
    pub fn most_bytes(limits: &ReadLimits) -> u64 {
        limits.sources.saturating_add(2).saturating_mul(MOST_NAME_BYTES)
    }

    /// Reads the front from the first bytes of a recipe.
    pub fn from_bytes(start: &[u8], limits: &ReadLimits) -> Result<Self> {
        let mut fields = Fields::new(PLACE, start);
        length(&mut fields)?;
        Self::read(&mut fields, limits)
    }

    /// Returns the bytes of the address space.
    pub fn space_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    pub(super) fn read(fields: &mut Fields<'_>, limits: &ReadLimits) -> Result<Self> {
        let target = fields.stream_name()?;
        let count = fields.number("count of sources")?;
        admit(limits.sources, count, "sources of a recipe")?;
        let mut sources = Vec::new();
        let mut space = target.bytes;
        for _ in 0..count {
            let source = fields.stream_name()?;
            space = space.saturating_add(source.bytes);
            sources.push(source);
        }
        // The target's length counts along: it is a place as well.
        if space > MAX_PLACE {
            return Err(fields.malformed("length of target and sources", MAX_PLACE, space));
        }
        Ok(Self { target, sources })
    }

    /// Reads magic and version, and that what follows is as long as they say.
    pub(super) fn open<'a>(bytes: &'a [u8], limits: &ReadLimits) -> Result<Fields<'a>> {
        admit(limits.recipe_bytes, bytes.len() as u64, "bytes of a recipe")?;
        let mut fields = Fields::new(PLACE, bytes);
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

fn length(fields: &mut Fields<'_>) -> Result<u64> {
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
/// Algorithm, the longest digest, the longest number; also more than magic, version and length.
const MOST_NAME_BYTES: u64 = 1 + 64 + 10;
