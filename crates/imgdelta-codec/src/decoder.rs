//! Rebuilds members from a group and their bases.
//! Never trusts either: what comes out is what the group says about this base, and the caller holds it
//! against a digest before anyone sees it.

use crate::{
    error::Result,
    group::Sources,
    limits::GroupLimits,
    literals::History,
    member::MemberHead,
    references, residue,
    script::{self, Copy},
    view::View,
};

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
        let head = MemberHead::read(sources)?;
        script::lay_out(sources, head, base, target, &mut self.copies)?;
        if head.view != View::Plain {
            let history = head.is_packed.then_some(&mut self.history);
            references::correct(sources, history, head.view, base, target, &self.copies)?;
        }
        residue::lay_over(sources, target)
    }

    /// Checks that the members have used every byte of every stream.
    pub fn finish(self) -> Result<()> {
        self.sources.finish()
    }
}
