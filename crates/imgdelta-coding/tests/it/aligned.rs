//! Aligned codes: any bytes come back, similar ones take little room, and wrong codes are refused.
#![cfg(feature = "encode")]

use imgdelta_coding::aligned::{self, Kind, MAX_BYTES, MAX_FULL, MixerState, Stretch};
use imgdelta_testkit::noise;
use proptest::prelude::*;

const KINDS: [Kind; 4] = [Kind::Text, Kind::Data, Kind::Words, Kind::X86];

/// Stretches of at most 50 bytes for `len` bytes, with places that may lie behind the reference.
fn stretches(len: usize, places: &[(u8, usize, usize)]) -> Vec<Stretch> {
    let (mut all, mut at) = (Vec::new(), 0);
    for &(kind, before, after) in places.iter().cycle() {
        if at == len {
            break;
        }
        let part = (before % 50 + 1).min(len - at);
        let kind = KINDS[usize::from(kind % 4)];
        let place = |at: usize| (!at.is_multiple_of(3)).then_some(at);
        all.push(Stretch {
            len: part,
            target: at * 7,
            before: place(before),
            after: place(after),
            kind,
        });
        at += part;
    }
    all
}

/// A reference of code and one stretch that follows it with some bytes changed.
fn similar(kind: Kind) -> (Vec<u8>, Vec<u8>, Stretch) {
    similar_to(noise(1, 0x4000), kind)
}

fn similar_to(reference: Vec<u8>, kind: Kind) -> (Vec<u8>, Vec<u8>, Stretch) {
    let mut raw = reference.clone();
    for (at, byte) in raw.iter_mut().enumerate() {
        if at % 701 == 0 {
            *byte ^= 1;
        }
    }
    raw.drain(0x1000..0x1005);
    let stretch = Stretch { len: raw.len(), target: 0, before: Some(0), after: None, kind };
    (reference, raw, stretch)
}

#[test]
fn bytes_that_follow_the_reference_take_little_room() {
    for kind in KINDS {
        let (reference, raw, stretch) = similar(kind);
        let code = aligned::pack(&reference, &[stretch], &raw).expect("few bytes a code byte");
        assert!(code.bytes.len() < 250, "{kind:?}: {} bytes", code.bytes.len());
        assert!(code.full < 1500, "{kind:?}: {} bytes of the full path", code.full);
        assert_eq!(aligned::unpack(&code.bytes, &reference, &[stretch]).unwrap(), raw);
    }
}

#[test]
fn bytes_without_a_reference_come_back() {
    for raw in [vec![7; 100], noise(3, 3000)] {
        for kind in KINDS {
            let stretch = Stretch { len: raw.len(), target: 3, before: None, after: None, kind };
            let code = aligned::pack(&[], &[stretch], &raw).expect("few a code byte").bytes;
            assert!(code.len() < raw.len() + 100);
            assert_eq!(aligned::unpack(&code, &[], &[stretch]).unwrap(), raw);
        }
    }
}

#[test]
fn a_code_begins_with_what_the_codes_before_have_taught() {
    for kind in KINDS {
        let (mut packing, mut unpacking) = (MixerState::default(), MixerState::default());
        let mut lengths = Vec::new();
        for seed in 1..4 {
            let (reference, mut raw, stretch) = similar_to(noise(seed, 0x4000), kind);
            raw.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
            let code = packing.pack(&reference, &[stretch], &raw).expect("few").bytes;
            assert!(unpacking.unpack(&code, &reference, &[stretch]).unwrap() == raw);
            lengths.push(code.len());
        }
        assert!(lengths[1] < lengths[0] * 15 / 16, "{kind:?}: {lengths:?}");
    }
}

#[test]
fn predictions_are_the_same_everywhere() {
    // A change here is a change of the format.
    let mut sums = Vec::new();
    for kind in KINDS {
        let (reference, raw, stretch) = similar(kind);
        let code = aligned::pack(&reference, &[stretch], &raw).unwrap().bytes;
        let sum = code.iter().fold(0_u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
        sums.push((code.len(), sum));
    }
    let wanted =
        [(109, 667_960_647), (128, 3_133_892_998), (122, 3_048_971_449), (104, 583_861_375)];
    assert_eq!(sums, wanted);
}

#[test]
fn a_code_for_more_bytes_than_it_may_stand_for_is_refused() {
    let most = |len: u64, each: u64| usize::try_from(len * each).unwrap();
    let code = [0x55; 10];
    let stretch = |len| Stretch { len, target: 0, before: None, after: None, kind: Kind::Data };
    let error = aligned::unpack(&code, &[], &[stretch(most(10, MAX_BYTES) + 1)]).unwrap_err();
    assert_eq!(error.expected, most(10, MAX_BYTES) as u64);
    // The first byte of a stretch without a place has no flag.
    for len in [most(10, MAX_FULL), most(10, MAX_FULL) + 1] {
        let unpacked = aligned::unpack(&code, &[], &vec![stretch(1); len]);
        assert_eq!(unpacked.is_ok(), len == most(10, MAX_FULL), "{len} bytes");
    }
}

#[test]
fn a_damaged_or_shortened_code_gives_as_many_bytes_or_an_error() {
    let (reference, raw, stretch) = similar(Kind::X86);
    let code = aligned::pack(&reference, &[stretch], &raw).unwrap().bytes;
    for at in (0..code.len()).step_by(17) {
        let mut damaged = code.clone();
        damaged[at] ^= 0x10;
        for bytes in [&damaged[..], &code[..at]] {
            if let Ok(made) = aligned::unpack(bytes, &reference, &[stretch]) {
                assert_eq!(made.len(), raw.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_in_any_stretches_come_back(
        reference in prop::collection::vec(0..4_u8, 0..600),
        raw in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..600),
        places in prop::collection::vec((any::<u8>(), 0..700_usize, 0..700_usize), 1..20),
    ) {
        let stretches = stretches(raw.len(), &places);
        let (mut packing, mut unpacking) = (MixerState::default(), MixerState::default());
        for _ in 0..2 {
            let code = packing.pack(&reference, &stretches, &raw);
            prop_assume!(code.is_some());
            let code = code.expect("just assumed").bytes;
            let made = unpacking.unpack(&code, &reference, &stretches);
            prop_assert_eq!(&made.unwrap(), &raw);
        }
    }

    #[test]
    fn any_code_ends(
        reference in prop::collection::vec(any::<u8>(), 0..200),
        code in prop::collection::vec(any::<u8>(), 0..200),
        len in 0..3000_usize,
        places in prop::collection::vec((any::<u8>(), 0..300_usize, 0..300_usize), 1..20),
    ) {
        let stretches = stretches(len, &places);
        if let Ok(raw) = aligned::unpack(&code, &reference, &stretches) {
            prop_assert_eq!(raw.len(), len);
        }
    }
}
