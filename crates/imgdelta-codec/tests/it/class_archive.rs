//! References in class-data archives of Java virtual machines move with their targets.
#![cfg(feature = "encode")]
#![expect(clippy::cast_possible_truncation, reason = "these archives are small")]

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits, MemberStats, View};
use proptest::prelude::*;

/// An object: its own words, and the objects it refers to.
#[derive(Debug, Clone)]
struct Object {
    seed: u64,
    refers: Vec<usize>,
}

const REQUESTED: u64 = 0x8_0000_0000;
const HEAP_REFERENCE: u64 = 0xffe0_0000;
const PAGE: usize = 4096;

fn objects(count: usize) -> Vec<Object> {
    let object = |i: usize| Object {
        seed: i as u64 * 977 + 1,
        refers: (0..=i % 4).map(|k| (i * 31 + k * 17) % count).collect(),
    };
    (0..count).map(object).collect()
}

/// Lays objects out from `start`, and returns the place of each, and the end.
fn places(objects: &[Object], start: usize, bytes_per_reference: usize) -> (Vec<usize>, usize) {
    let mut at = start;
    let place = |object: &Object| {
        let place = at;
        at += (16 + object.refers.len() * bytes_per_reference).next_multiple_of(8);
        place
    };
    (objects.iter().map(place).collect(), at)
}

/// Writes an archive of a region of the machine's objects and one of Java objects.
fn archive(metadata: &[Object], heap: &[Object]) -> Vec<u8> {
    let (pointers, end) = places(metadata, PAGE, 8);
    let heap_start = end.next_multiple_of(PAGE);
    let (references, heap_end) = places(heap, heap_start, 4);
    let mut bytes = vec![0; heap_end];
    let mut put = |at: usize, number: &[u8]| bytes[at..at + number.len()].copy_from_slice(number);
    put(0, &0xf00b_aba2_u32.to_le_bytes());
    let first = [PAGE as u64, 0, (end - PAGE) as u64];
    let second = [heap_start as u64, HEAP_REFERENCE, (heap_end - heap_start) as u64];
    for (at, record) in [(0x28, first), (0x70, second)] {
        (0..).zip(record).for_each(|(i, number)| put(at + 8 * i, &number.to_le_bytes()));
    }
    put(0x390, &REQUESTED.to_le_bytes());
    for (object, &at) in metadata.iter().zip(&pointers) {
        put(at, &object.seed.to_le_bytes());
        for (i, &referred) in object.refers.iter().enumerate() {
            let pointer = REQUESTED + (pointers[referred] - PAGE) as u64;
            put(at + 16 + 8 * i, &pointer.to_le_bytes());
        }
    }
    for (object, &at) in heap.iter().zip(&references) {
        put(at, &object.seed.to_le_bytes());
        for (i, &referred) in object.refers.iter().enumerate() {
            let reference = HEAP_REFERENCE + (references[referred] - heap_start) as u64;
            put(at + 16 + 4 * i, &(reference as u32).to_le_bytes());
        }
    }
    bytes
}

fn encode(base: &[u8], target: &[u8]) -> (Vec<u8>, MemberStats) {
    let mut encoder = GroupEncoder::new(Effort::Default);
    let stats = encoder.member(base, target);
    (encoder.finish(), stats)
}

fn decode(group: &[u8], base: &[u8], len: usize) -> Vec<u8> {
    let mut decoder = GroupDecoder::open(group, &GroupLimits::default()).unwrap();
    let mut target = vec![0; len];
    decoder.member(base, &mut target).unwrap();
    decoder.finish().unwrap();
    target
}

/// Adds an object in the middle; the references to those behind it stay the same objects'.
fn with_one_more(objects: &[Object]) -> Vec<Object> {
    let middle = objects.len() / 2;
    let mut more = objects.to_vec();
    let behind = more.iter_mut().flat_map(|object| &mut object.refers);
    behind.filter(|referred| **referred >= middle).for_each(|referred| *referred += 1);
    more.insert(middle, Object { seed: 0x1234_5678_9abc, refers: vec![3, 5] });
    more
}

#[test]
fn pointers_and_references_follow_objects_that_move() {
    let (metadata, heap) = (objects(900), objects(700));
    let base = archive(&metadata, &heap);
    let target = archive(&with_one_more(&metadata), &with_one_more(&heap));
    let (group, stats) = encode(&base, &target);
    assert_eq!(decode(&group, &base, target.len()), target);
    assert_eq!(stats.view, View::Elf);
    // About half of 3,000 references changed.
    assert!(stats.missed_fields + stats.patched_bytes < 40, "{stats:?}");
    assert!(group.len() < 200, "{} bytes", group.len());
}

#[test]
fn an_archive_without_an_address_is_plain() {
    let (metadata, heap) = (objects(300), objects(200));
    let mut base = archive(&metadata, &heap);
    let mut target = archive(&with_one_more(&metadata), &heap);
    for bytes in [&mut base, &mut target] {
        bytes[0x390..0x398].fill(0);
    }
    let (group, stats) = encode(&base, &target);
    assert_eq!(stats.view, View::Plain);
    assert_eq!(decode(&group, &base, target.len()), target);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn archives_with_any_headers_come_back(
        damage in prop::collection::vec((0..1024_usize, any::<u8>()), 0..6),
        words in prop::collection::vec((0..9000_usize, any::<u64>()), 0..6),
        is_of_base in any::<bool>(),
    ) {
        let mut base = archive(&objects(120), &objects(90));
        let mut target = archive(&with_one_more(&objects(120)), &objects(90));
        let damaged = if is_of_base { &mut base } else { &mut target };
        for (at, byte) in damage {
            damaged[at] = byte;
        }
        for (at, word) in words {
            let at = at.min(damaged.len() - 8);
            damaged[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let (group, _) = encode(&base, &target);
        prop_assert_eq!(decode(&group, &base, target.len()), target);
    }
}
