//! Packs come back, state their sizes, and cannot ask for endless work.
#![cfg(feature = "encode")]

use imgdelta_coding::{
    PackError,
    pack::{PackSizes, Packer, TABLE_BYTES, sizes, unpack, unpack_group},
};
use imgdelta_testkit::noise;
use imgdelta_wire::varint;
use proptest::prelude::*;

fn streams() -> Vec<Vec<u8>> {
    let small = (0..700u32).map(|i| (i % 5).to_le_bytes()[0]).collect();
    vec![vec![1], small, Vec::new(), vec![7; 100_000], Vec::new()]
}

/// Numbers that models predict better than repeats do.
fn words() -> Vec<u8> {
    noise(7, 4000).into_iter().flat_map(|byte| [byte & 15, 0, byte >> 6, 0]).collect()
}

/// Bytes that repeat with a change in every tenth one.
fn in_step() -> Vec<u8> {
    let (row, changes) = (noise(9, 200), noise(8, 60_000));
    let bytes = row.iter().cycle().zip(&changes);
    bytes.map(|(byte, change)| byte.wrapping_add(u8::from(*change < 26))).collect()
}

/// A pack of one LZ-coded stream.
fn lz_pack(raw_len: u64, code: &[u8]) -> Vec<u8> {
    let mut pack = vec![1];
    varint::write(&mut pack, raw_len << 2 | 3);
    varint::write(&mut pack, (code.len() as u64) << 1 | 1);
    pack.extend_from_slice(code);
    pack
}

#[test]
fn stated_sizes_are_those_that_unpack() {
    let streams = [vec![1; 5000], Vec::new(), vec![2; 3], (0..=255).collect()];
    let unpacked_bytes = 5000 + 3 + 256;
    let pack = Packer::new(3).pack(&streams);
    let plain = PackSizes { streams: 4, unpacked_bytes, last_bytes: 256, ..PackSizes::default() };
    assert_eq!(sizes(&pack, 4).unwrap(), plain);
    let mixed = Packer::new(3).mixing().pack(&streams);
    assert_eq!(sizes(&mixed, 4).unwrap().unpacked_bytes, unpacked_bytes);
    assert!(sizes(&pack, 3).is_err());
    assert!(sizes(&pack[..2], 4).is_err());
    let mixed = Packer::new(19).mixing().pack(&[words()]);
    let expected = PackSizes {
        streams: 1,
        unpacked_bytes: 16_000,
        mixed_bytes: 16_000,
        lz_bytes: 0,
        last_bytes: 16_000,
    };
    assert_eq!(sizes(&mixed[..TABLE_BYTES.min(mixed.len())], 1).unwrap(), expected);
}

#[test]
fn mixed_streams_come_back_and_cannot_ask_for_endless_work() {
    let streams = [words(), vec![9; 30]];
    let pack = Packer::new(19).mixing().pack(&streams);
    assert!(pack.len() < Packer::new(19).pack(&streams).len());
    assert_eq!(unpack_group(&pack, 5, 1 << 20).unwrap(), streams);
    for len in 0..pack.len() {
        assert!(unpack_group(&pack[..len], 5, 1 << 20).is_err(), "cut at {len}");
    }
    for (raw_len, packed_len) in [(33, 1_usize), (1 << 23, 1 << 20)] {
        let mut lie = vec![1];
        varint::write(&mut lie, raw_len << 2 | 3);
        varint::write(&mut lie, (packed_len as u64) << 1);
        lie.resize(lie.len() + packed_len, 0x55);
        let refused = unpack_group(&lie, 1, 1 << 30).unwrap_err();
        assert!(matches!(refused, PackError::Malformed { what: "mixed bytes", .. }));
    }
}

#[test]
fn lz_coded_streams_come_back_and_their_bytes_are_stated() {
    let streams = [in_step(), vec![9; 30]];
    let pack = Packer::new(18).with_lz().pack(&streams);
    let plain = Packer::new(18).pack(&streams);
    assert!(pack.len() < plain.len(), "{} and {} bytes", pack.len(), plain.len());
    assert_eq!(unpack_group(&pack, 5, 1 << 20).unwrap(), streams);
    let stated = sizes(&pack[..TABLE_BYTES.min(pack.len())], 5).unwrap();
    let unpacked_bytes = 60_030;
    let expected =
        PackSizes { streams: 2, unpacked_bytes, mixed_bytes: 0, lz_bytes: 60_000, last_bytes: 30 };
    assert_eq!(stated, expected);
    for len in 0..pack.len() {
        assert!(unpack_group(&pack[..len], 5, 1 << 20).is_err(), "cut at {len}");
    }
}

#[test]
fn an_lz_code_that_claims_too_much_takes_no_memory() {
    assert_eq!(unpack_group(&lz_pack(4096, &[0]), 1, 1 << 30).unwrap()[0].len(), 4096);
    let refused = unpack_group(&lz_pack(4097, &[0]), 1, 1 << 30).unwrap_err();
    let what = "raw bytes of an LZ code";
    let expected = PackError::Malformed { at: 6, what, expected: 4096, found: 4097 };
    assert_eq!(refused, expected);
    let refused = unpack_group(&lz_pack(u64::MAX >> 2, &[0; 9]), 1, u64::MAX).unwrap_err();
    assert!(matches!(refused, PackError::Malformed { expected: 36_864, .. }), "{refused}");
    let refused = unpack_group(&lz_pack(1, &[0; 6]), 1, 1 << 30).unwrap_err();
    let what = "bytes behind an LZ code";
    assert!(matches!(refused, PackError::Malformed { what: found, .. } if found == what));
}

#[test]
fn streams_of_exactly_the_limit_are_admitted() {
    let pack = Packer::new(3).pack(&streams());
    assert_eq!(unpack_group(&pack, 5, 100_701).unwrap(), streams()[..4]);
    let refused = unpack_group(&pack, 5, 100_700).unwrap_err();
    let what = "unpacked streams";
    assert_eq!(refused, PackError::TooLarge { what, limit: 100_700, found: 100_701 });
    // Raw streams that are cut: the sum is refused before the missing bytes are.
    let mut cut = vec![2];
    varint::write(&mut cut, 60 << 2);
    varint::write(&mut cut, 60 << 2);
    let refused = unpack_group(&cut, 2, 100).unwrap_err();
    assert_eq!(refused, PackError::TooLarge { what, limit: 100, found: 120 });
}

#[test]
fn a_mixed_stream_of_the_most_bytes_for_each_packed_one_is_read() {
    let mut pack = vec![1];
    varint::write(&mut pack, 32 << 2 | 3);
    pack.extend([2, 0x55]);
    assert_eq!(unpack_group(&pack, 1, 1 << 30).unwrap()[0].len() as u64, 32);
}

#[test]
fn streams_come_back_without_the_empty_ones_at_the_end() {
    let pack = Packer::new(3).pack(&streams());
    assert!(pack.len() < 120, "{} bytes", pack.len());
    assert_eq!(unpack_group(&pack, 5, 200_000).unwrap(), streams()[..4]);
}

#[test]
fn huge_stream_takes_no_memory() {
    let mut pack = vec![1];
    varint::write(&mut pack, (400 << 20 << 2) | 1);
    pack.extend([5, 0, 0x58, 1, 0, 0]);
    let lie = unpack_group(&pack, 1, 1 << 30).unwrap_err();
    assert!(matches!(lie, PackError::Malformed { expected: 163_840, .. }), "{lie}");
    let refused = unpack_group(&Packer::new(3).pack(&streams()), 5, 100_000).unwrap_err();
    assert_eq!(
        refused,
        PackError::TooLarge { what: "unpacked streams", limit: 100_000, found: 100_701 }
    );
}

#[test]
fn tables_are_never_mixed_and_expand_little() {
    let mixed = Packer::new(19).mixing().pack(&[words()]);
    let refused = unpack(&mixed, 1, 1 << 30).unwrap_err();
    let (at, what) = (0, "mixed bytes in a table");
    let expected = PackError::Malformed { at, what, expected: 0, found: 16_000 };
    assert_eq!(refused, expected);
    let coded = Packer::new(19).with_lz().pack(&[in_step()]);
    let refused = unpack(&coded, 1, 1 << 30).unwrap_err();
    let what = "LZ bytes in a table";
    let expected = PackError::Malformed { at, what, expected: 0, found: 60_000 };
    assert_eq!(refused, expected);
    // 8 MiB of zeros pack to some hundred bytes, each of which admits 512 more.
    let most = 8 << 20;
    let pack = Packer::new(3).pack(&[vec![0; most]]);
    assert_eq!(unpack(&pack, 1, 1 << 30).unwrap()[0].len(), most);
    let pack = Packer::new(3).pack(&[vec![0; 2 * most]]);
    let refused = unpack(&pack, 1, 1 << 30).unwrap_err();
    let limit = (8 << 20) + 512 * pack.len() as u64;
    let found = 2 * (8 << 20);
    assert_eq!(refused, PackError::TooLarge { what: "unpacked streams", limit, found });
}

#[test]
fn every_cut_is_refused() {
    let pack = Packer::new(3).pack(&streams());
    for len in 0..pack.len() {
        assert!(unpack_group(&pack[..len], 5, 1 << 20).is_err(), "cut at {len}");
    }
    assert!(unpack_group(&[6], 5, 1 << 20).is_err(), "too many streams");
    assert!(unpack_group(&[0, 0], 5, 1 << 20).is_err(), "trailing byte");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn mixed_packs_of_any_streams_come_back(
        streams in prop::collection::vec(
            prop::collection::vec(prop_oneof![3 => 0..4_u8, 1 => any::<u8>()], 0..600),
            0..8,
        ),
    ) {
        let pack = Packer::new(3).mixing().pack(&streams);
        let used = streams.iter().rposition(|stream| !stream.is_empty()).map_or(0, |last| last + 1);
        prop_assert_eq!(unpack_group(&pack, 8, 1 << 20).unwrap(), &streams[..used]);
    }
}
