//! Earlier headers of a layer, as references for later ones.
//! Depends on rebuilt headers alone, so that writer and reader remember the same.

use super::{
    block::{FLAG, HeaderBlocks, TarBlock, template},
    times::TimeMemory,
};

/// Earlier headers of a layer that later ones may refer to.
#[derive(Clone, Debug)]
pub(super) struct HeaderMemory {
    /// The last main block of each type, the latest first.
    mains: Vec<TarBlock>,
    /// The last extension of each type.
    extensions: Vec<(TarBlock, Vec<u8>)>,
    /// Reference of types that did not occur yet.
    template: TarBlock,
    /// Path of the previous entry.
    pub(super) path: Vec<u8>,
    /// Link target of the previous entry.
    pub(super) link: Vec<u8>,
    pub(super) times: TimeMemory,
}

/// The reference of an extension header.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReferenceExtension<'a> {
    pub(super) block: &'a TarBlock,
    pub(super) body: &'a [u8],
}

impl HeaderMemory {
    /// Starts a layer.
    pub(super) fn new() -> Self {
        Self {
            mains: Vec::new(),
            extensions: Vec::new(),
            template: template(),
            path: Vec::new(),
            link: Vec::new(),
            times: TimeMemory::default(),
        }
    }

    /// Returns the reference of an entry without a base entry.
    pub(super) fn main(&self, flag: u8) -> &TarBlock {
        let same_type = self.mains.iter().find(|block| block[FLAG] == flag);
        same_type.or(self.mains.first()).unwrap_or(&self.template)
    }

    /// Returns the reference of the extension at `place`.
    ///
    /// It is the base entry's extension at this place if the type is equal, or else the last one of
    /// its type.
    pub(super) fn extension<'a>(
        &'a self,
        base: Option<&'a HeaderBlocks>,
        place: usize,
        flag: u8,
    ) -> ReferenceExtension<'a> {
        let of_base = base.and_then(|base| base.extensions().nth(place));
        if let Some(extension) = of_base.filter(|extension| extension.block[FLAG] == flag) {
            return ReferenceExtension { block: extension.block, body: extension.body };
        }
        let last = self.extensions.iter().find(|(block, _)| block[FLAG] == flag);
        let (block, body) = last.map_or((&self.template, &[][..]), |(block, body)| (block, body));
        ReferenceExtension { block, body }
    }

    /// Remembers a rebuilt header.
    pub(super) fn note(&mut self, head: &HeaderBlocks) {
        let main = head.main();
        put_first(&mut self.mains, |block| block[FLAG] == main[FLAG], || *main);
        for extension in head.extensions() {
            let block = extension.block;
            put_first(
                &mut self.extensions,
                |(other, _)| other[FLAG] == block[FLAG],
                || (*block, extension.body.to_vec()),
            );
        }
    }
}

/// Puts a new item in front, instead of the one that `is_same` finds.
fn put_first<T>(list: &mut Vec<T>, is_same: impl Fn(&T) -> bool, make: impl FnOnce() -> T) {
    if let Some(place) = list.iter().position(is_same) {
        list[place] = make();
        list[..=place].rotate_right(1);
    } else {
        list.insert(0, make());
    }
}
