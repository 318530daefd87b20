//! A recipe: how one layer's stream is rebuilt from base streams.
//!
//! A stream is *payloads*, the non-empty stored contents of its entries, and *frames*, the bytes
//! around them: headers, padding, the end mark. Frames travel as header columns; each payload has
//! an [`Origin`]. Base bytes are addressed through one *address space* per recipe: its sources one
//! after another, in the order of its table, and behind them the parts of the base's archives that
//! it opens. A recipe names its sources and its target and nothing else, so that images which share
//! both share it.

mod front;
mod nested;
mod wire;

pub use front::Front;
pub use nested::{Archive, Closed, Nested, Opened, is_length_told};

use crate::DiffId;

/// A layer's uncompressed stream: its name and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamName {
    /// The digest of all its bytes.
    pub diff_id: DiffId,
    /// How many they are.
    pub bytes: u64,
}

/// All of a recipe but the bytes of its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What it makes.
    pub target: StreamName,
    /// What it takes from, in the order of the address space.
    pub sources: Vec<StreamName>,
    /// The header columns, packed.
    pub headers: Vec<u8>,
    /// Where each payload comes from: those of the stream in its order, then the inner ones.
    pub origins: Vec<Origin>,
    /// The archives that are seen into.
    pub nested: Nested,
    /// What is rebuilt, in the order of the groups' bytes.
    pub groups: Vec<Group>,
}

/// Where a payload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is the payload of the entry whose header its own header was written against.
    Own,
    /// It lies in the address space from here on.
    Base(u64),
    /// It equals the payload that many payloads before it, at least 1.
    Repeat(u32),
    /// Members of groups make it, which cover it without gap or overlap.
    Rebuilt,
    /// It is an archive, made of inner payloads.
    Closed,
    /// It is that part of the opened archives, counted over all of them from 0.
    Part(u32),
    /// It is that part as it lies compressed in its archive.
    Packed(u32),
}

/// Members whose streams were packed together; it decodes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How many bytes it has, packed. `docs/format-group.md` lays them down.
    pub packed_bytes: u64,
    /// Its members, in the order of its streams.
    pub members: Vec<Member>,
}

/// A payload, or a window of one, that a group rebuilds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which payload, counted from 0; its origin is [`Origin::Rebuilt`].
    pub payload: u32,
    /// The window of it, or all.
    pub window: Option<Window>,
    /// What its base is made of, one after another; none for an empty base.
    pub sources: Vec<Source>,
}

/// A range of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where in the payload it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A part of a member's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The whole payload of the entry whose header the own header was written against.
    Own,
    /// A range of the address space.
    Slice {
        /// Where it begins.
        address: u64,
        /// How long it is.
        bytes: u64,
    },
}
