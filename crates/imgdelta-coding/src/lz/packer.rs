//! Packs bytes behind a prefix.
//! Never keeps what it packed.

use crate::{
    lz::MAX_EXPANSION,
    lz::index::{self, Index},
    lz::parser::Parser,
    lz::places::{RawKind, RawPlaces},
    lz::prices::PriceTables,
    lz::writer::SymbolWriter,
};

/// A prefix whose places are in an index. A clone packs other bytes behind the same prefix, and
/// takes a small part of the time of entering it again.
#[derive(Debug, Clone)]
pub struct PrefixPacker {
    bytes: Vec<u8>,
    prefix_len: usize,
    index: Index,
    kind: RawKind,
}

/// Symbols between two computations of the price tables.
const STALE_SYMBOLS: usize = 256;

/// Matches of so many bytes are taken without a look at others.
const NICE: usize = 64;

impl PrefixPacker {
    /// Enters a prefix; `raw_len` is about the length of what will be packed behind it.
    pub fn new(prefix: Vec<u8>, raw_len: usize) -> Self {
        let mut index = Index::new(prefix.len() + raw_len);
        if prefix.len() <= index::MAX_BYTES {
            index.enter(&prefix, prefix.len());
        }
        Self { prefix_len: prefix.len(), bytes: prefix, index, kind: RawKind::Bytes }
    }

    /// Regards the raw bytes as of this kind.
    #[must_use]
    pub fn of_kind(self, kind: RawKind) -> Self {
        Self { kind, ..self }
    }

    /// Packs `raw`; `None` if it is too long with its prefix, or packs better than a reader admits.
    pub fn pack(self, raw: &[u8]) -> Option<Vec<u8>> {
        self.pack_and_return_prefix(raw).0
    }

    /// The same, with the prefix for another coder.
    pub fn pack_and_return_prefix(mut self, raw: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        let code = self.code(raw);
        self.bytes.truncate(self.prefix_len);
        (code, self.bytes)
    }

    fn code(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        if self.prefix_len + raw.len() > index::MAX_BYTES {
            return None;
        }
        self.bytes.extend_from_slice(raw);
        let mut writer = SymbolWriter::new(self.kind);
        let mut tables = PriceTables::new(&writer.model);
        let places = RawPlaces::read(self.kind, &self.bytes, self.prefix_len);
        let mut parser = Parser::new(NICE);
        let (mut at, mut stale) = (self.prefix_len, 0);
        while at < self.bytes.len() {
            let prices = (&writer.model, &*tables);
            let bytes = (&*self.bytes, &places);
            let symbols = parser.stretch(bytes, at, writer.context, &mut self.index, prices);
            for &symbol in symbols {
                writer.put(symbol, &self.bytes, at, places.at(at));
                at += symbol.len();
            }
            stale += symbols.len();
            if stale >= STALE_SYMBOLS {
                tables.update(&writer.model);
                stale = 0;
            }
        }
        // A reader asks for a byte in so many, even if the code is nothing but zeros.
        let least = raw.len().div_ceil(MAX_EXPANSION as usize);
        let packed = writer.finish(least);
        (packed.len() >= least).then_some(packed)
    }
}
