//! Compresses literals with Huffman codes, as huff0 of klauspost/compress does.
//!
//! The coder is Yann Collet's. Where the format leaves a choice (depth, reuse of a table, raw
//! literals), the choice is that of Klaus Post's port: see docs/encoders.md. Never writes the
//! header of a literals section.

mod codes;
mod weights;

use crate::bits::BitWriter;
use codes::HuffmanCodes;

/// Compresses the literals of one block after another, and reuses earlier codes where they pay.
#[derive(Default)]
pub(crate) struct LiteralsCoder {
    /// The last codes in the stream, which a reader has.
    last_codes: Option<HuffmanCodes>,
    /// True if the next block may use the last codes.
    may_reuse: bool,
}

/// The chosen form of the literals of a block.
pub(crate) enum LiteralsForm {
    /// The literals themselves: codes gain nothing.
    Raw,
    /// One byte value, repeated.
    Run,
    /// The codes, if they are new, and the coded literals.
    Coded {
        /// The section without its header.
        bytes: Vec<u8>,
        /// True if the codes are those of an earlier block.
        reused: bool,
    },
}

impl LiteralsCoder {
    /// Allows the next block to use the last codes.
    pub(crate) fn allow_reuse(&mut self) {
        self.may_reuse = true;
    }

    /// Forces new codes in the next block.
    pub(crate) fn forbid_reuse(&mut self) {
        self.may_reuse = false;
    }

    /// Compresses literals into one stream, or into four.
    pub(crate) fn pack(&mut self, literals: &[u8], four: bool) -> LiteralsForm {
        if !self.may_reuse {
            self.last_codes = None;
        }
        let mut counts = [0u32; 256];
        for &byte in literals {
            counts[usize::from(byte)] += 1;
        }
        let most = counts.iter().max().map_or(0, |&count| count as usize);
        let kinds = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        if most >= literals.len() {
            return if literals.len() == 1 { LiteralsForm::Raw } else { LiteralsForm::Run };
        }
        if most == 1 || most < literals.len() >> 7 {
            return LiteralsForm::Raw;
        }
        let enough = literals.len() - (literals.len() >> 4);
        let counts = &counts[..kinds];
        let codes = HuffmanCodes::build(counts, literals.len());
        if let Some(last) = self.last_codes.as_ref().filter(|last| last.covers(counts))
            && (last.bytes(counts) <= codes.bytes(counts) || 12 >= enough)
        {
            let mut bytes = Vec::with_capacity(enough);
            return if encode(last, literals, four, &mut bytes) && bytes.len() < enough {
                LiteralsForm::Coded { bytes, reused: true }
            } else {
                LiteralsForm::Raw
            };
        }
        let mut bytes = Vec::with_capacity(enough + 128);
        if !weights::write(&codes, &mut bytes)
            || !encode(&codes, literals, four, &mut bytes)
            || bytes.len() >= enough
        {
            return LiteralsForm::Raw;
        }
        self.last_codes = Some(codes);
        LiteralsForm::Coded { bytes, reused: false }
    }
}

/// Appends the coded literals. False if one of the first three streams is too long for its size
/// field.
fn encode(codes: &HuffmanCodes, literals: &[u8], four: bool, out: &mut Vec<u8>) -> bool {
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

fn encode_one(codes: &HuffmanCodes, literals: &[u8], out: &mut Vec<u8>) {
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
    fn runs_single_bytes_and_noise_are_not_coded() {
        let mut literals = LiteralsCoder::default();
        assert!(matches!(literals.pack(&[7; 50], false), LiteralsForm::Run));
        assert!(matches!(literals.pack(&[7], false), LiteralsForm::Raw));
        let all: Vec<u8> = (0..=255).collect();
        assert!(matches!(literals.pack(&all, false), LiteralsForm::Raw));
    }

    #[test]
    fn codes_are_reused_only_when_allowed() {
        let text =
            b"a rose is a rose is a rose is a rose, said the abbess and a rose it is".repeat(9);
        let mut literals = LiteralsCoder::default();
        for (allowed, expected) in [(false, false), (true, true), (false, false)] {
            if allowed {
                literals.allow_reuse();
            } else {
                literals.forbid_reuse();
            }
            let LiteralsForm::Coded { reused, .. } = literals.pack(&text, false) else { panic!() };
            assert_eq!(reused, expected);
        }
    }
}
