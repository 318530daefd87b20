//! Rebuilds members from a group and their bases.
//! Never trusts either: what comes out is what the group says about this base, and the caller holds it
//! against a digest before anyone sees it.

use crate::{
    error::Result,
    limits::GroupLimits,
    literals::History,
    references, residue,
    script::{self, Copy},
    streams::{Sources, Stream},
    view::View,
};

/// Set in a member's first byte when the member is one copy from the base's start.
pub(crate) const WHOLE: u8 = 0x80;

/// Set in a member's first byte when its literals are packed apart.
pub(crate) const APART: u8 = 0x40;

/// Reads the members of one group, in the order they were written.
///
/// Memory: the unpacked streams, and per member at most about four times its base for the code
/// view, nothing for the others. Time: linear in target, base and streams, whatever their bytes are.
#[derive(Debug)]
pub struct GroupDecoder {
    sources: Sources,
    copies: Vec<Copy>,
    history: History,
}

impl GroupDecoder {
    /// Unpacks `group`, if it stays within `limits`.
    pub fn open(group: &[u8], limits: &GroupLimits) -> Result<Self> {
        let sources = Sources::unpack(group, limits)?;
        Ok(Self { sources, copies: Vec::new(), history: History::default() })
    }

    /// Rebuilds the next member from its base; `target` has the length the member will have.
    ///
    /// After an error the decoder stands somewhere within the streams: drop it.
    pub fn member(&mut self, base: &[u8], target: &mut [u8]) -> Result<()> {
        let sources = &mut self.sources;
        let first = sources.byte(Stream::Members)?;
        let (whole, apart) = (first & WHOLE != 0, first & APART != 0);
        let number = first & !(WHOLE | APART);
        let Some(view) = View::from_wire(number) else {
            return Err(sources.malformed(Stream::Members, "view", 3, number.into()));
        };
        if apart && (whole || view != View::Elf) {
            return Err(sources.malformed(Stream::Members, "literals apart", 0, first.into()));
        }
        script::lay_out(sources, whole, apart, base, target, &mut self.copies)?;
        if view != View::Plain {
            let history = apart.then_some(&mut self.history);
            references::correct(sources, history, view, base, target, &self.copies)?;
        }
        residue::lay_over(sources, target)
    }

    /// Checks that the members have used every byte of every stream.
    pub fn finish(self) -> Result<()> {
        self.sources.finish()
    }
}
