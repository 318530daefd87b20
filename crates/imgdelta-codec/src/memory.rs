//! The memory that one member takes, for callers that run several at a time within a budget.
//! Never allocates: lengths and the first bytes of a file are enough.
//!
//! Most of a program's memory is proportional to its length: a second reading of both sides, the
//! fields, the index. The factors come from x86-64 and AArch64 programs of 7 to 95 MB of base and
//! target. They lie above every measurement, and mostly within 15 % of it.

#[cfg(feature = "encode")]
use crate::{effort::Effort, elf::Machine, matcher::SearchDepth, seeds::SeedIndex};
use crate::{elf::MemoryImage, literals};

/// The least that a member takes, however short it is.
const LEAST: u64 = 2 << 20;

/// Literals that earlier members may leave in the history.
const HISTORY: u64 = 2 * literals::MAX_HISTORY as u64;

/// Returns the bytes that [`GroupEncoder::member`](crate::GroupEncoder::member) takes at most.
///
/// Base, target and streams are not counted. `target_head` is the target's first 4 KiB, or all of
/// it. Packing the group comes later and takes about twenty times its streams, at most 100 MiB.
#[cfg(feature = "encode")]
pub fn encode_memory(
    effort: Effort,
    base_len: usize,
    target_len: usize,
    target_head: &[u8],
) -> u64 {
    let (base, target) = (base_len as u64, target_len as u64);
    let index = SeedIndex::table_bytes(base_len, SearchDepth::of(effort).step);
    let Some(image) = MemoryImage::parse(target_head, target_len) else {
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
    // To pack literals, second readings are dropped; a prefix and zstd's tables take memory
    // instead.
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

/// Returns the bytes that [`GroupDecoder::member`](crate::GroupDecoder::member) takes.
///
/// Base, target and streams are not counted. `base_head` is the base's first 4 KiB, or all of it.
/// It holds for programs from compilers: a hostile base, whose every word is a field, takes up to
/// four times its length.
pub fn decode_memory(base_len: usize, base_head: &[u8]) -> u64 {
    match MemoryImage::parse(base_head, base_len) {
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
        // Measured: 186 MB plus the two files.
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
