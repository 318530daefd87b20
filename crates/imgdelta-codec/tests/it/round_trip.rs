//! Every member comes back bit for bit, for any base and target.
#![cfg(feature = "encode")]

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits, MemberStats};
use imgdelta_testkit::noise;
use proptest::prelude::*;

/// Encodes pairs into one group, decodes them and compares; returns the group's length too.
fn round_trip(effort: Effort, pairs: &[(&[u8], &[u8])]) -> (usize, Vec<MemberStats>) {
    let mut encoder = GroupEncoder::new(effort);
    let stats = pairs.iter().map(|(base, target)| encoder.member(base, target)).collect();
    let group = encoder.finish();
    let mut decoder = GroupDecoder::open(&group, &GroupLimits::default()).expect("opens");
    for (base, target) in pairs {
        let mut rebuilt = vec![0xAA; target.len()];
        decoder.member(base, &mut rebuilt).expect("decodes");
        assert!(rebuilt == *target, "rebuilt something else");
    }
    decoder.finish().expect("all streams used up");
    (group.len(), stats)
}

#[test]
fn equal_bytes_cost_a_few_bytes_a_group() {
    let bytes = noise(1, 100_000);
    let (group_bytes, stats) = round_trip(Effort::Default, &[(&bytes, &bytes)]);
    assert!(group_bytes <= 30, "{group_bytes} bytes");
    assert_eq!((stats[0].literal_bytes, stats[0].patched_bytes), (0, 0));
}

#[test]
fn a_thousand_time_stamps_cost_a_few_hundred_bytes() {
    let bases: Vec<Vec<u8>> = (0..1000).map(|i| noise(i as u64, 900 + i)).collect();
    let targets: Vec<Vec<u8>> = bases
        .iter()
        .map(|base| {
            let mut target = base.clone();
            target[8] = target[8].wrapping_add(17);
            target[9] = target[9].wrapping_add(3);
            target
        })
        .collect();
    let pairs: Vec<_> = bases.iter().zip(&targets).map(|(b, t)| (&b[..], &t[..])).collect();
    let (group_bytes, _) = round_trip(Effort::Default, &pairs);
    assert!(group_bytes < 120, "{group_bytes} bytes");
}

#[test]
fn insertion_removal_and_move_are_copies() {
    let base = noise(2, 60_000);
    let mut target = base[20_000..40_000].to_vec();
    target.extend(noise(3, 100));
    target.extend(&base[..20_000]);
    target.extend(&base[41_000..]);
    for effort in [Effort::Fast, Effort::Default, Effort::Best] {
        let (_, stats) = round_trip(effort, &[(&base, &target)]);
        assert_eq!((stats[0].literal_bytes, stats[0].patched_bytes), (100, 0), "{effort:?}");
    }
}

#[test]
fn empty_sides_are_members_like_any_other() {
    round_trip(Effort::Default, &[(b"", b""), (b"", b"target"), (b"base", b""), (b"x", b"y")]);
}

/// One change to a byte string.
#[derive(Debug, Clone)]
enum Edit {
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Change(usize, u8),
    Repeat(usize, usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = prop::collection::vec(any::<u8>(), 1..60);
    prop_oneof![
        (any::<usize>(), bytes).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<usize>(), 1..200_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Edit::Change(at, byte)),
        (any::<usize>(), 1..300_usize, any::<usize>())
            .prop_map(|(from, len, to)| Edit::Repeat(from, len, to)),
    ]
}

fn apply(edits: &[Edit], mut bytes: Vec<u8>) -> Vec<u8> {
    for edit in edits {
        let len = bytes.len();
        match edit {
            Edit::Insert(at, new) => {
                let at = at % (len + 1);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Remove(at, count) => {
                let at = at % (len + 1);
                bytes.drain(at..(at + count).min(len));
            }
            Edit::Change(at, byte) if len > 0 => bytes[at % len] = *byte,
            Edit::Repeat(from, count, to) if len > 0 => {
                let from = from % len;
                let part = bytes[from..(from + count).min(len)].to_vec();
                let to = to % len;
                bytes.splice(to..to, part);
            }
            Edit::Change(..) | Edit::Repeat(..) => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn edited_bytes_come_back(
        len in 0..5000_usize,
        seed in any::<u64>(),
        edits in prop::collection::vec(edit(), 0..12),
    ) {
        let base = noise(seed, len);
        let target = apply(&edits, base.clone());
        round_trip(Effort::Default, &[(&base, &target), (&target, &base)]);
    }

    #[test]
    fn small_alphabets_come_back(
        base in prop::collection::vec(0..3_u8, 0..3000),
        target in prop::collection::vec(0..3_u8, 0..3000),
    ) {
        for effort in [Effort::Fast, Effort::Best] {
            round_trip(effort, &[(&base, &target)]);
        }
    }
}

#[test]
fn groups_made_apart_are_one_group_together() {
    let pairs: [(&[u8], &[u8]); 3] =
        [(b"one two three four", b"one two 3 four"), (b"", b"new"), (b"same", b"same")];
    let mut whole = GroupEncoder::new(Effort::Default);
    let mut joined = GroupEncoder::new(Effort::Default);
    for (base, target) in pairs {
        whole.member(base, target);
        let mut part = GroupEncoder::new(Effort::Default);
        part.member(base, target);
        joined.append(&part.finish_loose()).expect("made just now");
    }
    assert_eq!(joined.finish(), whole.finish());
}
