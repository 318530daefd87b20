//! Rebuilds members from a group and their bases.
//! Never trusts either: the caller compares each result with a digest before anybody sees it.

use crate::{
    error::Result,
    group::StreamReader,
    limits::GroupLimits,
    literals::LiteralHistory,
    member::MemberHead,
    references, residue,
    script::{self, BaseCopy},
    view::View,
};

/// Reads the members of one group, in the order they were written.
///
/// Memory: the unpacked streams; for programs also up to four times the member's base.
/// Time: linear in target, base and streams, for any bytes.
#[derive(Debug)]
pub struct GroupDecoder {
    reader: StreamReader,
    copies: Vec<BaseCopy>,
    history: LiteralHistory,
}

impl GroupDecoder {
    /// Unpacks `group` within `limits`.
    pub fn open(group: &[u8], limits: &GroupLimits) -> Result<Self> {
        let reader = StreamReader::unpack(group, limits)?;
        Ok(Self { reader, copies: Vec::new(), history: LiteralHistory::default() })
    }

    /// Rebuilds the next member from its base into `target`, which has the member's length.
    ///
    /// Drop the decoder after an error: it stands somewhere within the streams.
    pub fn member(&mut self, base: &[u8], target: &mut [u8]) -> Result<()> {
        let reader = &mut self.reader;
        let head = MemberHead::read(reader)?;
        script::lay_out(reader, head, base, target, &mut self.copies)?;
        if head.view != View::Plain {
            let history = head.is_packed.then_some(&mut self.history);
            references::correct(reader, history, head.view, base, target, &self.copies)?;
        }
        residue::lay_over(reader, target)
    }

    /// Checks that members have used every byte of every stream.
    pub fn finish(self) -> Result<()> {
        self.reader.finish()
    }
}
