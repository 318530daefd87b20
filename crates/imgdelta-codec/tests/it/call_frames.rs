//! Lengths of functions, and distances in them, that unwind records have: they follow the code.
#![cfg(feature = "encode")]
#![expect(clippy::cast_possible_truncation, reason = "these programs are small")]

use crate::support;
use imgdelta_codec::Effort;
use imgdelta_testkit::noise;
use proptest::prelude::*;
use support::round_trip;

/// Bytes of a record.
const RECORD: u64 = 28;

/// A shared library: headers, the front of an unwind table, records, code. So many bytes are inserted in the
/// middle of each function.
fn program(inserted: &[u8]) -> Vec<u8> {
    let count = inserted.len() as u64;
    let table = 0x200;
    let records = table + 12;
    let code = (records + 24 + RECORD * count + 4 + 63) & !63;
    let mut file = vec![0; code as usize];
    let mut rows = Vec::new();
    for (&more, number) in inserted.iter().zip(0..) {
        let (start, body) = (file.len() as u64, noise(number + 100, 96));
        file.extend_from_slice(&body[..40]);
        file.extend(noise(number + 9000, more.into()));
        file.extend_from_slice(&body[40..]);
        rows.push((start, 96 + u64::from(more), more));
        file.resize(file.len().next_multiple_of(16), 0x90);
    }
    let total = file.len() as u64;
    let mut put = |at: u64, bytes: &[u8]| {
        file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    };
    put(records, &20_u32.to_le_bytes());
    put(records + 8, b"\x01zR\0\x01\x78\x10\x01\x1B");
    put(table, &[1, 0x1B, 0x03, 0x3B]);
    put(table + 4, &((records - table - 4) as u32).to_le_bytes());
    for ((start, len, more), number) in rows.into_iter().zip(0..) {
        let record = records + 24 + RECORD * number;
        let words = [24, record + 4 - records, start.wrapping_sub(record + 8), len];
        for (word, i) in words.into_iter().zip(0..) {
            put(record + 4 * i, &(word as u32).to_le_bytes());
        }
        // From 4 to 94, over the inserted bytes, and one more.
        put(record + 17, &[0x44, 0x0E, 0x10, 0x02, 90 + more, 0x0E, 0x08, 0x41]);
    }
    put(0, b"\x7fELF\x02\x01\x01");
    put(18, &62_u16.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &3_u16.to_le_bytes());
    let headers =
        [(1_u32, 4_u32, 0, code), (1, 5, code, total - code), (0x6474_E550, 4, table, 12)];
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

#[test]
fn lengths_and_distances_follow_functions_that_grow() {
    let inserted: Vec<u8> = (0..300).map(|number| if number % 3 == 0 { 16 } else { 0 }).collect();
    let (base, target) = (program(&[0; 300]), program(&inserted));
    for effort in [Effort::Default, Effort::Best] {
        let stats = round_trip(&base, &target, effort);
        let wrong = stats.missed_fields + stats.patched_bytes;
        assert!(wrong < 20, "{stats:?}");
    }
    // And back.
    let stats = round_trip(&target, &base, Effort::Default);
    assert!(stats.missed_fields + stats.patched_bytes < 20, "{stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_functions_come_back(
        old in prop::collection::vec(0..160_u8, 1..60),
        new in prop::collection::vec(0..160_u8, 1..60),
        changed in prop::collection::vec((any::<usize>(), any::<u8>()), 0..20),
    ) {
        let (mut base, mut target) = (program(&old), program(&new));
        for (at, byte) in changed {
            // Records of the base as well, which any file may have.
            let (in_base, in_target) = (0x200 + at % (base.len() - 0x200), 0x200 + at % (target.len() - 0x200));
            (base[in_base], target[in_target]) = (byte, byte);
        }
        round_trip(&base, &target, Effort::Default);
    }
}
