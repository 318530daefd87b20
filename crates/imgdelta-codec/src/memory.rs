//! How much memory a member takes, for callers that run several at a time within a budget.
//! Never allocates: lengths and the first bytes of a file say enough.
//!
//! What a program takes is nearly all proportional to its length: a second reading of both sides, the
//! fields, the index. The factors are measured (x86-64 and AArch64 programs from 7 to 95 MB of base
//! and target), lie above every measurement, and mostly within 15 % of it.

#[cfg(feature = "encode")]
use crate::{effort::Effort, elf::Machine, matcher::Search, seeds::Seeds};
use crate::{elf::Image, literals};

/// What everything takes, however short the member.
const LEAST: u64 = 2 << 20;

/// Literals that members before may have left, for the next to be packed against.
const HISTORY: u64 = 2 * literals::MAX_HISTORY as u64;

/// Bytes that [`GroupEncoder::member`](crate::GroupEncoder::member) takes at most, beside base, target and streams.
///
/// `target_head` are the target's first bytes, 4 KiB or all. Packing the group comes after that: it takes
/// some twenty times its streams, at most 100 MiB.
#[cfg(feature = "encode")]
pub fn encode_memory(
    effort: Effort,
    base_len: usize,
    target_len: usize,
    target_head: &[u8],
) -> u64 {
    let (base, target) = (base_len as u64, target_len as u64);
    let index = Seeds::table_bytes(base_len, Search::of(effort).step);
    let Some(image) = Image::parse(target_head, target_len) else {
        return LEAST + index + target;
    };
    let percent = match (image.machine, effort) {
        (Machine::Aarch64, Effort::Fast) => 150,
        (Machine::Aarch64, Effort::Default) => 190,
        (Machine::Aarch64, Effort::Best) => 215,
        (_, Effort::Fast) => 140,
        (_, Effort::Default) => 180,
        (_, Effort::Best) => 195,
    };
    // Packing literals apart: second readings are gone by then, a prefix and zstd's tables are there instead.
    let tables = match effort {
        Effort::Fast => 24 << 20,
        Effort::Default => 56 << 20,
        Effort::Best => 80 << 20,
    };
    let searching = (base + target) * percent / 100;
    let unchanged = (base + target) * (percent - 100) / 100;
    let packing = unchanged + (base + target) / 4 + tables.min((base + target + HISTORY) * 12);
    LEAST + index + HISTORY + searching.max(packing)
}

/// Bytes that [`GroupDecoder::member`](crate::GroupDecoder::member) takes, beside base, target and streams.
///
/// `base_head` are the base's first bytes, 4 KiB or all. True for programs from compilers; a stranger's
/// base, every word of which is a field, takes up to four times its length.
pub fn decode_memory(base_len: usize, base_head: &[u8]) -> u64 {
    match Image::parse(base_head, base_len) {
        Some(_) => LEAST + 2 * HISTORY + base_len as u64,
        None => LEAST,
    }
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;

    #[test]
    fn a_large_program_may_be_encoded_whole_within_300_mb() {
        let mut head = vec![0; 120];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        head[18] = 62;
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head[64] = 1; // loaded
        head[104..108].copy_from_slice(&0x1000_u32.to_le_bytes());
        let len = 47_461_152;
        let needed = encode_memory(Effort::Default, len, len, &head);
        // Measured: 186 MB beside the two files.
        assert!((186_000_000..214_000_000).contains(&needed), "{needed}");
        assert_eq!(decode_memory(len, &head), (6 << 20) + len as u64);
    }

    #[test]
    fn other_files_take_their_index_and_one_copy() {
        let needed = encode_memory(Effort::Default, 1 << 20, 1 << 20, b"#!/bin/sh");
        assert_eq!(needed, (2 << 20) + (1 << 20) + (16 << 16));
        assert_eq!(decode_memory(1 << 20, b"#!/bin/sh"), 2 << 20);
    }
}
