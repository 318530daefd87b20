//! What both sides remember from entry to entry.
//!
//! It is made from rebuilt headers alone, so that writer and reader have the same.

use super::{
    block::{Block, FLAG, Head, template},
    times::Times,
};

/// Earlier headers of the layer, as far as later ones are written against them.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// The last main block of each type, the latest first.
    mains: Vec<Block>,
    /// The last extension of each type.
    extensions: Vec<(Block, Vec<u8>)>,
    /// What stands in for headers that were not yet seen.
    template: Block,
    /// The path of the entry before.
    pub(super) path: Vec<u8>,
    /// Its link.
    pub(super) link: Vec<u8>,
    /// Times.
    pub(super) times: Times,
}

/// An extension header that another is written against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) block: &'a Block,
    pub(super) body: &'a [u8],
}

impl Memory {
    /// Remembers nothing.
    pub(super) fn new() -> Self {
        Self {
            mains: Vec::new(),
            extensions: Vec::new(),
            template: template(),
            path: Vec::new(),
            link: Vec::new(),
            times: Times::default(),
        }
    }

    /// Returns what an entry without a base is written against.
    pub(super) fn main(&self, flag: u8) -> &Block {
        let known = self.mains.iter().find(|block| block[FLAG] == flag);
        known.or(self.mains.first()).unwrap_or(&self.template)
    }

    /// Returns what the extension at `place` is written against: the base's at that place if it is
    /// of the same type, else the last of its type.
    pub(super) fn extension<'a>(
        &'a self,
        base: Option<&'a Head>,
        place: usize,
        flag: u8,
    ) -> Known<'a> {
        let of_base = base.and_then(|base| base.extensions().nth(place));
        if let Some(extension) = of_base.filter(|extension| extension.block[FLAG] == flag) {
            return Known { block: extension.block, body: extension.body };
        }
        let known = self.extensions.iter().find(|(block, _)| block[FLAG] == flag);
        let (block, body) = known.map_or((&self.template, &[][..]), |(block, body)| (block, body));
        Known { block, body }
    }

    /// Takes note of a rebuilt header.
    pub(super) fn note(&mut self, head: &Head) {
        let main = head.main();
        put_first(&mut self.mains, |block| block[FLAG] == main[FLAG], || *main);
        for extension in head.extensions() {
            let block = extension.block;
            put_first(
                &mut self.extensions,
                |(known, _)| known[FLAG] == block[FLAG],
                || (*block, extension.body.to_vec()),
            );
        }
    }
}

/// Replaces what `is_same` finds, and puts it in front.
fn put_first<T>(list: &mut Vec<T>, is_same: impl Fn(&T) -> bool, make: impl FnOnce() -> T) {
    if let Some(place) = list.iter().position(is_same) {
        list[place] = make();
        list[..=place].rotate_right(1);
    } else {
        list.insert(0, make());
    }
}
