//! Writes a parsed block as raw, a run or compressed, whichever the original chooses.
//!
//! Keeps the state that carries over to the next block. Never searches for copies and never splits
//! a block.

use super::sequences::SequencesCoder;
use super::{KlauspostVersion, Sequence};
use crate::huffman::{LiteralsCoder, LiteralsForm};

/// The literals and copies of a block.
#[derive(Default)]
pub(super) struct ParsedBlock {
    /// All bytes that are not in a copy.
    pub(super) literals: Vec<u8>,
    /// Copies in order, each with the literals before it.
    pub(super) sequences: Vec<Sequence>,
}

/// Writes the blocks of a frame.
pub(super) struct BlockWriter {
    version: KlauspostVersion,
    /// True if blocks without copies get Huffman codes.
    codes_without_copies: bool,
    literals: LiteralsCoder,
    sequences: SequencesCoder,
}

const RAW: u32 = 0;
const RUN: u32 = 1;
const COMPRESSED: u32 = 2;

/// Literals from which a raw or run section needs a header of two and of three bytes.
const RAW_LIMITS: [usize; 2] = [16, 2048];

impl ParsedBlock {
    pub(super) fn clear(&mut self) {
        self.literals.clear();
        self.sequences.clear();
    }
}

impl BlockWriter {
    pub(super) fn new(version: KlauspostVersion, codes_without_copies: bool) -> Self {
        Self {
            version,
            codes_without_copies,
            literals: LiteralsCoder::default(),
            sequences: SequencesCoder::default(),
        }
    }

    /// Drops the state that carries over from block to block.
    pub(super) fn restart(&mut self) {
        self.literals = LiteralsCoder::default();
        self.sequences = SequencesCoder::default();
    }

    /// Appends a block. `full_bytes` is the size of a full block.
    pub(super) fn write(
        &mut self,
        plain: &[u8],
        parsed: &ParsedBlock,
        full_bytes: usize,
        last: bool,
        out: &mut Vec<u8>,
    ) {
        let no_copies = parsed.literals.len() == plain.len();
        if self.version < KlauspostVersion::V1_16_4 && no_copies && plain.len() == full_bytes {
            put_raw(plain, last, out);
            return;
        }
        if parsed.sequences.is_empty() {
            self.literals_only(plain, last, out);
            return;
        }
        if self.version >= KlauspostVersion::V1_17_8
            && let [only] = parsed.sequences[..]
            && parsed.literals.len() <= 1
            && only.literal_bytes as usize == parsed.literals.len()
            && only.offset == 1 + 3
        {
            put_header(RUN, only.copy_bytes as usize + parsed.literals.len(), last, out);
            out.push(plain[0]);
            return;
        }
        let margin = if self.version < KlauspostVersion::V1_16_4 { 5 } else { 6 };
        let copied = plain.len() - parsed.literals.len();
        if copied < 16 + (plain.len() >> margin) {
            self.literals_only(plain, last, out);
            return;
        }
        let from = out.len();
        put_header(COMPRESSED, 0, last, out);
        self.literals_section(&parsed.literals, out);
        let used = self.sequences.pack(&parsed.sequences, out);
        let bytes = out.len() - from - 3;
        let Some(used) = used.filter(|_| bytes < plain.len()) else {
            out.truncate(from);
            self.literals.forbid_reuse();
            put_raw(plain, last, out);
            return;
        };
        self.sequences.confirm(used);
        out[from..from + 3].copy_from_slice(&header(COMPRESSED, bytes, last));
    }

    /// Returns the most literals that stay without Huffman codes.
    fn most_uncoded(&self) -> usize {
        if self.version < KlauspostVersion::V1_17_0 { 32 } else { 16 }
    }

    /// Writes a block without copies.
    fn literals_only(&mut self, plain: &[u8], last: bool, out: &mut Vec<u8>) {
        if plain.len() < 32 || !self.codes_without_copies {
            put_raw(plain, last, out);
            return;
        }
        match self.pack(plain, 0) {
            LiteralsForm::Raw => put_raw(plain, last, out),
            LiteralsForm::Run => {
                put_header(RUN, plain.len(), last, out);
                out.push(plain[0]);
            }
            LiteralsForm::Coded { bytes, reused } => {
                self.literals.allow_reuse();
                let (section, section_bytes) = coded_header(bytes.len(), plain.len(), reused);
                put_header(COMPRESSED, bytes.len() + section_bytes + 1, last, out);
                out.extend_from_slice(&section[..section_bytes]);
                out.extend_from_slice(&bytes);
                // No sequences.
                out.push(0);
            }
        }
    }

    /// Writes the literals section of a block with copies.
    fn literals_section(&mut self, literals: &[u8], out: &mut Vec<u8>) {
        match self.pack(literals, raw_header(RAW, literals.len()).1) {
            LiteralsForm::Raw => {
                let (section, bytes) = raw_header(RAW, literals.len());
                out.extend_from_slice(&section[..bytes]);
                out.extend_from_slice(literals);
            }
            LiteralsForm::Run => {
                let (section, bytes) = raw_header(RUN, literals.len());
                out.extend_from_slice(&section[..bytes]);
                out.push(literals[0]);
            }
            LiteralsForm::Coded { bytes, reused } => {
                self.literals.allow_reuse();
                let (section, section_bytes) = coded_header(bytes.len(), literals.len(), reused);
                out.extend_from_slice(&section[..section_bytes]);
                out.extend_from_slice(&bytes);
            }
        }
    }

    /// Compresses literals. Raw ones would need a header of `raw_header_bytes`.
    fn pack(&mut self, literals: &[u8], raw_header_bytes: usize) -> LiteralsForm {
        if literals.len() <= self.most_uncoded() {
            return LiteralsForm::Raw;
        }
        let packed = self.literals.pack(literals, literals.len() >= 1024);
        if self.version >= KlauspostVersion::V1_17_0
            && let LiteralsForm::Coded { bytes, reused } = &packed
        {
            let header_bytes = coded_header(bytes.len(), literals.len(), *reused).1;
            // The coder keeps its new codes, as in the original.
            if bytes.len() + header_bytes >= literals.len() + raw_header_bytes {
                return LiteralsForm::Raw;
            }
        }
        packed
    }
}

pub(super) fn put_raw(plain: &[u8], last: bool, out: &mut Vec<u8>) {
    put_header(RAW, plain.len(), last, out);
    out.extend_from_slice(plain);
}

fn put_header(kind: u32, bytes: usize, last: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&header(kind, bytes, last));
}

fn header(kind: u32, bytes: usize, last: bool) -> [u8; 3] {
    let [low, middle, high, _] = (u32::from(last) | kind << 1 | (bytes as u32) << 3).to_le_bytes();
    [low, middle, high]
}

/// Returns the header of a raw or run literals section, and its length.
fn raw_header(kind: u32, literals: usize) -> ([u8; 4], usize) {
    let (format, shift, bytes) = match literals {
        _ if literals < RAW_LIMITS[0] => (0, 3, 1),
        _ if literals < RAW_LIMITS[1] => (1, 4, 2),
        _ => (3, 4, 3),
    };
    ((kind | format << 2 | (literals as u32) << shift).to_le_bytes(), bytes)
}

/// Returns the header of a coded literals section, and its length.
fn coded_header(coded: usize, literals: usize, reused: bool) -> ([u8; 8], usize) {
    let (format, width, bytes) = match coded.max(literals) {
        // One stream below 1024 literals, four from there on.
        0..1024 => (0, 10, 3),
        1024..16_384 => (2, 14, 4),
        _ => (3, 18, 5),
    };
    let kind = if reused { 3 } else { 2 };
    let sizes = (literals as u64) << 4 | (coded as u64) << (4 + width);
    ((kind | format << 2 | sizes).to_le_bytes(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_sizes() {
        assert_eq!(raw_header(RAW, 15), ([15 << 3, 0, 0, 0], 1));
        assert_eq!(raw_header(RUN, 16), ([0x05, 0x01, 0, 0], 2));
        assert_eq!(raw_header(RAW, 2048), ([0x0c, 0x80, 0, 0], 3));
        assert_eq!(coded_header(40, 1023, false).1, 3);
        assert_eq!(coded_header(40, 1024, false).1, 4);
        assert_eq!(coded_header(16_384, 20_000, true), ([0x0f, 0xe2, 0x04, 0, 0x10, 0, 0, 0], 5));
        assert_eq!(header(COMPRESSED, 5, true), [0x2d, 0, 0]);
    }

    #[test]
    fn a_run_is_a_block_of_four_bytes_from_1_17_8_on() {
        let plain = [7u8; 5000];
        let sequences = vec![Sequence { literal_bytes: 1, copy_bytes: 4999, offset: 4 }];
        let parsed = ParsedBlock { literals: vec![7], sequences };
        let mut sizes = Vec::new();
        for version in KlauspostVersion::ALL {
            let mut out = Vec::new();
            BlockWriter::new(version, true).write(&plain, &parsed, 1 << 17, true, &mut out);
            sizes.push(out.len());
        }
        assert_eq!(sizes.last(), Some(&4));
        assert!(sizes[0] > 4);
    }
}
