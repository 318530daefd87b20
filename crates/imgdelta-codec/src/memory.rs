//! The memory that one member takes, for callers that run several at a time within a budget.
//! Never allocates: lengths and the first bytes of a file are enough.
//!
//! A program is labelled and indexed window by window, so its memory hardly grows with its length.
//! The script and the streams of trials do grow. The factors come from x86-64 and AArch64
//! programs of 30 to 130 MB. They lie above every measurement.

#[cfg(feature = "encode")]
use crate::{effort::Effort, search, trial, unwind_table};
use crate::{literals, prefix};
#[cfg(feature = "encode")]
use imgdelta_coding::aligned;
use imgdelta_fields::{elf::MemoryImage, object};
#[cfg(feature = "encode")]
use imgdelta_wire::seeds::SeedIndex;

/// The least that a member takes, however short it is.
const LEAST: u64 = 2 << 20;

/// Literals that earlier members may leave in the history.
const HISTORY: u64 = 2 * literals::MAX_HISTORY as u64;

/// Fields of a base that are kept at a time: two in sixteen bytes, and 24 for each copy.
const FIELDS: u64 = 24 << 20;

/// Edited instructions and distances of a member.
const EDITS: u64 = 32 << 20;

/// A target from its unwind table to the end of the records, and the functions among them.
const HELD: u64 = 28 << 20;

/// The mixer state of aligned codes, which stays from member to member.
#[cfg(feature = "encode")]
const MIXER: u64 = 19 << 20;

/// The state of codes of corrections, which stays from member to member, and a copy of it.
#[cfg(feature = "encode")]
const CORRECTIONS: u64 = 24 << 20;

/// A copy of the mixer state and the indexes of an aligned code.
#[cfg(feature = "encode")]
const ALIGNED: u64 = 33 << 20;

/// Fields and votes of trials, whatever the length of the base.
#[cfg(feature = "encode")]
const TRIALS: u64 = 72 << 20;

/// Returns the bytes that [`GroupEncoder::member_with`](crate::GroupEncoder::member_with) takes at
/// most with `threads` threads.
///
/// Base, target and finished streams are not counted. `target_head` is the target's first 4 KiB, or
/// all of it. Packing the group comes later and takes about twenty times its streams, at most 100
/// MiB.
#[cfg(feature = "encode")]
pub fn encode_memory(
    effort: Effort,
    (base_len, target_len): (usize, usize),
    target_head: &[u8],
    threads: usize,
) -> u64 {
    let step = effort.search_depth().step;
    if !has_fields(target_head, target_len) {
        let corrections = match effort {
            Effort::Best => CORRECTIONS + 3 * target_len as u64,
            _ => 0,
        };
        return LEAST + SeedIndex::table_bytes(base_len, step) + target_len as u64 + corrections;
    }
    let base_window = base_len.min(search::BASE_BYTES);
    let window = target_len.min(search::WINDOW_BYTES) as u64;
    let windows = (target_len as u64).min(window * threads.max(1) as u64);
    let both = (base_len + target_len) as u64;
    // Shorter programs are labelled whole, to be searched and then to pair their functions, whose
    // windows are as long as the base.
    let is_long = both > search::BASE_BYTES as u64;
    let pairing = if is_long { 0 } else { both + base_len as u64 };
    let labelled = if is_long { base_window as u64 + windows } else { both };
    let searching = labelled + SeedIndex::table_bytes(base_window, step) + windows / 4;
    // Trials are written while others are kept, each with fields of a part of the base. Then
    // literals are packed behind a prefix, without the index.
    let (kept, tables) = match effort {
        Effort::Fast => (target_len as u64 / 6, 24 << 20),
        Effort::Default => (target_len as u64 / 4, 56 << 20),
        Effort::Best => (target_len as u64 / 3, 80 << 20),
    };
    let writing = (2 * both).min(TRIALS) + kept;
    let packing = (both / 4).min(prefix::MAX_PREFIX as u64) + tables.min((both + HISTORY) * 12);
    let packing = match effort {
        Effort::Best => {
            let literals = target_len.min(aligned::MAX_RAW) as u64;
            let reference = base_len.min(aligned::MAX_REFERENCE) as u64;
            packing.max(ALIGNED.min(both * 24) + reference + 3 * literals)
        }
        _ => packing,
    };
    let fields = [base_len, target_len].map(|len| (2 * len).min(trial::kept_fields(len)) as u64);
    let fields: u64 = fields.iter().sum();
    // Three ways at a time note their exact bytes, by a bit each; a code takes two copies of the target.
    let target = target_len as u64;
    let (mixer, corrections) = match effort {
        Effort::Best => (MIXER, CORRECTIONS + 2 * target + target / 2),
        _ => (0, 0),
    };
    let replaced = unwind_table::replaced_bytes(target_len) as u64;
    let held = mixer + corrections + fields + writing + replaced;
    LEAST + HISTORY + held + searching.max(packing).max(pairing)
}

/// Returns the bytes that [`GroupDecoder::member_in_pieces`](crate::GroupDecoder::member_in_pieces)
/// takes.
///
/// Base, streams, and the reference and tables of aligned codes are not counted. `base_head` is the
/// base's first 4 KiB, or all of it. It holds for programs from compilers: a hostile base, whose
/// every word is a field, takes up to 24 MiB more. A piece with a long literal is as long as that,
/// and a program without a base is one piece.
pub fn decode_memory(base_len: usize, base_head: &[u8]) -> u64 {
    let base = base_len as u64;
    if !has_fields(base_head, base_len) {
        return LEAST;
    }
    let literals = 2 * HISTORY + (5 << 20) + base.min(prefix::MAX_PREFIX as u64);
    let held = HELD.min(base / 8);
    LEAST + literals + FIELDS.min(base * 2) + base / 16 + base.min(EDITS) + held
}

/// Returns true if the file with this front is a program or a relocatable file.
fn has_fields(head: &[u8], len: usize) -> bool {
    MemoryImage::parse(head, len).is_some() || object::is_object(head)
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;

    #[test]
    fn memory_for_a_program_hardly_grows_with_its_length() {
        let mut head = vec![0; 120];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        head[18] = 62;
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head[64] = 1; // loaded
        head[104..108].copy_from_slice(&0x1000_u32.to_le_bytes());
        let len = 47_461_152;
        for (len, threads) in [(len, 1), (len, 4), (1 << 30, 4), (2 << 30, 4)] {
            let needed = encode_memory(Effort::Default, (len, len), &head, threads);
            let replaced = unwind_table::replaced_bytes(len) as u64;
            assert!(needed - replaced < (280 << 20) + len as u64 / 4, "{needed} for {len}");
            assert!(replaced <= 64 << 20);
            assert!(decode_memory(len, &head) <= (140 << 20) + len as u64 / 16);
        }
    }

    #[test]
    fn other_files_take_their_index_and_one_copy() {
        let needed = encode_memory(Effort::Default, (1 << 20, 1 << 20), b"#!/bin/sh", 4);
        assert_eq!(needed, (2 << 20) + (1 << 20) + (16 << 16));
        assert_eq!(decode_memory(1 << 20, b"#!/bin/sh"), 2 << 20);
    }

    #[test]
    fn a_relocatable_file_takes_as_much_as_a_program() {
        let mut head = vec![0; 64];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (head[16], head[18], head[58]) = (1, 62, 64);
        assert!(decode_memory(1 << 20, &head) > 8 << 20);
        assert!(encode_memory(Effort::Default, (1 << 20, 1 << 20), &head, 1) > 8 << 20);
    }
}
