//! Rebuilds members from a group and their bases.
//! Never trusts either: what comes out is what the group says about this base, and the caller holds it
//! against a digest before anyone sees it.

use crate::{
    error::Result,
    limits::GroupLimits,
    references, residue,
    script::{self, Copy},
    streams::{Sources, Stream},
    view::View,
};

/// Set in a member's first byte when the member is one copy from the base's start.
pub(crate) const WHOLE: u8 = 0x80;

/// Reads the members of one group, in the order they were written.
///
/// Memory: the unpacked streams, and per member at most about four times its base for the code
/// view, nothing for the others. Time: linear in target, base and streams, whatever their bytes are.
#[derive(Debug)]
pub struct GroupDecoder {
    sources: Sources,
    copies: Vec<Copy>,
}

impl GroupDecoder {
    /// Unpacks `group`, if it stays within `limits`.
    pub fn open(group: &[u8], limits: &GroupLimits) -> Result<Self> {
        Ok(Self { sources: Sources::unpack(group, limits)?, copies: Vec::new() })
    }

    /// Rebuilds the next member from its base; `target` has the length the member will have.
    ///
    /// After an error the decoder stands somewhere within the streams: drop it.
    pub fn member(&mut self, base: &[u8], target: &mut [u8]) -> Result<()> {
        let sources = &mut self.sources;
        let first = sources.byte(Stream::Members)?;
        let number = first & !WHOLE;
        let Some(view) = View::from_wire(number) else {
            return Err(sources.malformed(Stream::Members, "view", 3, number.into()));
        };
        script::lay_out(sources, first & WHOLE != 0, base, target, &mut self.copies)?;
        if view != View::Plain {
            references::correct(sources, view, base, target, &self.copies)?;
        }
        residue::lay_over(sources, target)
    }

    /// Checks that the members have used every byte of every stream.
    pub fn finish(self) -> Result<()> {
        self.sources.finish()
    }
}
