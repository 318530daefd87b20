//! Packed bytes come back, whatever they are; wrong codes are errors or other bytes.
#![cfg(feature = "encode")]

use imgdelta_coding::LzError;
use imgdelta_coding::lz::{self, MAX_EXPANSION, PrefixPacker, RawKind};
use proptest::prelude::*;

fn pack(prefix: &[u8], raw: &[u8]) -> Option<Vec<u8>> {
    PrefixPacker::new(prefix.to_vec(), raw.len()).pack(raw)
}

fn unpack(code: &[u8], prefix: Vec<u8>, raw_len: usize) -> Result<Vec<u8>, LzError> {
    lz::unpack(code, prefix, raw_len, RawKind::Bytes)
}

const CODE_KINDS: [RawKind; 2] = [RawKind::X86_64, RawKind::Aarch64];

/// Packs, unpacks and compares; returns the packed length as any bytes.
fn round_trip(prefix: &[u8], raw: &[u8]) -> usize {
    let code = pack(prefix, raw).expect("within the expansion that is admitted");
    let bytes = unpack(&code, prefix.to_vec(), raw.len()).expect("just packed");
    assert!(bytes[..prefix.len()] == *prefix);
    assert!(bytes[prefix.len()..] == *raw, "{} bytes behind {}", raw.len(), prefix.len());
    for kind in CODE_KINDS {
        let packer = PrefixPacker::new(prefix.to_vec(), raw.len()).of_kind(kind);
        let code = packer.pack(raw).expect("within the expansion that is admitted");
        let same = lz::unpack(&code, prefix.to_vec(), raw.len(), kind).expect("just packed");
        assert!(same == bytes, "{kind:?}");
    }
    code.len()
}

/// Numbers without a pattern.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24).to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn bytes_of_the_prefix_are_hardly_said_again() {
    let prefix = noise(1, 3 << 20);
    let raw = [&prefix[..5000], b"new", &prefix[2 << 20..][..70_000], &prefix[100..200]].concat();
    let len = round_trip(&prefix, &raw);
    assert!(len < 400, "{len} bytes");
    let alone = round_trip(&[], &raw);
    assert!(alone > 75_000, "{alone} bytes");
}

#[test]
fn bytes_that_change_in_step_with_the_prefix_take_a_context() {
    // Every fourth byte grows by one of three numbers: the byte of the prefix says which one.
    let prefix = noise(2, 40_000);
    let mut raw = prefix.clone();
    raw.iter_mut().step_by(9).for_each(|byte| *byte = byte.wrapping_add(*byte % 3 + 1));
    let len = round_trip(&prefix, &raw);
    assert!(len < 40_000 / 9 * 2, "{len} bytes");
}

#[test]
fn matches_overlap_what_they_make() {
    for period in [1, 2, 3, 7, 8, 9, 300] {
        let raw: Vec<u8> = noise(3, period).into_iter().cycle().take(10_000).collect();
        let len = round_trip(&[], &raw);
        assert!(len < period + 100, "{len} bytes for a period of {period}");
    }
}

#[test]
fn noise_hardly_grows() {
    let len = round_trip(b"", &noise(4, 100_000));
    assert!(len < 100_000 + 100_000 / 50, "{len} bytes");
}

#[test]
fn more_zeros_than_a_reader_admits_are_not_packed() {
    assert_eq!(pack(&[], &vec![0; 16 << 20]), None);
    assert!(round_trip(&[], &vec![0; 40_000]) as u64 >= 40_000 / MAX_EXPANSION);
}

#[test]
fn zeros_of_any_length_come_back() {
    for len in [0, 1, 2, 200, 300, 4096, 4097, 20_000] {
        let code = round_trip(b"", &vec![0; len]);
        assert!(code <= 100, "{code} bytes for {len}");
    }
}

#[test]
fn one_prefix_serves_many() {
    let prefix = noise(5, 50_000);
    let packer = PrefixPacker::new(prefix.clone(), 10_000);
    for seed in 0..5 {
        let start = seed as usize * 900;
        let raw = [noise(seed, 100), prefix[start..start + 8000].to_vec()].concat();
        let (code, same) = packer.clone().pack_and_return_prefix(&raw);
        assert_eq!(same, prefix);
        assert_eq!(code, pack(&prefix, &raw), "as if it was the only one");
    }
}

#[test]
fn code_takes_less_with_its_places() {
    let numbers = noise(7, 8000);
    // ldr x?, [x?, number]; mov reg, [rax + number], or push reg.
    let words: Vec<u8> =
        numbers.iter().flat_map(|&n| [n & 31 | 0x20, n >> 5 & 3, 0x40, 0xF9 & !(n >> 4)]).collect();
    let mut loads = Vec::new();
    for pair in numbers.windows(2) {
        match pair[0] & 1 {
            0 => loads.push(0x50 | pair[0] >> 1 & 7),
            _ => loads.extend([0x8B, 0x40 | pair[0] & 0x38, pair[1]]),
        }
    }
    for (kind, raw) in [(RawKind::Aarch64, words), (RawKind::X86_64, loads)] {
        let len =
            |kind| PrefixPacker::new(Vec::new(), raw.len()).of_kind(kind).pack(&raw).unwrap().len();
        let (placed, plain) = (len(kind), len(RawKind::Bytes));
        assert!(placed < plain - plain / 50, "{kind:?}: {placed} bytes, {plain} as any bytes");
    }
}

#[test]
fn codes_do_not_change() {
    let prefix = b"a row of words that were there before";
    let raw = b"a row of words that are there, and there, and there are no others before";
    assert_eq!(pack(prefix, raw).unwrap(), CODE);
    assert_eq!(unpack(&CODE, prefix.to_vec(), raw.len()).unwrap()[prefix.len()..], *raw);
}

const CODE: [u8; 22] = [
    176, 34, 128, 195, 25, 129, 147, 135, 148, 141, 138, 21, 255, 180, 231, 168, 84, 120, 223, 122,
    61, 112,
];

/// Bytes with repeats: stretches of few values, copied from each other.
fn alike() -> impl Strategy<Value = Vec<u8>> {
    let stretch = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(0..3_u8, 0..200),
        (any::<u8>(), 0..600_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    (
        prop::collection::vec(stretch, 1..6),
        prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    )
        .prop_map(|(stretches, order)| {
            order.iter().flat_map(|index| index.get(&stretches).clone()).collect()
        })
}

proptest! {
    #[test]
    fn any_bytes_come_back(prefix in alike(), raw in alike()) {
        round_trip(&prefix, &raw);
        round_trip(&raw, &raw);
    }

    #[test]
    fn any_change_of_a_prefix_comes_back(
        prefix in alike(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut raw = prefix.clone();
        for (at, byte) in changes.iter().filter(|_| !prefix.is_empty()) {
            *at.get_mut(&mut raw) = *byte;
        }
        round_trip(&prefix, &raw);
    }

    #[test]
    fn arbitrary_codes_end(
        code in prop::collection::vec(any::<u8>(), 0..200),
        prefix in prop::collection::vec(any::<u8>(), 0..50),
        raw_len in 0..2000_usize,
    ) {
        let len = prefix.len() + raw_len;
        for kind in [RawKind::Bytes, RawKind::X86_64, RawKind::Aarch64] {
            if let Ok(bytes) = lz::unpack(&code, prefix.clone(), raw_len, kind) {
                prop_assert_eq!(bytes.len(), len);
            }
        }
    }

    #[test]
    fn damaged_and_cut_codes_are_errors_or_other_bytes(
        prefix in alike(),
        raw in alike(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let code = pack(&prefix, &raw).unwrap();
        if let Ok(bytes) = unpack(&code[..at.index(code.len() + 1)], prefix.clone(), raw.len()) {
            prop_assert_eq!(bytes.len(), prefix.len() + raw.len());
        }
        let mut damaged = code.clone();
        if damaged.is_empty() {
            return Ok(());
        }
        *at.get_mut(&mut damaged) ^= 1 << bit;
        if let Ok(bytes) = unpack(&damaged, prefix.clone(), raw.len()) {
            prop_assert_eq!(bytes.len(), prefix.len() + raw.len());
        }
        // Another length of the raw bytes, or another prefix.
        let _ = unpack(&code, prefix.clone(), raw.len() + 1);
        let _ = unpack(&code, Vec::new(), raw.len());
    }
}
