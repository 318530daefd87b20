//! A delta made but not yet written: recipes in memory, their groups in a scratch file, and what
//! each thing costs.

use crate::{Error, Result, plan::Plan, scratch::Scratch, store::source::ReadAt};
use imgdelta_format::recipe::Recipe;
use std::{
    fs::File,
    io::Write,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// What a plan came to.
#[derive(Debug)]
pub struct Draft<'a> {
    /// What was decided.
    pub plan: &'a Plan<'a>,
    /// The layers that are rebuilt, in their order.
    pub layers: Vec<LayerDraft>,
    pub(crate) spill: Spill,
}

/// A layer that is rebuilt.
#[derive(Debug)]
pub struct LayerDraft {
    /// Its place in the target image, from 0.
    pub ordinal: u32,
    /// Its recipe.
    pub recipe: Recipe,
    /// Which entry of the layer's index each payload of the recipe is; none for bytes of no entry.
    pub payload_entries: Vec<Option<u32>>,
    /// The bytes of the recipe's groups.
    pub groups: Vec<GroupDraft>,
}

/// A group's bytes in the scratch file, and whose they are.
#[derive(Debug)]
pub struct GroupDraft {
    /// Where its bytes lie in the scratch file.
    pub(crate) range: Range<u64>,
    /// What each member has of them.
    pub costs: Vec<MemberCost>,
}

/// What a member costs, by its share of the group's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberCost {
    /// Which payload it is of.
    pub payload: u32,
    /// Bytes of the packed group.
    pub bytes: u64,
}

/// Packed groups in the order they were finished.
#[derive(Debug)]
pub(crate) struct Spill {
    place: String,
    state: Mutex<(File, u64)>,
}

impl Spill {
    pub(crate) fn new(scratch: &Scratch) -> Result<Self> {
        Ok(Self { place: scratch.place(), state: Mutex::new((scratch.file()?, 0)) })
    }

    /// Keeps a group's bytes.
    pub(crate) fn put(&self, packed: &[u8]) -> Result<Range<u64>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = state.1;
        state.0.write_all(packed).map_err(Error::io(&self.place))?;
        state.1 += packed.len() as u64;
        Ok(start..state.1)
    }

    /// Reads them again.
    pub(crate) fn get(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("was in memory")];
        let mut done = 0;
        while done < bytes.len() {
            let count = state.0.read_at(&mut bytes[done..], range.start + done as u64);
            match count.map_err(Error::io(&self.place))? {
                0 => return Err(Error::io(&self.place)(std::io::ErrorKind::UnexpectedEof.into())),
                count => done += count,
            }
        }
        Ok(bytes)
    }
}
