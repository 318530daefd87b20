//! Unwind tables that are computed from the records of the target: functions are in another order here.
#![cfg(feature = "encode")]
#![expect(clippy::cast_possible_truncation, reason = "these programs are small")]

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits, MemberStats};
use imgdelta_testkit::noise;

/// Bytes of a function, and of its record.
const FUNCTION: u64 = 48;
const RECORD: u64 = 24;

/// A shared library of functions in this order: headers, data, unwind table, records, code.
fn program(order: &[usize], data_len: u64) -> Vec<u8> {
    let count = order.len() as u64;
    let table = 0x200 + data_len;
    let records = table + 12 + 8 * count;
    let code = (records + 24 + RECORD * count + 4 + 63) & !63;
    let total = code + FUNCTION * count;
    let mut file = vec![0; total as usize];
    let mut put = |at: u64, bytes: &[u8]| {
        file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    };
    put(0x200, &noise(7, data_len as usize));
    // Records follow the order of the functions' names, and the table that of their addresses.
    put(records, &20_u32.to_le_bytes());
    put(records + 8, b"\x01zR\0\x01\x78\x10\x01\x1B");
    put(table, &[1, 0x1B, 0x03, 0x3B]);
    put(table + 4, &((records - table - 4) as u32).to_le_bytes());
    put(table + 8, &(count as u32).to_le_bytes());
    for (&name, place) in order.iter().zip(0..) {
        let function = code + FUNCTION * place;
        let record = records + 24 + RECORD * name as u64;
        let fields = [20, record + 4 - records, function.wrapping_sub(record + 8), FUNCTION];
        for (field, i) in fields.into_iter().zip(0..) {
            put(record + 4 * i, &(field as u32).to_le_bytes());
        }
        let row = table + 12 + 8 * place;
        put(row, &((function - table) as u32).to_le_bytes());
        put(row + 4, &((record - table) as u32).to_le_bytes());
        put(function, &noise(name as u64 + 100, FUNCTION as usize));
    }
    put(0, b"\x7fELF\x02\x01\x01");
    put(18, &62_u16.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &3_u16.to_le_bytes());
    let headers = [
        (1_u32, 4_u32, 0, code),
        (1, 5, code, total - code),
        (0x6474_E550, 4, table, 12 + 8 * count),
    ];
    for ((kind, flags, start, len), i) in headers.into_iter().zip(0..) {
        let at = 64 + 56 * i;
        put(at, &kind.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        for (place, number) in [(8, start), (16, start), (32, len), (40, len)] {
            put(at + place, &number.to_le_bytes());
        }
    }
    file
}

/// The numbers below `count`, each by so many places further than in the order before.
fn turned(count: usize, by: usize) -> Vec<usize> {
    (0..count).map(|number| number * by % count).collect()
}

fn encode(base: &[u8], target: &[u8]) -> (Vec<u8>, MemberStats) {
    let mut encoder = GroupEncoder::new(Effort::Default);
    let stats = encoder.member(base, target);
    (encoder.finish(), stats)
}

fn decode(group: &[u8], base: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default()).ok()?;
    let mut rebuilt = vec![0; len];
    decoder.member(base, &mut rebuilt).ok()?;
    decoder.finish().ok()?;
    Some(rebuilt)
}

#[test]
fn a_table_follows_from_its_records() {
    let (base, target) = (program(&turned(401, 1), 0), program(&turned(401, 58), 0));
    let (group, stats) = encode(&base, &target);
    assert!(decode(&group, &base, target.len()).is_some_and(|rebuilt| rebuilt == target));
    // The start of each function in its record is a miss, but its row in the table is none.
    let wrong = stats.missed_fields + stats.patched_bytes + stats.literal_bytes;
    assert!(wrong < 450, "{stats:?}");
}

#[test]
fn a_table_has_more_or_fewer_rows_than_the_one_before() {
    for (old, new) in [(300, 340), (340, 300)] {
        let (base, target) = (program(&turned(old, 1), 0), program(&turned(new, 7), 0));
        let (group, _) = encode(&base, &target);
        assert!(decode(&group, &base, target.len()).is_some_and(|rebuilt| rebuilt == target));
    }
}

#[test]
fn a_table_that_is_not_sorted_is_rebuilt_as_it_is() {
    let (base, mut target) = (program(&turned(301, 1), 0), program(&turned(301, 11), 0));
    let row = 0x200 + 12;
    let (one, other): (Vec<u8>, _) =
        (target[row..row + 8].into(), target[row + 8..row + 16].to_vec());
    target[row..row + 16].copy_from_slice(&[other, one].concat());
    let (group, _) = encode(&base, &target);
    assert!(decode(&group, &base, target.len()).is_some_and(|rebuilt| rebuilt == target));
}

#[test]
fn no_piece_divides_a_table_and_its_records() {
    // Pieces have about 1 MiB.
    for before in [0, 100, 1600, 3000, 4100, 20_000] {
        let data_len = (1 << 20) - 0x200 - before;
        let (base, target) =
            (program(&turned(401, 1), data_len), program(&turned(401, 58), data_len));
        let (group, stats) = encode(&base, &target);
        assert!(stats.missed_fields < 450, "{stats:?}");
        assert!(decode(&group, &base, target.len()).is_some_and(|rebuilt| rebuilt == target));
    }
}

#[test]
fn damage_to_a_member_with_a_table_is_an_error_or_other_bytes() {
    let (base, target) = (program(&turned(61, 1), 0), program(&turned(61, 8), 0));
    let (group, _) = encode(&base, &target);
    for at in 0..group.len() {
        for flip in [1, 2, 0x10, 0x40, 0x80] {
            let mut damaged = group.clone();
            damaged[at] ^= flip;
            let _ = decode(&damaged, &base, target.len());
        }
    }
    for len in 0..group.len() {
        assert!(decode(&group[..len], &base, target.len()).is_none(), "cut at {len}");
    }
    // A base without a table, and one that is shorter.
    let other = program(&turned(61, 1), 64);
    let _ = decode(&group, &other, target.len());
    let _ = decode(&group, &base[..base.len() - 100], target.len());
}
