//! Programs without a base come back byte for byte from any parts, and hostile parts are refused.
#![cfg(feature = "encode")]
#![allow(clippy::cast_possible_truncation, reason = "lengths of these programs are small")]

use imgdelta_codec::{
    CodecError, Effort, GroupDecoder, GroupEncoder, GroupLimits, Part, PartKind, StreamKind,
};
use imgdelta_coding::pack;
use proptest::prelude::*;

const KINDS: [PartKind; 10] = [
    PartKind::Data,
    PartKind::X86_64,
    PartKind::Aarch64,
    PartKind::UnwindRecords,
    PartKind::UnwindTable,
    PartKind::Relocations,
    PartKind::Symbols,
    PartKind::Names,
    PartKind::HashTable,
    PartKind::Pairs,
];

fn decode(group: &[u8], target_len: usize) -> Result<Vec<u8>, CodecError> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default().stream_bytes(1 << 24))?;
    let mut target = vec![0; target_len];
    decoder.member(&[], &mut target)?;
    decoder.finish()?;
    Ok(target)
}

/// Returns the streams of a program in parts.
fn streams(target: &[u8], parts: &[Part]) -> Vec<Vec<u8>> {
    let mut encoder = GroupEncoder::new(Effort::Default);
    assert!(encoder.program(target, parts), "shorter in parts");
    let streams = pack::unpack_group(&encoder.finish(), StreamKind::ALL.len(), 1 << 24).unwrap();
    comes_back(&streams, target);
    streams
}

fn comes_back(streams: &[Vec<u8>], target: &[u8]) {
    let group = pack::Packer::new(1).pack(streams);
    assert!(decode(&group, target.len()).unwrap() == target, "other bytes");
}

fn part(kind: PartKind, len: usize, address: u64) -> Part {
    Part { kind, len, address }
}

/// Calls of one function from many places.
fn calls(count: u32) -> Vec<u8> {
    let call = |number: u32| {
        let distance = 0x10_0000_u32.wrapping_sub(number * 8 + 5);
        [&[0xE8][..], &distance.to_le_bytes(), &[0x90, 0x90, 0x90]].concat()
    };
    (0..count).flat_map(call).collect()
}

#[test]
fn calls_of_one_function_are_the_same_bytes() {
    let code = calls(2000);
    let streams = streams(&code, &[part(PartKind::X86_64, code.len(), 0)]);
    let code = &streams[StreamKind::Code as usize];
    let first = &code[..8];
    assert_eq!(first, [0xE8, 0, 0, 0x10, 0, 0x90, 0x90, 0x90]);
    assert!(code.chunks(8).all(|call| call == first));
}

#[test]
fn calls_and_pages_of_aarch64_are_the_same_bytes() {
    let words = (0..1000_u32).flat_map(|number| [0x9400_0000 | (0x8000 - 2 * number), 0x9000_0001]);
    let code: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    let streams = streams(&code, &[part(PartKind::Aarch64, code.len(), 0)]);
    let code = &streams[StreamKind::Code as usize];
    assert!(code.chunks(8).all(|pair| pair[..4] == 0x9400_8000_u32.to_le_bytes()));
}

/// Unwind records of functions of growing length, and the rows of their table at `origin`.
fn unwinding(count: u32, address: u32, origin: u32) -> (Vec<u8>, Vec<u8>) {
    let mut records = [20_u32, 0, 0x0052_7A01, 0, 0, 0].map(u32::to_le_bytes).concat();
    let (mut rows, mut start) = (Vec::new(), 0x1000_u32);
    for number in 0..count {
        let at = records.len() as u32;
        let range = 16 + number % 50;
        let distance = start.wrapping_sub(address + at + 8);
        records.extend([20, at + 4, distance, range, number % 7, 0].map(u32::to_le_bytes).concat());
        rows.extend(start.wrapping_sub(origin).to_le_bytes());
        rows.extend((address + at).wrapping_sub(origin).to_le_bytes());
        start += range;
    }
    records.extend([0; 4]);
    (records, rows)
}

#[test]
fn an_unwind_table_follows_from_its_records() {
    let (records, rows) = unwinding(500, 0x9000, 0x8000);
    let parts = [
        part(PartKind::UnwindTable, rows.len(), 0x8000),
        part(PartKind::UnwindRecords, records.len(), 0x9000),
    ];
    let target = [&rows[..], &records].concat();
    let found = streams(&target, &parts);
    assert_eq!(found.len(), StreamKind::TableNumbers as usize, "no numbers of tables");
    let records = &found[StreamKind::UnwindRecords as usize];
    // Each function begins where the one before ends, and has the same common record.
    assert_eq!(records[24 + 24 + 4..24 + 24 + 12], [1, 0, 0, 0, 0, 0, 0, 0]);

    // A table with another row is written with its bytes.
    let mut other = target;
    other[0] ^= 1;
    assert!(!streams(&other, &parts)[StreamKind::TableNumbers as usize].is_empty());
}

/// The parts of symbols, their names and a table of hashes with one bucket.
fn symbols(count: u32) -> (Vec<u8>, Vec<Part>) {
    let (mut symbols, mut names, mut links) = (Vec::new(), vec![0], Vec::new());
    let (mut filter, shift) = ([0_u64; 4], 6);
    for number in 0..count {
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0; 20]);
        let name = format!("symbol_{}", number * 7919 % 1000);
        let hash = name
            .bytes()
            .fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
        names.extend(name.bytes().chain([0]));
        filter[(hash / 64 % 4) as usize] |= 1 << (hash % 64) | 1 << ((hash >> shift) % 64);
        links.extend((hash & !1 | u32::from(number + 1 == count)).to_le_bytes());
    }
    let mut table = [1_u32, 0, 4, shift].map(u32::to_le_bytes).concat();
    table.extend(filter.iter().flat_map(|word| word.to_le_bytes()));
    table.extend([0; 4]);
    table.extend(links);
    let parts = vec![
        part(PartKind::HashTable, table.len(), 0),
        part(PartKind::Symbols, symbols.len(), 0),
        part(PartKind::Names, names.len(), 0),
    ];
    ([table, symbols, names].concat(), parts)
}

#[test]
fn a_table_of_hashes_follows_from_symbols_and_names() {
    let (target, parts) = symbols(300);
    let found = streams(&target, &parts);
    assert_eq!(found[StreamKind::Literals as usize].len(), 16 + parts[2].len);

    let mut other = target;
    other[100] ^= 4;
    let found = streams(&other, &parts);
    assert_eq!(found[StreamKind::Literals as usize].len(), parts[0].len + parts[2].len);
}

#[test]
fn what_the_parts_say_is_checked() {
    // Members, then the list of parts; all streams between are empty.
    let group = |parts: &[u8], literals: &[u8]| {
        let mut streams = vec![Vec::new(); StreamKind::ALL.len()];
        streams[StreamKind::Members as usize] = vec![4];
        streams[StreamKind::Parts as usize] = parts.to_vec();
        streams[StreamKind::Literals as usize] = literals.to_vec();
        pack::Packer::new(1).pack(&streams)
    };
    assert_eq!(decode(&group(&[0x30], b"abc"), 3).unwrap(), b"abc");
    for (parts, what) in [
        (&[0x3A][..], "kind of a part"),
        (&[0x40], "length of a part"),
        (&[0x00], "length of a part"),
        (&[0x15], "length of a part"),
        (&[0x38], "length of a part"),
    ] {
        match decode(&group(parts, &[0; 3]), 3) {
            Err(CodecError::Malformed { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{parts:?}: {other:?}"),
        }
    }
    for (parts, len) in [(&[0x84, 0x01, 0][..], 8), (&[0x88, 0x02], 16)] {
        let refused = decode(&group(parts, &[1; 16]), len);
        assert!(refused.is_err(), "a table without the parts that it follows from");
    }
    let twice = decode(&group(&[0x84, 0x01, 0, 0x84, 0x01, 0], &[]), 16).unwrap_err();
    assert!(matches!(twice, CodecError::Malformed { what: "tables of one kind", .. }), "{twice}");
    let many = decode(&group(&[0x10; 5000], &[1; 5000]), 5000).unwrap_err();
    assert!(matches!(many, CodecError::Malformed { what: "parts of a program", .. }), "{many}");
    // One byte more than a receiver holds in memory.
    let refused = decode(&group(&[0x30], b"abc"), (64 << 20) + 1).unwrap_err();
    assert!(matches!(refused, CodecError::TooLarge { .. }), "{refused}");
}

proptest! {
    #[test]
    fn any_bytes_come_back_from_any_parts(
        mut target in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(0), Just(0xE8), Just(0x05), Just(0x94), Just(0x90), Just(20)],
            1..600,
        ),
        cuts in prop::collection::vec((0..10_usize, 1..200_usize, any::<u64>()), 0..12),
    ) {
        let mut parts = Vec::new();
        let mut left = target.len();
        for (kind, len, address) in cuts {
            let len = len.min(left);
            if len > 0 {
                parts.push(part(KINDS[kind], len, address));
                left -= len;
            }
        }
        if left > 0 {
            parts.push(part(PartKind::X86_64, left, 0x1000));
        }
        // A member in parts is only written if that is shorter: zeros make it so.
        let zeros = 64 << 10;
        target.resize(target.len() + zeros, 0);
        parts.push(part(PartKind::Pairs, zeros, 0));
        let mut encoder = GroupEncoder::new(Effort::Fast);
        if encoder.program(&target, &parts) {
            let decoded = decode(&encoder.finish(), target.len()).unwrap();
            prop_assert!(decoded == target);
        }
    }

    #[test]
    fn arbitrary_parts_never_panic(
        parts in prop::collection::vec(any::<u8>(), 0..40),
        others in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 4),
        len in 0..400_usize,
    ) {
        let mut streams = vec![Vec::new(); StreamKind::ALL.len()];
        let [literals, code, records, numbers] = others.try_into().unwrap();
        streams[StreamKind::Members as usize] = vec![4];
        streams[StreamKind::Parts as usize] = parts;
        streams[StreamKind::Literals as usize] = literals;
        streams[StreamKind::Code as usize] = code;
        streams[StreamKind::UnwindRecords as usize] = records;
        streams[StreamKind::TableNumbers as usize] = numbers;
        let _ = decode(&pack::Packer::new(1).pack(&streams), len);
    }
}
