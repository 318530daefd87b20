//! Literals by Huffman codes, as klauspost/compress's huff0 packs them.
//!
//! The coder is Yann Collet's; where the format leaves a choice (depth, reuse of a table, when to
//! give up) it is made as in Klaus Post's port, described in docs/encoders.md. Never writes the
//! header of a literals section: that is the block's.

mod codes;
mod weights;

use crate::bits::BitWriter;
use codes::Codes;

/// Packs literals block after block, with the codes of an earlier block where they serve.
#[derive(Default)]
pub(crate) struct Literals {
    /// The codes a reader knows.
    known: Option<Codes>,
    /// Whether the next block may use them.
    may_reuse: bool,
}

/// What became of literals.
pub(crate) enum Packed {
    /// Nothing gained: they go as they are.
    Raw,
    /// One byte again and again.
    Run,
    /// Codes, if new, and the coded literals.
    Coded {
        /// The section without its header.
        bytes: Vec<u8>,
        /// Whether the codes are those of an earlier block.
        reused: bool,
    },
}

impl Literals {
    /// Lets the next block use the codes of this one.
    pub(crate) fn allow_reuse(&mut self) {
        self.may_reuse = true;
    }

    /// Keeps the next block from using any codes but its own.
    pub(crate) fn forbid_reuse(&mut self) {
        self.may_reuse = false;
    }

    /// Packs literals in one stream or in four.
    pub(crate) fn pack(&mut self, literals: &[u8], four: bool) -> Packed {
        if !self.may_reuse {
            self.known = None;
        }
        let mut counts = [0u32; 256];
        for &byte in literals {
            counts[usize::from(byte)] += 1;
        }
        let most = counts.iter().max().map_or(0, |&count| count as usize);
        let kinds = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        if most >= literals.len() {
            return if literals.len() == 1 { Packed::Raw } else { Packed::Run };
        }
        if most == 1 || most < literals.len() >> 7 {
            return Packed::Raw;
        }
        let enough = literals.len() - (literals.len() >> 4);
        let counts = &counts[..kinds];
        let codes = Codes::build(counts, literals.len());
        if let Some(known) = self.known.as_ref().filter(|known| known.covers(counts))
            && (known.bytes(counts) <= codes.bytes(counts) || 12 >= enough)
        {
            let mut bytes = Vec::with_capacity(enough);
            return if encode(known, literals, four, &mut bytes) && bytes.len() < enough {
                Packed::Coded { bytes, reused: true }
            } else {
                Packed::Raw
            };
        }
        let mut bytes = Vec::with_capacity(enough + 128);
        if !weights::write(&codes, &mut bytes)
            || !encode(&codes, literals, four, &mut bytes)
            || bytes.len() >= enough
        {
            return Packed::Raw;
        }
        self.known = Some(codes);
        Packed::Coded { bytes, reused: false }
    }
}

/// Appends the coded literals; false if four streams cannot be told apart.
fn encode(codes: &Codes, literals: &[u8], four: bool, out: &mut Vec<u8>) -> bool {
    if !four {
        encode_one(codes, literals, out);
        return true;
    }
    let jump = out.len();
    out.extend([0; 6]);
    for (stream, part) in literals.chunks(literals.len().div_ceil(4)).enumerate() {
        let from = out.len();
        encode_one(codes, part, out);
        let Ok(bytes) = u16::try_from(out.len() - from) else { return false };
        if stream < 3 {
            out[jump + 2 * stream..][..2].copy_from_slice(&bytes.to_le_bytes());
        }
    }
    true
}

fn encode_one(codes: &Codes, literals: &[u8], out: &mut Vec<u8>) {
    let mut bits = BitWriter::new(out);
    for &byte in literals.iter().rev() {
        let (code, length) = codes.of(byte);
        bits.put(code, length);
    }
    bits.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_single_bytes_are_told() {
        let mut literals = Literals::default();
        assert!(matches!(literals.pack(&[7; 50], false), Packed::Run));
        assert!(matches!(literals.pack(&[7], false), Packed::Raw));
        let all: Vec<u8> = (0..=255).collect();
        assert!(matches!(literals.pack(&all, false), Packed::Raw));
    }

    #[test]
    fn codes_are_reused_only_when_allowed() {
        let text =
            b"a rose is a rose is a rose is a rose, said the abbess and a rose it is".repeat(9);
        let mut literals = Literals::default();
        for (allowed, expected) in [(false, false), (true, true), (false, false)] {
            if allowed {
                literals.allow_reuse();
            } else {
                literals.forbid_reuse();
            }
            let Packed::Coded { reused, .. } = literals.pack(&text, false) else { panic!() };
            assert_eq!(reused, expected);
        }
    }
}
