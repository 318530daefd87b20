//! A recipe: how one layer's stream is rebuilt from base streams.
//! Never holds the bytes of groups, which follow it.
//!
//! A stream consists of *payloads*, the non-empty stored contents of its entries, and *frames*, the
//! bytes around them: headers, padding, the end mark. Frames are stored as header columns; each
//! payload has a [`PayloadOrigin`]. Base bytes are addressed in one *address space* per recipe. It
//! holds the sources in the order of the table, and behind them the parts of the base's archives
//! that the recipe opens. Behind the address space lie the *rebuilt bytes*: the payloads that groups
//! make, so that one file of the target may be made from another. A recipe names its sources and its
//! target and nothing else, so images that share both share the recipe. A source may also be the
//! stream of an earlier layer of the same image.
//!
//! Its bytes are a front, the header columns, and then columns of numbers. Each count is compared
//! with its limit before memory is taken. `docs/format.md` specifies them.
//!
//! | level | modules | purpose |
//! |--:|---|---|
//! | 0 | `columns`, `front` | numbers and names of columns; target and sources |
//! | 1 | `origins` | the origin of each payload |
//! | 2 | `archives`, `groups` | archives opened and closed; payloads that groups rebuild |
//! | 3 | `digests` | digests inside payloads |
//! | 4 | `recipe` itself | all of them together |

mod archives;
mod columns;
mod digests;
mod front;
mod groups;
mod origins;

pub use crate::stream::StreamName;
pub use archives::{ArchiveKind, ArchiveSource, ArchiveTarget, NestedArchives};
pub use digests::{DigestPlace, DigestSpelling};
pub use front::RecipeFront;
pub use groups::{BaseSource, GroupMember, PayloadWindow, RecipeGroup};
pub use origins::PayloadOrigin;

use crate::{ReadLimitName, ReadLimits, bounds::unpack_within, error::Result};
use columns::{COLUMNS, FIRST_DIGEST, FIRST_NESTED, RecipeColumns};
use groups::MemberSpace;
use imgdelta_coding::pack::Packer;
use imgdelta_wire::{MAX_PLACE, varint};

/// A recipe without the bytes of its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The stream that it makes.
    pub target: StreamName,
    /// The streams that it needs, in the order of the address space.
    pub sources: Vec<StreamName>,
    /// The header columns, packed.
    pub headers: Vec<u8>,
    /// Origins of all payloads: those of the stream in its order, then the inner ones.
    pub origins: Vec<PayloadOrigin>,
    /// The archives that it opens and closes.
    pub nested: NestedArchives,
    /// The groups, in the order of their bytes.
    pub groups: Vec<RecipeGroup>,
    /// The digests that are computed, by payload and offset.
    pub digests: Vec<DigestPlace>,
}

impl Recipe {
    /// Returns the recipe as bytes; its groups' bytes follow them, in order.
    ///
    /// Empty parts of a member's base are left out, since they add nothing.
    ///
    /// # Panics
    /// If a member makes a payload whose origin is not [`PayloadOrigin::Rebuilt`], or if a payload
    /// repeats itself: such a recipe cannot be read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        RecipeFront::write(&mut rest, &self.target, &self.sources);
        varint::write_prefixed(&mut rest, &self.headers);
        let mut columns = RecipeColumns::new();
        origins::write(&mut columns, &self.origins);
        groups::write(&mut columns, &self.groups, &self.origins);
        self.nested.write(&mut columns);
        digests::write(&mut columns, &self.digests, &self.origins);
        let count = match (self.nested.is_empty(), self.digests.is_empty()) {
            (_, false) => COLUMNS,
            (false, true) => FIRST_DIGEST,
            (true, true) => FIRST_NESTED,
        };
        rest.extend_from_slice(&Packer::new(LEVEL).pack(&columns.all()[..count]));
        RecipeFront::wrap(&rest)
    }

    /// Reads the bytes of [`Recipe::to_bytes`].
    pub fn from_bytes(bytes: &[u8], limits: &ReadLimits) -> Result<Self> {
        let mut fields = RecipeFront::open(bytes, limits)?;
        let front = RecipeFront::read(&mut fields, limits)?;
        let header_bytes = fields.number("length of the header columns")?;
        let headers = fields.bytes(header_bytes, "header columns")?.to_vec();
        let columns = RecipeColumns::of(unpack_within(
            fields.rest(),
            COLUMNS,
            limits,
            ReadLimitName::ColumnBytes,
        )?);
        let opened = NestedArchives::read_opened(&columns, front.space_bytes(), limits)?;
        let plain_bytes: u64 = opened.iter().map(|opened| opened.plain_bytes).sum();
        let space = front.space_bytes() + plain_bytes;
        let origins = origins::read(&columns, space, target_payloads(&front.target), limits)?;
        let nested = NestedArchives::read(&columns, opened, &origins)?;
        let inner_bytes = nested.inner_bytes.iter().fold(front.target.bytes, |sum, bytes| {
            // Rebuilt payloads are those of the stream, and inner ones whose length is stored.
            sum.saturating_add(*bytes)
        });
        let end = space.saturating_add(inner_bytes).min(MAX_PLACE);
        let groups =
            groups::read(&columns, &origins, MemberSpace { base_end: space, end }, limits)?;
        let digests = digests::read(&columns, &origins, limits)?;
        let RecipeFront { target, sources } = front;
        Ok(Self { target, sources, headers, origins, nested, groups, digests })
    }

    /// Returns the bytes of all groups together.
    pub fn group_bytes(&self) -> u64 {
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.packed_bytes))
    }
}

/// Returns the most payloads, inner ones included, of a target of this length.
///
/// A payload of a tar stream takes at least two blocks of 512 bytes, and one in an archive takes at
/// least its compressed header. Without this bound, one number could ask for millions of origins.
fn target_payloads(target: &StreamName) -> u64 {
    FREE_PAYLOADS + target.bytes / BYTES_PER_PAYLOAD
}

const FREE_PAYLOADS: u64 = 4096;
const BYTES_PER_PAYLOAD: u64 = 8;

/// Columns are small: the best level that needs no more memory to read.
const LEVEL: i32 = 19;
