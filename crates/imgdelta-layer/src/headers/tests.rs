//! Any bytes round-trip; equal headers cost next to nothing; damage is refused.

use super::{BaseHeader, HeaderReader, HeaderWriter, StreamPayload};
use imgdelta_coding::pack::Packer;
use imgdelta_core::{Algorithm, DiffId, Error, Limits, Result};
use imgdelta_image::index::{IndexBuilder, LayerIndex};
use imgdelta_testkit::tar_stream::{HeaderBlock, Tar, every_variant};
use proptest::prelude::*;
use std::{collections::HashMap, ops::Range};

fn index_of(stream: &[u8]) -> LayerIndex {
    let mut builder = IndexBuilder::new(&Limits::default(), None);
    builder.feed(stream).unwrap();
    builder.finish(DiffId::new(Algorithm::Sha256, &[0; 32]).unwrap()).unwrap()
}

fn part(stream: &[u8], range: Range<u64>) -> &[u8] {
    &stream[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

/// Writes a stream against a base, paired by path, at an odd address.
fn write(base: &[u8], target: &[u8]) -> Vec<u8> {
    let (base_index, index) = (index_of(base), index_of(target));
    let entries = base_index.entries.iter().enumerate();
    let places: HashMap<_, _> = entries.map(|(i, entry)| (entry.path, i)).collect();
    let mut writer = HeaderWriter::new(3);
    let first = index.entries.first().map_or(index.tail_start, |first| first.start);
    writer.raw(part(target, 0..first));
    for (i, entry) in index.entries.iter().enumerate() {
        let base = places.get(&entry.path).map(|&i| BaseHeader {
            header: part(base, base_index.header_range(i)),
            address: SHIFT + base_index.entries.start(i),
            payload_bytes: length(&base_index.entries.payload(i)),
        });
        let header = part(target, index.header_range(i));
        let padding = part(target, index.padding_range(i));
        let _ = writer.entry(header, length(&entry.payload), padding, base);
    }
    writer.raw(part(target, index.tail_range()));
    writer.finish()
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

/// Address of the base in these tests.
const SHIFT: u64 = 1001;

/// Reads columns; returns the gaps, each with the payload behind it.
fn read(base: &[u8], target: &[u8], packed: &[u8]) -> Result<Vec<(Vec<u8>, StreamPayload)>> {
    let mut reader = HeaderReader::open(packed, &Limits::default())?;
    let mut source = |address: u64, out: &mut [u8]| {
        let range = address
            .checked_sub(SHIFT)
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| base.get(at..at.checked_add(out.len())?));
        out.copy_from_slice(range.ok_or_else(|| Error::bad_input("base", "too short"))?);
        Ok(())
    };
    let (mut gaps, mut gap, mut bytes) = (Vec::new(), Vec::new(), 0);
    loop {
        let payload = reader.next(&mut source, &mut gap)?;
        bytes += gap.len();
        gaps.push((gap.clone(), payload.unwrap_or_default()));
        if payload.is_none() || bytes > 4 * target.len() + (4 << 20) {
            return Ok(gaps);
        }
    }
}

fn rebuild(base: &[u8], target: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let packed = write(base, target);
    let mut stream = Vec::new();
    for (gap, payload) in read(base, target, &packed).unwrap() {
        stream.extend(gap);
        let end = stream.len() + usize::try_from(payload.bytes).unwrap();
        let copied = target[stream.len()..end].to_vec();
        stream.extend(copied);
    }
    (stream, packed)
}

fn check(base: &[u8], target: &[u8]) -> usize {
    let (stream, packed) = rebuild(base, target);
    assert!(stream == target, "the stream comes back");
    packed.len()
}

/// Returns a stream like those of layers: directories of files, all of one time.
fn tree(time: &[u8; 12], is_reversed: bool) -> Vec<u8> {
    let mut archive = Tar::new();
    for d in 0..20 {
        archive = archive.add(&dated(b'5', &format!("d{d}/"), 0, time), b"");
        let mut names: Vec<u32> = (0..30).collect();
        if is_reversed {
            names.reverse();
        }
        for f in names {
            let body = vec![b'x'; (f as usize * 37) % 1100];
            let block = dated(b'0', &format!("d{d}/file{f}"), body.len() as u64, time);
            archive = archive.add(&block, &body);
        }
    }
    archive.zeros(2).0
}

fn dated(flag: u8, name: &str, size: u64, time: &[u8; 12]) -> HeaderBlock {
    HeaderBlock::new(flag, name.as_bytes(), size).with(136, time)
}

#[test]
fn every_dialect_comes_back_with_and_without_a_base() {
    let every_variant = every_variant();
    let alone = check(b"", &every_variant);
    let against_itself = check(&every_variant, &every_variant);
    assert!(against_itself < alone / 4, "{against_itself} of {alone}");
    let small = tree(b"14000000000\0", false);
    check(&small, &every_variant);
    check(&every_variant, &small);
    check(b"", b"");
    check(b"", &[0; 5000]);
    check(&small, &small[..small.len() - 700]);
}

#[test]
fn new_times_and_another_order_cost_next_to_nothing() {
    let base = tree(b"14000000000\0", false);
    let later = tree(b"14000012345\0", false);
    assert!(check(&base, &base) < 50, "{}", check(&base, &base));
    assert!(check(&base, &later) < 60, "{}", check(&base, &later));
    // 620 entries; the order of 30 files is about 14 bytes a directory.
    let reversed = tree(b"14000000000\0", true);
    assert!(check(&base, &reversed) < 400, "{}", check(&base, &reversed));
}

#[test]
fn payload_of_the_base_entry_is_returned() {
    let base = Tar::new().file("a", b"one").file("b", b"two and").zeros(2).0;
    let target = Tar::new().file("b", b"three").zeros(2).0;
    let gaps = read(&base, &target, &write(&base, &target)).unwrap();
    assert_eq!(gaps.len(), 2);
    assert_eq!(gaps[0].1, StreamPayload { bytes: 5, own: Some((SHIFT + 1536, 7)) });
    assert_eq!(gaps[1].0, [0; 507 + 1024]);
}

#[test]
fn base_entry_that_contradicts_its_header_is_not_used() {
    let base = Tar::new().file("a", b"one").0;
    let mut writer = HeaderWriter::new(3);
    let header = BaseHeader { header: &base[..512], address: 0, payload_bytes: 4 };
    assert!(!writer.entry(&base[..512], 3, &[0; 509], Some(header)));
    let header = BaseHeader { payload_bytes: 3, ..header };
    assert!(writer.entry(&base[..512], 3, &[0; 509], Some(header)));
    let header = BaseHeader { header: &base[..500], ..header };
    assert!(!writer.entry(&base[..512], 3, &[0; 509], Some(header)));
}

#[test]
fn long_gaps_come_in_pieces() {
    let mut writer = HeaderWriter::new(3);
    writer.raw(&vec![0; 3 << 20]);
    writer.raw(&vec![7; 2 << 20]);
    writer.raw_payload(9);
    let packed = writer.finish();
    assert!(packed.len() < 200);
    let gaps = read(b"", &vec![0; 8 << 20], &packed).unwrap();
    let lengths: Vec<_> = gaps.iter().map(|(gap, payload)| (gap.len(), payload.bytes)).collect();
    assert_eq!(lengths.iter().map(|&(bytes, _)| bytes).sum::<usize>(), 5 << 20);
    assert!(lengths.iter().all(|&(bytes, _)| bytes <= 1 << 20));
    assert_eq!(lengths[lengths.len() - 2].1, 9);
}

#[test]
fn paths_of_new_entries_cost_their_new_letters() {
    let mut archive = Tar::new();
    for i in 0..500 {
        archive =
            archive.add(&HeaderBlock::new(b'0', format!("usr/lib/f{i:04}").as_bytes(), 0), b"");
    }
    let bytes = check(b"", &archive.zeros(2).0);
    assert!(bytes < 1500, "{bytes}");
}

#[test]
fn every_cut_and_every_changed_byte_is_harmless() {
    let (base, target) = (tree(b"14000000000\0", true), every_variant());
    let packed = write(&base, &target);
    for end in 0..packed.len() {
        let _ = read(&base, &target, &packed[..end]);
    }
    for at in 0..packed.len() {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x15;
        let _ = read(&base, &target, &damaged);
    }
    assert!(read(b"", &target, &write(&base, &base)).is_err(), "a base that is missing");
}

/// The worked example of docs/format-headers.md.
#[test]
fn worked_example_decodes() {
    let base = Tar::new().file("usr/a", b"one").file("usr/b", b"two").zeros(2).0;
    let target = Tar::new()
        .add(&dated(b'0', "usr/a", 3, b"14000000144\0"), b"one")
        .add(&dated(b'0', "usr/c", 4, b"14000000144\0"), b"four")
        .zeros(2)
        .0;
    let packed: Vec<u8> = [
        &b"\x0F\x0C\x08\x04\x14\x04\x00\x04\x08\x04\x04\x04\x04\x00\x00\x08"[..],
        b"\x09\x30\x03\xA5\x1F\x00\xC8\x81\x80\x80\x0C\x08\x30\x03\x00",
        b"\x04\x00\x01\x63\x80\x08",
    ]
    .concat();
    let gaps = read(&base, &target, &packed).unwrap();
    let own = Some((SHIFT + 512, 3));
    assert_eq!(gaps[0], (target[..512].to_vec(), StreamPayload { bytes: 3, own }));
    assert_eq!(gaps[1], (target[515..1536].to_vec(), StreamPayload { bytes: 4, own: None }));
    assert_eq!(gaps[2], (target[1540..].to_vec(), StreamPayload::default()));
}

/// Arbitrary columns in a valid pack.
fn packed_columns() -> impl Strategy<Value = Vec<u8>> {
    let small = prop::collection::vec(prop_oneof![4 => 0u8..12, 1 => any::<u8>()], 0..40);
    prop::collection::vec(small, 18).prop_map(|columns| Packer::new(1).pack(&columns))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_come_back(
        base in prop::collection::vec(any::<u8>(), 0..3000),
        target in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..3000),
    ) {
        check(&base, &target);
    }

    #[test]
    fn mutated_headers_come_back(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        in_base in any::<bool>(),
    ) {
        let every_variant = every_variant();
        let mut mutated = every_variant.clone();
        for (at, byte) in changes {
            let at = at.index(mutated.len());
            mutated[at] = byte;
            fix_checksum(&mut mutated, at);
        }
        // The index refuses a size over the limits.
        let mut builder = IndexBuilder::new(&Limits::default(), None);
        prop_assume!(builder.feed(&mutated).is_ok());
        if in_base {
            check(&mutated, &every_variant);
        } else {
            check(&every_variant, &mutated);
        }
    }

    #[test]
    fn any_header_bytes_come_back(
        header in prop::collection::vec(any::<u8>(), 0..1600),
        other in prop::collection::vec(any::<u8>(), 512),
        changes in prop::collection::vec((0usize..512, any::<u8>()), 0..12),
        bytes in any::<u32>(),
    ) {
        let mut target = other.clone();
        for (at, byte) in changes {
            target[at] = byte;
        }
        let mut writer = HeaderWriter::new(1);
        let base = BaseHeader { header: &other, address: SHIFT, payload_bytes: 0 };
        let _ = writer.entry(&target, bytes.into(), &header, Some(base));
        let _ = writer.entry(&header, 0, b"", Some(base));
        let packed = writer.finish();
        let gaps = read(&other, &target, &packed).unwrap();
        let all: Vec<u8> = gaps.into_iter().flat_map(|(gap, _)| gap).collect();
        prop_assert_eq!(all, [&target[..], &header, &header].concat());
    }

    #[test]
    fn any_columns_are_harmless(packed in packed_columns()) {
        let base = every_variant();
        let _ = read(&base, &base, &packed);
    }
}

/// Corrects the checksum of the block at an offset, if the block still looks like a header.
fn fix_checksum(stream: &mut [u8], at: usize) {
    let start = at / 512 * 512;
    if let Some(block) = stream.get_mut(start..start + 512)
        && block[257..262] == *b"ustar"
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
}
